// Goal:   a process killed at any step of a durable offer, of a change of segments, or of overtaking one that died, leaves a
//         log that others go on with at once; what it was confirmed is there when the domain is built again, once, and
//         nothing else is. A leader that confirms before it has written is caught.
// Method: the victim dies at its n-th step, for every n; a survivor offers, the domain's memory is removed, and what the log
//         holds is compared with what was confirmed.

#include "tests/crash/step_victim.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Numbers = std::vector<std::uint64_t>;
using Fate = StepVictim::Fate;

struct Confirmed {
    std::atomic<std::uint32_t> count;
    std::array<std::atomic<std::uint64_t>, 4096> numbers;

    void add(std::uint64_t number) {
        numbers.at(count.load() % numbers.size()) = number;
        ++count;
    }
};

class DurableSteps : public ::testing::Test {
  protected:
    DurableSteps()
        : watchdog_(400),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()) {}
    ~DurableSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    Server open() {
        ServerOptions options = small_options();
        options.log_directory = folder_.file("log");
        options.log_segment_bytes = 64U << 10U;
        auto server = Server::open(domain_.name(), options);
        EXPECT_TRUE(server) << to_string(server.error());
        return server ? std::move(*server) : Server{};
    }
    static Result<Queue> queue_of(Server& server) {
        return server.create_queue(
            "q",
            {.capacity = 16, .kind = QueueKind::durable, .delivery = DeliveryMode::at_least_once});
    }
    void begin() {
        std::filesystem::remove_all(folder_.file("log"));
        confirmed_->count = 0;
        server_ = open();
        queue_ = queue_of(server_).value();
    }
    // Offers so many messages, from number 1 on, each of so many bytes.
    VictimRole producer(std::uint64_t from, std::uint64_t count, std::size_t bytes) {
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, queue] {
                        *queue = (new Server(open()))->queue("q").value();
                        return true;
                    },
                .act =
                    [this, queue, from, count, bytes] {
                        for (std::uint64_t number = from; number < from + count; ++number) {
                            if (queue->offer(numbered(number, bytes).durable(), 5s)) {
                                confirmed_->add(number);
                            }
                        }
                    }};
    }
    Numbers built_again() {
        queue_ = Queue{};
        server_ = Server{};
        domain_.remove_files();
        server_ = open();
        queue_ = queue_of(server_).value();
        EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
        Numbers numbers;
        while (auto delivery = queue_.poll(0ms)) {
            numbers.push_back(number_of(*delivery));
            EXPECT_TRUE(delivery->ack());
        }
        std::sort(numbers.begin(), numbers.end());
        return numbers;
    }
    // Empty: all that was confirmed is there, once, and nothing that was not offered.
    std::string compare(const Numbers& found, const std::set<std::uint64_t>& offered) const {
        for (std::uint32_t i = 0; i < confirmed_->count; ++i) {
            const std::uint64_t number = confirmed_->numbers.at(i);
            if (std::count(found.begin(), found.end(), number) != 1) {
                return "message " + std::to_string(number) + " was confirmed, and is there " +
                       std::to_string(std::count(found.begin(), found.end(), number)) + " times";
            }
        }
        for (const std::uint64_t number : found) {
            if (!offered.contains(number)) {
                return "message " + std::to_string(number) + " was never offered";
            }
        }
        return {};
    }
    void check(const std::set<std::uint64_t>& offered, std::size_t bytes) {
        victim_.child().kill();
        const std::uint64_t begun = now_ns();
        auto survived = queue_.offer(numbered(100, bytes).durable(), 10s);
        ASSERT_TRUE(survived) << to_string(survived.error());
        EXPECT_LT(now_ns() - begun, 3'000'000'000U) << "nobody overtook it";
        confirmed_->add(100);
        std::set<std::uint64_t> all = offered;
        all.insert(100);
        EXPECT_EQ(compare(built_again(), all), "");
        queue_ = Queue{};
        server_ = Server{};
        domain_.remove_files();
    }

    Watchdog watchdog_;
    test::ScratchFolder folder_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    StepVictim victim_;
    Shared<Confirmed> confirmed_;
};

TEST_F(DurableSteps, killed_in_an_offer) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "durable offer",
        [this] { begin(); },
        producer(1, 1, 100),
        [this](bool /*finished*/) { check({1}, 100); });
    EXPECT_GE(steps, 15U);
}

TEST_F(DurableSteps, killed_where_segments_change_and_old_ones_go) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "durable offers into a new segment",
        [this] {
            begin();
            for (std::uint64_t number = 10; number < 30; ++number) {  // five segments, not needed
                ASSERT_TRUE(queue_.offer(numbered(number, 14'000).durable(), 5s));
                ASSERT_TRUE(queue_.poll(0ms).value().ack());
            }
        },
        producer(1, 3, 14'000),
        [this](bool /*finished*/) {
            std::set<std::uint64_t> offered{1, 2, 3};
            for (std::uint64_t number = 10; number < 30; ++number) {
                offered.insert(number);  // acknowledged: it may come again
            }
            check(offered, 14'000);
        });
    EXPECT_GE(steps, 40U);
}

TEST_F(DurableSteps, killed_while_it_overtakes_one_that_died) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "overtaking",
        [this] {
            begin();
            StepVictim leader;
            ASSERT_EQ(leader.run(producer(1, 1, 100), Fate::killed, 1, "log.sync"),
                      StepVictim::End::met_fate);
            leader.child().kill();
        },
        producer(2, 1, 100),
        [this](bool /*finished*/) {
            check({1, 2}, 100);
        });
    EXPECT_GE(steps, 20U);
}

// It is in its queue and in the log, and nobody was told: who reaps its producer must not end it.
TEST_F(DurableSteps, a_reaper_that_ends_what_is_in_its_queue_is_caught) {
    const auto found = [this] {
        begin();
        static_cast<void>(victim_.run(producer(1, 1, 100), Fate::killed, 1, "log.finish"));
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U) << "reaped";
        EXPECT_EQ(queue_.status().value().depth, 1U);
        const Numbers numbers = built_again();
        queue_ = Queue{};
        server_ = Server{};
        domain_.remove_files();
        return numbers;
    };
    EXPECT_EQ(found(), Numbers{1}) << "without the mistake";
    StepVictim::seed_bug(shm::Bug::written_ends_always);
    const Numbers numbers = found();
    StepVictim::seed_bug(shm::Bug::none);
    EXPECT_EQ(numbers, Numbers{}) << "the mistake is not caught";
}

// One leads and dies before it writes; the other's messages are among what it took.
TEST_F(DurableSteps, a_leader_that_confirms_before_it_has_written_is_caught) {
    const auto lost = [this](std::uint32_t rounds) {
        std::string problem;
        for (std::uint32_t round = 1; round <= rounds && problem.empty(); ++round) {
            begin();
            Child other([this] {
                auto* server = new Server(open());
                Queue queue = server->queue("q").value();
                for (std::uint64_t number = 1000; number < 1012; ++number) {
                    if (queue.offer(numbered(number, 100).durable(), 2s)) {
                        confirmed_->add(number);
                    }
                }
                return 0;
            });
            static_cast<void>(victim_.run(
                {.prepare = producer(1, 1, 100).prepare,
                 .act =
                     [this] {
                         Queue queue = (new Server(open()))->queue("q").value();
                         for (std::uint64_t number = 1; number < 4; ++number) {
                             static_cast<void>(queue.offer(numbered(number, 100).durable(), 2s));
                         }
                     }},
                Fate::killed,
                round % 3 + 1,
                "log.write"));
            victim_.child().kill();
            other.kill();
            std::set<std::uint64_t> offered{1, 2, 3};
            for (std::uint64_t number = 1000; number < 1012; ++number) {
                offered.insert(number);
            }
            problem = compare(built_again(), offered);
            queue_ = Queue{};
            server_ = Server{};
            domain_.remove_files();
        }
        return problem;
    };
    EXPECT_EQ(lost(20), "") << "without the mistake";
    StepVictim::seed_bug(shm::Bug::settled_before_written);
    const std::string problem = lost(200);
    StepVictim::seed_bug(shm::Bug::none);
    EXPECT_NE(problem, "") << "the mistake is not caught";
    std::printf("  caught: %s\n", problem.c_str());
}

}  // namespace
}  // namespace telpher::crash

// Goal:   a process killed at any step of a durable offer, asynchronous or not, of a change of segments, or of overtaking
//         one that died, or stopped at any step of an asynchronous one, leaves a log that others go on with at once; what
//         it was confirmed is there when the domain is built again, once, and nothing else is. A leader that confirms
//         before it has written is caught.
// Method: the victim dies at its n-th step, for every n; a survivor offers, the domain's memory is removed, and what the log
//         holds is compared with what was confirmed.

#include "tests/crash/durable_world.hpp"

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
using Fate = StepVictim::Fate;

struct Confirmed {
    std::atomic<std::uint32_t> count;
    std::atomic<std::uint32_t> refused;  // timed out
    std::array<std::atomic<std::uint64_t>, 4096> numbers;

    void add(std::uint64_t number) {
        numbers.at(count.load() % numbers.size()) = number;
        ++count;
    }
};

class DurableSteps : public DurableWorld {
  protected:
    void begin() {
        DurableWorld::begin();
        confirmed_->count = 0;
    }
    // Offers so many messages, from number 1 on, each of so many bytes.
    VictimRole producer(std::uint64_t from, std::uint64_t count, std::size_t bytes) {
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, queue] {
                        *queue = queue_of_victim();
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
    // The same by asynchronous offers, all outstanding at once; the thread that logs them suffers. Number 50 starts it.
    // With `crowded`, somebody else takes the room that was found for them.
    VictimRole sender(std::uint64_t count, std::chrono::milliseconds timeout, bool crowded) {
        auto queue = std::make_shared<Queue>();
        auto rival = std::make_shared<Queue>();
        return {
            .prepare =
                [this, queue, rival] {
                    auto* server = new Server(open());
                    *queue = server->queue("q").value();
                    *rival =
                        (new Client(connect("shm:" + domain_.name()).value()))->queue("q").value();
                    const bool started =
                        queue->offer_async(numbered(50, 100).durable(), 5s).get(5s).has_value();
                    confirmed_->add(50);
                    return started;
                },
            .act =
                [this, queue, rival, count, timeout, crowded] {
                    std::vector<Future<std::uint64_t>> offers;
                    for (std::uint64_t number = 1; number <= count; ++number) {
                        offers.push_back(
                            queue->offer_async(numbered(number, 100).durable(), timeout));
                    }
                    while (crowded && rival->offer(Message::text("rival", "x"), 0ms)) {
                    }
                    for (std::uint64_t number = 1; number <= count; ++number) {
                        const Status status = offers[number - 1].get(10s).status();
                        if (status == Status::ok) {
                            confirmed_->add(number);
                        }
                        confirmed_->refused += status == Status::timed_out ? 1U : 0U;
                    }
                },
            .thread = "telpher-durable"};
    }
    Numbers built_again() {
        build_again();
        return take();
    }
    // Empty: all that was confirmed is there, once (`most` times), and nothing that was not offered.
    std::string compare(const Numbers& found,
                        const std::set<std::uint64_t>& offered,
                        std::ptrdiff_t most = 1) const {
        for (std::uint32_t i = 0; i < confirmed_->count; ++i) {
            const std::uint64_t number = confirmed_->numbers.at(i);
            const auto times = std::count(found.begin(), found.end(), number);
            if (times < 1 || times > most) {
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
        end();
    }

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

TEST_F(DurableSteps, killed_in_asynchronous_offers) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "asynchronous durable offers",
        [this] { begin(); },
        sender(3, 5s, false),
        [this](bool /*finished*/) {
            check({1, 2, 3, 50}, 100);
        });
    EXPECT_GE(steps, 20U);
}

// Their records are taken back; nobody else waits for that, and what was given up does not come again unless its sender
// was killed on the way.
TEST_F(DurableSteps, killed_where_others_took_the_room_of_asynchronous_offers) {
    std::uint32_t refused = 0;
    const std::uint32_t steps = victim_.kill_at_every_step(
        "asynchronous durable offers without room",
        [this] {
            begin();
            ASSERT_TRUE(server_.create_queue("spare",
                                             {.capacity = 4,
                                              .kind = QueueKind::durable,
                                              .delivery = DeliveryMode::at_least_once}));
        },
        sender(8, 20ms, true),
        [&](bool finished) {
            victim_.child().kill();
            refused += confirmed_->refused.exchange(0);
            const std::uint64_t begun = now_ns();
            ASSERT_TRUE(server_.queue("spare").value().offer(numbered(100, 100).durable(), 10s));
            EXPECT_LT(now_ns() - begun, 3'000'000'000U) << "nobody overtook it";
            const Numbers found = built_again();
            EXPECT_EQ(compare(found, {1, 2, 3, 4, 5, 6, 7, 8, 50}), "");
            EXPECT_TRUE(!finished || found.size() == confirmed_->count) << "given up, and there";
            EXPECT_EQ(number_of(server_.queue("spare").value().poll(0ms).value()), 100U);
            end();
        });
    EXPECT_GE(steps, 20U);
    EXPECT_GT(refused, 0U) << "nobody took their room";
}

// Who is overtaken in the moment of its confirmation may have logged a message a second time.
TEST_F(DurableSteps, stopped_in_asynchronous_offers) {
    std::uint32_t stops = 0;
    for (bool stopped = true; stopped && !HasFailure(); ++stops) {
        begin();
        const auto met = victim_.run(sender(3, 30s, false), Fate::stopped, stops + 1);
        ASSERT_NE(met, StepVictim::End::failed);
        stopped = met == StepVictim::End::met_fate;
        const std::uint64_t begun = now_ns();
        const auto survived = queue_.offer(numbered(100, 100).durable(), 20s);
        ASSERT_TRUE(survived) << to_string(survived.error());
        EXPECT_LT(now_ns() - begun, 4'000'000'000U) << "nobody overtook it";
        confirmed_->add(100);
        ASSERT_TRUE(!stopped || victim_.let_finish(20s)) << "it does not go on";
        EXPECT_EQ(confirmed_->count, 5U) << "all were confirmed in the end";
        EXPECT_EQ(compare(built_again(), {1, 2, 3, 50, 100}, 2), "");
        end();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << stops + 1 << ", " << victim_.where();
    }
    std::printf("  %u stops\n", stops - 1);
    EXPECT_GE(stops, 20U);
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
        end();
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
            end();
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

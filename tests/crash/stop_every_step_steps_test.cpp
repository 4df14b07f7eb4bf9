// Goal:   a process stopped at any step (SIGSTOP: a debugger, a frozen container) holds up nobody,
//         and when it goes on, laps later, it does no harm: nothing lost, nothing twice, order
//         kept.
// Method: the victim stops itself at its n-th SHM_STEP, for every n; the parent runs three laps
// through the
//         queue of three, makes and removes another queue, audits; then the victim goes on and
//         ends; the parent audits again.
// Not promised: changes of the directory while the victim holds its lock; a sleeper beside a
// stopped sleeper
//         waits for at most the one second that bounds every sleep.

#include "shm/base/os.hpp"
#include "shm/segment.hpp"
#include "tests/crash/sleeper.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;
using Numbers = std::vector<std::uint64_t>;

constexpr std::uint32_t kCapacity = 3;
constexpr std::uint32_t kLapMessages = 3 * 4;  // three laps of the ring's four slots
constexpr std::uint64_t kOfVictim = 1000;
constexpr std::uint64_t kNothing = 0;
constexpr std::uint64_t kSlowNs = 200'000'000;  // for one operation of the others
constexpr std::uint32_t kSlowMax = 2;           // the machine itself stands still now and then

class StopEveryStep : public ::testing::Test {
  protected:
    StopEveryStep()
        : watchdog_(150),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()) {}

    void SetUp() override { open(Lifetime::persistent); }

    void open(Lifetime lifetime) {
        queue_ = Queue();
        server_ = Server();
        domain_.remove_files();
        lifetime_ = lifetime;
        server_ = domain_.open(lifetime);
        queue_ = server_.create_queue("queue", {.capacity = kCapacity}).value();
    }

    // A role whose thread has the queue and may leave a number for the parent.
    VictimRole member(const std::function<std::uint64_t(Server&, Queue&)>& act,
                      const std::function<void(Queue&)>& prepare = {}) {
        auto server = std::make_shared<Server*>();
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, server, queue, prepare] {
                        *server = new Server(domain_.open(lifetime_));  // never closed
                        *queue = (*server)->queue("queue").value();
                        if (prepare) {
                            prepare(*queue);
                        }
                        return true;
                    },
                .act = [this, server, queue, act] { answer_->store(act(**server, *queue)); }};
    }

    // Stops the victim at each step; `during` while it is stopped, `after` when it has gone on and
    // ended.
    void stop_everywhere(const char* what,
                         const std::function<void()>& before,
                         const VictimRole& role,
                         const std::function<void()>& during,
                         const std::function<void()>& after) {
        std::uint32_t n = 1;
        for (bool stopped = true; stopped; ++n) {
            ASSERT_NO_FATAL_FAILURE(before());
            answer_->store(kNothing);
            polled_.clear();
            const StepVictim::End end = victim_.run(role, Fate::stopped, n);
            stopped = end == StepVictim::End::met_fate;
            ASSERT_NE(end, StepVictim::End::failed) << what << " at " << n;
            during();
            EXPECT_LE(slow_, kSlowMax) << "others are held up";
            EXPECT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
            after();
            ASSERT_FALSE(HasFailure())
                << what << ": stopped at step " << n << ", " << victim_.where();
        }
        std::printf("  %-24s %5u stop points, slowest operation of the others %.2f ms\n",
                    what,
                    n - 2,
                    static_cast<double>(slowest_) / 1e6);
    }

    // Runs one operation of the others and looks at the clock.
    template <typename Operation>
    auto timed(Operation&& operation) {
        const std::uint64_t started = now_ns();
        auto result = operation();
        const std::uint64_t took = now_ns() - started;
        slowest_ = std::max(slowest_, took);
        slow_ += took > kSlowNs ? 1U : 0U;
        return result;
    }

    // Three laps: each message offered is polled, whatever else comes with it.
    void run_laps() {
        for (std::uint64_t number = 1; number <= kLapMessages; ++number) {
            EXPECT_TRUE(timed([&] { return queue_.offer(numbered(number, 48)); }));
            if (auto delivery = timed([&] { return queue_.poll(); })) {
                polled_.push_back(number_of(*delivery));
            }
        }
    }

    // Makes and removes a queue, unless the stopped process holds the lock that this needs.
    void change_directory() {
        const std::string file = std::string(shm::kShmFolder) + shm::public_file(domain_.name());
        const int descriptor = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
        const bool held = shm::byte_is_locked(descriptor, shm::kDirectoryLock);
        close(descriptor);
        if (!held) {
            EXPECT_TRUE(timed([&] { return server_.create_queue("other", {.capacity = 9}); }));
            EXPECT_TRUE(timed([&] { return server_.remove_queue("other"); }));
        }
        EXPECT_TRUE(timed([&] { return server_.exists("queue"); }));
    }

    // All of 1..12 once and in order, and the victim's message once if it says that it was sent.
    // `taken`: what the victim polled.
    void expect_exactly_once(bool sent, std::uint64_t taken) {
        const Numbers rest = drain(queue_);
        polled_.insert(polled_.end(), rest.begin(), rest.end());
        EXPECT_EQ(std::count(polled_.begin(), polled_.end(), kOfVictim), sent ? 1 : 0);
        std::erase(polled_, kOfVictim);
        Numbers expected;
        for (std::uint64_t number = 1; number <= kLapMessages; ++number) {
            if (number != taken) {
                expected.push_back(number);
            }
        }
        EXPECT_EQ(polled_, expected);
        EXPECT_EQ(audit(server_, settle(queue_)), "");
        EXPECT_EQ(server_.processes().value().size(), 1U);
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Lifetime lifetime_ = Lifetime::persistent;
    Server server_;
    Queue queue_;
    StepVictim victim_;
    Shared<std::atomic<std::uint64_t>> answer_;
    Numbers polled_;
    std::uint64_t slowest_ = 0;
    std::uint32_t slow_ = 0;
};

constexpr auto kNoPreparation = [] {};

TEST_F(StopEveryStep, of_an_offer_sends_once_or_not) {
    const auto offer = [](Server&, Queue& queue) -> std::uint64_t {
        return queue.offer(numbered(kOfVictim, 48)) ? kOfVictim : kNothing;
    };
    stop_everywhere(
        "offer",
        kNoPreparation,
        member(offer),
        [&] { run_laps(); },
        [&] {
            EXPECT_EQ(answer_->load(), kOfVictim);  // there was room all the time
            expect_exactly_once(true, kNothing);
        });
}

TEST_F(StopEveryStep, of_a_poll_takes_one_or_none) {
    const auto poll = [](Server&, Queue& queue) {
        const auto delivery = queue.poll();
        return delivery ? number_of(*delivery) : kNothing;
    };
    const auto before = [&] { ASSERT_TRUE(queue_.offer(numbered(kOfVictim, 48))); };
    stop_everywhere(
        "poll",
        before,
        member(poll),
        [&] { run_laps(); },
        [&] {
            EXPECT_NE(answer_->load(), kNothing);  // there was a message all the time
            expect_exactly_once(answer_->load() != kOfVictim, answer_->load());
        });
}

TEST_F(StopEveryStep, of_a_release_frees_its_own_memory_only) {
    for (const std::size_t bytes : {std::size_t{48}, std::size_t{9000}}) {
        auto held = std::make_shared<Delivery>();
        const auto take = [held, bytes](Queue& queue) {
            static_cast<void>(queue.offer(numbered(kOfVictim, bytes)));
            *held = std::move(queue.poll().value());
        };
        const auto release = [held](Server&, Queue&) {
            held->release();
            return kNothing;
        };
        stop_everywhere(
            "release",
            kNoPreparation,
            member(release, take),
            [&] { run_laps(); },
            [&] { expect_exactly_once(false, kNothing); });
    }
}

TEST_F(StopEveryStep, of_the_reaper_leaves_the_reaping_to_others) {
    const auto die = [](Server&, Queue& queue) -> std::uint64_t {
        static_cast<void>(queue.offer(numbered(kOfVictim, 48)));
        return kNothing;
    };
    const auto hold = [](Queue& queue) {
        static_cast<void>(queue.offer(numbered(kOfVictim, 48)));
        new Delivery(std::move(queue.poll().value()));
    };
    const auto before = [&] {
        // Nobody is attached when the reaper comes.
        queue_ = Queue();
        server_ = Server();
        StepVictim dead;
        ASSERT_EQ(dead.run(member(die, hold), Fate::killed, 1, "ring.commit.cas"),
                  StepVictim::End::met_fate);
    };
    const VictimRole reaper{.prepare = {}, .act = [&] { new Server(domain_.open()); }};
    const auto during = [&] {
        server_ = timed([&] { return Server::open(domain_.name()); }).value();
        queue_ = server_.queue("queue").value();
        EXPECT_EQ(audit(server_, settle(queue_)), "");
        run_laps();
        change_directory();
    };
    stop_everywhere("reap", before, reaper, during, [&] { expect_exactly_once(false, kNothing); });
}

TEST_F(StopEveryStep, of_attaching_holds_up_nobody) {
    for (const Lifetime lifetime : {Lifetime::persistent, Lifetime::ephemeral}) {
        open(lifetime);
        const VictimRole opener{.prepare = {}, .act = [&] { new Server(domain_.open(lifetime_)); }};
        const auto during = [&] {
            run_laps();
            change_directory();
        };
        stop_everywhere("attach", kNoPreparation, opener, during, [&] {
            expect_exactly_once(false, kNothing);
        });
    }
}

TEST_F(StopEveryStep, of_removing_a_queue_loses_nothing_that_was_accepted) {
    const auto remove = [](Server& server, Queue&) -> std::uint64_t {
        return server.remove_queue("queue") ? kOfVictim : kNothing;
    };
    Numbers accepted;
    const auto before = [&] {
        queue_ = server_.create_queue("queue", {.capacity = kCapacity}).value();
        accepted.clear();
    };
    const auto during = [&] {
        for (std::uint64_t number = 1; number <= kLapMessages; ++number) {
            if (timed([&] { return queue_.offer(numbered(number, 48)); })) {
                accepted.push_back(number);
            }
            if (auto delivery = timed([&] { return queue_.poll(); })) {
                polled_.push_back(number_of(*delivery));
            }
        }
        change_directory();
    };
    stop_everywhere("remove_queue", before, member(remove), during, [&] {
        EXPECT_EQ(answer_->load(), kOfVictim);
        EXPECT_EQ(queue_.offer(numbered(99, 48)).status(), Status::queue_not_found);
        const Numbers rest = drain(queue_);
        polled_.insert(polled_.end(), rest.begin(), rest.end());
        EXPECT_EQ(polled_, accepted);
        queue_ = Queue();
        EXPECT_EQ(server_.queues().value(), std::vector<std::string>{});
    });
}

TEST_F(StopEveryStep, of_a_sleeper_delays_another_one_by_a_second_at_most) {
    const Sleeper stopped(domain_, "queue", Sleeper::consume);
    ASSERT_TRUE(stopped.wait_for_sleep());
    stopped.stop();
    const Sleeper consumer(domain_, "queue", Sleeper::consume);
    ASSERT_TRUE(consumer.wait_for_sleep());
    const std::uint64_t started = now_ns();
    ASSERT_TRUE(queue_.offer(numbered(1, 48)));
    while (consumer.done() == 0 && now_ns() - started < 3'000'000'000) {
        usleep(1000);
    }
    EXPECT_EQ(consumer.done(), 1U);
    std::printf("  behind a stopped sleeper: %.0f ms\n",
                static_cast<double>(now_ns() - started) / 1e6);
    EXPECT_LT(now_ns() - started, 1'500'000'000U);
}

}  // namespace
}  // namespace telpher::crash

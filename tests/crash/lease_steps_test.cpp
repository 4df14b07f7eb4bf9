// Goal:   a process killed or stopped at any step of a lease (poll, ack, nack, extend, reject, expiry, dead
//         letters, the keeper's pass, the reaper) leaves each message acknowledged, or to be handed out
//         again, or among the dead letters: never two of these, never none; and no chunk behind.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp.
// Not promised: a message that a stopped process carries from one place to another waits until it goes on.

#include "shm/attachment.hpp"
#include "src/client/domain_core.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Numbers = std::vector<std::uint64_t>;
using Fate = StepVictim::Fate;

class LeaseSteps : public ::testing::Test {
  protected:
    LeaseSteps()
        : watchdog_(300),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          queue_(make(server_)),
          dead_(server_.queue("dead").value()) {}
    ~LeaseSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    static Queue make(Server& server) {
        return server
            .create_queue("queue",
                          {.capacity = 4,
                           .delivery = DeliveryMode::at_least_once,
                           .lease = kLease,
                           .deliveries_max = 100,
                           .dead_letter = "dead"})
            .value();
    }
    // Polls message 1, and does something with it.
    VictimRole consumer(const std::function<void(Queue&, Delivery&)>& act) {
        auto queue = std::make_shared<Queue>();
        auto delivery = std::make_shared<Delivery*>(nullptr);
        return {.prepare =
                    [this, queue, delivery] {
                        auto* server = new Server(domain_.open());  // never closed
                        *queue = server->queue("queue").value();
                        *delivery = new Delivery(std::move(queue->poll().value()));
                        return true;
                    },
                .act = [queue, delivery, act] { act(*queue, **delivery); }};
    }
    // One pass over the leases, by a process of its own.
    VictimRole keeper() {
        auto client = std::make_shared<Client*>(nullptr);
        return {.prepare =
                    [this, client] {
                        *client = new Client(connect("shm:" + domain_.name()).value());
                        return true;
                    },
                .act = [client] { detail::DomainCore::of(**client)->attachment().keep_leases(); }};
    }
    void fill() {
        static_cast<void>(take(queue_));
        static_cast<void>(take(dead_));
        for (std::uint64_t number = 1; number <= 3; ++number) {
            ASSERT_TRUE(queue_.offer(numbered(number, 48)));
        }
    }
    // Polls and acknowledges all that comes within a moment.
    static Numbers take(Queue& queue, Duration patience = {}) {
        Numbers numbers;
        while (auto delivery = queue.poll(patience)) {
            numbers.push_back(number_of(*delivery));
            EXPECT_TRUE(delivery->ack());
        }
        return numbers;
    }
    void expect_at_rest() {
        for (int i = 0; i < 100 && server_.verify().value().chunks_lingering != 0; ++i) {
            std::this_thread::sleep_for(1ms);
        }
        const VerifyReport report = server_.verify().value();
        EXPECT_EQ(report.problems, std::vector<std::string>{});
        EXPECT_EQ(report.chunks_claimed, 0U);
        EXPECT_EQ(report.chunks_parked, 0U);
        EXPECT_EQ(report.chunks_lingering, 0U);
        EXPECT_EQ(report.chunks_offered, 0U);
        EXPECT_LE(report.chunks_owned, 64U) << "kept for reuse";
    }
    // Until the one lease that is out has expired.
    void wait_for_expiry() {
        const std::uint64_t before = expired_;
        for (int i = 0; i < 5000 && expired_ == before; ++i) {
            std::this_thread::sleep_for(1ms);
            expired_ = queue_.status().value().lease_expired;
        }
        EXPECT_EQ(expired_, before + 1);
        for (int i = 0; i < 5000 && queue_.status().value().delayed != 0; ++i) {
            std::this_thread::sleep_for(1ms);
        }
    }
    // Message 1 is where `places` allow, once; 2 and 3 are there, in order.
    enum Places : unsigned { kThere = 1, kDead = 2, kGone = 4 };
    void expect_accounted(unsigned places, Duration patience) {
        EXPECT_EQ(server_.processes().value().size(), 1U);
        Numbers rest = take(queue_, patience);  // the janitor may be at it
        const Numbers dead = take(dead_);
        const auto there = static_cast<unsigned>(std::count(rest.begin(), rest.end(), 1));
        std::erase(rest, 1);
        EXPECT_EQ(rest, (Numbers{2, 3}));
        const unsigned place = there != 0 ? kThere : !dead.empty() ? kDead : kGone;
        EXPECT_EQ(there + dead.size() + (place == kGone ? 1 : 0), 1U);
        EXPECT_NE(place & places, 0U) << "it is in place " << place;
        expect_at_rest();
    }
    void kill_everywhere(const char* what,
                         const VictimRole& role,
                         unsigned places,
                         unsigned when_finished,
                         Duration patience = 20ms) {
        const std::uint32_t steps = victim_.kill_at_every_step(
            what,
            [this] { fill(); },
            role,
            [&](bool finished) {
                victim_.child().kill();
                expect_accounted(finished ? when_finished : places, patience);
            });
        EXPECT_GE(steps, 2U);
    }
    // Stopped at each step for longer than a lease; others go on; then it goes on.
    void stop_everywhere(const VictimRole& role, unsigned places) {
        bool stopped = true;
        for (std::uint32_t n = 1; stopped; ++n) {
            fill();
            const auto end = victim_.run(role, Fate::stopped, n);
            ASSERT_NE(end, StepVictim::End::failed);
            stopped = end == StepVictim::End::met_fate;
            Numbers polled = take(queue_, kLease + 60ms);
            for (std::uint64_t number = 10; number < 22; ++number) {  // laps of the others
                ASSERT_TRUE(queue_.offer(numbered(number, 48)));
                const Numbers next = take(queue_);
                polled.insert(polled.end(), next.begin(), next.end());
            }
            ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            const Numbers rest = take(queue_, 30ms);
            polled.insert(polled.end(), rest.begin(), rest.end());
            const Numbers dead = take(dead_);
            const auto there =
                static_cast<std::size_t>(std::count(polled.begin(), polled.end(), 1));
            EXPECT_LE(there + dead.size(), 1U);
            const unsigned place = there != 0 ? kThere : !dead.empty() ? kDead : kGone;
            EXPECT_NE(place & places, 0U) << "it is in place " << place;
            std::erase(polled, 1);
            EXPECT_EQ(polled.size(), 14U);
            expect_at_rest();
            ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
        }
    }

    static constexpr Duration kLease = 60ms;
    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    Queue dead_;
    StepVictim victim_;
    std::uint64_t expired_ = 0;
};

void acknowledge(Queue& /*queue*/, Delivery& delivery) { static_cast<void>(delivery.ack()); }
void give_back(Queue& /*queue*/, Delivery& delivery) { static_cast<void>(delivery.nack()); }
void give_back_later(Queue& /*queue*/, Delivery& delivery) {
    static_cast<void>(delivery.nack(5ms));
}
void extend(Queue& /*queue*/, Delivery& delivery) { static_cast<void>(delivery.extend(10s)); }
void refuse(Queue& /*queue*/, Delivery& delivery) { static_cast<void>(delivery.reject()); }

TEST_F(LeaseSteps, killed_in_an_acknowledgement) {
    kill_everywhere("ack", consumer(acknowledge), kThere | kGone, kGone);
}
TEST_F(LeaseSteps, killed_in_a_return) {
    kill_everywhere("nack", consumer(give_back), kThere, kThere);
}
TEST_F(LeaseSteps, killed_in_a_return_with_a_delay) {
    kill_everywhere("nack with delay", consumer(give_back_later), kThere, kThere, 60ms);
}
TEST_F(LeaseSteps, killed_in_an_extension) {
    kill_everywhere("extend", consumer(extend), kThere, kThere);
}
TEST_F(LeaseSteps, killed_in_a_refusal) {
    kill_everywhere("reject", consumer(refuse), kThere | kDead, kDead);  // there: not refused yet
}

// From the claim on; whoever is killed before the note of its lease, too.
TEST_F(LeaseSteps, killed_in_a_poll) {
    auto queue = std::make_shared<Queue>();
    const VictimRole polling{.prepare =
                                 [this, queue] {
                                     *queue = (new Server(domain_.open()))->queue("queue").value();
                                     return true;
                                 },
                             .act = [queue] { new Delivery(std::move(queue->poll().value())); }};
    kill_everywhere("poll", polling, kThere, kThere);
}

TEST_F(LeaseSteps, killed_in_a_poll_of_what_has_expired) {
    auto queue = std::make_shared<Queue>();
    const VictimRole polling{.prepare =
                                 [this, queue] {
                                     *queue = (new Server(domain_.open()))->queue("queue").value();
                                     return true;
                                 },
                             .act = [queue] { static_cast<void>(queue->poll()); }};
    const std::uint32_t steps = victim_.kill_at_every_step(
        "poll of what has expired",
        [this] {
            static_cast<void>(take(queue_));
            static_cast<void>(take(dead_));
            ASSERT_TRUE(queue_.offer(numbered(1, 48).expires_in(1ms)));
            std::this_thread::sleep_for(8ms);
        },
        polling,
        [&](bool /*finished*/) {
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            EXPECT_EQ(take(queue_, 20ms), Numbers{});
            EXPECT_EQ(take(dead_, 20ms), Numbers{1});
            expect_at_rest();
        });
    EXPECT_GE(steps, 10U);
}

// The parent holds message 1 under a lease that has expired, reads on, and ends it.
TEST_F(LeaseSteps, killed_in_a_pass_that_ends_a_lease) {
    std::optional<Delivery> held;
    std::uint32_t steps = 0;
    // On a busy machine our own janitor may be there first: then there was nothing left to be killed in.
    for (int attempt = 0; attempt < 5 && steps < 5; ++attempt) {
        steps = victim_.kill_at_every_step(
            "keeper",
            [&] {
                fill();
                held.emplace(std::move(queue_.poll().value()));
                std::this_thread::sleep_for(kLease + 8ms);
            },
            keeper(),
            [&](bool /*finished*/) {
                victim_.child().kill();
                Numbers rest = take(queue_, 30ms);
                EXPECT_EQ(number_of(*held), 1U) << "still readable";
                const Result<void> late = held->ack();
                held.reset();
                EXPECT_EQ(std::count(rest.begin(), rest.end(), 1), late ? 0 : 1);
                std::erase(rest, 1);
                EXPECT_EQ(rest, (Numbers{2, 3}));
                expect_at_rest();
            });
    }
    EXPECT_GE(steps, 5U);
}

TEST_F(LeaseSteps, stopped_in_an_acknowledgement) {
    stop_everywhere(consumer(acknowledge), kThere | kGone);
}
TEST_F(LeaseSteps, stopped_in_a_return) { stop_everywhere(consumer(give_back), kThere); }
TEST_F(LeaseSteps, stopped_in_an_extension) { stop_everywhere(consumer(extend), kThere); }
TEST_F(LeaseSteps, stopped_in_a_refusal) { stop_everywhere(consumer(refuse), kThere | kDead); }
TEST_F(LeaseSteps, stopped_in_a_pass) { stop_everywhere(keeper(), kThere); }

// Whoever reaps the dead consumer, and hands its messages out, is killed at each of its steps.
TEST_F(LeaseSteps, its_reaper_may_be_killed_anywhere) {
    StepVictim reaper;
    std::uint32_t handing_out = 0;
    bool met = true;
    for (std::uint32_t n = 1; met; ++n) {
        fill();
        ASSERT_EQ(victim_.run(consumer(acknowledge), Fate::stopped, 1, "lease.ack.cas"),
                  StepVictim::End::met_fate);
        queue_ = {};
        dead_ = {};
        server_ = {};  // nobody else may notice
        victim_.child().kill();
        const auto end = reaper.run(reaping(domain_), Fate::killed, n);
        ASSERT_NE(end, StepVictim::End::failed);
        met = end == StepVictim::End::met_fate;
        handing_out += met && reaper.where().find("lease.bring") != std::string::npos ? 1U : 0U;
        reaper.child().kill();
        server_ = domain_.open();
        queue_ = server_.queue("queue").value();
        dead_ = server_.queue("dead").value();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        EXPECT_EQ(take(queue_, 30ms), (Numbers{1, 2, 3}));
        expect_at_rest();
        ASSERT_FALSE(HasFailure()) << "reaper killed at step " << n << ", " << reaper.where();
    }
    EXPECT_GE(handing_out, 2U) << "those steps were among them";
}

TEST_F(LeaseSteps, catches_an_acknowledgement_by_a_store) {
    fill();
    StepVictim::seed_bug(shm::Bug::acknowledged_by_store);
    ASSERT_EQ(victim_.run(consumer(acknowledge), Fate::stopped, 1, "lease.ack.cas"),
              StepVictim::End::met_fate);
    Delivery again = queue_.poll().value();  // message 2
    EXPECT_TRUE(again.ack());
    wait_for_expiry();
    auto second = queue_.poll(1s);
    ASSERT_TRUE(second);
    EXPECT_EQ(number_of(*second), 1U) << "its lease has expired";
    ASSERT_TRUE(victim_.let_finish(10s));
    victim_.child().kill();
    static_cast<void>(server_.processes());
    EXPECT_EQ(second->ack().status(), Status::lease_expired)
        << "the mistake is seen: the second consumer has lost a lease that it held";
    StepVictim::seed_bug(shm::Bug::none);
}

TEST_F(LeaseSteps, catches_messages_that_are_freed_under_their_readers) {
    StepVictim::seed_bug(shm::Bug::readers_not_noted);
    fill();
    Delivery late = queue_.poll().value();
    wait_for_expiry();
    for (int i = 0; i < 3; ++i) {
        auto next = queue_.poll(1s);
        ASSERT_TRUE(next);
        EXPECT_TRUE(next->ack());
    }
    EXPECT_EQ(server_.verify().value().chunks_lingering, 0U)
        << "the mistake is seen: nothing keeps what is still read";
    StepVictim::seed_bug(shm::Bug::none);
    EXPECT_EQ(late.ack().status(), Status::lease_expired);
}

TEST_F(LeaseSteps, catches_notes_of_the_dead_that_stay) {
    StepVictim::seed_bug(shm::Bug::readers_not_forgotten);
    fill();
    ASSERT_EQ(victim_.run(consumer(acknowledge), Fate::stopped, 1, "lease.ack.cas"),
              StepVictim::End::met_fate);
    wait_for_expiry();
    EXPECT_EQ(take(queue_, 60ms).size(), 3U);
    victim_.child().kill();
    static_cast<void>(server_.processes());
    const VerifyReport report = server_.verify().value();
    EXPECT_EQ(report.chunks_lingering, 1U) << "the mistake is seen: a chunk that nobody gives back";
    EXPECT_FALSE(report.problems.empty());
    StepVictim::seed_bug(shm::Bug::none);
}

TEST_F(LeaseSteps, catches_a_reaper_that_frees_what_was_leased) {
    StepVictim::seed_bug(shm::Bug::reaper_frees_leased);
    fill();
    ASSERT_EQ(victim_.run(consumer(acknowledge), Fate::killed, 1, "lease.ack.cas"),
              StepVictim::End::met_fate);
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_EQ(take(queue_, 30ms), (Numbers{2, 3})) << "the mistake is seen: message 1 is missing";
    StepVictim::seed_bug(shm::Bug::none);
}

TEST_F(LeaseSteps, catches_parked_messages_that_nobody_looks_for) {
    StepVictim::seed_bug(shm::Bug::parked_not_sought);
    fill();
    ASSERT_EQ(victim_.run(consumer(acknowledge), Fate::killed, 1, "lease.ack.cas"),
              StepVictim::End::met_fate);
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_EQ(take(queue_, 30ms), (Numbers{2, 3})) << "the mistake is seen: message 1 is missing";
    EXPECT_EQ(server_.verify().value().chunks_parked, 1U);
    StepVictim::seed_bug(shm::Bug::none);
}

}  // namespace
}  // namespace telpher::crash

// Goal:   a process killed or stopped at any step of an offer with a request id leaves its message in the
//         queue once, or not at all, and whoever offers it again puts it there, once.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp; behind each the same
//         message is offered again, and the queue is drained.

#include "shm/attachment.hpp"
#include "shm/base/clock.hpp"
#include "src/client/domain_core.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Numbers = std::vector<std::uint64_t>;
using Fate = StepVictim::Fate;
using End = StepVictim::End;

QueueOptions options(QueueKind kind, DeliveryMode delivery, std::uint32_t capacity = 4) {
    return {.capacity = capacity,
            .kind = kind,
            .delivery = delivery,
            .idempotency = Idempotency{.scope = IdempotencyScope::global}};
}

class IdempotentOfferSteps : public ::testing::Test {
  protected:
    IdempotentOfferSteps()
        : watchdog_(280),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(open()) {}
    ~IdempotentOfferSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    static Message message(std::uint64_t number) {
        return numbered(number, 48).with_request_id("id-" + std::to_string(number));
    }
    VictimRole offerer(std::uint64_t number, Duration timeout = {}) {
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, queue] {
                        *queue = (new Server(domain_.open()))->queue("queue").value();
                        return true;
                    },
                .act = [queue,
                        number,
                        timeout] { static_cast<void>(queue->offer(message(number), timeout)); }};
    }
    // A pass that ends everything.
    VictimRole sweeper() {
        auto client = std::make_shared<Client*>(nullptr);
        return {.prepare =
                    [this, client] {
                        *client = new Client(connect("shm:" + domain_.name()).value());
                        return true;
                    },
                .act =
                    [client, this] {
                        auto& store = detail::DomainCore::of(**client)->attachment().idempotency();
                        // Each later than the last, which was not long ago.
                        store.sweep(shm::monotonic_coarse_ns() + number_ * 3'600'000'000'000ULL);
                    }};
    }
    static Numbers take(Queue& queue) {
        Numbers numbers;
        while (auto delivery = queue.poll()) {
            numbers.push_back(number_of(*delivery));
            static_cast<void>(delivery->ack());
        }
        return numbers;
    }
    void expect_sound() {
        const VerifyReport report = server_.verify().value();
        EXPECT_EQ(report.problems, std::vector<std::string>{});
        EXPECT_EQ(report.chunks_offered + report.chunks_claimed + report.chunks_parked, 0U);
        EXPECT_EQ(report.chunks_kept, 0U);
        EXPECT_LE(report.chunks_owned, 64U) << "kept for reuse";
        EXPECT_EQ(report.processes, 1U);
    }
    void kill_everywhere(const char* what, const QueueOptions& how) {
        Queue queue = server_.create_queue("queue", how).value();
        std::uint64_t number = 0;
        bool met = true;
        std::uint32_t kills = 0;
        for (std::uint32_t n = 1; met; ++n) {
            ++number;
            const End end = victim_.run(offerer(number), Fate::killed, n);
            ASSERT_NE(end, End::failed);
            met = end == End::met_fate;
            kills += met ? 1U : 0U;
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U);  // reaped
            const auto again = queue.offer(message(number), 2s);
            EXPECT_TRUE(again) << to_string(again.error());
            EXPECT_EQ(take(queue), Numbers{number});
            const auto third = queue.offer(message(number));
            EXPECT_TRUE(third);
            EXPECT_EQ(take(queue), Numbers{}) << "it was there";
            expect_sound();
            ASSERT_FALSE(HasFailure())
                << what << " killed at step " << n << ", " << victim_.where();
        }
        EXPECT_GE(kills, 20U);
    }

    // With room for one request of each step.
    Server open() {
        domain_.limits().idempotency_entries = 16384;
        return domain_.open();
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    StepVictim victim_;
    std::uint64_t number_ = 0;
};

TEST_F(IdempotentOfferSteps, killed_in_an_offer) {
    kill_everywhere("offer", options(QueueKind::bounded, DeliveryMode::at_most_once));
}
TEST_F(IdempotentOfferSteps, killed_in_an_offer_with_leases) {
    kill_everywhere("offer", options(QueueKind::bounded, DeliveryMode::at_least_once));
}

// The queue is full: the attempt is undone, and the victim waits for room that never comes, or drops.
TEST_F(IdempotentOfferSteps, killed_in_an_offer_to_a_full_queue) {
    for (const QueueKind kind : {QueueKind::bounded, QueueKind::circular}) {
        const std::string name = kind == QueueKind::bounded ? "bounded" : "circular";
        static_cast<void>(server_.remove_queue("queue"));
        Queue queue =
            server_.create_queue("queue", options(kind, DeliveryMode::at_most_once, 1)).value();
        bool met = true;
        std::uint64_t number = 100;
        for (std::uint32_t n = 1; met; ++n) {
            ASSERT_TRUE(queue.offer(numbered(1, 48)));
            ++number;
            const End end = victim_.run(offerer(number), Fate::killed, n);
            ASSERT_NE(end, End::failed);
            met = end == End::met_fate;
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            Numbers all = take(queue);
            EXPECT_TRUE(queue.offer(message(number)));
            const Numbers rest = take(queue);
            all.insert(all.end(), rest.begin(), rest.end());
            EXPECT_EQ(std::count(all.begin(), all.end(), number), 1);
            expect_sound();
            ASSERT_FALSE(HasFailure())
                << name << ", killed at step " << n << ", " << victim_.where();
        }
    }
}

// Others offer the same, poll what comes, and go on for some laps, while it is stopped.
TEST_F(IdempotentOfferSteps, stopped_in_an_offer) {
    Queue queue =
        server_.create_queue("queue", options(QueueKind::bounded, DeliveryMode::at_most_once))
            .value();
    bool stopped = true;
    std::uint64_t number = 0;
    for (std::uint32_t n = 1; stopped; ++n) {
        ++number;
        const End end = victim_.run(offerer(number), Fate::stopped, n);
        ASSERT_NE(end, End::failed);
        stopped = end == End::met_fate;
        const auto meanwhile = queue.offer(message(number));
        EXPECT_TRUE(meanwhile || meanwhile.status() == Status::queue_full);
        Numbers all = take(queue);
        for (std::uint64_t lap = 1'000; lap < 1'012; ++lap) {
            ASSERT_TRUE(queue.offer(numbered(lap, 48)));
            const Numbers one = take(queue);
            all.insert(all.end(), one.begin(), one.end());
        }
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        EXPECT_TRUE(queue.offer(message(number)));
        const Numbers rest = take(queue);
        all.insert(all.end(), rest.begin(), rest.end());
        EXPECT_EQ(std::count(all.begin(), all.end(), number), 1);
        EXPECT_EQ(all.size(), 13U);
        expect_sound();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
    EXPECT_GE(number, 20U);
}

// The dead offerer's message is consumed, its chunk used again by others, and its record resolved late.
TEST_F(IdempotentOfferSteps, what_was_consumed_since_was_sent) {
    Queue queue =
        server_.create_queue("queue", options(QueueKind::bounded, DeliveryMode::at_most_once))
            .value();
    ASSERT_EQ(victim_.run(offerer(7), Fate::stopped, 1, "idempotency.store"), End::met_fate);
    EXPECT_EQ(take(queue), Numbers{7});
    for (std::uint64_t lap = 1; lap < 200; ++lap) {
        ASSERT_TRUE(queue.offer(numbered(1'000 + lap, 48)));
        ASSERT_EQ(take(queue).size(), 1U);
    }
    victim_.child().kill();
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_TRUE(queue.offer(message(7)));
    EXPECT_EQ(take(queue), Numbers{});
    expect_sound();
}

TEST_F(IdempotentOfferSteps, killed_in_a_pass_that_forgets) {
    Queue queue =
        server_.create_queue("queue", options(QueueKind::bounded, DeliveryMode::at_most_once))
            .value();
    bool met = true;
    for (number_ = 1; met; ++number_) {
        ASSERT_TRUE(queue.offer(message(number_)));
        ASSERT_EQ(take(queue).size(), 1U);
        const End end = victim_.run(sweeper(), Fate::killed, static_cast<std::uint32_t>(number_));
        ASSERT_NE(end, End::failed);
        met = end == End::met_fate;
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        EXPECT_TRUE(queue.offer(message(number_)));
        EXPECT_LE(take(queue).size(), 1U);  // it may have been forgotten
        EXPECT_TRUE(queue.offer(message(number_)));
        EXPECT_EQ(take(queue), Numbers{});
        expect_sound();
        ASSERT_FALSE(HasFailure()) << "killed at step " << number_ << ", " << victim_.where();
    }
    EXPECT_GE(number_, 3U);
}

// Whoever reaps the dead offerer is killed at each of its steps.
TEST_F(IdempotentOfferSteps, its_reaper_may_be_killed_anywhere) {
    StepVictim reaper;
    for (const char* where : {"idempotency.propose", "ring.commit.cas", "idempotency.store"}) {
        bool met = true;
        for (std::uint32_t n = 1; met; ++n) {
            Queue queue =
                server_
                    .create_queue("queue", options(QueueKind::bounded, DeliveryMode::at_most_once))
                    .value();
            ASSERT_EQ(victim_.run(offerer(n), Fate::stopped, 1, where), End::met_fate);
            queue = {};
            server_ = {};  // nobody else may notice
            victim_.child().kill();
            const End end = reaper.run(reaping(domain_), Fate::killed, n);
            ASSERT_NE(end, End::failed);
            met = end == End::met_fate;
            reaper.child().kill();
            server_ = domain_.open();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            queue = server_.queue("queue").value();
            EXPECT_TRUE(queue.offer(message(n)));
            EXPECT_EQ(take(queue), Numbers{n});
            expect_sound();
            queue = {};
            ASSERT_TRUE(server_.remove_queue("queue"));
            ASSERT_FALSE(HasFailure())
                << where << ": reaper killed at step " << n << ", " << reaper.where();
        }
    }
}

// ---- the harness sees mistakes -------------------------------------------------------------------

TEST_F(IdempotentOfferSteps, catches_an_offer_that_is_not_noted) {
    Queue queue =
        server_.create_queue("queue", options(QueueKind::bounded, DeliveryMode::at_most_once))
            .value();
    StepVictim::seed_bug(shm::Bug::offer_not_noted);
    ASSERT_EQ(victim_.run(offerer(7), Fate::stopped, 1, "idempotency.store"), End::met_fate);
    victim_.child().kill();
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_TRUE(queue.offer(message(7)));
    EXPECT_EQ(take(queue), (Numbers{7, 7})) << "the mistake is seen";
}

TEST_F(IdempotentOfferSteps, catches_a_reaper_that_frees_chunks_first) {
    Queue queue =
        server_.create_queue("queue", options(QueueKind::bounded, DeliveryMode::at_most_once))
            .value();
    StepVictim::seed_bug(shm::Bug::records_reaped_last);
    ASSERT_EQ(victim_.run(offerer(7), Fate::stopped, 1, "ring.commit.cas"), End::met_fate);
    victim_.child().kill();
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_TRUE(queue.offer(message(7)));
    EXPECT_EQ(take(queue), Numbers{}) << "the mistake is seen: it is lost";
}

TEST_F(IdempotentOfferSteps, catches_a_proposal_that_is_not_checked) {
    Queue queue =
        server_.create_queue("queue", options(QueueKind::bounded, DeliveryMode::at_most_once))
            .value();
    StepVictim::seed_bug(shm::Bug::proposal_not_checked);
    ASSERT_EQ(victim_.run(offerer(7), Fate::stopped, 1, "idempotency.write"), End::met_fate);
    EXPECT_TRUE(queue.offer(message(7)));
    ASSERT_TRUE(victim_.let_finish(10s));
    EXPECT_EQ(take(queue), (Numbers{7, 7})) << "the mistake is seen";
}

}  // namespace
}  // namespace telpher::crash

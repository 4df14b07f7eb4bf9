// Goal:   the demo notices whatever does not add up.
// Method: the account of a run in which all is well, with worker 1 killed in the middle; then one figure
//         of it is made wrong, and exactly the proof that is about it must fail.

#include "tools/telpher/demo_proof.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace telpher::cli {
namespace {

using Names = std::vector<std::string>;

constexpr std::uint64_t kMessages = 100;
constexpr std::uint64_t kInHands = 50;  // order that worker 1 had in its hands when it was killed
constexpr std::array<std::int64_t, 4> kTotals{150, 275, 320, 90};

// Worker 1 took the odd orders and died of order 50, worker 2 took the others.
SharedAccount make_account(bool announced) {
    auto shared = SharedAccount::create(kMessages, kTotals).value();
    for (std::uint64_t order = 1; order <= kMessages; ++order) {
        if (order != kInHands) {
            EXPECT_TRUE(shared.mark_handled(order % 2 == 1 && order < kInHands ? 0 : 1, order));
        }
        if (order != kInHands || announced) {
            EXPECT_TRUE(shared.mark_heard(0, order));
            // The slow one lost the first forty.
            EXPECT_TRUE(order <= 40 || shared.mark_heard(1, order));
            EXPECT_TRUE(order <= 7 || shared.mark_heard(2, order));  // the remote one lost seven
        }
    }
    const std::uint64_t published = announced ? kMessages : kMessages - 1;
    auto& account = *shared;
    account.offered.set(kMessages);
    account.workers[0].in_hands.set(kInHands);
    account.workers[0].asked.set(3);
    account.workers[0].answered.set(2);
    account.workers[1].asked.set(7);
    account.workers[1].answered.set(7);
    account.pricers[0].priced.set(5);
    account.pricers[1].priced.set(5);
    account.subscribers[0].received.set(published);
    account.subscribers[1].received.set(published - 40);
    account.subscribers[1].lost.set(40);
    account.subscribers[2].received.set(published - 7);
    account.subscribers[2].lost.set(7);
    for (auto& subscriber : account.subscribers) {
        subscriber.last_sequence.set(published);
    }
    return shared;
}

class DemoProof : public testing::Test {
  protected:
    DemoProof() {
        run_.queue.offered = run_.queue.polled = kMessages;
        run_.queue.abandoned = 1;
        run_.topic.published = kMessages;
        run_.function.calls = 9;
        run_.function.redelivered = 1;
        run_.pricer_held = true;
        run_.reaped = kKills;
    }

    [[nodiscard]] Names failed() const { return failed(shared_); }
    // Names of what is not proved.
    [[nodiscard]] Names failed(const SharedAccount& shared) const {
        Names names;
        for (const auto& proof : prove(*shared, DemoCount(shared), run_)) {
            if (!proof.holds) {
                names.push_back(proof.name);
            }
        }
        return names;
    }

    SharedAccount shared_ = make_account(true);
    DemoRun run_{};
};

TEST_F(DemoProof, holds_where_everything_adds_up) {
    EXPECT_EQ(failed(), Names{});
    EXPECT_EQ(DemoCount(shared_).unfinished, std::vector<std::uint64_t>{kInHands});
}

TEST_F(DemoProof, holds_where_the_killed_worker_did_not_come_to_its_announcement) {
    const auto shared = make_account(false);
    run_.topic.published = kMessages - 1;
    EXPECT_EQ(failed(shared), Names{});
}

TEST_F(DemoProof, knows_the_orders_by_their_numbers) {
    EXPECT_EQ(shared_.total(1), 150);
    EXPECT_EQ(shared_.total(6), 275);
    EXPECT_FALSE(shared_.mark_heard(0, kMessages)) << "twice";
}

TEST_F(DemoProof, notices_a_message_that_a_subscriber_neither_got_nor_was_told_of) {
    shared_->subscribers[1].lost.set(39);
    EXPECT_EQ(failed(), Names{"slow_subscriber_exact"});
    shared_->subscribers[1].lost.set(40);
    shared_->subscribers[0].received.set(99);
    EXPECT_EQ(failed(), Names{"subscriber_exact"});
}

TEST_F(DemoProof, notices_a_message_that_a_subscriber_missed_at_the_end) {
    shared_->subscribers[0].last_sequence.set(99);
    EXPECT_EQ(failed(), Names{"subscriber_exact"});
}

TEST_F(DemoProof, notices_a_message_that_is_torn_or_out_of_order) {
    shared_->subscribers[0].wrong_receipts.set(1);
    EXPECT_EQ(failed(), Names{"subscriber_exact"});
    shared_->subscribers[1].wrong_sequences.set(1);
    EXPECT_EQ(failed(), (Names{"subscriber_exact", "slow_subscriber_exact"}));
}

TEST_F(DemoProof, notices_an_announcement_of_an_order_that_nobody_handled) {
    shared_->workers[0].in_hands.set(0);  // so that order 50 was nobody's
    EXPECT_EQ(failed(),
              (Names{"published_once",
                     "subscriber_exact",
                     "slow_subscriber_exact",
                     "remote_subscriber_exact"}));
}

TEST_F(DemoProof, notices_announcements_that_are_missing_and_too_many) {
    for (const std::uint64_t published : {98U, 101U}) {
        run_.topic.published = published;
        EXPECT_EQ(failed(),
                  (Names{"published_once",
                         "subscriber_exact",
                         "slow_subscriber_exact",
                         "remote_subscriber_exact"}))
            << published;
    }
}

TEST_F(DemoProof, notices_a_call_without_an_answer_or_with_a_wrong_one) {
    shared_->workers[0].answered.set(3);
    shared_->workers[1].answered.set(6);  // only the killed one may have an open call
    EXPECT_EQ(failed(), Names{"calls_answered"});
    shared_->workers[0].answered.set(2);
    shared_->workers[1].answered.set(7);
    EXPECT_EQ(failed(), Names{});
    shared_->workers[1].wrong_prices.set(1);
    EXPECT_EQ(failed(), Names{"calls_answered"});
    shared_->workers[1].wrong_prices.set(0);
    run_.function.timed_out = 1;
    EXPECT_EQ(failed(), Names{"calls_answered"});
}

TEST_F(DemoProof, notices_a_call_of_the_killed_pricer_that_nobody_took_over) {
    run_.function.redelivered = 0;
    shared_->pricers[0].priced.set(4);
    EXPECT_EQ(failed(), Names{"calls_answered"});
}

TEST_F(DemoProof, notices_answers_that_nobody_computed_and_calls_computed_twice) {
    for (const std::uint64_t priced : {3U, 6U}) {
        shared_->pricers[0].priced.set(priced);
        EXPECT_EQ(failed(), Names{"calls_answered"}) << priced;
    }
}

TEST_F(DemoProof, notices_an_order_that_is_lost_or_handled_twice) {
    EXPECT_TRUE(shared_.mark_handled(0, 2));  // worker 2 has it, too
    EXPECT_EQ(failed(), (Names{"nothing_lost", "in_order_and_once"}));
}

TEST_F(DemoProof, notices_a_death_that_was_not_noticed_and_what_is_left) {
    run_.reaped = 1;
    run_.left_behind = {"/dev/shm/x"};
    run_.verify.chunks_offered = 1;
    EXPECT_EQ(failed(), (Names{"deaths_noticed", "invariants_hold", "nothing_left"}));
}

}  // namespace
}  // namespace telpher::cli

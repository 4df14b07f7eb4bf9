// Goal:   what a durable queue remembers of request ids is there when its domain is built again: nothing is accepted twice,
//         and nothing that never came to its queue counts as accepted.
// Method: domains that lose their memory.
#include "tests/unit/durable/durable_requests.hpp"

#include "src/client/domain_core.hpp"
#include "tests/unit/support/lost_process.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

TEST_F(DurableRequests, are_known_after_a_restart_whether_their_message_waits_or_is_done) {
    make({});
    const std::uint64_t done = queue_.offer(order("done"), 5s).value();
    EXPECT_EQ(take_all(), 1U);
    const std::uint64_t waits = queue_.offer(order("waits"), 5s).value();
    for (int life = 0; life < 3; ++life) {
        restart();
        EXPECT_EQ(queue_.offer(order("done"), 5s).value(), done);
        EXPECT_EQ(queue_.offer(order("waits"), 5s).value(), waits);
        EXPECT_EQ(queue_.offer_async(order("waits"), 5s).get(5s).value(), waits);
        EXPECT_EQ(queue_.status().value().depth, 1U);
        EXPECT_EQ(queue_.offer(order("waits", "other"), 5s).status(), Status::idempotency_conflict);
        EXPECT_EQ(queue_.status().value().idempotency.entries, 2U);
    }
    EXPECT_EQ(take_all(), 1U);
    EXPECT_TRUE(server_.verify().value().problems.empty());
}

TEST_F(DurableRequests, are_forgotten_when_their_time_is_over_also_while_the_domain_is_gone) {
    make({.ttl = 300ms});
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 1U);
    std::this_thread::sleep_for(400ms);
    restart();
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 1U) << "a new request";
}

// Clients end with the domain: the same process would be another one.
TEST_F(DurableRequests, of_scope_client_end_with_the_domain_and_those_of_scope_global_do_not) {
    make({.scope = IdempotencyScope::client});
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 1U);
    restart();
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 1U);
    ASSERT_TRUE(server_.remove_queue("orders"));
    queue_ = Queue{};
    make({.scope = IdempotencyScope::global});
    ASSERT_TRUE(queue_.offer(order("a"), 5s)) << "another queue of that name knows nothing";
    EXPECT_EQ(take_all(), 1U);
    restart();
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 0U);
}

TEST_F(DurableRequests, whose_message_is_not_durable_cost_no_disk_and_end_with_the_domain) {
    make({});
    const auto in_memory = Message::text("t", "x").with_request_id("a");
    ASSERT_TRUE(queue_.offer(in_memory, 5s));
    ASSERT_TRUE(queue_.offer(in_memory, 5s));
    EXPECT_EQ(take_all(), 1U);
    restart();
    ASSERT_TRUE(queue_.offer(in_memory, 5s));
    EXPECT_EQ(take_all(), 1U);
}

TEST_F(DurableRequests, outlive_the_segments_they_were_written_to_and_the_log_stays_small) {
    make({.entries_max = 40, .when_full = WhenFull::evict_oldest});
    for (int i = 0; i < 30; ++i) {
        ASSERT_TRUE(queue_.offer(order("first-" + std::to_string(i)), 5s));
    }
    EXPECT_EQ(take_all(), 30U);
    const Message large = Message::text("t", std::string(8000, 'x')).durable();
    const auto roll = [&] {
        for (int i = 0; i < 100; ++i) {
            ASSERT_TRUE(queue_.offer(large, 5s));
            EXPECT_EQ(take_all(), 1U);
        }
    };
    roll();
    EXPECT_FALSE(std::filesystem::exists(log_ + "/log.0000000000000001"));
    restart();
    for (int i = 0; i < 30; ++i) {
        ASSERT_TRUE(queue_.offer(order("first-" + std::to_string(i)), 5s));
    }
    EXPECT_EQ(take_all(), 0U) << "all of them are known";
    for (int i = 0; i < 1000; ++i) {
        ASSERT_TRUE(queue_.offer(order("next-" + std::to_string(i)), 5s));
        EXPECT_EQ(take_all(), 1U);
    }
    roll();
    std::size_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(log_)) {
        bytes += file.file_size();
    }
    EXPECT_LE(bytes, 8U * (64U << 10U));
    restart();
    EXPECT_LE(queue_.status().value().idempotency.entries, 40U);
    ASSERT_TRUE(queue_.offer(order("next-999"), 5s));
    EXPECT_EQ(take_all(), 0U) << "the newest one is known";
}

TEST_F(DurableRequests, are_as_many_as_the_queue_may_remember_the_newest_ones) {
    make({.entries_max = 100, .when_full = WhenFull::evict_oldest}, 512);
    for (int i = 0; i < 400; ++i) {
        ASSERT_TRUE(queue_.offer(order(std::to_string(i)), 5s));
    }
    EXPECT_EQ(take_all(), 400U);
    restart();
    EXPECT_EQ(queue_.status().value().idempotency.entries, 100U);
    for (int i = 300; i < 400; ++i) {
        ASSERT_TRUE(queue_.offer(order(std::to_string(i)), 5s));
    }
    EXPECT_EQ(take_all(), 0U);
}

// Cleaning brings the first one's entry behind the second one's.
TEST_F(DurableRequests,
       accepted_again_when_their_time_was_over_are_two_messages_wherever_they_lie) {
    for (const int churned : {0, 20, 26, 32, 40, 42}) {
        make({.scope = IdempotencyScope::global, .ttl = 20ms});
        Queue others =
            server_
                .create_queue("others",
                              {.kind = QueueKind::durable, .delivery = DeliveryMode::at_least_once})
                .value();
        const auto churn = [&](int messages) {
            for (int i = 0; i < messages; ++i) {
                ASSERT_TRUE(
                    others.offer(Message::text("t", std::string(14'000, 'x')).durable(), 5s));
                ASSERT_TRUE(others.poll(0ms).value().ack());
            }
        };
        const std::uint64_t first = queue_.offer(order("a"), 5s).value();
        churn(6);
        std::this_thread::sleep_for(50ms);
        EXPECT_NE(queue_.offer(order("a"), 5s).value(), first);
        churn(churned);
        others = Queue{};
        restart();
        EXPECT_EQ(take_all(), 2U) << churned;
        ASSERT_TRUE(server_.remove_queue("orders"));
        queue_ = Queue{};
    }
}

// What was evicted and accepted again may come twice, and never less than once.
TEST_F(DurableRequests, evicted_and_accepted_again_lose_no_message) {
    ASSERT_TRUE(in_lost_process([this] {
        make({.entries_max = 8, .when_full = WhenFull::evict_oldest}, 1024);
        bool done = queue_.offer(order("a"), 5s).has_value();
        auto held = queue_.poll(0ms);
        for (int i = 0; i < 400; ++i) {
            done = done && queue_.offer(order("x" + std::to_string(i)), 5s);
        }
        done = done && held && queue_.offer(order("a"), 5s) && take_all() == 401;
        done = done && queue_.offer(order("last"), 5s);  // what was acknowledged is written
        leave(done);
    }));
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    server_ = open();
    queue_ = server_.queue("orders").value();
    EXPECT_EQ(take_all(), 2U) << "the first one was confirmed and not acknowledged";
}

// ---- asynchronous offers -----------------------------------------------------------------------

TEST_F(DurableRequests, of_asynchronous_offers_share_syncs_and_are_known_after_a_restart) {
    constexpr int kMessages = 200;
    make({.scope = IdempotencyScope::global}, 512);
    const auto& control =
        detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log().control();
    ASSERT_TRUE(queue_.offer_async(order("first"), 5s).get(5s));  // the thread runs
    const std::uint64_t syncs = control.syncs.load();
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < kMessages; ++i) {
        offers.push_back(queue_.offer_async(order(std::to_string(i)), 5s));
        offers.push_back(queue_.offer_async(order(std::to_string(i)), 5s));  // not yet confirmed
    }
    std::vector<std::uint64_t> numbers;
    for (auto& offer : offers) {
        auto number = offer.get(20s);
        ASSERT_TRUE(number) << number.error().detail;
        numbers.push_back(*number);
    }
    EXPECT_LE(control.syncs.load() - syncs, kMessages / 2U);
    for (std::size_t i = 0; i < numbers.size(); i += 2) {
        EXPECT_EQ(numbers[i], numbers[i + 1]) << "the same message";
    }
    EXPECT_EQ(queue_.status().value().depth, kMessages + 1U);
    EXPECT_EQ(queue_.offer_async(order("0", "other"), 5s).get(5s).status(),
              Status::idempotency_conflict);
    restart();
    for (int i = 0; i < kMessages; ++i) {
        EXPECT_EQ(queue_.offer_async(order(std::to_string(i)), 5s).get(5s).value(),
                  numbers[static_cast<std::size_t>(2 * i)]);
    }
    EXPECT_EQ(take_all(), kMessages + 1U);
    EXPECT_EQ(queue_.status().value().idempotency.entries, kMessages + 1U);
    queue_ = Queue{};
    EXPECT_TRUE(server_.verify().value().problems.empty());
}

// What is taken out of the log again is not remembered; what is given up may be offered again.
TEST_F(DurableRequests, of_asynchronous_offers_whose_room_others_took_are_accepted_or_not) {
    constexpr int kMessages = 100;
    make({.scope = IdempotencyScope::global}, kMessages);
    Queue other = connect(domain_.uri()).value().queue("orders").value();
    ASSERT_TRUE(queue_.offer_async(order("first"), 5s).get(5s));
    EXPECT_EQ(take_all(), 1U);
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < kMessages; ++i) {
        offers.push_back(queue_.offer_async(order(std::to_string(i)), 300ms));
    }
    while (other.offer(Message::text("rival", "-1"), 0ms)) {
    }
    other = Queue{};
    std::size_t accepted = 0;
    std::vector<bool> there;
    for (auto& offer : offers) {
        const Status status = offer.get(20s).status();
        EXPECT_TRUE(status == Status::ok || status == Status::timed_out) << to_string(status);
        there.push_back(status == Status::ok);
        accepted += static_cast<std::size_t>(status == Status::ok);
    }
    EXPECT_EQ(queue_.status().value().idempotency.entries, accepted + 1);
    restart();
    EXPECT_EQ(queue_.status().value().idempotency.entries, accepted + 1);
    EXPECT_EQ(take_all(), accepted) << "the rivals' were not durable";
    for (int i = 0; i < kMessages; ++i) {
        ASSERT_TRUE(queue_.offer_async(order(std::to_string(i)), 5s).get(5s));
        EXPECT_EQ(take_all(), there[static_cast<std::size_t>(i)] ? 0U : 1U) << i;
    }
}

TEST_F(DurableRequests, of_asynchronous_offers_to_a_full_queue_that_were_accepted_are_answered) {
    make({.required = true}, 1);
    const std::uint64_t number = queue_.offer_async(order("a"), 5s).get(5s).value();
    EXPECT_EQ(queue_.offer_async(order("a"), 0s).get(5s).value(), number);
    EXPECT_EQ(queue_.offer_async(order("b"), 0s).get(5s).status(), Status::queue_full);
    EXPECT_EQ(queue_.offer_async(order("b"), 20ms).get(5s).status(), Status::timed_out);
    EXPECT_EQ(queue_.offer_async(Message::text("t", "x").durable(), 5s).get(5s).status(),
              Status::bad_request);
    EXPECT_EQ(take_all(), 1U);
    ASSERT_TRUE(queue_.offer_async(order("b"), 5s).get(5s));
}

}  // namespace
}  // namespace telpher::test

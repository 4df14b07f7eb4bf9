// Goal:   a message with a request id is enqueued once, however often it is offered, over every way; bad
//         options and bad input are told.
// Method: a queue here, producers over every way to the domain.

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;

Message order(std::string_view id, std::string_view text = "2 espressos") {
    return Message::text("order", text).with_request_id(id);
}

class RememberedOffers : public test::Ways {
  protected:
    Queue make(const Idempotency& how, std::uint32_t capacity = 16) {
        return server.create_queue("orders", {.capacity = capacity, .idempotency = how}).value();
    }
};

TEST_P(RememberedOffers, a_message_is_enqueued_once) {
    Queue queue = make({});
    Queue mine = client.queue("orders").value();
    const std::uint64_t first = mine.offer(order("a"), 1s).value();
    EXPECT_EQ(mine.offer(order("a"), 1s).value(), first) << "accepted, as before";
    EXPECT_EQ(mine.offer_async(order("a"), 1s).get(kSoon).value(), first);
    EXPECT_EQ(queue.offer_n(std::vector<Message>{order("a"), order("b")}).value(), 2U);
    EXPECT_TRUE(mine.offer(Message::text("order", "no id"), 1s));
    EXPECT_EQ(queue.poll()->request_id(), "a");
    EXPECT_EQ(queue.poll()->request_id(), "b");
    EXPECT_EQ(queue.poll()->text(), "no id");
    EXPECT_EQ(mine.offer(order("a"), 1s).value(), first) << "polled meanwhile";
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
    EXPECT_EQ(mine.offer(order("a", "3 espressos"), 1s).status(), Status::idempotency_conflict);
    const IdempotencyFigures figures = mine.status()->idempotency;
    EXPECT_TRUE(figures.on);
    EXPECT_EQ(figures.entries, 2U);
    EXPECT_EQ(figures.replays, 4U);
    EXPECT_EQ(figures.conflicts, 1U);
}

TEST_P(RememberedOffers, one_that_found_no_room_may_come_again) {
    Queue queue = make({}, 1);
    Queue mine = client.queue("orders").value();
    ASSERT_TRUE(mine.offer(order("a"), 1s));
    EXPECT_EQ(mine.offer(order("b")).status(), Status::queue_full);
    EXPECT_EQ(mine.offer(order("b"), 20ms).status(), Status::timed_out);
    EXPECT_EQ(queue.poll()->request_id(), "a");
    EXPECT_TRUE(mine.offer(order("b")));
    EXPECT_EQ(queue.poll()->request_id(), "b");
}

// Two producers with the same message: the second waits while the first waits for room.
TEST_P(RememberedOffers, a_duplicate_waits_for_the_first) {
    Queue queue = make({}, 1);
    ASSERT_TRUE(queue.offer(Message::text("order", "in the way")));
    std::vector<std::thread> producers;
    std::vector<std::uint64_t> numbers(3);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        producers.emplace_back([&, i] {
            Client its = another_client();
            Queue same = its.queue("orders").value();
            numbers[i] = [&] {
                const auto offered = same.offer(order("a"), kSoon);
                return offered ? *offered : 0;
            }();
        });
    }
    std::this_thread::sleep_for(30ms);
    EXPECT_EQ(queue.poll()->text(), "in the way");
    EXPECT_EQ(queue.poll(kSoon)->request_id(),
              "a");  // room, for those that wait for it (asynchronously)
    for (std::thread& producer : producers) {
        producer.join();
    }
    EXPECT_EQ(numbers, std::vector<std::uint64_t>(3, 2U));
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
}

// One that waits for another of its id lets others pass.
TEST_P(RememberedOffers, a_duplicate_that_waits_holds_nobody_up) {
    Queue queue = make({}, 1);
    ASSERT_TRUE(queue.offer(Message::text("order", "in the way")));
    auto first = queue.offer_async(order("a"), kSoon);  // waits for room
    Queue theirs = client.queue("orders").value();
    auto second = theirs.offer_async(order("a"), kSoon);
    auto third = theirs.offer_async(order("b"), kSoon);
    std::this_thread::sleep_for(20ms);
    int polled = 0;
    while (queue.poll(1s)) {
        ++polled;
    }
    EXPECT_EQ(polled, 3);
    const auto number = first.get(kSoon);
    ASSERT_TRUE(number);
    EXPECT_EQ(second.get(kSoon).value(), *number);
    EXPECT_TRUE(third.get(kSoon));
}

TEST_P(RememberedOffers, a_new_queue_of_that_name_remembers_nothing) {
    {
        Queue queue = make({});
        ASSERT_TRUE(queue.offer(order("a")));
        ASSERT_TRUE(server.remove_queue("orders"));
    }
    Queue queue = make({});
    Queue mine = client.queue("orders").value();
    EXPECT_TRUE(mine.offer(order("a"), 1s));
    EXPECT_EQ(queue.poll()->request_id(), "a");
}

TEST_P(RememberedOffers, its_time_passes_and_an_id_may_be_demanded) {
    Queue queue = make({.ttl = 30ms, .required = true});
    Queue mine = client.queue("orders").value();
    ASSERT_TRUE(mine.offer(order("a"), 1s));
    std::this_thread::sleep_for(50ms);
    EXPECT_TRUE(mine.offer(order("a"), 1s));
    EXPECT_EQ(queue.status()->depth, 2U);
    EXPECT_EQ(mine.offer(Message::text("order", "x"), 1s).status(), Status::bad_request);
    EXPECT_EQ(queue.offer(queue.loan("order", 8).value()).status(), Status::bad_request);
}

TEST_P(RememberedOffers, options_travel_and_must_match) {
    const Idempotency how{.scope = IdempotencyScope::global,
                          .ttl = 5s,
                          .entries_max = 10,
                          .bytes_max = 4096,
                          .when_full = WhenFull::evict_oldest,
                          .when_uncertain = WhenUncertain::rerun,
                          .required = true};
    Admin admin = Admin::of(client).value();
    ASSERT_TRUE(admin.create_queue("orders", {.capacity = 16, .idempotency = how}));
    EXPECT_TRUE(server.create_queue("orders", {.capacity = 16, .idempotency = how}));
    const auto other = server.create_queue("orders", {.capacity = 16});
    EXPECT_EQ(other.status(), Status::mismatch);
    EXPECT_NE(other.error().detail.find("scope global, ttl 5000 ms, entries_max 10"),
              std::string::npos)
        << other.error().detail;
    for (const Idempotency& bad : {Idempotency{.scope = static_cast<IdempotencyScope>(3)},
                                   Idempotency{.ttl = 0ns},
                                   Idempotency{.ttl = 31 * 24h},
                                   Idempotency{.entries_max = (1U << 20U) + 1},
                                   Idempotency{.when_full = static_cast<WhenFull>(2)},
                                   Idempotency{.when_uncertain = static_cast<WhenUncertain>(2)}}) {
        const auto made = admin.create_queue("bad", {.idempotency = bad});
        EXPECT_EQ(made.status(), Status::bad_request);
        EXPECT_NE(made.error().detail.find("idempotency."), std::string::npos);
        EXPECT_EQ(
            server.serve("bad", [](const Message& m) { return m; }, {.idempotency = bad}).status(),
            Status::bad_request);
    }
}

INSTANTIATE_TEST_SUITE_P(Over, RememberedOffers, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher

// What an outbox does with messages, over every way to a domain.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_folder.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

class OutboxWays : public Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        sender = with_outbox();
    }
    void TearDown() override {
        sender.close();
        Ways::TearDown();
    }
    [[nodiscard]] Client with_outbox() const {
        ConnectOptions options = how();
        options.outbox = folder.file("outbox");
        return telpher::connect(uri(), options).value();
    }
    [[nodiscard]] static Message order(int number) {
        return Message::text("order", std::to_string(number));
    }
    ScratchFolder folder;
    Client sender;
};

INSTANTIATE_TEST_SUITE_P(All, OutboxWays, kAllWays, name_of_way);

TEST_P(OutboxWays, offers_and_requests_arrive_in_order_with_their_request_ids) {
    Queue queue = server.create_queue("orders", {.capacity = 200}).value();
    std::atomic<int> booked = 0;
    std::atomic<int> next_booked = 0;
    auto function = server
                        .serve("book",
                               [&](const Message& request) {
                                   booked += request.text() == std::to_string(next_booked++) &&
                                                     request.request_id().size() == 32
                                                 ? 1
                                                 : 0;
                                   return Message::text("ok", "");
                               })
                        .value();
    Outbox outbox = sender.outbox();
    std::vector<std::string> ids;
    for (int i = 0; i < 100; ++i) {
        ids.push_back(outbox.offer("orders", order(i)).value());
        ASSERT_TRUE(outbox.send("book", order(i)));
    }
    EXPECT_EQ(outbox.offer("orders", order(100).with_request_id("mine")).value(), "mine");
    for (int i = 0; i < 100; ++i) {
        const auto polled = queue.poll(kSoon);
        ASSERT_TRUE(polled) << to_string(polled.error());
        EXPECT_EQ(polled->text(), std::to_string(i));
        EXPECT_EQ(polled->request_id(), ids[static_cast<std::size_t>(i)]);
        EXPECT_EQ(polled->type(), MessageType::offer);
    }
    EXPECT_EQ(queue.poll(kSoon)->request_id(), "mine");
    ASSERT_TRUE(outbox.flush(kSoon));
    for (int i = 0; i < 1000 && booked != 100; ++i) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(booked, 100);
    const OutboxStatus status = outbox.status().value();
    EXPECT_EQ(status.pending, 0U);
    EXPECT_EQ(status.delivered, 201U);
    EXPECT_EQ(status.failed, 0U);
    EXPECT_EQ(status.trouble.status, Status::ok);
}

TEST_P(OutboxWays, what_was_left_goes_out_again_with_the_same_request_ids) {
    std::vector<std::string> ids;
    for (int i = 0; i < 3; ++i) {
        ids.push_back(sender.outbox().offer("orders", order(i)).value());
    }
    const auto waiting = sender.outbox().flush(50ms);
    EXPECT_EQ(waiting.status(), Status::timed_out);
    EXPECT_NE(waiting.error().detail.find("3 messages are pending"), std::string::npos);
    EXPECT_NE(waiting.error().detail.find("queue_not_found"), std::string::npos);
    sender.close();
    Queue queue = server.create_queue("orders", {.capacity = 10}).value();
    sender = with_outbox();
    EXPECT_EQ(sender.outbox().offer("orders", order(3)).status(), Status::ok);
    for (int i = 0; i < 4; ++i) {
        const auto polled = queue.poll(kSoon);
        ASSERT_TRUE(polled) << to_string(polled.error());
        EXPECT_EQ(polled->text(), std::to_string(i));
        if (i < 3) {
            EXPECT_EQ(polled->request_id(), ids[static_cast<std::size_t>(i)]);
        }
    }
    ASSERT_TRUE(sender.outbox().flush(kSoon));
    sender.close();
    sender = with_outbox();
    ASSERT_TRUE(sender.outbox().flush({})) << "what was confirmed is not sent again";
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
}

TEST_P(OutboxWays, a_refused_message_is_kept_aside_and_the_next_one_goes) {
    Queue queue =
        server.create_queue("orders", {.capacity = 10, .idempotency = Idempotency{}}).value();
    Outbox outbox = sender.outbox();
    const std::string big =
        outbox.offer("orders", Message::text("order", std::string(3U << 20U, 'x'))).value();
    ASSERT_TRUE(outbox.offer("orders", order(1).with_request_id("same")));
    ASSERT_TRUE(outbox.offer("orders", order(1).with_request_id("same")));
    ASSERT_TRUE(outbox.offer("orders", order(2).with_request_id("same")));
    ASSERT_TRUE(outbox.flush(kSoon));
    EXPECT_EQ(queue.poll(kSoon)->text(), "1");
    EXPECT_EQ(queue.poll().status(), Status::queue_empty) << "the queue knows the id";

    sender.close();
    sender = with_outbox();
    outbox = sender.outbox();
    auto failed = outbox.failed().value();
    ASSERT_EQ(failed.size(), 2U) << "it outlives the client, too";
    EXPECT_EQ(failed[0].request_id, big);
    EXPECT_EQ(failed[0].destination, "orders");
    EXPECT_FALSE(failed[0].function);
    EXPECT_EQ(failed[0].why.status, Status::message_too_large);
    EXPECT_FALSE(failed[0].why.detail.empty());
    EXPECT_EQ(failed[1].request_id, "same");
    EXPECT_EQ(failed[1].why.status, Status::idempotency_conflict);
    EXPECT_EQ(outbox.status()->failed, 2U);

    EXPECT_EQ(outbox.retry("unknown").status(), Status::bad_request);
    EXPECT_EQ(outbox.retry(big).value(), 1U);
    ASSERT_TRUE(outbox.flush(kSoon));
    EXPECT_EQ(outbox.failed()->size(), 2U) << "it was refused again";
    EXPECT_EQ(outbox.discard(big).value(), 1U);
    ASSERT_TRUE(server.remove_queue("orders"));
    queue = server.create_queue("orders", {.capacity = 10}).value();
    EXPECT_EQ(outbox.retry("same").value(), 1U);
    EXPECT_EQ(queue.poll(kSoon)->text(), "2") << "the cause is mended";
    ASSERT_TRUE(outbox.flush(kSoon));
    EXPECT_EQ(outbox.failed()->size(), 0U);
    sender.close();
    sender = with_outbox();
    EXPECT_EQ(sender.outbox().status()->failed, 0U);
    EXPECT_EQ(sender.outbox().status()->pending, 0U);
}

TEST_P(OutboxWays, a_destination_without_room_holds_up_no_other) {
    Queue full = server.create_queue("full", {.capacity = 2}).value();
    Queue free = server.create_queue("free", {.capacity = 100}).value();
    Outbox outbox = sender.outbox();
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(outbox.offer("full", order(i)));
        ASSERT_TRUE(outbox.send("nobody", order(i)));
        ASSERT_TRUE(outbox.offer("free", order(i)));
    }
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(free.poll(kSoon)->text(), std::to_string(i));
    }
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(full.poll(kSoon)->text(), std::to_string(i));
    }
    EXPECT_EQ(outbox.flush(1200ms).status(), Status::timed_out)
        << "longer than between two attempts";
    EXPECT_EQ(outbox.status()->pending, 20U);
    EXPECT_EQ(outbox.status()->trouble.status, Status::function_not_found);
}

TEST_P(OutboxWays, a_life_span_begins_when_a_message_is_put) {
    Outbox outbox = sender.outbox();
    ASSERT_TRUE(outbox.offer("orders", order(1).expires_in(1ms)));
    ASSERT_TRUE(outbox.offer("orders", order(2).expires_in(1h)));
    ASSERT_TRUE(outbox.offer("later", order(3).expires_in(1h).deliver_after(1s)));
    std::this_thread::sleep_for(50ms);
    Queue queue = server.create_queue("orders", {.capacity = 10}).value();
    Queue later =
        server.create_queue("later", {.capacity = 10, .delivery = DeliveryMode::at_least_once})
            .value();
    const auto polled = queue.poll(kSoon);
    ASSERT_TRUE(polled) << to_string(polled.error());
    EXPECT_EQ(polled->text(), "2");
    const auto left = *polled->expires_at() - std::chrono::system_clock::now();
    EXPECT_GT(left, 59min);
    EXPECT_LT(left, 1h - 45ms);
    ASSERT_TRUE(outbox.flush(kSoon));
    ASSERT_EQ(outbox.failed()->size(), 1U);
    EXPECT_EQ(outbox.failed()->front().why.status, Status::expired);
    EXPECT_EQ(later.poll().status(), Status::queue_empty) << "the delay begins with the delivery";
    EXPECT_EQ(later.poll(kSoon)->text(), "3");
}

}  // namespace
}  // namespace telpher::test

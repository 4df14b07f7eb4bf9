// Goal:   what a handler sends carries on whom it serves: correlation id, traceparent, and as causation id
//         the message that it was called for; over every way, through functions, queues and topics.
// Method: a chain of a function, a consumer's queue and a topic; the first caller says who it is.

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <mutex>

namespace telpher {
namespace {

using namespace std::chrono_literals;

class Causation : public test::Ways {};

TEST_P(Causation, is_carried_through_functions_queues_and_topics) {
    Queue queue = server.create_queue("q", {.capacity = 16}).value();
    auto heard = client.subscribe("t").value();
    MessageId request_id{};
    const Function outer =
        server
            .serve("outer",
                   [&](const Message& request) {
                       request_id = request.id();
                       EXPECT_TRUE(queue.offer(Message::text("q", "1")));
                       EXPECT_TRUE(queue.offer_async(Message::text("q", "2"), 1s).get(kSoon));
                       EXPECT_TRUE(server.publish(Message::text("t", "3")));
                       EXPECT_TRUE(queue.offer_n(std::vector<Message>{
                           Message::text("q", "4").with_correlation_id("mine")}));
                       return server.send("inner", Message::text("i", "5"), 5s).value();
                   })
            .value();
    std::string inner_saw;
    const Function inner = server
                               .serve("inner",
                                      [&](const Message& request) {
                                          inner_saw = std::string(request.correlation_id()) + " " +
                                                      std::string(request.causation_id()) + " " +
                                                      std::string(request.traceparent());
                                          return Message::text("i", "done");
                                      })
                               .value();
    const auto reply = client.send(
        "outer",
        Message::text("o", "x").with_correlation_id("c-1").with_traceparent("00-aa-bb-01"),
        kSoon);
    ASSERT_TRUE(reply) << to_string(reply.error());
    EXPECT_EQ(reply->correlation_id(), "c-1");
    const std::string cause = to_string(request_id);
    EXPECT_EQ(inner_saw, "c-1 " + cause + " 00-aa-bb-01");
    for (const char* text : {"1", "2", "4"}) {
        const Delivery delivery = queue.poll(kSoon).value();
        EXPECT_EQ(delivery.text(), text);
        EXPECT_EQ(delivery.correlation_id(), delivery.text() == "4" ? "mine" : "c-1");
        EXPECT_EQ(delivery.causation_id(), cause);
    }
    const auto sample = heard.next(kSoon);
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->correlation_id(), "c-1");
    EXPECT_EQ(sample->causation_id(), cause);
}

TEST_P(Causation, is_nothing_where_nobody_asked_for_it) {
    Queue queue = server.create_queue("q", {.capacity = 16}).value();
    const Function outer = server
                               .serve("outer",
                                      [&](const Message& request) {
                                          EXPECT_TRUE(queue.offer(Message::text("q", "1")));
                                          return request;
                                      })
                               .value();
    ASSERT_TRUE(client.send("outer", Message::text("o", "x").with_request_id("r"), kSoon));
    EXPECT_TRUE(queue.poll(kSoon)->causation_id().empty());
    ASSERT_TRUE(queue.offer(Message::text("q", "2")));
    EXPECT_TRUE(queue.poll(kSoon)->correlation_id().empty()) << "outside of a handler";
}

// A consumer and a subscriber at the end of a bridge carry it on from there.
TEST_P(Causation, is_carried_by_consumers_and_subscribers) {
    Queue in = server.create_queue("in", {.capacity = 16}).value();
    Queue out = server.create_queue("out", {.capacity = 16}).value();
    Queue theirs = client.queue("out").value();
    Queue from = client.queue("in").value();
    auto consumer = from.consume([&](const Delivery& /*delivery*/) {
                            EXPECT_TRUE(theirs.offer(Message::text("q", "consumed"), 1s));
                        })
                        .value();
    ASSERT_TRUE(in.offer(Message::text("q", "x").with_correlation_id("c-2")));
    EXPECT_EQ(out.poll(kSoon)->correlation_id(), "c-2");
    auto subscription =
        client
            .subscribe("t",
                       [&](const Message& /*message*/) {
                           EXPECT_TRUE(theirs.offer(Message::text("q", "heard"), 1s));
                       })
            .value();
    ASSERT_TRUE(server.publish(Message::text("t", "x").with_correlation_id("c-3")));
    EXPECT_EQ(out.poll(kSoon)->correlation_id(), "c-3");
    consumer.stop();
}

INSTANTIATE_TEST_SUITE_P(Over, Causation, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher

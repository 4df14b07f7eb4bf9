// What a Client does, the same over every way to its domain; the bridge is in the same process.

#include "telpher/telpher.hpp"
#include "telpher/wait.hpp"

#include "tests/unit/support/fire_and_forget.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using test::FireAndForget;

class RemoteClient : public test::Ways {};
// What concerns remote clients alone.
class RemoteOnly : public test::Ways {};

TEST_P(RemoteClient, offers_and_polls_in_order) {
    static_cast<void>(server.create_queue("orders").value());
    Queue queue = client.queue("orders").value();
    EXPECT_EQ(queue.capacity(), 1024U);
    EXPECT_EQ(queue.name(), "orders");
    for (int i = 0; i < 100; ++i) {
        const auto offered = queue.offer(Message::text("order", std::to_string(i)), kSoon);
        ASSERT_TRUE(offered) << to_string(offered.error());
        EXPECT_EQ(*offered, static_cast<std::uint64_t>(i + 1));
    }
    for (int i = 0; i < 100; ++i) {
        const auto delivery = queue.poll(kSoon);
        ASSERT_TRUE(delivery) << to_string(delivery.error());
        EXPECT_EQ(delivery->text(), std::to_string(i));
        EXPECT_EQ(delivery->sequence(), static_cast<std::uint64_t>(i + 1));
        EXPECT_EQ(delivery->topic(), "order");
    }
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
    EXPECT_EQ(queue.poll(20ms).status(), Status::timed_out);
    EXPECT_EQ(queue.poll(-1ns).status(), Status::bad_request);
}

TEST_P(RemoteClient, finds_no_queue_that_is_not_there_and_waits_for_one) {
    EXPECT_EQ(client.queue("nobody").status(), Status::queue_not_found);
    EXPECT_EQ(client.queue("no body").status(), Status::bad_request);
    std::thread later([this] {
        std::this_thread::sleep_for(50ms);
        static_cast<void>(server.create_queue("later").value());
    });
    EXPECT_TRUE(client.queue("later", {.wait = kSoon}));
    later.join();
}

TEST_P(RemoteClient, a_full_queue_says_so_and_waits_for_room) {
    static_cast<void>(server.create_queue("small", {.capacity = 1}).value());
    Queue queue = client.queue("small").value();
    ASSERT_TRUE(queue.offer(Message::text("t", "1")));
    EXPECT_EQ(queue.offer(Message::text("t", "2")).status(), Status::queue_full);
    EXPECT_EQ(queue.offer(Message::text("t", "2"), 20ms).status(), Status::timed_out);
    auto waiting = queue.offer_async(Message::text("t", "2"), kSoon);
    EXPECT_FALSE(waiting.wait(20ms));
    EXPECT_EQ(queue.poll(kSoon).value().text(), "1");
    EXPECT_TRUE(waiting.get(kSoon));
    EXPECT_EQ(queue.poll(kSoon).value().text(), "2");
    EXPECT_EQ(queue.offer(Message()).status(), Status::bad_request);
}

TEST_P(RemoteClient, what_a_circular_queue_dropped_is_told_once) {
    static_cast<void>(
        server.create_queue("news", {.capacity = 3, .kind = QueueKind::circular}).value());
    Queue queue = client.queue("news").value();
    for (int i = 1; i <= 5; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("t", std::to_string(i)), kSoon));
    }
    for (int i = 3; i <= 5; ++i) {
        const auto delivery = queue.poll(kSoon);
        ASSERT_TRUE(delivery);
        EXPECT_EQ(delivery->text(), std::to_string(i));
        EXPECT_EQ(delivery->dropped_before(), i == 3 ? 2U : 0U);
    }
    EXPECT_EQ(queue.status()->dropped, 2U);
}

TEST_P(RemoteClient, carries_large_messages_both_ways) {
    static_cast<void>(server.create_queue("large").value());
    Queue queue = client.queue("large").value();
    std::vector<Future<std::uint64_t>> offers;
    for (std::size_t size : {100U, 65'536U, 65'537U, 1'000'000U, 10U}) {
        offers.push_back(queue.offer_async(
            Message::text("t", std::string(size, static_cast<char>('a' + size % 26))), kSoon));
    }
    for (auto& offer : offers) {
        const auto offered = offer.get(kSoon);
        ASSERT_TRUE(offered) << to_string(offered.error());
    }
    for (std::size_t size : {100U, 65'536U, 65'537U, 1'000'000U, 10U}) {
        const auto delivery = queue.poll(kSoon);
        ASSERT_TRUE(delivery) << to_string(delivery.error());
        EXPECT_EQ(delivery->text(), std::string(size, static_cast<char>('a' + size % 26)));
    }
    EXPECT_EQ(queue.offer(Message::text("t", std::string(3U << 20U, 'x')), kSoon).status(),
              Status::message_too_large);
}

struct Price {
    double value = 0;
    int number = 0;
};

TEST_P(RemoteClient, loans_and_typed_messages) {
    static_cast<void>(server.create_queue("typed").value());
    Queue queue = client.queue("typed").value();
    auto loan = queue.loan<Price>().value();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(loan.get()) % 64, 0U);
    *loan = {2.5, 7};
    ASSERT_TRUE(queue.offer(std::move(loan), kSoon));
    EXPECT_FALSE(loan);
    const auto price = queue.poll_as<Price>(kSoon);
    ASSERT_TRUE(price) << to_string(price.error());
    EXPECT_EQ(price->number, 7);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(price.get()) % alignof(Price), 0U);

    auto bytes = queue.loan("raw", 5000).value();
    std::fill(bytes.payload().begin(), bytes.payload().end(), std::byte{42});
    bytes.shrink(4500);
    ASSERT_TRUE(queue.offer(std::move(bytes), kSoon));
    EXPECT_EQ(queue.poll_as<Price>(kSoon).status(), Status::mismatch);

    Queue local = server.queue("typed").value();
    auto foreign = local.loan("raw", 10).value();
    if (remote()) {
        EXPECT_EQ(queue.offer(std::move(foreign)).status(), Status::bad_request);
        EXPECT_TRUE(foreign);
    }
}

TEST_P(RemoteClient, polls_that_wait_take_nothing_when_they_are_given_up) {
    Queue local = server.create_queue("jobs").value();
    Queue queue = client.queue("jobs").value();
    {
        auto cancelled = queue.poll_async(kSoon);
        EXPECT_FALSE(cancelled.wait(20ms));
        EXPECT_TRUE(cancelled.cancel());
        EXPECT_EQ(cancelled.get(kSoon).status(), Status::cancelled);
        auto abandoned = queue.poll_async(kSoon);
        EXPECT_FALSE(abandoned.wait(20ms));
    }
    std::stop_source source;
    auto stopped = queue.poll_async(kSoon, source.get_token());
    EXPECT_FALSE(stopped.wait(20ms));
    source.request_stop();
    EXPECT_EQ(stopped.get(kSoon).status(), Status::cancelled);
    ASSERT_TRUE(local.offer(Message::text("t", "one")));
    const auto delivery = queue.poll(kSoon);
    ASSERT_TRUE(delivery) << to_string(delivery.error());
    EXPECT_EQ(delivery->text(), "one");
}

TEST_P(RemoteClient, an_unread_delivery_goes_back) {
    Queue local = server.create_queue("jobs").value();
    Queue queue = client.queue("jobs").value();
    ASSERT_TRUE(local.offer(Message::text("t", "one")));
    {
        auto unread = queue.poll_async(kSoon);
        EXPECT_TRUE(unread.wait(kSoon));
    }
    const auto delivery = local.poll(kSoon);
    ASSERT_TRUE(delivery) << to_string(delivery.error());
    EXPECT_EQ(delivery->text(), "one");
}

TEST_P(RemoteClient, poll_n_and_offer_n) {
    static_cast<void>(server.create_queue("many", {.capacity = 150}).value());
    Queue queue = client.queue("many").value();
    std::vector<Message> messages;
    for (int i = 0; i < 200; ++i) {
        messages.push_back(Message::text("t", std::to_string(i)));
    }
    EXPECT_EQ(queue.offer_n(messages, 20ms).value(), 150U);
    EXPECT_EQ(queue.poll_n(0).status(), Status::bad_request);
    EXPECT_EQ(queue.poll_n(100, kSoon).value().size(), 100U);
    const auto rest = queue.poll_n(100, kSoon).value();
    ASSERT_EQ(rest.size(), 50U);
    EXPECT_EQ(rest.back().text(), "149");
    EXPECT_EQ(queue.poll_n(100).status(), Status::queue_empty);
}

TEST_P(RemoteClient, thousands_of_operations_are_outstanding) {
    static_cast<void>(server.create_queue("flood").value());
    Queue queue = client.queue("flood").value();
    std::vector<Future<Delivery>> polls;
    for (int i = 0; i < 3000; ++i) {
        polls.push_back(queue.poll_async(kSoon));
    }
    for (int i = 0; i < 3000; ++i) {
        const auto offered = queue.offer(Message::text("t", std::to_string(i)), kSoon);
        ASSERT_TRUE(offered) << i << ": " << to_string(offered.error());
    }
    for (int i = 0; i < 3000; ++i) {
        const auto delivery = polls[static_cast<std::size_t>(i)].get(kSoon);
        ASSERT_TRUE(delivery) << i << ": " << to_string(delivery.error());
        EXPECT_EQ(delivery->text(), std::to_string(i));
    }
}

FireAndForget count_one(Future<Delivery> future, std::atomic<int>& got) {
    const auto delivery = co_await future;
    got += delivery ? 1 : 100;
}

TEST_P(RemoteClient, coroutines_are_resumed) {
    static_cast<void>(server.create_queue("coroutines").value());
    Queue queue = client.queue("coroutines").value();
    std::atomic<int> got{0};
    for (int i = 0; i < 10; ++i) {
        count_one(queue.poll_async(kSoon), got);
    }
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("t", "x"), kSoon));
    }
    for (int i = 0; i < 1000 && got < 10; ++i) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(got, 10);
}

TEST_P(RemoteClient, publishes_and_subscribes) {
    auto subscription = client.subscribe("prices.>").value();
    Topic topic = client.topic("prices.tea").value();
    for (int i = 0; i < 600; ++i) {
        const auto published = topic.publish(Message::text("prices.tea", std::to_string(i)), kSoon);
        ASSERT_TRUE(published) << to_string(published.error());
        EXPECT_LE(published->subscribers, 1U);
        EXPECT_EQ(published->sequence, static_cast<std::uint64_t>(i + 1));
        const auto sample = subscription.next(kSoon);
        ASSERT_TRUE(sample) << to_string(sample.error());
        EXPECT_EQ(sample->text(), std::to_string(i));
        EXPECT_EQ(sample->sequence(), static_cast<std::uint64_t>(i + 1));
    }
    EXPECT_EQ(subscription.next().status(), Status::queue_empty);
    EXPECT_TRUE(client.publish(Message::text("prices.coffee", "1"), kSoon));
    EXPECT_TRUE(client.publish_async(Message::text("prices.coffee", "2"), kSoon).get(kSoon));
    EXPECT_EQ(topic.publish(Message::text("prices.coffee", "1"), kSoon).status(),
              Status::bad_request);
    EXPECT_EQ(subscription.next_n(2, kSoon).value().size() +
                  subscription.next_n(2, 100ms).value_or(std::vector<Sample>()).size(),
              2U);
    subscription.unsubscribe();
    EXPECT_EQ(subscription.next(kSoon).status(), Status::closed);
}

TEST_P(RemoteClient, a_handler_hears_what_is_published) {
    std::atomic<int> sum{0};
    auto subscription = client
                            .subscribe("numbers",
                                       [&](const Message& message) {
                                           sum += std::stoi(std::string(message.text()));
                                       })
                            .value();
    for (int i = 1; i <= 500; ++i) {
        ASSERT_TRUE(server.publish(Message::text("numbers", std::to_string(i)), kSoon));
        if (i % 100 == 0) {
            std::this_thread::sleep_for(5ms);
        }
    }
    for (int i = 0; i < 1000 && sum < 500 * 501 / 2; ++i) {
        std::this_thread::sleep_for(5ms);
    }
    EXPECT_EQ(sum, 500 * 501 / 2);
}

TEST_P(RemoteClient, calls_functions) {
    EXPECT_EQ(client.send("echo", Message::text("t", "x"), kSoon).status(),
              Status::function_not_found);
    std::atomic<int> oneway{0};
    auto echo = server
                    .serve("echo",
                           [&](const Message& request) {
                               ++oneway;
                               return Message::text("answer", request.text());
                           })
                    .value();
    auto fails = server
                     .serve("fails",
                            [](const Message&) -> Result<Message> {
                                return Error{Status::out_of_memory, 0, "no"};
                            })
                     .value();
    const auto answer = client.send("echo", Message::text("t", "hello"), kSoon);
    ASSERT_TRUE(answer) << to_string(answer.error());
    EXPECT_EQ(answer->view().text(), "hello");
    std::vector<Future<Message>> calls;
    for (int i = 0; i < 100; ++i) {
        calls.push_back(client.send_async("echo", Message::text("t", std::to_string(i)), kSoon));
    }
    for (int i = 0; i < 100; ++i) {
        const auto response = calls[static_cast<std::size_t>(i)].get(kSoon);
        ASSERT_TRUE(response) << to_string(response.error());
        EXPECT_EQ(response->view().text(), std::to_string(i));
    }
    EXPECT_EQ(client.send("fails", Message::text("t", "x"), kSoon).status(), Status::handler_error);
    EXPECT_TRUE(client.send_oneway("echo", Message::text("t", "x"), kSoon));
    for (int i = 0; i < 1000 && oneway < 102; ++i) {
        std::this_thread::sleep_for(5ms);
    }
    EXPECT_EQ(oneway, 102);
}

TEST_P(RemoteClient, replies_to_the_queue_that_a_request_names) {
    static_cast<void>(server.create_queue("answers").value());
    const Message request = Message::text("t", "?").reply_to("answers").with_request_id("17");
    EXPECT_TRUE(client.reply(request, Message::text("t", "!"), kSoon));
    const auto answer = client.queue("answers").value().poll(kSoon);
    ASSERT_TRUE(answer) << to_string(answer.error());
    EXPECT_EQ(answer->request_id(), "17");
    EXPECT_EQ(client.reply(Message::text("t", "?").reply_to("gone"), Message::text("t", "!"), kSoon)
                  .status(),
              Status::queue_not_found);
}

TEST_P(RemoteClient, close_completes_what_waits) {
    static_cast<void>(server.create_queue("closing").value());
    Queue queue = client.queue("closing").value();
    auto pending = queue.poll_async(kSoon);
    auto subscription = client.subscribe("closing.topic").value();
    EXPECT_FALSE(pending.wait(20ms));
    Queue other = client.queue("closing").value();
    auto of_handle = other.poll_async(kSoon);
    other.close();
    EXPECT_EQ(of_handle.get(kSoon).status(), Status::closed);
    EXPECT_EQ(other.poll(kSoon).status(), Status::closed);
    const auto began = std::chrono::steady_clock::now();
    client.close();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 500ms);
    EXPECT_EQ(pending.get(kSoon).status(), Status::closed);
    EXPECT_EQ(queue.poll(kSoon).status(), Status::closed);
    EXPECT_EQ(subscription.next(kSoon).status(), Status::closed);
    EXPECT_FALSE(client.running());
    EXPECT_EQ(client.queue("closing").status(), Status::closed);
}

// ---- remote clients alone ----------------------------------------------------------------------

// More than a queue takes back at once: the bridge keeps them until somebody polls.
TEST_P(RemoteOnly, thousands_of_unread_deliveries_go_back) {
    constexpr int kMessages = 2500;
    Queue local = server.create_queue("jobs", {.capacity = kMessages}).value();
    std::set<std::string> sent;
    for (int i = 0; i < kMessages; ++i) {
        ASSERT_TRUE(local.offer(Message::text("t", std::to_string(i))));
        sent.insert(std::to_string(i));
    }
    Queue queue = client.queue("jobs").value();
    std::vector<Future<Delivery>> polls;
    for (int i = 0; i < kMessages; ++i) {
        polls.push_back(queue.poll_async(kSoon));
    }
    for (auto& poll : polls) {
        ASSERT_TRUE(poll.wait(kSoon));
    }
    ASSERT_EQ(local.status().value().depth, 0U);
    polls.resize(kMessages / 2);  // the others are put back
    client.close();               // and these are never confirmed
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < kMessages; ++i) {
        const auto delivery = local.poll(kSoon);
        ASSERT_TRUE(delivery) << i << ": " << to_string(delivery.error());
        EXPECT_EQ(sent.erase(std::string(delivery->text())), 1U) << delivery->text();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
    EXPECT_TRUE(sent.empty());
    EXPECT_EQ(local.status().value().abandoned, 0U);
}

INSTANTIATE_TEST_SUITE_P(Ways, RemoteClient, test::kAllWays, test::name_of_way);
INSTANTIATE_TEST_SUITE_P(Ways, RemoteOnly, test::kRemoteWays, test::name_of_way);

}  // namespace
}  // namespace telpher

// What can be asked of a domain and done to it, the same over every way.

#include "telpher/admin.hpp"

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace telpher {
namespace {

using namespace std::chrono_literals;

class RemoteAdmin : public test::Ways {
  protected:
    void SetUp() override {
        test::Ways::SetUp();
        admin = Admin::of(client).value();
    }
    Admin admin;
};

TEST_P(RemoteAdmin, makes_queues_and_removes_them) {
    EXPECT_EQ(admin.domain(), domain.name());
    EXPECT_EQ(admin.remote(), remote());
    EXPECT_TRUE(admin.create_queue("orders", {.capacity = 7}).value());
    EXPECT_FALSE(admin.create_queue("orders", {.capacity = 7}).value());
    EXPECT_EQ(admin.create_queue("orders", {.capacity = 8}).status(), Status::mismatch);
    EXPECT_EQ(admin.create_queue("or ders").status(), Status::bad_request);
    EXPECT_EQ(admin.create_queue("zero", {.capacity = 0}).status(), Status::bad_request);
    EXPECT_TRUE(admin.create_queue("ring", {.capacity = 3, .kind = QueueKind::circular}).value());
    EXPECT_EQ(server.queue("orders").value().capacity(), 7U);
    EXPECT_TRUE(client.exists("orders").value());
    const auto queues = admin.queues().value();
    ASSERT_EQ(queues.size(), 2U);
    EXPECT_EQ(queues[0].name, "orders");
    EXPECT_EQ(queues[1].kind, "circular");
    EXPECT_TRUE(admin.remove_queue("orders"));
    EXPECT_EQ(admin.remove_queue("orders").status(), Status::queue_not_found);
    EXPECT_FALSE(client.exists("orders").value());
    EXPECT_EQ(admin.queue_status("orders").status(), Status::queue_not_found);
}

TEST_P(RemoteAdmin, makes_topics_and_removes_them) {
    const TopicOptions options{.capacity = 64, .history = 5, .slow = SlowSubscriber::block};
    EXPECT_TRUE(admin.create_topic("alarms", options).value());
    EXPECT_FALSE(admin.create_topic("alarms", options).value());
    EXPECT_EQ(admin.create_topic("alarms").status(), Status::mismatch);
    ASSERT_TRUE(client.publish(Message::text("alarms", "fire"), kSoon));
    const auto status = admin.topic_status("alarms").value();
    EXPECT_EQ(status.slow, "block");
    EXPECT_EQ(status.history, 5U);
    EXPECT_EQ(status.published, 1U);
    EXPECT_EQ(client.topic("alarms").value().status().value().capacity, 64U);
    ASSERT_EQ(admin.topics().value().size(), 1U);
    EXPECT_TRUE(admin.remove_topic("alarms"));
    EXPECT_EQ(admin.topic_status("alarms").status(), Status::topic_not_found);
    EXPECT_EQ(admin.remove_topic("alarms").status(), Status::topic_not_found);
}

TEST_P(RemoteAdmin, a_queue_shows_its_figures_its_oldest_message_and_is_purged) {
    ASSERT_TRUE(admin.create_queue("orders"));
    Queue queue = client.queue("orders").value();
    EXPECT_EQ(queue.peek().status(), Status::queue_empty);
    const std::string large(300'000, 'x');
    ASSERT_TRUE(queue.offer(Message::text("order", large).with_request_id("17"), kSoon));
    ASSERT_TRUE(queue.offer(Message::text("order", "2"), kSoon));
    const auto oldest = queue.peek().value();
    EXPECT_EQ(oldest.view().text(), large);
    EXPECT_EQ(oldest.view().request_id(), "17");
    const auto status = queue.status().value();
    EXPECT_EQ(status.name, "orders");
    EXPECT_EQ(status.depth, 2U);
    EXPECT_EQ(status.offered, 2U);
    EXPECT_TRUE(status.oldest_age);
    EXPECT_EQ(queue.purge().value(), 2U);
    EXPECT_EQ(queue.status().value().depth, 0U);
    EXPECT_FALSE(queue.status().value().oldest_age);
}

TEST_P(RemoteAdmin, a_domain_shows_itself) {
    ASSERT_TRUE(admin.create_queue("orders"));
    const auto status = admin.status().value();
    EXPECT_EQ(status.name, domain.name());
    EXPECT_EQ(status.destinations, 1U);
    EXPECT_EQ(status.processes, 1U);
    const auto processes = admin.processes().value();
    ASSERT_EQ(processes.size(), 1U);
    EXPECT_EQ(processes[0].pid, static_cast<std::uint32_t>(::getpid()));
    EXPECT_EQ(processes[0].state, "live");
    const auto report = admin.verify().value();
    EXPECT_TRUE(report.problems.empty());
    EXPECT_GT(report.chunks, 0U);
}

TEST_P(RemoteAdmin, a_function_shows_its_figures) {
    EXPECT_EQ(client.function_status("echo").status(), Status::function_not_found);
    const auto echo = server.serve("echo", [](const Message& request) { return request; }).value();
    ASSERT_TRUE(client.send("echo", Message::text("t", "x"), kSoon));
    const auto status = client.function_status("echo").value();
    EXPECT_EQ(status.name, "echo");
    EXPECT_EQ(status.servers, 1U);
    EXPECT_EQ(status.calls, 1U);
}

TEST_P(RemoteAdmin, many_queues_are_listed) {
    for (int i = 0; i < 31; ++i) {
        ASSERT_TRUE(admin.create_queue("queue-" + std::string(80, 'q') + std::to_string(i),
                                       {.capacity = 1}));
    }
    EXPECT_EQ(admin.queues().value().size(), 31U);
}

TEST_P(RemoteAdmin, a_temporary_queue_is_its_clients_alone) {
    Queue replies = client.create_temporary_queue({.capacity = 3}).value();
    EXPECT_EQ(replies.capacity(), 3U);
    const std::string name = replies.name();
    EXPECT_TRUE(name.starts_with("temporary."));
    Client other = another_client();
    Queue seen = other.queue(name).value();
    EXPECT_TRUE(
        other.reply(Message::text("t", "?").reply_to(name), Message::text("t", "!"), kSoon));
    EXPECT_TRUE(seen.offer(Message::text("t", "2"), kSoon));
    if (remote()) {  // of shared memory: other is of the same process
        EXPECT_EQ(seen.poll().status(), Status::not_permitted);
    }
    EXPECT_EQ(replies.poll(kSoon).value().text(), "!");
    {
        const Queue again = client.queue(name).value();
        EXPECT_EQ(again.capacity(), 3U);
    }
    EXPECT_EQ(replies.poll(kSoon).value().text(), "2");
    replies = {};
    for (int i = 0; i < 500 && client.exists(name).value(); ++i) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_FALSE(client.exists(name).value());
    EXPECT_EQ(seen.offer(Message::text("t", "3")).status(), Status::queue_not_found);
}

TEST_P(RemoteAdmin, temporary_queues_end_with_their_client) {
    Client other = another_client();
    const std::string name = other.create_temporary_queue().value().name();
    const Queue kept = other.create_temporary_queue().value();
    other.close();
    for (int i = 0; i < 500 && (client.exists(kept.name()).value() || client.exists(name).value());
         ++i) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_FALSE(client.exists(kept.name()).value());
    EXPECT_FALSE(client.exists(name).value());
}

TEST_P(RemoteAdmin, each_client_has_its_temporary_queues) {
    // As many as one client may have would need more destinations than this domain has: its limit is told.
    std::vector<Queue> all;
    for (int i = 0; i < 40; ++i) {
        auto made = client.create_temporary_queue({.capacity = 1});
        if (!made) {
            EXPECT_EQ(made.status(), Status::limit_reached);
            break;
        }
        all.push_back(std::move(*made));
    }
    EXPECT_EQ(all.size(), 32U);
}

INSTANTIATE_TEST_SUITE_P(Ways, RemoteAdmin, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher

// Temporary queues: unguessable, polled by their owner alone, gone with it.

#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

DomainLimits roomy() {
    DomainLimits limits = small_limits();
    limits.destinations = 128;
    limits.ring_bytes = 2U << 20U;
    return limits;
}

class TemporaryQueueTest : public ::testing::Test {
  protected:
    // Whether the queue ends within a second.
    bool ends(const std::string& name) {
        for (int i = 0; i < 1000 && server_.exists(name).value(); ++i) {
            std::this_thread::sleep_for(1ms);
        }
        return !server_.exists(name).value();
    }
    ScratchDomain domain_;
    Server server_ = Server::open(domain_.name(), {.limits = roomy()}).value();
    Client client_ = connect(domain_.uri()).value();
};

TEST_F(TemporaryQueueTest, its_name_is_new_each_time_and_not_to_be_guessed) {
    std::set<std::string> names;
    for (int i = 0; i < 20; ++i) {
        const Queue queue = client_.create_temporary_queue().value();
        EXPECT_EQ(queue.name().size(), std::string("temporary.").size() + 32);
        names.insert(queue.name());
    }
    EXPECT_EQ(names.size(), 20U);
}

TEST_F(TemporaryQueueTest, carries_the_reply_to_an_order) {
    Queue orders = server_.create_queue("orders", {.capacity = 4}).value();
    Queue replies = client_.create_temporary_queue({.capacity = 2}).value();
    EXPECT_EQ(replies.capacity(), 2U);
    ASSERT_TRUE(orders.offer(Message::text("order", "2 espressos")
                                 .with_request_id("17")
                                 .with_correlation_id("table 4")
                                 .reply_to(replies.name())));
    const Delivery order = orders.poll().value();
    ASSERT_TRUE(server_.reply(order, Message::text("bill", "6.40")));
    const Delivery reply = replies.poll().value();
    EXPECT_EQ(reply.text(), "6.40");
    EXPECT_EQ(reply.request_id(), "17");
    EXPECT_EQ(reply.correlation_id(), "table 4");
    EXPECT_EQ(replies.status().value().kind, "temporary");
}

TEST_F(TemporaryQueueTest, a_reply_to_nobody_or_to_a_queue_that_is_gone_is_an_error) {
    EXPECT_EQ(client_.reply(Message::text("t", "x"), Message::text("t", "y")).status(),
              Status::bad_request);
    std::string name;
    {
        const Queue replies = client_.create_temporary_queue().value();
        name = replies.name();
    }
    EXPECT_EQ(
        client_.reply(Message::text("t", "x").reply_to(name), Message::text("t", "y")).status(),
        Status::queue_not_found);
}

TEST_F(TemporaryQueueTest, is_removed_with_the_last_copy_of_its_handle) {
    Queue queue = client_.create_temporary_queue().value();
    const std::string name = queue.name();
    Queue copy = queue;
    queue = {};
    EXPECT_TRUE(server_.exists(name).value());
    EXPECT_TRUE(copy.offer(Message::text("t", "x")));
    copy = {};
    EXPECT_FALSE(server_.exists(name).value());
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
}

TEST_F(TemporaryQueueTest, is_removed_when_its_client_closes_and_wakes_who_waits) {
    Queue queue = client_.create_temporary_queue({.capacity = 1}).value();
    Queue other = server_.queue(queue.name()).value();
    ASSERT_TRUE(other.offer(Message::text("t", "x")));
    std::jthread producer([&other] {
        EXPECT_EQ(other.offer(Message::text("t", "y"), 30s).status(), Status::queue_not_found);
    });
    std::this_thread::sleep_for(20ms);
    client_.close();
    EXPECT_FALSE(server_.exists(other.name()).value());
    EXPECT_EQ(queue.poll().status(), Status::closed);
}

TEST_F(TemporaryQueueTest, one_client_may_have_fifty) {
    std::vector<Queue> queues;
    for (int i = 0; i < 50; ++i) {
        queues.push_back(client_.create_temporary_queue({.capacity = 1}).value());
    }
    const auto refused = client_.create_temporary_queue();
    ASSERT_EQ(refused.status(), Status::limit_reached);
    EXPECT_NE(refused.error().detail.find("limits.temporary_queues is 50"), std::string::npos);
    EXPECT_TRUE(server_.create_temporary_queue({.capacity = 1})) << "each client has its own";
    queues.pop_back();
    EXPECT_TRUE(client_.create_temporary_queue({.capacity = 1}));
}

TEST_F(TemporaryQueueTest, capacities_have_a_range) {
    EXPECT_EQ(client_.create_temporary_queue({.capacity = 0}).status(), Status::bad_request);
    EXPECT_EQ(client_.create_temporary_queue({.capacity = 1U << 24U}).status(),
              Status::bad_request);
}

// The owner is killed; here, in another process, is who may not poll, and who sees the end.
TEST_F(TemporaryQueueTest, dies_with_its_process_and_nobody_else_may_poll_it) {
    Queue names = server_.create_queue("names", {.capacity = 4}).value();
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        auto client = connect(domain_.uri());
        auto queue = client ? client->create_temporary_queue({.capacity = 1})
                            : Result<Queue>(Status::closed);
        auto told = client ? client->queue("names") : Result<Queue>(Status::closed);
        if (!queue || !told || !told->offer(Message::text("name", queue->name()))) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    const Delivery told = names.poll(10s).value();
    const std::string name(told.text());
    Queue foreign = client_.queue(name).value();
    EXPECT_TRUE(foreign.offer(Message::text("t", "x")));
    EXPECT_EQ(foreign.poll().status(), Status::not_permitted);
    EXPECT_NE(foreign.poll().error().detail.find("only the process that made"), std::string::npos);
    EXPECT_EQ(foreign.peek().status(), Status::not_permitted);
    EXPECT_EQ(foreign.purge().status(), Status::not_permitted);
    std::jthread producer([&foreign] {
        EXPECT_EQ(foreign.offer(Message::text("t", "y"), 30s).status(), Status::queue_not_found);
    });
    std::this_thread::sleep_for(20ms);
    kill(child, SIGKILL);
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
    EXPECT_TRUE(ends(name));
    producer.join();
    foreign = {};
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
    EXPECT_EQ(server_.verify().value().chunks_offered, 0U);
}

}  // namespace
}  // namespace telpher::test

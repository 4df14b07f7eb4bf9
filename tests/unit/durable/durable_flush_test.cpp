// What was acknowledged is on disk when Queue::flush says so.
#include "src/client/domain_core.hpp"
#include "tests/unit/durable/durable_queue.hpp"
#include "tests/unit/support/lost_process.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class DurableFlush : public DurableQueue {
  protected:
    // What is left of ten messages in the next life of the domain, when a process has taken five and done that, and ends
    // as by kill -9, with the machine's memory.
    std::size_t left_behind(const std::function<bool(Queue&)>& act) {
        EXPECT_TRUE(in_lost_process([this, &act] {
            Server server = open();
            Queue queue = server.create_queue("orders", kDurable).value();
            bool done = true;
            for (int i = 0; i < 10; ++i) {
                done = done && queue.offer(durable(std::to_string(i)), 5s);
            }
            for (int i = 0; i < 5; ++i) {
                done = done && queue.poll(0ms).value().ack();
            }
            leave(done && act(queue));
        }));
        EXPECT_TRUE(remove_domain(domain_.name(), true));
        Server server = open();
        Queue queue = server.queue("orders").value();
        const std::size_t left = all(queue).size();
        queue = Queue{};
        EXPECT_TRUE(server.remove_queue("orders"));
        server = Server{};
        EXPECT_TRUE(remove_domain(domain_.name(), true));
        return left;
    }
};

TEST_F(DurableFlush, keeps_what_was_acknowledged_from_coming_again) {
    EXPECT_EQ(left_behind([](Queue&) { return true; }), 10U) << "without it";
    EXPECT_EQ(left_behind([](Queue& queue) { return queue.flush().has_value(); }), 5U);
    EXPECT_EQ(left_behind([](Queue& queue) { return queue.flush() && queue.flush(1ms); }), 5U);
}

TEST_F(DurableFlush, syncs_what_was_written_before_without_a_sync) {
    Server server = open();
    QueueOptions options = kDurable;
    options.durability = Durability::process;
    Queue queue = server.create_queue("orders", options).value();
    auto& table = detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log();
    ASSERT_TRUE(queue.offer(durable("x"), 5s));
    ASSERT_NE(table.synced().offset, table.position().offset);
    ASSERT_TRUE(queue.poll(0ms).value().ack());
    const std::uint64_t syncs = table.control().syncs.load();
    ASSERT_TRUE(queue.flush());
    EXPECT_EQ(table.synced().offset, table.position().offset);
    EXPECT_EQ(table.control().syncs.load(), syncs + 1);
    EXPECT_FALSE(table.any_ended());
}

TEST_F(DurableFlush, of_many_threads_shares_syncs) {
    constexpr int kThreads = 16;
    constexpr int kTimes = 20;
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    const auto& control =
        detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log().control();
    const std::uint64_t syncs = control.syncs.load();
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < kThreads; ++t) {
            threads.emplace_back([&queue] {
                for (int i = 0; i < kTimes; ++i) {
                    EXPECT_TRUE(queue.flush(30s));
                }
            });
        }
    }
    EXPECT_LT(control.syncs.load() - syncs, kThreads * kTimes / 2U);
}

// Every second one: no ranges. 64 KiB of log have room for 4,000 of them.
TEST_F(DurableFlush, notes_more_than_a_segment_has_room_for) {
    constexpr int kMessages = 12'000;
    const auto opened = [this] {
        return domain_.open({.limits = roomy(),
                             .log_directory = folder_.file("log"),
                             .log_segment_bytes = 64U << 10U});
    };
    Server server = opened();
    QueueOptions options = kDurable;
    options.capacity = kMessages;
    options.durability = Durability::process;
    Queue queue = server.create_queue("orders", options).value();
    std::vector<Message> messages;
    for (int i = 0; i < kMessages; ++i) {
        messages.push_back(durable(std::to_string(i)));
    }
    ASSERT_EQ(queue.offer_n(messages, 60s).value(), static_cast<std::size_t>(kMessages));
    std::vector<Delivery> held;
    for (int i = 0; i < kMessages; ++i) {
        Delivery delivery = queue.poll(0ms).value();
        if (i % 2 == 0) {
            ASSERT_TRUE(delivery.ack());
        } else {
            held.push_back(std::move(delivery));
        }
    }
    const auto& table = detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log();
    ASSERT_TRUE(queue.flush(30s));
    EXPECT_FALSE(table.any_ended());
    held.clear();
    queue = Queue{};
    server = Server{};
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    server = opened();
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue).size(), kMessages / 2U);
}

TEST_F(DurableFlush, says_why_it_cannot) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    Queue other = server.create_queue("memory").value();
    EXPECT_EQ(other.flush().status(), Status::bad_request);
    EXPECT_EQ(queue.flush(0ms).status(), Status::bad_request);
    EXPECT_EQ(queue.flush(-1ms).status(), Status::bad_request);
    EXPECT_EQ(Queue{}.flush().status(), Status::closed);
    auto& table = detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log();
    table.fail(EIO);
    const auto failed = queue.flush();
    EXPECT_EQ(failed.status(), Status::storage_failed);
    EXPECT_NE(failed.error().detail.find("log of domain"), std::string::npos);
}

}  // namespace
}  // namespace telpher::test

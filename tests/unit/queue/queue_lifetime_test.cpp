// Who keeps what alive: handles, deliveries, threads.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

TEST(QueueLifetime, a_queue_keeps_its_connection_alive) {
    const ScratchDomain domain;
    domain.make();
    Queue queue = domain.open().create_queue("q").value();
    Queue other = connect(domain.uri()).value().queue("q").value();
    ASSERT_TRUE(queue.offer(Message::text("t", "x")));
    EXPECT_EQ(other.poll()->text(), "x");
}

TEST(QueueLifetime, a_delivery_outlives_queue_and_server_and_is_still_readable) {
    const ScratchDomain domain;
    Delivery delivery;
    Loan loan;
    {
        Server server = domain.open();
        Queue queue = server.create_queue("q").value();
        ASSERT_TRUE(queue.offer(Message::text("t", "still here")));
        delivery = queue.poll().value();
        loan = queue.loan("t", 100).value();
    }
    EXPECT_EQ(delivery.text(), "still here");
    loan.payload()[99] = std::byte{1};
    Server again = domain.open({});
    EXPECT_EQ(again.status()->processes, 2U) << "the domain is still attached for the two";
    delivery.release();
    EXPECT_EQ(again.status()->processes, 2U);
    loan = Loan{};
    EXPECT_EQ(again.status()->processes, 1U) << "the last one ends the attachment";
    EXPECT_TRUE(again.verify()->problems.empty());
}

TEST(QueueLifetime, the_last_delivery_ends_an_ephemeral_domain) {
    const ScratchDomain domain;
    Delivery delivery;
    {
        Server server = domain.open({.lifetime = Lifetime::ephemeral, .limits = small_limits()});
        Queue queue = server.create_queue("q").value();
        ASSERT_TRUE(queue.offer(Message::text("t", "x")));
        delivery = queue.poll().value();
    }
    EXPECT_FALSE(files_of(domain.name()).empty());
    delivery = Delivery{};
    EXPECT_TRUE(files_of(domain.name()).empty());
}

// Goal: releasing beside the destruction of the last handle touches nothing that is unmapped. A
// mistake is a signal, or a report of a sanitizer.
TEST(QueueLifetime, a_delivery_may_be_released_while_the_last_handle_goes) {
    const ScratchDomain domain;
    Server keeper = domain.open();
    for (int round = 0; round < 50; ++round) {
        std::atomic<bool> go{false};
        auto queue = std::make_unique<Queue>(
            connect(domain.uri()).value().queue(keeper.create_queue("q")->name()).value());
        ASSERT_TRUE(queue->offer(Message::text("t", "x")));
        std::thread other([&go, delivery = queue->poll().value()]() mutable {
            while (!go.load(std::memory_order_acquire)) {
            }
            delivery.release();
        });
        go.store(true, std::memory_order_release);
        queue.reset();
        other.join();
    }
    EXPECT_TRUE(keeper.verify()->problems.empty());
}

TEST(QueueLifetime, threads_that_end_return_what_they_kept) {
    const ScratchDomain domain;
    Server server = domain.open();
    Queue queue = server.create_queue("q").value();
    std::thread([&queue] {
        for (int i = 0; i < 10; ++i) {
            ASSERT_TRUE(queue.offer(Message::text("t", "x")));
            ASSERT_TRUE(queue.poll());
        }
    }).join();
    EXPECT_EQ(server.verify()->chunks_owned, 0U) << "kept for a thread that is gone";
}

TEST(QueueLifetime, a_delivery_may_outlive_the_thread_that_polled_it) {
    const ScratchDomain domain;
    Server server = domain.open();
    Queue queue = server.create_queue("q").value();
    ASSERT_TRUE(queue.offer(Message::text("t", "x")));
    Delivery delivery;
    std::thread([&] { delivery = queue.poll().value(); }).join();
    EXPECT_EQ(delivery.text(), "x");
    delivery.release();
    const VerifyReport report = server.verify().value();
    EXPECT_EQ(report.chunks_claimed, 0U);
    EXPECT_TRUE(report.problems.empty());
}

TEST(QueueLifetime, short_lived_threads_do_not_use_up_the_limit) {
    const ScratchDomain domain;
    Server server = domain.open();  // limits.threads is 64
    Queue queue = server.create_queue("q", {.capacity = 10}).value();
    for (int i = 0; i < 5'000; ++i) {
        std::thread([&queue] {
            ASSERT_TRUE(queue.offer(Message::text("t", "x")));
            ASSERT_TRUE(queue.poll());
        }).join();
    }
    EXPECT_EQ(queue.status()->offered, 5'000U);
}

TEST(QueueLifetime, more_threads_at_once_than_the_limit_are_told_so) {
    const ScratchDomain domain;
    DomainLimits limits = small_limits();
    limits.threads = 2;
    Server server = domain.open({.limits = limits});
    Queue queue = server.create_queue("q").value();
    std::atomic<int> inside{0};
    std::atomic<bool> leave{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            EXPECT_EQ(queue.poll().status(), Status::queue_empty);
            inside.fetch_add(1, std::memory_order_release);
            while (!leave.load(std::memory_order_acquire)) {
                std::this_thread::sleep_for(1ms);
            }
        });
    }
    while (inside.load(std::memory_order_acquire) != 2) {
        std::this_thread::sleep_for(1ms);
    }
    const auto offered = queue.offer(Message::text("t", "x"));
    EXPECT_EQ(offered.status(), Status::limit_reached);
    EXPECT_NE(offered.error().detail.find("limits.threads is 2"), std::string::npos);
    leave.store(true, std::memory_order_release);
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_TRUE(queue.offer(Message::text("t", "x")));
}

TEST(QueueLifetime, one_thread_may_use_many_domains_in_turn) {
    for (int i = 0; i < 20; ++i) {
        const ScratchDomain first;
        const ScratchDomain second;
        Server a = first.open();
        Server b = second.open();
        Queue in_a = a.create_queue("q").value();
        Queue in_b = b.create_queue("q").value();
        for (int n = 0; n < 3; ++n) {
            ASSERT_TRUE(in_a.offer(Message::text("t", "a")));
            ASSERT_TRUE(in_b.offer(Message::text("t", "b")));
            ASSERT_EQ(in_b.poll()->text(), "b");
            ASSERT_EQ(in_a.poll()->text(), "a");
        }
    }
}

}  // namespace
}  // namespace telpher::test

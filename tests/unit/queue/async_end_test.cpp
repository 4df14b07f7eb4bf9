// What ends pending operations: closing, removal, the last handles; and what keeps what alive.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/fire_and_forget.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

// Threads of this process with that name.
int threads_named(const std::string& name) {
    int count = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string line;
        std::getline(std::ifstream(task.path() / "comm"), line);
        count += line == name ? 1 : 0;
    }
    return count;
}

class AsyncEnd : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(full_.offer(note("first")));
        for (int i = 0; i < 100; ++i) {
            polls_.push_back(empty_.poll_async(600s));
            offers_.push_back(full_.offer_async(note("late"), 600s));
        }
    }
    // Ends all by `end`; each must be over promptly, with `expected`.
    template <typename End>
    void expect_all_end(Status expected, End end) {
        std::this_thread::sleep_for(kAsleep);
        const Stopwatch watch;
        end();
        for (auto& polled : polls_) {
            EXPECT_EQ(to_string(polled.get(60s).status()), to_string(expected));
        }
        for (auto& sent : offers_) {
            EXPECT_EQ(to_string(sent.get(60s).status()), to_string(expected));
        }
        EXPECT_LT(watch.elapsed(), kPromptly);
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue empty_ = server_.create_queue("empty", {.capacity = 2}).value();
    Queue full_ = server_.create_queue("full", {.capacity = 1}).value();
    std::vector<Future<Delivery>> polls_;
    std::vector<Future<std::uint64_t>> offers_;
};

TEST_F(AsyncEnd, closing_the_handles_completes_them_with_closed) {
    Queue again = server_.queue("empty").value();
    auto other = again.poll_async(600s);
    expect_all_end(Status::closed, [this] {
        empty_.close();
        full_.close();
    });
    EXPECT_FALSE(other.ready()) << "another handle";
    ASSERT_TRUE(again.offer(note("x")));
    EXPECT_TRUE(other.get(60s));
}

TEST_F(AsyncEnd, closing_the_server_completes_them_with_closed) {
    expect_all_end(Status::closed, [this] {
        const Stopwatch watch;
        server_.close();
        EXPECT_LT(watch.elapsed(), 100ms);
    });
    EXPECT_EQ(empty_.poll_async(1s).get(0s).status(), Status::closed);
}

TEST_F(AsyncEnd, removing_the_queues_completes_them_with_queue_not_found) {
    expect_all_end(Status::queue_not_found, [this] {
        EXPECT_TRUE(server_.remove_queue("empty"));
        EXPECT_TRUE(server_.remove_queue("full"));
    });
    EXPECT_EQ(full_.poll_async(1s).get(0s)->text(), "first") << "committed before";
    EXPECT_EQ(full_.poll_async(1s).get(0s).status(), Status::queue_not_found);
    EXPECT_EQ(full_.offer_async(note("x"), 1s).get(0s).status(), Status::queue_not_found);
}

TEST_F(AsyncEnd, removing_the_domain_completes_them_with_domain_removed) {
    expect_all_end(Status::domain_removed, [this] { EXPECT_TRUE(server_.remove_domain()); });
    EXPECT_EQ(empty_.poll_async(1s).get(0s).status(), Status::domain_removed);
}

TEST_F(AsyncEnd, a_pending_future_keeps_queue_and_connection_open) {
    Queue producer = connect(domain_.uri()).value().queue("empty").value();
    auto kept = std::move(polls_.front());
    polls_.clear();
    offers_.clear();
    empty_ = Queue{};
    full_ = Queue{};
    server_ = Server{};
    ASSERT_TRUE(producer.offer(note("x")));
    EXPECT_EQ(kept.get(60s)->text(), "x");
}

TEST_F(AsyncEnd, a_removed_queue_s_memory_is_free_again_although_operations_waited) {
    for (int i = 0; i < 50; ++i) {
        Queue queue = server_.create_queue("large", {.capacity = 3'000}).value();
        auto polled = queue.poll_async(600s);
        auto sent = queue.offer_async(note("x"), 600s);
        EXPECT_TRUE(polled.get(60s));
        auto removed = queue.poll_async(600s);
        ASSERT_TRUE(server_.remove_queue("large"));
        EXPECT_EQ(removed.get(60s).status(), Status::queue_not_found);
        queue = Queue{};
        // The parker lets go of the ring right after it completed the poll.
        for (int look = 0; look < 1'000 && !server_.create_queue("probe", {.capacity = 3'000});
             ++look) {
            std::this_thread::sleep_for(1ms);
        }
        ASSERT_TRUE(server_.remove_queue("probe"));
    }
}

TEST(AsyncParker, is_one_thread_per_server_and_ends_with_its_last_handle) {
    const ScratchDomain domain;
    EXPECT_EQ(threads_named("telpher-parker"), 0);
    {
        Server server = domain.open({.lifetime = Lifetime::ephemeral, .limits = small_limits()});
        Queue queue = server.create_queue("q").value();
        Queue other = server.create_queue("other").value();
        EXPECT_EQ(queue.poll_async(0s).get(0s).status(), Status::queue_empty);
        EXPECT_EQ(threads_named("telpher-parker"), 0) << "nothing had to wait";
        auto polled = queue.poll_async(600s);
        auto second = other.poll_async(600s);
        EXPECT_EQ(threads_named("telpher-parker"), 1);
        server = Server{};
        queue = Queue{};
        EXPECT_FALSE(polled.ready());
    }
    EXPECT_EQ(threads_named("telpher-parker"), 0);
    EXPECT_TRUE(files_of(domain.name()).empty()) << "the last handle ended the domain";
}

FireAndForget await(Future<Delivery> future, std::atomic<Status>& seen) {
    seen = (co_await future).status();
}

TEST(AsyncParker, ends_although_a_stop_request_lets_go_of_the_last_handle) {
    const ScratchDomain domain;
    for (int round = 0; round < 100; ++round) {
        std::stop_source stop;
        std::atomic<Status> seen{Status::none};
        Future<Delivery> future;
        {
            Queue queue = domain.open().create_queue("q").value();
            future = queue.poll_async(600s, stop.get_token());
            if (round % 2 == 0) {
                await(std::move(future), seen);
            }
        }
        // It ends on another thread while the request is still at work on it.
        std::thread other([&future] {
            while (!future.ready()) {
                std::this_thread::yield();
            }
            future = {};
        });
        stop.request_stop();
        other.join();
        EXPECT_EQ(seen, round % 2 == 0 ? Status::cancelled : Status::none);
    }
    EXPECT_EQ(threads_named("telpher-parker"), 0);
}

TEST(AsyncParker, leaves_nothing_behind_however_futures_and_handles_end) {
    const ScratchDomain domain;
    Server keeper = domain.open();
    static_cast<void>(keeper.create_queue("q", {.capacity = 128}));
    for (int round = 0; round < 100; ++round) {
        Queue queue = connect(domain.uri()).value().queue("q").value();
        auto polled = queue.poll_async(600s);
        auto unread = queue.poll_async(600s);
        if (round % 2 == 0) {
            ASSERT_TRUE(queue.offer(note("1")));
        }
        queue = Queue{};
        if (round % 3 == 0) {
            std::thread([moved = std::move(polled)] {}).join();
        }
    }
    Queue queue = keeper.queue("q").value();
    int left = 0;
    while (queue.poll()) {
        ++left;
    }
    EXPECT_EQ(left, 50) << "what was taken and not read came back";
    EXPECT_TRUE(keeper.verify()->problems.empty());
    EXPECT_EQ(keeper.verify()->chunks_claimed, 0U);
}

TEST(AsyncParker, without_a_thread_record_the_future_says_so) {
    const ScratchDomain domain;
    DomainLimits limits = small_limits();
    limits.threads = 1;
    Server server = domain.open({.limits = limits});
    Queue queue = server.create_queue("q").value();
    const auto polled = queue.poll_async(600s).get(0s);
    EXPECT_EQ(polled.status(), Status::limit_reached);
    EXPECT_NE(polled.error().detail.find("limits.threads is 1"), std::string::npos);
    ASSERT_TRUE(queue.offer(note("x")));
    EXPECT_TRUE(queue.poll_async(1s).get(0s)) << "what need not wait needs no parker";
}

TEST(AsyncParker, an_unread_message_that_cannot_come_back_is_counted_as_abandoned) {
    const ScratchDomain domain;
    DomainLimits limits = small_limits();
    limits.threads = 2;  // ours and the parker's
    Server server = domain.open({.limits = limits});
    Queue queue = server.create_queue("q").value();
    auto polled = queue.poll_async(600s);
    ASSERT_TRUE(queue.offer(note("x")));
    ASSERT_TRUE(polled.wait(60s));
    std::thread([moved = std::move(polled)] {}).join();
    EXPECT_EQ(queue.status()->depth, 0U);
    EXPECT_EQ(queue.status()->abandoned, 1U);
    EXPECT_EQ(server.verify()->chunks_claimed, 0U);
}

}  // namespace
}  // namespace telpher::test

// Goal:   asynchronous calls: many at once, cancelled, dropped, awaited.

#include "tests/unit/support/fire_and_forget.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <semaphore>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using test::ScratchDomain;

using test::order;

class SendAsync : public ::testing::Test {
  protected:
    SendAsync() : server_(domain_.open({.limits = limits()})) {
        client_ = connect(domain_.uri()).value();
    }
    static DomainLimits limits() {
        DomainLimits limits = test::small_limits();
        limits.ring_bytes = 1U << 20U;
        limits.pool_bytes = 8U << 20U;
        return limits;
    }
    void expect_clean() {
        std::uint64_t busy = 1;
        for (int i = 0; i < 500 && busy != 0; ++i) {
            const VerifyReport report = server_.verify().value();
            EXPECT_TRUE(report.problems.empty()) << report.problems.front();
            busy = report.chunks_offered + report.chunks_claimed + report.chunks_answered;
            std::this_thread::sleep_for(1ms);
        }
        EXPECT_EQ(busy, 0U);
    }
    ScratchDomain domain_;
    Server server_;
    Client client_;
};

TEST_F(SendAsync, thousands_may_be_outstanding) {
    constexpr int kCalls = 5000;
    std::counting_semaphore<> go{0};
    const Function served = server_
                                .serve("echo",
                                       [&](const Message& request) -> Result<Message> {
                                           if (request.text() == "0") {
                                               go.acquire();
                                           }
                                           return request;
                                       },
                                       {.inflight_max = 6000})
                                .value();
    std::vector<Future<Message>> futures;
    for (int i = 0; i < kCalls; ++i) {
        futures.push_back(client_.send_async("echo", order(std::to_string(i)), 30s));
    }
    EXPECT_FALSE(futures.back().ready());
    go.release();
    for (int i = 0; i < kCalls; ++i) {
        const auto reply = futures[static_cast<std::size_t>(i)].get(30s);
        ASSERT_TRUE(reply) << i << to_string(reply.error());
        EXPECT_EQ(reply->text(), std::to_string(i));
    }
    expect_clean();
}

TEST_F(SendAsync, cancelled_and_dropped_calls_leave_nothing_behind) {
    std::counting_semaphore<> begun{0};
    std::counting_semaphore<> go{0};
    std::atomic<int> late{0};
    const Function served = server_
                                .serve("slow",
                                       [&](const Message& request) -> Result<Message> {
                                           begun.release();
                                           go.acquire();
                                           return request;
                                       },
                                       {.on_late = [&](const Message&) { ++late; }})
                                .value();
    auto running = client_.send_async("slow", order("1"), 30s);
    begun.acquire();
    auto queued = client_.send_async("slow", order("2"), 30s);
    { const auto dropped = client_.send_async("slow", order("3"), 30s); }
    EXPECT_TRUE(running.cancel());
    EXPECT_TRUE(queued.cancel());
    EXPECT_EQ(running.get(1s).status(), Status::cancelled);
    EXPECT_EQ(queued.get(1s).status(), Status::cancelled);
    go.release(4);
    expect_clean();
    EXPECT_EQ(late, 1) << "that of the one that had begun";
    EXPECT_EQ(served.status()->calls, 3U);
}

TEST_F(SendAsync, keeps_its_own_timeout) {
    std::counting_semaphore<> go{0};
    const Function served = server_.serve("slow", [&](const Message&) { go.acquire(); }).value();
    auto future = client_.send_async("slow", order("1"), 40ms);
    EXPECT_EQ(future.get(1ms).status(), Status::timed_out);
    EXPECT_TRUE(future) << "only that wait was over";
    EXPECT_EQ(future.get(5s).status(), Status::timed_out);
    EXPECT_FALSE(future);
    go.release(2);
    expect_clean();
}

test::FireAndForget chain(Client& client,
                          int calls,
                          std::atomic<int>& sum,
                          std::atomic<bool>& done) {
    for (int i = 0; i < calls; ++i) {
        auto reply = co_await client.send_async("echo", order(std::to_string(i)), 10s);
        sum += reply ? std::stoi(std::string(reply->text())) : -100'000;
    }
    done = true;
}

TEST_F(SendAsync, coroutines_await_calls) {
    const Function served =
        server_.serve("echo", [](const Message& request) { return request; }).value();
    std::atomic<int> sum{0};
    std::atomic<bool> done{false};
    chain(client_, 200, sum, done);
    for (int i = 0; i < 5000 && !done; ++i) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_TRUE(done);
    EXPECT_EQ(sum, 199 * 200 / 2);
    expect_clean();
}

TEST_F(SendAsync, a_wait_set_waits_for_calls) {
    const Function served =
        server_.serve("echo", [](const Message& request) { return request; }).value();
    auto future = client_.send_async("echo", order("1"), 10s);
    WaitSet set;
    const auto key = set.add(future).value();
    EXPECT_EQ(set.wait(5s).value(), std::vector<std::size_t>{key});
    EXPECT_TRUE(future.get(0s));
}

}  // namespace
}  // namespace telpher

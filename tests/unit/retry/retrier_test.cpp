// Goal: what retries need besides single operations: connecting, the real clock, a bounded memory, forks.

#include "src/client/retrier.hpp"

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/retry_clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using detail::Retrier;
using detail::RetryKind;
using test::FakeClock;
using test::ScratchDomain;

RetryPolicy usual(std::function<void()> on_sleep = {}) {
    return {.base = 100ms,
            .cap = 10s,
            .jitter = Jitter::none,
            .clock = std::make_shared<FakeClock>(std::move(on_sleep))};
}

TEST(RetryConnect, waits_for_a_domain_that_is_made_later) {
    const ScratchDomain domain;
    Server server;
    RetryReport report;
    const auto client = connect(domain.uri(),
                                {.retry = usual([&, naps = 0]() mutable {
                                     if (++naps == 2) {
                                         server = domain.open();
                                     }
                                 }),
                                 .retry_report = &report});
    ASSERT_TRUE(client) << to_string(client.error());
    EXPECT_EQ(report.attempts, 3U);
    EXPECT_EQ(report.failures[0].error.status, Status::domain_not_found);
}

TEST(RetryConnect, waits_for_a_bridge_that_is_started_later) {
    const ScratchDomain domain;
    const Server server = domain.open();
    const std::string path = "/tmp/telpher-" + test::unique_name() + ".sock";
    Bridge bridge;
    RetryReport report;
    auto client =
        connect("unix:" + path,
                {.retry = usual([&, naps = 0]() mutable {
                     if (++naps == 2) {
                         BridgeOptions options;
                         options.unix_path = path;
                         bridge = Bridge::start(connect(domain.uri()).value(), options).value();
                     }
                 }),
                 .retry_report = &report});
    ASSERT_TRUE(client) << to_string(client.error());
    EXPECT_EQ(report.attempts, 3U);
    EXPECT_EQ(report.failures[0].error.status, Status::disconnected);
    client->close();
    bridge.stop();
}

TEST(RetryConnect, gives_up_and_says_how_often_it_tried) {
    const ScratchDomain nobody;
    const auto failed = connect(nobody.uri(), {.retry = usual()});
    EXPECT_EQ(failed.status(), Status::domain_not_found);
    EXPECT_NE(failed.error().detail.find("4 attempts in 700 ms, attempts_max is 4"),
              std::string::npos)
        << failed.error().detail;
    EXPECT_EQ(connect("shm:no/name", {.retry = usual()}).error().detail.find("attempt"),
              std::string::npos)
        << "a mistake is no reason to try again";
}

TEST(RetryServer, has_a_policy_for_its_handles_too) {
    const ScratchDomain domain;
    EXPECT_EQ(Server::open(domain.name(), {.retry = RetryPolicy{.attempts_max = 0}}).status(),
              Status::bad_request);
    Queue consumer;
    Server server = domain.open(
        {.limits = test::small_limits(), .retry = usual([&] { EXPECT_TRUE(consumer.poll()); })});
    Queue queue = server.create_queue("q", {.capacity = 1}).value();
    consumer = queue;
    ASSERT_TRUE(queue.offer(Message::text("t", "1")));
    EXPECT_TRUE(queue.offer(Message::text("t", "2")));
    EXPECT_TRUE(server.queue("q")->offer(Message::text("t", "3")));
    Queue temporary = server.create_temporary_queue({.capacity = 1}).value();
    consumer = temporary;
    ASSERT_TRUE(temporary.offer(Message::text("t", "1")));
    EXPECT_TRUE(temporary.offer(Message::text("t", "2")));
    const Function served =
        server.serve("echo", [](const Message& request) { return request; }).value();
    EXPECT_TRUE(server.send("echo", Message::text("t", "1"), 10s));
    server.close();
}

TEST(RetrySystemClock, sleeps_as_long_as_it_is_told_unless_it_is_closed) {
    detail::SystemClock clock;
    test::Stopwatch watch;
    const Duration began = clock.now();
    clock.sleep(20ms, {});
    EXPECT_GE(watch.elapsed(), 20ms);
    EXPECT_GE(clock.now() - began, 20ms);
    std::thread closes([&] {
        std::this_thread::sleep_for(test::kAsleep);
        clock.close();
    });
    clock.sleep(1h, {});
    closes.join();
    EXPECT_LT(watch.elapsed(), 10s);
    clock.sleep(1h, {});
    EXPECT_LT(watch.elapsed(), 10s) << "nor does anybody sleep later";
}

TEST(RetrySystemClock, gives_each_thread_other_numbers) {
    detail::SystemClock clock;
    std::vector<std::vector<std::uint64_t>> numbers(4);
    std::vector<std::thread> threads;
    for (auto& mine : numbers) {
        threads.emplace_back([&] {
            for (int i = 0; i < 1000; ++i) {
                mine.push_back(clock.random());
            }
        });
    }
    std::set<std::uint64_t> all;
    for (std::size_t t = 0; t < threads.size(); ++t) {
        threads[t].join();
        all.insert(numbers[t].begin(), numbers[t].end());
    }
    EXPECT_EQ(all.size(), 4000U);
    detail::SystemClock another;
    EXPECT_FALSE(all.contains(another.random()));
}

TEST(Retrier, knows_a_bounded_number_of_destinations_and_forgets_the_oldest) {
    Retrier retrier({});
    const auto first = retrier.destination(RetryKind::call, "f");
    EXPECT_EQ(retrier.destination(RetryKind::oneway, "f"), first) << "one function";
    EXPECT_NE(retrier.destination(RetryKind::offer, "f"), first) << "a queue of that name";
    EXPECT_EQ(retrier.destination(RetryKind::connect, "f"), nullptr);
    for (std::size_t i = 0; i < 2 * detail::kRetryDestinationsMax; ++i) {
        static_cast<void>(retrier.destination(RetryKind::call, "g" + std::to_string(i)));
        if (i % 100 == 0) {
            EXPECT_EQ(retrier.destination(RetryKind::call, "f"), first) << "it is in use";
        }
    }
    for (std::size_t i = 0; i < detail::kRetryDestinationsMax; ++i) {
        static_cast<void>(retrier.destination(RetryKind::call, "h" + std::to_string(i)));
    }
    EXPECT_NE(retrier.destination(RetryKind::call, "f"), first);
}

TEST(Retrier, may_be_used_by_many_threads) {
    const ScratchDomain domain;
    Server server = domain.open();
    const Queue made = server.create_queue("full", {.capacity = 1}).value();
    ASSERT_TRUE(Queue(made).offer(Message::text("t", "1")));
    Client client =
        connect(domain.uri(), {.retry = RetryPolicy{.base = 1us, .cap = 10us, .breaker = {}}})
            .value();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&client] {
            Queue queue = client.queue("full").value();
            for (int i = 0; i < 200; ++i) {
                EXPECT_EQ(queue.offer(Message::text("t", "2")).status(), Status::queue_full);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

TEST(Retrier, in_a_forked_child_makes_one_attempt_that_answers_forked) {
    const ScratchDomain domain;
    Server server = domain.open();
    const Queue made = server.create_queue("q").value();
    int naps = 0;
    Client client = connect(domain.uri(), {.retry = usual([&] { ++naps; })}).value();
    Queue queue = client.queue("q").value();
    const Message message = Message::text("t", "1");
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        const bool well = queue.offer(message).status() == Status::forked &&
                          client.send("f", message, 1s).status() == Status::forked && naps == 0;
        client.close();
        _exit(well ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace telpher

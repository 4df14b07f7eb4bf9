// A consumer with a handler: how it begins and ends. What it does with messages: remote_consumer_test.cpp.

#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

// The names of this process' threads.
std::multiset<std::string> thread_names() {
    std::multiset<std::string> names;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string name;
        std::getline(std::ifstream(task.path() / "comm"), name);
        names.insert(name);
    }
    return names;
}

class ConsumerTest : public ::testing::Test {
  protected:
    void offer(const std::string& text = "x") {
        EXPECT_TRUE(queue_.offer(Message::text("n", text)));
    }
    static void nothing(const Delivery& /*delivery*/) {}

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ =
        server_
            .create_queue("q",
                          {.capacity = 16, .delivery = DeliveryMode::at_least_once, .lease = 200ms})
            .value();
};

TEST_F(ConsumerTest, absurd_options_are_refused_by_name) {
    const auto refusal = [this](const ConsumeOptions& options) {
        const auto made = queue_.consume(nothing, options);
        EXPECT_EQ(made.status(), Status::bad_request);
        return made.error().detail;
    };
    EXPECT_EQ(refusal({.threads = 0}), "threads is 0, allowed are 1 to 64");
    EXPECT_EQ(refusal({.threads = 65}), "threads is 65, allowed are 1 to 64");
    EXPECT_EQ(refusal({.prefetch = 0}), "prefetch is 0, allowed are 1 to 256");
    EXPECT_EQ(refusal({.prefetch = 257}), "prefetch is 257, allowed are 1 to 256");
    EXPECT_EQ(refusal({.retry_after = -1ns}), "retry_after is -1, allowed are 0 ns to 365 days");
    EXPECT_EQ(refusal({.retry_after = 24h * 366}).substr(0, 14), "retry_after is");
    EXPECT_EQ(Queue().consume(nothing).status(), Status::closed);
}

TEST_F(ConsumerTest, has_its_threads_and_no_more_and_ends_them) {
    {
        Consumer consumer = queue_.consume(nothing, {.threads = 2}).value();
        // Each names itself when it first runs.
        const auto names = [] {
            const auto all = thread_names();
            return all.count("telpher-consume") + all.count("telpher-extend");
        };
        for (int i = 0; i < 5000 && names() < 3; ++i) {
            std::this_thread::sleep_for(1ms);
        }
        EXPECT_EQ(thread_names().count("telpher-consume"), 2U);
        EXPECT_EQ(thread_names().count("telpher-extend"), 1U);
    }
    EXPECT_EQ(thread_names().count("telpher-consume"), 0U);
    EXPECT_EQ(thread_names().count("telpher-extend"), 0U);
    Queue once = server_.create_queue("once", {.capacity = 4}).value();
    Consumer consumer = once.consume(nothing).value();
    EXPECT_EQ(thread_names().count("telpher-extend"), 0U) << "there are no leases";
}

TEST_F(ConsumerTest, may_stop_itself_and_be_destroyed_in_its_handler) {
    std::optional<Consumer> consumer;
    std::promise<void> ready;
    std::promise<void> stopped;
    consumer = queue_
                   .consume([&](const Delivery& /*delivery*/) {
                       ready.get_future().wait();
                       consumer->stop();
                       consumer.reset();
                       stopped.set_value();
                   })
                   .value();
    ready.set_value();
    offer();
    stopped.get_future().get();
    for (int i = 0; i < 5000 && queue_.status().value().leased != 0; ++i) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(queue_.status().value().leased, 0U) << "acknowledged all the same";
    for (int i = 0; i < 5000 && thread_names().count("telpher-consume") != 0; ++i) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(thread_names().count("telpher-consume"), 0U);
}

TEST_F(ConsumerTest, ends_with_its_queue_handle_and_with_its_server) {
    std::atomic<int> ends{0};
    ConsumeOptions options;
    options.on_end = [&](const Error& why) {
        EXPECT_EQ(why.status, Status::closed);
        ++ends;
    };
    Consumer first = queue_.consume(nothing, options).value();
    Queue other = server_.queue("q").value();
    Consumer second = other.consume(nothing, options).value();
    queue_.close();
    for (int i = 0; i < 5000 && first.running(); ++i) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_FALSE(first.running());
    EXPECT_TRUE(second.running());
    server_.close();
    second.stop();
    for (int i = 0; i < 5000 && ends != 2; ++i) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_GE(ends, 1);
}

TEST_F(ConsumerTest, keeps_its_connection_when_all_other_handles_are_gone) {
    std::promise<std::string> text;
    Consumer consumer =
        queue_.consume([&](const Message& message) { text.set_value(std::string(message.text())); })
            .value();
    queue_ = {};
    server_ = {};
    Server other = domain_.open();
    EXPECT_TRUE(other.queue("q").value().offer(Message::text("n", "still here")));
    EXPECT_EQ(text.get_future().get(), "still here");
}

TEST_F(ConsumerTest, in_a_forked_child_does_nothing) {
    std::promise<void> handled;
    auto consumer = std::make_unique<Consumer>(
        queue_.consume([&](const Delivery& /*delivery*/) { handled.set_value(); }).value());
    std::this_thread::sleep_for(30ms);  // its threads sleep
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        const bool running = consumer->running();
        consumer->stop();
        consumer.reset();
        _exit(running ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    offer();
    handled.get_future().get();
    EXPECT_TRUE(consumer->running());
}

}  // namespace
}  // namespace telpher::test

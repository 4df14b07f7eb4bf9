// Subscriptions with a handler: where it runs, what it may do, how it ends.

#include "telpher/topic.hpp"

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/topic_fixture.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class TopicHandler : public testing::Test {
  protected:
    template <typename Condition>
    static void wait_for(Condition&& condition) {
        const auto end = std::chrono::steady_clock::now() + 20s;
        while (!condition() && std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(1ms);
        }
        EXPECT_TRUE(condition());
    }
    ScratchDomain domain_;
    Server server_ = domain_.open();
};

TEST_F(TopicHandler, runs_for_each_message_in_order_on_one_thread_of_its_own) {
    std::vector<std::string> seen;
    std::set<std::thread::id> threads;
    std::atomic<int> count{0};
    {
        auto subscription = server_
                                .subscribe("price",
                                           [&](const Message& message) {
                                               seen.emplace_back(message.text());
                                               threads.insert(std::this_thread::get_id());
                                               ++count;
                                           })
                                .value();
        for (int i = 0; i < 100; ++i) {
            ASSERT_TRUE(server_.publish(price(i)));
        }
        wait_for([&] { return count == 100; });
        EXPECT_EQ(subscription.status().received, 100U);
        EXPECT_EQ(subscription.next().status(), Status::bad_request);
    }
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(seen[static_cast<std::size_t>(i)], std::to_string(i));
    }
    EXPECT_EQ(threads.size(), 1U);
    EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

TEST_F(TopicHandler, may_take_samples_in_place) {
    std::atomic<std::uint64_t> last{0};
    auto subscription =
        server_.subscribe("price", [&](const Sample& sample) { last = sample.sequence(); }).value();
    ASSERT_TRUE(server_.publish(price(1)));
    ASSERT_TRUE(server_.publish(price(2)));
    wait_for([&] { return last == 2; });
}

TEST_F(TopicHandler, that_throws_is_counted_and_told_and_called_again) {
    std::atomic<int> calls{0};
    std::mutex mutex;
    std::vector<std::string> errors;
    SubscribeOptions options;
    options.on_error = [&](std::string_view text) {
        const std::lock_guard hold(mutex);
        errors.emplace_back(text);
    };
    auto subscription = server_
                            .subscribe(
                                "price",
                                [&](const Message& message) {
                                    ++calls;
                                    if (message.text() == "1") {
                                        throw std::runtime_error("no milk");
                                    }
                                    if (message.text() == "2") {
                                        throw 7;  // NOLINT(hicpp-exception-baseclass)
                                    }
                                },
                                options)
                            .value();
    for (int i = 1; i <= 3; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    wait_for([&] { return calls == 3; });
    EXPECT_EQ(subscription.status().handler_errors, 2U);
    const std::lock_guard hold(mutex);
    ASSERT_EQ(errors.size(), 2U);
    EXPECT_EQ(errors[0], "no milk");
}

TEST_F(TopicHandler, unsubscribing_waits_for_a_handler_that_runs) {
    std::atomic<bool> entered{false};
    std::atomic<bool> left{false};
    auto subscription = server_
                            .subscribe("price",
                                       [&](const Message&) {
                                           entered = true;
                                           std::this_thread::sleep_for(50ms);
                                           left = true;
                                       })
                            .value();
    ASSERT_TRUE(server_.publish(price(1)));
    wait_for([&] { return entered.load(); });
    subscription.unsubscribe();
    EXPECT_TRUE(left);
    ASSERT_TRUE(server_.publish(price(2)));
    left = false;
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(left);
    EXPECT_FALSE(subscription.status().running);
}

TEST_F(TopicHandler, may_unsubscribe_itself) {
    std::atomic<int> calls{0};
    Subscription subscription;
    std::atomic<bool> assigned{false};
    subscription = server_
                       .subscribe("price",
                                  [&](const Message&) {
                                      while (!assigned) {
                                          std::this_thread::yield();
                                      }
                                      ++calls;
                                      subscription.unsubscribe();
                                  })
                       .value();
    assigned = true;
    ASSERT_TRUE(server_.publish(price(1)));
    ASSERT_TRUE(server_.publish(price(2)));
    wait_for([&] { return calls == 1; });
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(calls, 1);
}

TEST_F(TopicHandler, may_destroy_its_subscription) {
    std::atomic<int> calls{0};
    auto subscription = std::make_unique<Subscription>();
    std::atomic<bool> assigned{false};
    *subscription = server_
                        .subscribe("price",
                                   [&](const Message&) {
                                       while (!assigned) {
                                           std::this_thread::yield();
                                       }
                                       subscription.reset();
                                       ++calls;
                                   })
                        .value();
    assigned = true;
    ASSERT_TRUE(server_.publish(price(1)));
    wait_for([&] { return calls == 1; });
}

TEST_F(TopicHandler, may_publish_and_subscribe) {
    std::atomic<int> inner{0};
    std::atomic<int> outer{0};
    std::vector<Subscription> made;
    auto subscription =
        server_
            .subscribe(
                "price",
                [&](const Message& message) {
                    if (made.empty()) {
                        made.push_back(
                            server_.subscribe("echo", [&](const Message&) { ++inner; }).value());
                    }
                    ASSERT_TRUE(
                        server_.publish(Message::text("echo", std::string(message.text()))));
                    ++outer;
                })
            .value();
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    wait_for([&] { return outer == 10 && inner == 10; });
    subscription.unsubscribe();
}

// A pool of one thread.
class Executor {
  public:
    Executor() : thread_([this] { run(); }) {}
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;
    ~Executor() {
        {
            const std::lock_guard hold(mutex_);
            ended_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    void post(std::function<void()> task) {
        {
            const std::lock_guard hold(mutex_);
            tasks_.push_back(std::move(task));
        }
        changed_.notify_all();
    }
    [[nodiscard]] std::thread::id id() const { return thread_.get_id(); }

  private:
    void run() {
        std::unique_lock hold(mutex_);
        for (;;) {
            changed_.wait(hold, [this] { return ended_ || !tasks_.empty(); });
            if (tasks_.empty()) {
                return;
            }
            auto task = std::move(tasks_.front());
            tasks_.pop_front();
            hold.unlock();
            task();
            hold.lock();
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> tasks_;
    bool ended_ = false;
    std::thread thread_;
};

TEST_F(TopicHandler, runs_on_an_executor_if_there_is_one) {
    Executor executor;
    std::atomic<int> calls{0};
    std::atomic<bool> elsewhere{false};
    SubscribeOptions options;
    options.executor = [&executor](std::function<void()> task) { executor.post(std::move(task)); };
    auto subscription = server_
                            .subscribe(
                                "price",
                                [&](const Message& message) {
                                    elsewhere =
                                        elsewhere || std::this_thread::get_id() != executor.id();
                                    EXPECT_EQ(message.text(), std::to_string(calls++));
                                },
                                options)
                            .value();
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    wait_for([&] { return calls == 50; });
    EXPECT_FALSE(elsewhere);
    subscription.unsubscribe();
}

TEST_F(TopicHandler, is_told_why_it_ended) {
    std::atomic<int> status{-1};
    SubscribeOptions options;
    options.on_end = [&](const Error& error) { status = static_cast<int>(error.status); };
    auto subscription = server_
                            .subscribe(
                                "price", [](const Message&) {}, options)
                            .value();
    ASSERT_TRUE(server_.remove_topic("price"));
    wait_for([&] { return status == static_cast<int>(Status::topic_not_found); });
    EXPECT_FALSE(subscription.status().running);
}

TEST_F(TopicHandler, ends_with_its_client) {
    auto client = connect(domain_.uri()).value();
    std::atomic<bool> ended{false};
    SubscribeOptions options;
    options.on_end = [&](const Error& error) { ended = error.status == Status::closed; };
    auto subscription = client
                            .subscribe(
                                "price", [](const Message&) {}, options)
                            .value();
    client.close();
    wait_for([&] { return ended.load(); });
}

TEST_F(TopicHandler, of_many_subscribers_all_see_one_order_of_many_publishers) {
    constexpr int kPublishers = 3;
    constexpr int kEach = 2000;
    ASSERT_TRUE(server_.create_topic("price", {.capacity = 64, .slow = SlowSubscriber::block}));
    std::vector<std::vector<std::string>> seen(3);
    std::atomic<int> count{0};
    std::vector<Subscription> subscriptions;
    for (auto& mine : seen) {
        subscriptions.push_back(server_
                                    .subscribe("price",
                                               [&](const Message& message) {
                                                   mine.emplace_back(message.text());
                                                   ++count;
                                               })
                                    .value());
    }
    std::vector<std::thread> publishers;
    for (int p = 0; p < kPublishers; ++p) {
        publishers.emplace_back([this, p] {
            for (int i = 0; i < kEach; ++i) {
                ASSERT_TRUE(server_.publish(price(p * kEach + i), 60s));
            }
        });
    }
    for (auto& publisher : publishers) {
        publisher.join();
    }
    wait_for([&] { return count == 3 * kPublishers * kEach; });
    subscriptions.clear();
    EXPECT_EQ(seen[0].size(), static_cast<std::size_t>(kPublishers * kEach));
    EXPECT_EQ(seen[0], seen[1]);
    EXPECT_EQ(seen[1], seen[2]);
}

TEST_F(TopicHandler, in_a_forked_child_does_nothing) {
    auto subscription = server_.subscribe("price").value();
    ASSERT_TRUE(server_.publish(Message::text("price", std::string(5000, 'x'))));
    auto sample = std::make_unique<Sample>(subscription.next().value());
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        const bool right = subscription.next().status() == Status::forked &&
                           server_.publish(price(1)).status() == Status::forked;
        subscription.unsubscribe();
        sample.reset();
        _exit(right ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT_EQ(sample->text().size(), 5000U);
    ASSERT_TRUE(server_.publish(price(2)));
    EXPECT_EQ(subscription.next()->text(), "2");
}

}  // namespace
}  // namespace telpher::test

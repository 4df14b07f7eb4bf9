// co_await on futures, and what coroutines may do on the parker thread.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/fire_and_forget.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <pthread.h>

#include <csignal>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

std::string thread_name() {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    return name;
}

class AsyncCoroutine : public testing::Test {
  protected:
    // Parameters, not captures: they live in the coroutine.
    static FireAndForget poll_once(Queue queue, std::promise<std::string>* done) {
        auto delivery = co_await queue.poll_async(60s);
        done->set_value(delivery ? std::string(delivery->text()) + " on " + thread_name()
                                 : std::string(to_string(delivery.status())));
    }
    static std::string wait_for(std::promise<std::string>& done) {
        auto future = done.get_future();
        return future.wait_for(30s) == std::future_status::ready ? future.get() : "never";
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 8}).value();
    Queue other_ = server_.create_queue("other", {.capacity = 1}).value();
    std::promise<std::string> done_;
};

TEST_F(AsyncCoroutine, goes_on_at_once_when_the_result_is_there) {
    ASSERT_TRUE(queue_.offer(note("x")));
    poll_once(queue_, &done_);
    EXPECT_EQ(wait_for(done_), "x on " + thread_name());
}

TEST_F(AsyncCoroutine, is_resumed_on_the_parker_thread) {
    poll_once(queue_, &done_);
    ASSERT_TRUE(queue_.offer(note("x")));
    EXPECT_EQ(wait_for(done_), "x on telpher-parker");
}

TEST_F(AsyncCoroutine, runs_where_all_signals_are_blocked) {
    bool blocked = false;
    [](Queue queue, bool* is_blocked, std::promise<std::string>* done) -> FireAndForget {
        static_cast<void>(co_await queue.poll_async(60s));
        sigset_t set;
        pthread_sigmask(SIG_SETMASK, nullptr, &set);
        *is_blocked = sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGUSR1) == 1;
        done->set_value("");
    }(queue_, &blocked, &done_);
    ASSERT_TRUE(queue_.offer(note("x")));
    EXPECT_EQ(wait_for(done_), "");
    EXPECT_TRUE(blocked);
}

TEST_F(AsyncCoroutine, is_resumed_by_time_by_close_by_removal_and_by_cancellation) {
    std::promise<std::string> timed_out;
    [](Queue queue, std::promise<std::string>* done) -> FireAndForget {
        const auto polled = co_await queue.poll_async(10ms);
        done->set_value(std::string(to_string(polled.status())));
    }(queue_, &timed_out);
    EXPECT_EQ(wait_for(timed_out), "timed_out");
    std::promise<std::string> removed;
    poll_once(queue_, &removed);
    ASSERT_TRUE(server_.remove_queue("q"));
    EXPECT_EQ(wait_for(removed), "queue_not_found");
    std::promise<std::string> cancelled;
    std::stop_source stop;
    [](Queue queue, std::stop_token token, std::promise<std::string>* done) -> FireAndForget {
        const auto polled = co_await queue.poll_async(60s, token);
        done->set_value(std::string(to_string(polled.status())) + " on " + thread_name());
    }(other_, stop.get_token(), &cancelled);
    stop.request_stop();
    EXPECT_EQ(wait_for(cancelled), "cancelled on telpher-parker");
    std::promise<std::string> closed;
    poll_once(other_, &closed);
    server_.close();
    EXPECT_EQ(wait_for(closed), "closed");
}

// Goal: a consumer and a producer that meet at a queue of capacity 1, both coroutines on one thread.
TEST_F(AsyncCoroutine, thousands_of_steps_go_through_a_queue_of_capacity_1) {
    constexpr int kCount = 5'000;
    [](Queue queue) -> FireAndForget {
        for (int i = 0; i < kCount; ++i) {
            if (!co_await queue.offer_async(note(std::to_string(i)), 60s)) {
                co_return;
            }
        }
    }(other_);
    [](Queue queue, std::promise<std::string>* done) -> FireAndForget {
        for (int i = 0; i < kCount; ++i) {
            const auto delivery = co_await queue.poll_async(60s);
            if (!delivery || delivery->text() != std::to_string(i)) {
                done->set_value("wrong at " + std::to_string(i));
                co_return;
            }
        }
        done->set_value("all");
    }(other_, &done_);
    EXPECT_EQ(wait_for(done_), "all");
}

TEST_F(AsyncCoroutine, may_start_more_operations_than_can_be_submitted_at_once) {
    [](Queue queue, std::promise<std::string>* done) -> FireAndForget {
        static_cast<void>(co_await queue.poll_async(60s));
        std::vector<Future<Delivery>> many;
        for (int i = 0; i < 5'000; ++i) {
            many.push_back(queue.poll_async(60s));
        }
        const bool sent = queue.offer(note("for the first")).has_value();
        const auto first = many[0].get(60s);  // waits on the parker thread itself
        many.clear();
        done->set_value(sent && first ? std::string(first->text()) : "nothing");
    }(queue_, &done_);
    ASSERT_TRUE(queue_.offer(note("start")));
    EXPECT_EQ(wait_for(done_), "for the first");
}

TEST_F(AsyncCoroutine, may_block_in_other_calls_of_the_library) {
    [](Queue queue, std::promise<std::string>* done) -> FireAndForget {
        static_cast<void>(co_await queue.poll_async(60s));
        const auto late = queue.poll(60s);
        done->set_value(late ? std::string(late->text()) : "nothing");
    }(queue_, &done_);
    ASSERT_TRUE(queue_.offer(note("start")));
    std::this_thread::sleep_for(kAsleep);
    ASSERT_TRUE(queue_.offer(note("late")));
    EXPECT_EQ(wait_for(done_), "late");
}

TEST_F(AsyncCoroutine, may_close_its_queue_and_its_server) {
    auto pending = other_.poll_async(60s);
    [](Queue queue, Server server, std::promise<std::string>* done) -> FireAndForget {
        static_cast<void>(co_await queue.poll_async(60s));
        auto mine = queue.poll_async(60s);
        queue.close();
        const std::string queue_closed(to_string(mine.get(60s).status()));
        server.close();
        done->set_value(queue_closed);
    }(queue_, server_, &done_);
    ASSERT_TRUE(queue_.offer(note("x")));
    EXPECT_EQ(wait_for(done_), "closed");
    EXPECT_EQ(pending.get(60s).status(), Status::closed);
}

// Goal: the last handle of the domain ends on the parker thread, which ends itself then.
TEST_F(AsyncCoroutine, may_hold_the_last_handle_of_its_domain) {
    for (int round = 0; round < 20; ++round) {
        std::promise<std::string> done;
        Client client = connect(domain_.uri()).value();
        std::optional<Queue> last(client.queue("q").value());
        client = Client{};
        poll_once(std::move(*last), &done);
        last.reset();
        ASSERT_TRUE(queue_.offer(note("x")));
        EXPECT_EQ(wait_for(done), "x on telpher-parker");
    }
    EXPECT_TRUE(server_.running());
}

TEST_F(AsyncCoroutine, destroyed_while_it_waits_is_not_resumed) {
    struct Task {
        struct promise_type {
            Task get_return_object() {
                return {std::coroutine_handle<promise_type>::from_promise(*this)};
            }
            std::suspend_never initial_suspend() noexcept { return {}; }
            std::suspend_always final_suspend() noexcept { return {}; }
            void return_void() noexcept {}
            void unhandled_exception() noexcept { std::terminate(); }
        };
        std::coroutine_handle<promise_type> handle;
    };
    int resumed = 0;
    for (int round = 0; round < 200; ++round) {
        const Task task = [](Queue queue, int* count) -> Task {
            static_cast<void>(co_await queue.poll_async(60s));
            ++*count;
        }(queue_, &resumed);
        task.handle.destroy();
        ASSERT_TRUE(queue_.offer(note("x")));
        EXPECT_TRUE(queue_.poll()) << "it took nothing";
    }
    EXPECT_EQ(resumed, 0);
}

}  // namespace
}  // namespace telpher::test

// Queue::fd in an epoll loop.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/sanitizers.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>

namespace telpher::test {
namespace {

bool readable(int descriptor, std::chrono::milliseconds patience) {
    pollfd wait{descriptor, POLLIN, 0};
    return poll(&wait, 1, static_cast<int>(patience.count())) == 1 && (wait.revents & POLLIN) != 0;
}

class Epoll {
  public:
    explicit Epoll(int descriptor) {
        epoll_event event{};
        event.events = EPOLLIN;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
    }
    Epoll(const Epoll&) = delete;
    Epoll& operator=(const Epoll&) = delete;
    ~Epoll() { close(epoll_); }
    [[nodiscard]] bool wait(std::chrono::milliseconds patience) const {
        epoll_event event{};
        return epoll_wait(epoll_, &event, 1, static_cast<int>(patience.count())) == 1;
    }

  private:
    int epoll_ = epoll_create1(EPOLL_CLOEXEC);
};

class Fd : public testing::Test {
  protected:
    // Consumes `count` messages as an epoll loop does; in the order of their numbers.
    void consume(int count, std::chrono::milliseconds longest) {
        const Epoll epoll(queue_.fd().value());
        int expected = 0;
        while (expected < count) {
            ASSERT_TRUE(epoll.wait(longest)) << "missed a message after " << expected;
            for (;;) {
                const auto delivery = queue_.poll();
                if (!delivery) {
                    ASSERT_EQ(delivery.status(), Status::queue_empty);
                    break;
                }
                ASSERT_EQ(delivery->text(), std::to_string(expected));
                ++expected;
            }
        }
    }
    static void produce(Queue queue, int count) {
        std::mt19937_64 random(20'261'121);
        for (int i = 0; i < count; ++i) {
            EXPECT_TRUE(queue.offer(note(std::to_string(i)), 60s));
            if (random() % 8 == 0) {
                std::this_thread::sleep_for(std::chrono::microseconds(random() % 100));
            }
        }
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 16}).value();
};

TEST_F(Fd, a_batch_that_finds_the_queue_empty_makes_it_quiet_too) {
    const int descriptor = queue_.fd().value();
    ASSERT_TRUE(queue_.offer(note("1")));
    ASSERT_TRUE(readable(descriptor, 60s));
    ASSERT_EQ(queue_.poll_n(10).value().size(), 1U);
    ASSERT_EQ(queue_.poll_n(10).status(), Status::queue_empty);
    EXPECT_FALSE(readable(descriptor, 100ms));
    ASSERT_TRUE(queue_.offer(note("2")));
    EXPECT_TRUE(readable(descriptor, 60s));
}

TEST_F(Fd, is_an_eventfd_of_the_handle_and_closes_with_it) {
    const int descriptor = queue_.fd().value();
    EXPECT_EQ(queue_.fd().value(), descriptor);
    EXPECT_NE(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(fcntl(descriptor, F_GETFL) & O_NONBLOCK, 0);
    queue_ = Queue{};
    EXPECT_EQ(fcntl(descriptor, F_GETFD), -1);
}

TEST_F(Fd, is_readable_while_there_are_messages_and_quiet_after_a_poll_found_none) {
    const int descriptor = queue_.fd().value();
    EXPECT_FALSE(readable(descriptor, kAsleep));
    ASSERT_TRUE(queue_.offer(note("1")));
    ASSERT_TRUE(queue_.offer(note("2")));
    EXPECT_TRUE(readable(descriptor, 5s));
    EXPECT_TRUE(queue_.poll());
    EXPECT_TRUE(readable(descriptor, 0ms)) << "until a poll finds it empty";
    EXPECT_TRUE(queue_.poll());
    EXPECT_EQ(queue_.poll().status(), Status::queue_empty);
    EXPECT_FALSE(readable(descriptor, kAsleep));
    ASSERT_TRUE(queue_.offer(note("3")));
    EXPECT_TRUE(readable(descriptor, 5s));
}

TEST_F(Fd, is_readable_at_once_for_what_was_there_before) {
    ASSERT_TRUE(queue_.offer(note("1")));
    EXPECT_TRUE(readable(queue_.fd().value(), 5s));
}

TEST_F(Fd, stays_readable_after_close_removal_and_end_of_the_domain) {
    Queue closed = server_.queue("q").value();
    Queue other = server_.create_queue("other").value();
    Queue last = server_.create_queue("last").value();
    const int of_closed = closed.fd().value();
    const int of_other = other.fd().value();
    const int of_last = last.fd().value();
    std::this_thread::sleep_for(kAsleep);
    closed.close();
    EXPECT_TRUE(readable(of_closed, 5s));
    EXPECT_EQ(closed.poll().status(), Status::closed);
    EXPECT_TRUE(readable(of_closed, 0ms));
    EXPECT_EQ(closed.fd().status(), Status::closed);
    ASSERT_TRUE(server_.remove_queue("other"));
    EXPECT_TRUE(readable(of_other, 5s));
    EXPECT_EQ(other.poll().status(), Status::queue_not_found);
    EXPECT_FALSE(readable(of_last, 0ms));
    ASSERT_TRUE(server_.remove_domain());
    EXPECT_TRUE(readable(of_last, 5s));
    EXPECT_EQ(last.poll().status(), Status::domain_removed);
    EXPECT_EQ(Queue{}.fd().status(), Status::closed);
}

TEST_F(Fd, is_readable_when_the_server_is_closed) {
    const int descriptor = queue_.fd().value();
    server_.close();
    EXPECT_TRUE(readable(descriptor, 5s));
}

// The descriptor's watcher is woken for a message and takes nothing: whoever blocks hears of it.
TEST_F(Fd, keeps_no_wake_from_a_blocking_consumer) {
    Queue other = connect(domain_.uri()).value().queue("q").value();
    ASSERT_TRUE(queue_.fd());
    for (int round = 0; round < 30; ++round) {
        std::jthread consumer([&other] {
            const Stopwatch watch;
            EXPECT_TRUE(other.poll(60s));
            EXPECT_LT(watch.elapsed(), kPromptly);
        });
        std::this_thread::sleep_for(2ms);
        EXPECT_TRUE(queue_.offer(note("x")));
        consumer.join();
        EXPECT_EQ(queue_.poll().status(), Status::queue_empty);
    }
}

TEST_F(Fd, an_epoll_loop_misses_nothing_of_a_producer_thread) {
    constexpr int kCount = kThreadSanitizer ? 5'000 : 50'000;
    std::jthread producer([this] { produce(queue_, kCount); });
    consume(kCount, 30s);
}

TEST_F(Fd, an_epoll_loop_misses_nothing_of_a_producer_process) {
    if (kThreadSanitizer) {
        GTEST_SKIP() << "ThreadSanitizer does not let a forked child start threads; runs in the "
                        "presets release and asan";
    }
    constexpr int kCount = 20'000;
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        auto client = connect(domain_.uri());
        auto queue = client ? client->queue("q") : Result<Queue>(client.error());
        if (!queue) {
            _exit(1);
        }
        produce(*queue, kCount);
        _exit(0);
    }
    consume(kCount, 30s);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace telpher::test

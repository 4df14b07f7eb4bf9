// Queue::fd and WaitSet, alike on the host and through a bridge.

#include "telpher/telpher.hpp"
#include "telpher/wait.hpp"

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using Keys = std::vector<std::size_t>;

Message note(std::string_view text) { return Message::text("t", text); }

bool readable(int descriptor, std::chrono::milliseconds patience) {
    pollfd wait{descriptor, POLLIN, 0};
    return ::poll(&wait, 1, static_cast<int>(patience.count())) == 1 &&
           (wait.revents & POLLIN) != 0;
}

class RemoteReady : public test::Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        local_ = server.create_queue("q", {.capacity = 16}).value();
        queue_ = client.queue("q").value();
        local_full_ = server.create_queue("full", {.capacity = 1}).value();
        ASSERT_TRUE(local_full_.offer(note("first")));
        full_ = client.queue("full").value();
    }
    // Runs `end` while a wait sleeps; the wait must tell `expected`.
    template <typename End>
    void expect_woken(const Keys& expected, End end) {
        std::jthread other([&end] {
            std::this_thread::sleep_for(test::kAsleep);
            end();
        });
        const test::Stopwatch watch;
        EXPECT_EQ(set_.wait(60s).value(), expected);
        EXPECT_GE(watch.elapsed(), test::kAsleep / 2) << "nothing was ready before";
        EXPECT_LT(watch.elapsed(), kSoon);
    }

    Queue local_;
    Queue queue_;
    Queue local_full_;
    Queue full_;
    WaitSet set_;
};

TEST_P(RemoteReady, a_descriptor_is_readable_while_there_are_messages) {
    const int descriptor = queue_.fd().value();
    EXPECT_EQ(queue_.fd().value(), descriptor);
    EXPECT_NE(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_FALSE(readable(descriptor, test::kAsleep));
    ASSERT_TRUE(local_.offer(note("1")));
    ASSERT_TRUE(local_.offer(note("2")));
    EXPECT_TRUE(readable(descriptor, kSoon));
    EXPECT_TRUE(queue_.poll());
    EXPECT_TRUE(readable(descriptor, 0ms)) << "until a poll finds it empty";
    EXPECT_EQ(queue_.poll_n(10).value().size(), 1U);
    EXPECT_EQ(queue_.poll_n(10).status(), Status::queue_empty);
    EXPECT_FALSE(readable(descriptor, test::kAsleep));
    ASSERT_TRUE(local_.offer(note("3")));
    EXPECT_TRUE(readable(descriptor, kSoon));
    // Whoever is too late finds nothing, and hears of the next one.
    EXPECT_TRUE(local_.poll());
    EXPECT_EQ(queue_.poll().status(), Status::queue_empty);
    EXPECT_FALSE(readable(descriptor, test::kAsleep));
    ASSERT_TRUE(local_.offer(note("4")));
    EXPECT_TRUE(readable(descriptor, kSoon));
}

TEST_P(RemoteReady, a_descriptor_stays_readable_after_the_end_and_closes_with_its_handle) {
    Queue other = client.queue("q").value();
    const int closed = other.fd().value();
    EXPECT_FALSE(readable(closed, test::kAsleep));
    other.close();
    EXPECT_TRUE(readable(closed, kSoon));
    EXPECT_EQ(other.poll().status(), Status::closed);
    EXPECT_EQ(other.fd().status(), Status::closed);
    other = Queue{};
    EXPECT_EQ(fcntl(closed, F_GETFD), -1);
    const int removed = queue_.fd().value();
    ASSERT_TRUE(server.remove_queue("q"));
    EXPECT_TRUE(readable(removed, kSoon));
    EXPECT_EQ(queue_.poll().status(), Status::queue_not_found);
    EXPECT_TRUE(readable(removed, kSoon));
    const int last = full_.fd().value();
    EXPECT_TRUE(readable(last, kSoon)) << "for what was there before";
    client.close();
    EXPECT_TRUE(readable(last, kSoon));
}

// A consumer as an epoll loop has it, beside one that polls away: none is missed.
TEST_P(RemoteReady, a_descriptor_misses_nothing_beside_another_consumer) {
    constexpr int kMessages = 400;
    std::atomic<int> polled{0};
    std::jthread producer([this] {
        for (int i = 0; i < kMessages; ++i) {
            EXPECT_TRUE(local_.offer(note(std::to_string(i)), 60s));
            std::this_thread::sleep_for(std::chrono::microseconds(i % 7 * 30));
        }
    });
    std::jthread thief([&] {
        while (polled < kMessages) {
            polled += local_.poll(1ms) ? 1 : 0;
        }
    });
    const int descriptor = queue_.fd().value();
    while (polled < kMessages) {
        if (readable(descriptor, 20ms)) {
            while (queue_.poll()) {
                ++polled;
            }
        }
    }
    EXPECT_EQ(polled, kMessages);
}

TEST_P(RemoteReady, a_set_tells_all_that_are_ready_without_waiting) {
    EXPECT_EQ(set_.add(queue_, Ready::message).value(), 0U);
    EXPECT_EQ(set_.add(full_, Ready::room).value(), 1U);
    EXPECT_EQ(set_.wait(0s).status(), Status::timed_out);
    EXPECT_EQ(set_.add(full_, Ready::message).value(), 2U);
    EXPECT_EQ(set_.add(queue_, Ready::room).value(), 3U);
    EXPECT_EQ(set_.wait(0s).value(), (Keys{2, 3}));
    EXPECT_EQ(set_.wait(0s).value(), (Keys{2, 3})) << "nothing was taken";
    ASSERT_TRUE(local_.offer(note("x")));
    EXPECT_EQ(set_.wait(0s).value(), (Keys{0, 2, 3}));
    EXPECT_TRUE(queue_.poll());
    EXPECT_EQ(set_.wait(0s).value(), (Keys{2, 3}));
}

TEST_P(RemoteReady, a_set_is_woken_by_a_message_by_room_and_by_a_future) {
    ASSERT_TRUE(set_.add(queue_, Ready::message));
    ASSERT_TRUE(set_.add(full_, Ready::room));
    Queue third = server.create_queue("third").value();
    auto polled = client.queue("third").value().poll_async(60s);
    ASSERT_TRUE(set_.add(polled));
    expect_woken({0}, [this] { EXPECT_TRUE(local_.offer(note("x"))); });
    EXPECT_TRUE(queue_.poll());
    expect_woken({1}, [this] { EXPECT_TRUE(local_full_.poll()); });
    ASSERT_TRUE(local_full_.offer(note("again")));
    expect_woken({2}, [&third] { EXPECT_TRUE(third.offer(note("y"))); });
    EXPECT_EQ(polled.get(0s)->text(), "y");
}

TEST_P(RemoteReady, a_set_is_woken_by_an_end) {
    ASSERT_TRUE(set_.add(queue_, Ready::message));
    ASSERT_TRUE(set_.add(full_, Ready::room));
    expect_woken({1}, [this] { EXPECT_TRUE(server.remove_queue("full")); });
    EXPECT_EQ(full_.offer(note("x")).status(), Status::queue_not_found);
    EXPECT_TRUE(set_.remove(1));
    expect_woken({0}, [this] { client.close(); });
    EXPECT_EQ(queue_.poll().status(), Status::closed);
}

TEST_P(RemoteReady, a_set_keeps_its_timeout_and_can_be_stopped) {
    ASSERT_TRUE(set_.add(queue_, Ready::message));
    const test::Stopwatch watch;
    EXPECT_EQ(set_.wait(30ms).status(), Status::timed_out);
    EXPECT_GE(watch.elapsed(), 30ms);
    std::stop_source stop;
    std::jthread other([&stop] {
        std::this_thread::sleep_for(test::kAsleep);
        stop.request_stop();
    });
    EXPECT_EQ(set_.wait(Duration::max(), stop.get_token()).status(), Status::cancelled);
    EXPECT_EQ(set_.wait(-1ns).status(), Status::bad_request);
    // What was asked before the timeout is answered behind it.
    ASSERT_TRUE(local_.offer(note("x")));
    EXPECT_EQ(set_.wait(60s).value(), (Keys{0}));
}

// What a client does not wait for any more is not waited for by its bridge.
TEST_P(RemoteReady, a_set_that_ends_leaves_the_queue_alone) {
    for (int round = 0; round < 20; ++round) {
        WaitSet set;
        ASSERT_TRUE(set.add(queue_, Ready::message));
        EXPECT_EQ(set.wait(1ms).status(), Status::timed_out);
    }
    ASSERT_TRUE(local_.offer(note("x")));
    EXPECT_EQ(queue_.poll(kSoon)->text(), "x");
}

class RemoteReadyOnly : public RemoteReady {};

TEST_P(RemoteReadyOnly, a_set_has_members_of_a_host_or_of_bridges) {
    ASSERT_TRUE(set_.add(queue_, Ready::message));
    EXPECT_EQ(set_.add(local_, Ready::message).status(), Status::bad_request);
    EXPECT_EQ(set_.add(local_.poll_async(60s)).status(), Status::bad_request);
    WaitSet local;
    ASSERT_TRUE(local.add(local_, Ready::message));
    EXPECT_EQ(local.add(queue_, Ready::message).status(), Status::bad_request);
    // Of any bridges.
    Client other = another_client();
    Queue elsewhere = other.queue("full").value();
    ASSERT_TRUE(set_.add(elsewhere, Ready::message));
    EXPECT_EQ(set_.wait(60s).value(), (Keys{1}));
}

TEST_P(RemoteReadyOnly, a_descriptor_is_not_raised_by_a_child_that_ends) {
    const int descriptor = queue_.fd().value();
    EXPECT_FALSE(readable(descriptor, test::kAsleep));
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        queue_ = Queue{};
        _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(readable(descriptor, test::kAsleep));
    ASSERT_TRUE(local_.offer(note("x")));
    EXPECT_TRUE(readable(descriptor, kSoon));
}

TEST_P(RemoteReadyOnly, timeouts_are_kept_while_a_connection_has_no_room) {
    const int descriptor = queue_.fd().value();
    ASSERT_TRUE(set_.add(queue_, Ready::message));
    // As many operations as a client may have, the WATCH of the descriptor among them.
    std::vector<Future<std::uint64_t>> offers(65'600);
    std::size_t begun = 0;
    for (auto& offer : offers) {
        offer = full_.offer_async(note("x"), begun < 65'535 ? Duration(60s) : Duration{});
        ++begun;
    }
    const test::Stopwatch watch;
    EXPECT_EQ(set_.wait(50ms).status(), Status::timed_out);
    EXPECT_EQ(set_.wait(0s).status(), Status::timed_out);
    EXPECT_FALSE(readable(descriptor, 0ms));
    queue_.close();
    EXPECT_LT(watch.elapsed(), kSoon);
}

INSTANTIATE_TEST_SUITE_P(Ways, RemoteReady, test::kAllWays, test::name_of_way);
INSTANTIATE_TEST_SUITE_P(Ways, RemoteReadyOnly, test::kRemoteWays, test::name_of_way);

}  // namespace
}  // namespace telpher

// Waiting at both ends: timeouts, cancellation, closing, removal, memory.

#include "shm/base/cpu.hpp"
#include "shm/directory.hpp"
#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <random>
#include <stop_token>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

class QueueWait : public testing::Test {
  protected:
    // A thread that waits at one end of the queue, and how it ended.
    struct Sleeper {
        Status status = Status::none;
        std::thread thread;
        Status join() {
            thread.join();
            return status;
        }
    };
    Sleeper& poll_later(Queue queue, std::stop_token stop = {}) {
        Sleeper& sleeper = sleepers_.emplace_back();
        sleeper.thread = std::thread(
            [&sleeper, queue, stop]() mutable { sleeper.status = queue.poll(60s, stop).status(); });
        return sleeper;
    }
    Sleeper& offer_later(Queue queue, std::stop_token stop = {}) {
        Sleeper& sleeper = sleepers_.emplace_back();
        sleeper.thread = std::thread([&sleeper, queue, stop]() mutable {
            sleeper.status = queue.offer(Message::text("t", "late"), 60s, stop).status();
        });
        return sleeper;
    }
    // Ends all sleepers by `end`; each must be back promptly, with `expected`.
    template <typename End>
    void expect_all_end(Status expected, End end) {
        std::this_thread::sleep_for(kAsleep);
        const Stopwatch watch;
        end();
        for (Sleeper& sleeper : sleepers_) {
            EXPECT_EQ(to_string(sleeper.join()), to_string(expected));
        }
        EXPECT_LT(watch.elapsed(), kPromptly);
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue empty_ = server_.create_queue("empty", {.capacity = 2}).value();
    Queue full_ = server_.create_queue("full", {.capacity = 1}).value();
    std::deque<Sleeper> sleepers_;  // addresses stay

    void SetUp() override { ASSERT_TRUE(full_.offer(Message::text("t", "first"))); }
};

TEST_F(QueueWait, a_timeout_of_0_does_not_wait) {
    const Stopwatch watch;
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(empty_.poll().status(), Status::queue_empty);
        EXPECT_EQ(full_.offer(Message::text("t", "x")).status(), Status::queue_full);
    }
    EXPECT_LT(watch.elapsed(), kPromptly);
}

TEST_F(QueueWait, a_timeout_is_kept_at_both_ends_by_every_strategy) {
    for (const auto strategy : {WaitStrategy::latency, WaitStrategy::balanced, WaitStrategy::eco}) {
        Server server = Server::open(domain_.name(), {.wait_strategy = strategy}).value();
        Queue empty = server.queue("empty").value();
        Queue full = server.queue("full").value();
        for (const auto timeout : {1ms, 20ms, 60ms}) {
            const Stopwatch poll;
            EXPECT_EQ(empty.poll(timeout).status(), Status::timed_out);
            EXPECT_GE(poll.elapsed(), timeout);
            EXPECT_LT(poll.elapsed(), timeout + kPromptly);
            const Stopwatch offer;
            EXPECT_EQ(full.offer(Message::text("t", "x"), timeout).status(), Status::timed_out);
            EXPECT_GE(offer.elapsed(), timeout);
            EXPECT_LT(offer.elapsed(), timeout + kPromptly);
        }
    }
}

TEST_F(QueueWait, the_longest_timeout_is_no_overflow) {
    std::stop_source stop;
    Sleeper& sleeper = sleepers_.emplace_back();
    sleeper.thread = std::thread(
        [&] { sleeper.status = empty_.poll(Duration::max(), stop.get_token()).status(); });
    expect_all_end(Status::cancelled, [&] { stop.request_stop(); });
}

TEST_F(QueueWait, an_offer_wakes_a_sleeping_poll) {
    poll_later(empty_);
    expect_all_end(Status::ok, [&] { EXPECT_TRUE(empty_.offer(Message::text("t", "x"))); });
}

TEST_F(QueueWait, a_poll_wakes_a_sleeping_offer) {
    offer_later(full_);
    expect_all_end(Status::ok, [&] { EXPECT_EQ(full_.poll()->text(), "first"); });
    EXPECT_EQ(full_.poll()->text(), "late");
}

TEST_F(QueueWait, each_of_several_sleepers_is_woken_by_a_message_of_its_own) {
    for (int i = 0; i < 4; ++i) {
        poll_later(empty_);
    }
    expect_all_end(Status::ok, [&] {
        for (int i = 0; i < 4; ++i) {
            EXPECT_TRUE(empty_.offer(Message::text("t", "x"), 10s));
        }
    });
}

TEST_F(QueueWait, closing_a_handle_wakes_its_waiters_at_both_ends) {
    poll_later(empty_);
    poll_later(empty_);
    offer_later(full_);
    offer_later(full_);
    expect_all_end(Status::closed, [&] {
        empty_.close();
        full_.close();
    });
    EXPECT_EQ(empty_.poll().status(), Status::closed);
    EXPECT_EQ(empty_.offer(Message::text("t", "x")).status(), Status::closed);
    EXPECT_TRUE(server_.queue("empty")->offer(Message::text("t", "x"))) << "another handle";
}

TEST_F(QueueWait, closing_the_server_wakes_the_waiters_of_all_its_queues) {
    poll_later(empty_);
    offer_later(full_);
    expect_all_end(Status::closed, [&] { server_.close(); });
    EXPECT_FALSE(server_.running());
    EXPECT_EQ(server_.create_queue("more").status(), Status::closed);
}

TEST_F(QueueWait, closing_takes_below_100_ms) {
    poll_later(empty_);
    std::this_thread::sleep_for(kAsleep);
    const Stopwatch watch;
    server_.close();
    EXPECT_LT(watch.elapsed(), 100ms);
    sleepers_[0].join();
}

TEST_F(QueueWait, removing_a_queue_wakes_the_waiters_at_both_ends) {
    poll_later(empty_);
    poll_later(empty_);
    expect_all_end(Status::queue_not_found, [&] { EXPECT_TRUE(server_.remove_queue("empty")); });
    sleepers_.clear();
    offer_later(full_);
    offer_later(full_);
    expect_all_end(Status::queue_not_found, [&] { EXPECT_TRUE(server_.remove_queue("full")); });
    EXPECT_EQ(full_.poll()->text(), "first") << "what was committed is still handed out";
    EXPECT_EQ(full_.poll().status(), Status::queue_not_found);
}

TEST_F(QueueWait, removing_the_domain_wakes_everybody) {
    poll_later(empty_);
    offer_later(full_);
    expect_all_end(Status::domain_removed, [&] { EXPECT_TRUE(server_.remove_domain()); });
    EXPECT_EQ(empty_.poll().status(), Status::domain_removed);
    EXPECT_TRUE(files_of(domain_.name()).empty());
}

TEST_F(QueueWait, a_stop_request_cancels_at_both_ends) {
    std::stop_source stop;
    poll_later(empty_, stop.get_token());
    offer_later(full_, stop.get_token());
    expect_all_end(Status::cancelled, [&] { stop.request_stop(); });
    EXPECT_EQ(empty_.poll(10s, stop.get_token()).status(), Status::cancelled) << "and later ones";
}

TEST_F(QueueWait, a_stop_request_cancels_only_those_who_gave_it) {
    std::stop_source stop;
    poll_later(empty_, stop.get_token());
    Sleeper other{};
    other.thread = std::thread([&] { other.status = empty_.poll(60s).status(); });
    expect_all_end(Status::cancelled, [&] { stop.request_stop(); });
    ASSERT_TRUE(empty_.offer(Message::text("t", "x")));
    EXPECT_EQ(other.join(), Status::ok);
}

// Goal: offered = polled + remaining, exactly, however polls are cancelled. Method: a stop request
// at a random moment of each poll, while another thread offers.
TEST_F(QueueWait, a_cancelled_poll_takes_no_message_with_it) {
    constexpr int kPolls = 20'000;
    std::mt19937_64 random(20'261'121);
    std::atomic<bool> done{false};
    std::uint64_t offered = 0;
    std::thread producer([&] {
        while (!done.load(std::memory_order_relaxed)) {
            offered += empty_.offer(Message::text("t", "x"), 1ms) ? 1U : 0U;
            for (std::uint64_t spin = offered % 97; spin > 0; --spin) {
                shm::cpu_pause();
            }
        }
    });
    std::atomic<std::stop_source*> current{nullptr};
    std::thread canceller([&] {
        while (!done.load(std::memory_order_relaxed)) {
            if (std::stop_source* stop = current.exchange(nullptr, std::memory_order_acq_rel)) {
                for (std::uint64_t spin = random() % 2'000; spin > 0; --spin) {
                    shm::cpu_pause();
                }
                stop->request_stop();
                delete stop;
            }
        }
    });
    std::uint64_t polled = 0;
    std::uint64_t cancelled = 0;
    for (int i = 0; i < kPolls; ++i) {
        auto* stop = new std::stop_source;
        const std::stop_token token = stop->get_token();
        delete current.exchange(stop, std::memory_order_acq_rel);
        const Status status = empty_.poll(5ms, token).status();
        polled += status == Status::ok ? 1U : 0U;
        cancelled += status == Status::cancelled ? 1U : 0U;
    }
    done.store(true, std::memory_order_relaxed);
    producer.join();
    canceller.join();
    delete current.load(std::memory_order_relaxed);
    std::uint64_t remaining = 0;
    while (empty_.poll()) {
        ++remaining;
    }
    EXPECT_EQ(offered, polled + remaining);
    EXPECT_EQ(empty_.status()->polled, offered);
    RecordProperty("cancelled", std::to_string(cancelled));
}

// A producer killed between its commit and raising the hint leaves a hint that promises room.
TEST_F(QueueWait, a_lagging_hint_makes_no_timeout_longer) {
    shm::Segment segment = shm::Segment::open(shm::public_file(domain_.name())).value();
    shm::ChunkPool none;
    shm::Directory directory;
    directory.start(&segment, &none, 0);
    auto ring = directory.ring(*directory.find("full")).value();
    ring.control().tail.store(0, std::memory_order_relaxed);
    const Stopwatch watch;
    EXPECT_EQ(full_.offer(Message::text("t", "x"), 20ms).status(), Status::timed_out);
    EXPECT_LT(watch.elapsed(), kPromptly);
}

// ---- waiting for memory ------------------------------------------------------------------------

class MemoryWait : public QueueWait {
  protected:
    void SetUp() override {
        QueueWait::SetUp();
        while (auto loan = large_.loan("t", 40'000)) {
            loans_.push_back(std::move(*loan));
        }
        ASSERT_FALSE(loans_.empty());
    }
    Queue large_ = server_.create_queue("large", {.capacity = 8}).value();
    std::vector<Loan> loans_;
};

TEST_F(MemoryWait, without_memory_a_loan_is_out_of_memory_and_says_what_uses_it) {
    const auto loan = large_.loan("t", 40'000);
    EXPECT_EQ(loan.status(), Status::out_of_memory);
    EXPECT_NE(loan.error().detail.find("limits.pool_bytes"), std::string::npos);
    EXPECT_NE(loan.error().detail.find("limits.segment_bytes"), std::string::npos);
}

TEST_F(MemoryWait, the_timeout_is_kept) {
    const Stopwatch watch;
    EXPECT_EQ(large_.loan("t", 40'000, 50ms).status(), Status::out_of_memory);
    EXPECT_GE(watch.elapsed(), 50ms);
    EXPECT_LT(watch.elapsed(), 50ms + kPromptly);
}

TEST_F(MemoryWait, a_loan_given_back_wakes_who_waits_for_it) {
    std::thread giver([this] {
        std::this_thread::sleep_for(kAsleep);
        loans_.pop_back();
    });
    EXPECT_TRUE(large_.loan("t", 40'000, 60s));
    giver.join();
}

TEST_F(MemoryWait, a_stop_request_cancels) {
    std::stop_source stop;
    Sleeper& sleeper = sleepers_.emplace_back();
    sleeper.thread = std::thread([&] {
        const auto message = Message::text("t", std::string(40'000, 'x'));
        sleeper.status = large_.offer(message, 60s, stop.get_token()).status();
    });
    expect_all_end(Status::cancelled, [&] { stop.request_stop(); });
}

TEST_F(MemoryWait, closing_ends_it_with_closed) {
    Sleeper& sleeper = sleepers_.emplace_back();
    sleeper.thread = std::thread([&] { sleeper.status = large_.loan("t", 40'000, 60s).status(); });
    expect_all_end(Status::closed, [&] { large_.close(); });
}

}  // namespace
}  // namespace telpher::test

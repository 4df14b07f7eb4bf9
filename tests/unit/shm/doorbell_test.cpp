#include "shm/doorbell.hpp"

#include "tests/unit/support/scratch_ring.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

// One map and all thread records that a bit can name.
struct Waiters {
    std::unique_ptr<shm::WaiterMap> map = std::make_unique<shm::WaiterMap>();
    std::vector<shm::ThreadRecord> threads = std::vector<shm::ThreadRecord>(shm::kThreadsMax);

    [[nodiscard]] bool armed(std::uint32_t thread) const {
        return (map->words[thread / 64].load(std::memory_order_relaxed) >> (thread % 64) & 1U) != 0;
    }
    [[nodiscard]] std::uint32_t rings(std::uint32_t thread) const {
        return threads[thread].doorbell.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t summary() const {
        return map->summary.load(std::memory_order_relaxed);
    }
};

bool nothing_left() { return false; }
bool something_left() { return true; }

TEST(Doorbell, arm_sets_the_bit_and_its_summary_and_disarm_takes_the_bit) {
    Waiters w;
    for (const std::uint32_t thread : {0U, 63U, 64U, 4095U}) {
        shm::arm(*w.map, thread);
        EXPECT_TRUE(w.armed(thread));
        EXPECT_NE(w.summary() >> (thread / 64) & 1U, 0U);
        EXPECT_FALSE(shm::disarm(*w.map, thread)) << "nobody had chosen it";
        EXPECT_FALSE(w.armed(thread));
    }
}

TEST(Doorbell, a_waker_rings_nobody_when_nobody_waits) {
    Waiters w;
    shm::wake(*w.map, w.threads, something_left);
    for (std::uint32_t thread = 0; thread < shm::kThreadsMax; ++thread) {
        ASSERT_EQ(w.rings(thread), 0U);
    }
}

TEST(Doorbell, the_chosen_thread_learns_from_disarm_that_it_was_chosen) {
    Waiters w;
    shm::arm(*w.map, 70);
    shm::wake(*w.map, w.threads, nothing_left);
    EXPECT_EQ(w.rings(70), 1U);
    EXPECT_TRUE(shm::disarm(*w.map, 70));
    EXPECT_EQ(w.summary(), 0U);
}

TEST(Doorbell, one_is_chosen_when_nothing_is_left_for_a_second) {
    Waiters w;
    shm::arm(*w.map, 3);
    shm::arm(*w.map, 5);
    shm::wake(*w.map, w.threads, nothing_left);
    EXPECT_EQ(w.rings(3) + w.rings(5), 1U);
    EXPECT_EQ(w.armed(3) + w.armed(5), 1);
    EXPECT_EQ(w.summary(), 1U) << "the other one must be found by the next waker";
}

TEST(Doorbell, a_bit_without_a_sleeper_passes_the_wake_on_while_something_is_left) {
    Waiters w;
    for (const std::uint32_t thread : {1U, 2U, 900U}) {
        shm::arm(*w.map, thread);
    }
    shm::wake(*w.map, w.threads, something_left);
    for (const std::uint32_t thread : {1U, 2U, 900U}) {
        EXPECT_EQ(w.rings(thread), 1U);
        EXPECT_FALSE(w.armed(thread));
    }
    EXPECT_EQ(w.summary(), 0U);
}

TEST(Doorbell, a_summary_bit_without_a_word_costs_one_look_and_is_gone) {
    Waiters w;
    w.map->summary.store(1ULL << 7U, std::memory_order_relaxed);
    shm::wake(*w.map, w.threads, something_left);
    EXPECT_EQ(w.summary(), 0U);
}

TEST(Doorbell, repair_makes_the_summary_agree_with_the_words) {
    Waiters w;
    w.map->words[9].store(4, std::memory_order_relaxed);  // its owner died before the summary
    shm::repair_summary(*w.map);
    EXPECT_EQ(w.summary(), 1ULL << 9U);
    shm::wake(*w.map, w.threads, nothing_left);
    EXPECT_EQ(w.rings(9 * 64 + 2), 1U);
}

TEST(Doorbell, wake_all_rings_everyone_and_leaves_the_bits_to_their_owners) {
    Waiters w;
    for (const std::uint32_t thread : {0U, 65U, 4095U}) {
        shm::arm(*w.map, thread);
    }
    shm::wake_all(*w.map, w.threads);
    for (const std::uint32_t thread : {0U, 65U, 4095U}) {
        EXPECT_EQ(w.rings(thread), 1U);
        EXPECT_FALSE(shm::disarm(*w.map, thread)) << "the bit was still there";
    }
    EXPECT_EQ(w.rings(1), 0U);
}

TEST(Doorbell, wake_each_rings_everyone_once_and_takes_the_bits) {
    Waiters w;
    for (const std::uint32_t thread : {0U, 1U, 65U, 4095U}) {
        shm::arm(*w.map, thread);
    }
    EXPECT_FALSE(shm::disarm(*w.map, 1)) << "gone by itself";
    shm::wake_each(*w.map, w.threads);
    shm::wake_each(*w.map, w.threads);
    for (const std::uint32_t thread : {0U, 65U, 4095U}) {
        EXPECT_EQ(w.rings(thread), 1U);
        EXPECT_TRUE(shm::disarm(*w.map, thread)) << "the bit was taken";
    }
    EXPECT_EQ(w.rings(1), 0U);
    EXPECT_EQ(w.summary(), 0U);
    shm::arm(*w.map, 65);
    shm::wake_each(*w.map, w.threads);
    EXPECT_EQ(w.rings(65), 2U) << "who waits again is woken again";
}

// Every subscriber sees every message: many sleepers, a waker who never rests, and nobody sleeps over
// one although each is rung once for many.
TEST(Doorbell, nobody_sleeps_over_what_everybody_is_woken_for) {
    constexpr std::uint64_t kMessages = 20'000;
    Waiters w;
    std::atomic<std::uint64_t> sent{0};
    std::vector<std::thread> readers;
    for (std::uint32_t reader = 0; reader < 4; ++reader) {
        readers.emplace_back([&, me = reader * 63] {
            for (std::uint64_t seen_all = 0; seen_all < kMessages;) {
                const std::uint32_t seen = w.threads[me].doorbell.load(std::memory_order_acquire);
                shm::arm(*w.map, me);
                if (sent.load(std::memory_order_seq_cst) == seen_all) {
                    const auto before = std::chrono::steady_clock::now();
                    shm::futex_wait(w.threads[me].doorbell, seen, 20s);
                    EXPECT_LT(std::chrono::steady_clock::now() - before, 10s) << "slept over";
                }
                shm::disarm(*w.map, me);
                seen_all = sent.load(std::memory_order_seq_cst);
            }
        });
    }
    for (std::uint64_t i = 0; i < kMessages; ++i) {
        sent.fetch_add(1, std::memory_order_seq_cst);
        shm::wake_each(*w.map, w.threads);
    }
    for (std::thread& reader : readers) {
        reader.join();
    }
}

TEST(Doorbell, a_ring_before_the_sleep_is_not_slept_over) {
    shm::ThreadRecord me{};
    const std::uint32_t seen = me.doorbell.load(std::memory_order_acquire);
    EXPECT_FALSE(shm::ring_doorbell(me)) << "nobody slept";
    const auto start = std::chrono::steady_clock::now();
    shm::futex_wait(me.doorbell, seen, 5s);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
}

TEST(Doorbell, a_ring_wakes_a_sleeper_and_says_so) {
    shm::ThreadRecord me{};
    std::thread sleeper([&me] {
        while (me.doorbell.load(std::memory_order_acquire) == 0) {
            shm::futex_wait(me.doorbell, 0, 5s);
        }
    });
    std::this_thread::sleep_for(20ms);
    bool slept = shm::ring_doorbell(me);
    sleeper.join();
    EXPECT_TRUE(slept) << "it had 20 ms to fall asleep";
}

TEST(Doorbell, a_futex_sleep_ends_at_its_timeout) {
    std::atomic<std::uint32_t> word{0};
    const auto start = std::chrono::steady_clock::now();
    shm::futex_wait(word, 0, 30ms);
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_GE(took, 29ms);
    EXPECT_LT(took, 2s);
    shm::futex_wait(word, 0, 0ns);  // returns at once
    shm::futex_wait(word, 0, -5s);
}

// Goal: nobody sleeps beside an available message. Method: one message at a time is handed to
// several consumers that sleep without a time-out to speak of; a lost wake is the test's time
// limit. Under TSan it checks that the message is visible to the thread that was rung.
TEST(Doorbell, no_wake_is_lost_between_a_producer_and_its_sleeping_consumers) {
    constexpr std::uint64_t kMessages = 4'000;
    constexpr std::uint32_t kConsumers = 3;
    ScratchRing ring(2);
    Waiters w;
    std::atomic<std::uint64_t> polled{0};
    const auto readable = [&ring] { return ring.ring().readable(); };
    std::vector<std::thread> consumers;
    for (std::uint32_t party = 1; party <= kConsumers; ++party) {
        consumers.emplace_back([&, party] {
            for (;;) {
                const std::uint32_t seen =
                    w.threads[party].doorbell.load(std::memory_order_acquire);
                shm::arm(*w.map, party);
                if (!readable()) {
                    shm::futex_wait(w.threads[party].doorbell, seen, 60s);
                }
                const bool chosen = shm::disarm(*w.map, party);
                const Status status = ring.poll(party).status;
                polled.fetch_add(status == Status::ok ? 1 : 0, std::memory_order_relaxed);
                if (chosen && readable()) {
                    shm::wake(*w.map, w.threads, readable);
                }
                if (status == Status::queue_not_found) {
                    return;
                }
            }
        });
    }
    for (std::uint64_t sent = 0; sent < kMessages;) {
        if (ring.offer(sent) == Status::ok) {
            ++sent;
            shm::wake(*w.map, w.threads, readable);
        } else {
            std::this_thread::yield();
        }
    }
    EXPECT_EQ(ring.ring().close(), Status::ok);
    shm::wake_all(*w.map, w.threads);
    for (std::thread& consumer : consumers) {
        consumer.join();
    }
    EXPECT_EQ(polled.load(std::memory_order_relaxed), kMessages);
}

// A domain has fewer thread records than a bitmap has bits, and what a buggy process scribbled over
// the bitmap must not ring memory behind them.
TEST(Doorbell, a_bit_beyond_the_last_thread_rings_nothing_and_is_taken_away) {
    constexpr std::uint32_t kThreads = 64;
    Waiters w;
    const std::span<shm::ThreadRecord> few(w.threads.data(), kThreads);
    for (const std::uint32_t beyond : {64U, 1000U, 4095U}) {
        shm::arm(*w.map, beyond);
    }
    shm::wake_all(*w.map, few);
    shm::arm(*w.map, 5);
    shm::wake(*w.map, few, something_left);
    EXPECT_EQ(w.rings(5), 1U) << "whoever waits is still found";
    for (std::uint32_t thread = kThreads; thread < shm::kThreadsMax; ++thread) {
        ASSERT_EQ(w.rings(thread), 0U) << thread;
        ASSERT_FALSE(w.armed(thread)) << thread;
    }
}

}  // namespace
}  // namespace telpher::test

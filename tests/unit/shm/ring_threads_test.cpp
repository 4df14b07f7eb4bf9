// Threads over one mapping; under TSan these check the pairs of ring_inline.hpp.

#include "shm/ring.hpp"
#include "tests/unit/support/scratch_ring.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

struct Shape {
    std::uint32_t capacity;
    std::uint32_t producers;
    std::uint32_t consumers;
};
std::string name_of(const testing::TestParamInfo<Shape>& info) {
    return "capacity_" + std::to_string(info.param.capacity) + "_from_" +
           std::to_string(info.param.producers) + "_to_" + std::to_string(info.param.consumers);
}

class RingThreads : public testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Shapes,
                         RingThreads,
                         testing::Values(Shape{1, 1, 1},
                                         Shape{1, 3, 3},
                                         Shape{2, 2, 1},
                                         Shape{3, 1, 3},
                                         Shape{5, 3, 2},
                                         Shape{100, 2, 2}),
                         name_of);

constexpr std::uint64_t kMessages = 6'000;

// A number says which producer sent it, and its place there.
constexpr std::uint64_t numbered(std::uint64_t producer, std::uint64_t count) {
    return producer << 32U | count;
}

void offer_all(ScratchRing& ring, std::uint32_t party, std::atomic<bool>& damaged) {
    for (std::uint64_t i = 0; i < kMessages;) {
        const Status status = ring.offer(numbered(party, i), party);
        if (status == Status::ok) {
            ++i;
        } else if (status == Status::queue_full || status == Status::out_of_memory) {
            std::this_thread::yield();
        } else {
            damaged.store(true, std::memory_order_relaxed);
            return;
        }
    }
}

void poll_all(ScratchRing& ring, std::uint32_t party, std::vector<std::uint64_t>& got) {
    for (;;) {
        const Polled polled = ring.poll(party);
        if (polled.status == Status::ok) {
            got.push_back(polled.value);
        } else if (polled.status == Status::queue_empty) {
            std::this_thread::yield();
        } else {
            got.push_back(polled.status == Status::queue_not_found ? 0 : ~0ULL);
            return;
        }
    }
}

// Goal: every message arrives once; each consumer sees each producer's messages in order.
TEST_P(RingThreads, lose_and_duplicate_nothing) {
    const Shape shape = GetParam();
    ScratchRing ring(shape.capacity);
    std::atomic<bool> damaged{false};
    std::vector<std::vector<std::uint64_t>> got(shape.consumers);
    std::vector<std::thread> consumers;
    for (std::uint32_t i = 0; i < shape.consumers; ++i) {
        consumers.emplace_back([&ring, &got, i] { poll_all(ring, 8 + i, got[i]); });
    }
    std::vector<std::thread> producers;
    for (std::uint32_t i = 0; i < shape.producers; ++i) {
        producers.emplace_back([&ring, &damaged, i] { offer_all(ring, 1 + i, damaged); });
    }
    for (std::thread& producer : producers) {
        producer.join();
    }
    EXPECT_EQ(ring.ring().close(), Status::ok);
    for (std::thread& consumer : consumers) {
        consumer.join();
    }
    EXPECT_FALSE(damaged.load(std::memory_order_relaxed));
    std::vector<std::vector<bool>> seen(shape.producers + 1, std::vector<bool>(kMessages));
    for (std::vector<std::uint64_t>& messages : got) {
        ASSERT_EQ(messages.back(), 0U) << "a consumer ended with corrupt";
        messages.pop_back();
        std::vector<std::uint64_t> next(shape.producers + 1, 0);
        for (const std::uint64_t message : messages) {
            const std::uint64_t producer = message >> 32U;
            const std::uint64_t count = message & 0xFFFF'FFFFU;
            ASSERT_LE(producer, shape.producers);
            EXPECT_GE(count, next[producer]) << "overtaken";
            next[producer] = count + 1;
            EXPECT_FALSE(seen[producer][count]) << "twice";
            seen[producer][count] = true;
        }
    }
    for (std::uint32_t producer = 1; producer <= shape.producers; ++producer) {
        for (std::uint64_t count = 0; count < kMessages; ++count) {
            ASSERT_TRUE(seen[producer][count]) << producer << ":" << count << " is lost";
        }
    }
}

// Goal: `queue_full` and `queue_empty` are true at some moment of the call, however far the hints
// lag. Method: `capacity` threads each offer one message and then poll one, so that there is always
// room for an offer and always something to poll; one more thread moves both hints back, as
// consumers and producers stopped between the two steps of `raise` do.
TEST(RingThreads, a_ring_with_room_is_never_full_and_one_with_messages_never_empty) {
    constexpr std::uint32_t kThreads = 3;
    constexpr int kRounds = 60'000;
    ScratchRing ring(kThreads);
    std::atomic<bool> done{false};
    std::atomic<int> wrong{0};
    std::thread vandal([&] {
        std::uint64_t head = 0;
        std::uint64_t tail = 0;
        while (!done.load(std::memory_order_relaxed)) {
            const std::uint64_t old_head = ring.head_hint();
            const std::uint64_t old_tail = ring.tail_hint();
            ring.set_hints(head, tail);
            head = old_head;
            tail = old_tail;
            std::this_thread::yield();
        }
    });
    std::vector<std::thread> threads;
    for (std::uint32_t party = 1; party <= kThreads; ++party) {
        threads.emplace_back([&ring, &wrong, party] {
            for (int round = 0; round < kRounds; ++round) {
                const bool offered = ring.offer(1, party) == Status::ok;
                const bool polled = offered && ring.poll(party).status == Status::ok;
                wrong.fetch_add(offered && polled ? 0 : 1, std::memory_order_relaxed);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    done.store(true, std::memory_order_relaxed);
    vandal.join();
    EXPECT_EQ(wrong.load(std::memory_order_relaxed), 0);
}

// Goal: no offer succeeds after one has been refused because of the sentinel.
TEST(RingThreads, closing_under_producers_counts_every_accepted_message) {
    for (int round = 0; round < 100; ++round) {
        ScratchRing ring(2);
        std::atomic<std::uint64_t> accepted{0};
        std::vector<std::thread> producers;
        for (std::uint32_t party = 1; party <= 2; ++party) {
            producers.emplace_back([&ring, &accepted, party] {
                bool refused = false;
                for (int after = 0; after < 20;) {
                    const Status status = ring.offer(1, party);
                    refused = refused || status == Status::queue_not_found;
                    EXPECT_FALSE(refused && status == Status::ok);
                    after += refused ? 1 : 0;
                    accepted.fetch_add(status == Status::ok ? 1 : 0, std::memory_order_relaxed);
                }
            });
        }
        std::uint64_t polled = 0;
        std::thread consumer([&ring, &polled] {
            Polled got;
            while ((got = ring.poll(8)).status != Status::queue_not_found) {
                polled += got.status == Status::ok ? 1U : 0U;
            }
        });
        for (int spin = 0; spin < round * 20; ++spin) {
            shm::cpu_pause();
        }
        EXPECT_EQ(ring.ring().close(), Status::ok);
        for (std::thread& producer : producers) {
            producer.join();
        }
        consumer.join();
        EXPECT_EQ(polled, accepted.load(std::memory_order_relaxed));
        EXPECT_EQ(ring.ring().committed(), polled);
    }
}

}  // namespace
}  // namespace telpher::test

// One thread at a time: order, capacity, closing, lagging hints. Threads: ring_threads_test.cpp;
// damage: ring_damage_test.cpp.

#include "shm/ring.hpp"

#include "tests/unit/support/scratch_ring.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

namespace telpher::test {
namespace {

class RingOfCapacity : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Capacities,
                         RingOfCapacity,
                         testing::Values(1U, 2U, 3U, 5U, 7U, 8U, 15U, 16U, 100U));

TEST_P(RingOfCapacity, holds_exactly_its_capacity_on_every_lap) {
    ScratchRing ring(GetParam());
    std::uint64_t offered = 0;
    std::uint64_t polled = 0;
    for (int lap = 0; lap < 50; ++lap) {
        for (std::uint32_t i = 0; i < GetParam(); ++i) {
            ASSERT_EQ(ring.offer(offered++), Status::ok);
        }
        ASSERT_EQ(ring.offer(0), Status::queue_full);
        EXPECT_FALSE(ring.ring().writable());
        for (std::uint32_t i = 0; i < GetParam(); ++i) {
            const Polled got = ring.poll();
            ASSERT_EQ(got.status, Status::ok);
            EXPECT_EQ(got.value, polled++);
        }
        ASSERT_EQ(ring.poll().status, Status::queue_empty);
        EXPECT_FALSE(ring.ring().readable());
    }
}

// Method: a random walk of offers and polls beside a std::deque, so that every fill level meets
// every slot.
TEST_P(RingOfCapacity, behaves_like_a_deque_of_that_size) {
    ScratchRing ring(GetParam());
    std::deque<std::uint64_t> model;
    std::mt19937_64 random(test_seed());
    SCOPED_TRACE("TELPHER_SEED=" + std::to_string(test_seed()));
    std::uint64_t next = 0;
    std::uint64_t polled = 0;
    for (int step = 0; step < 20'000; ++step) {
        if (random() % 2 == 0) {
            const bool room = model.size() < GetParam();
            std::uint64_t position = 0;
            ASSERT_EQ(ring.offer_at(next, 0, &position), room ? Status::ok : Status::queue_full);
            if (room) {
                EXPECT_EQ(position, polled + model.size());
                model.push_back(next);
            }
            ++next;
        } else {
            const Polled got = ring.poll();
            ASSERT_EQ(got.status, model.empty() ? Status::queue_empty : Status::ok);
            if (!model.empty()) {
                EXPECT_EQ(got.value, model.front());
                EXPECT_EQ(got.position, polled++);
                model.pop_front();
            }
        }
        ASSERT_EQ(ring.ring().committed() - ring.ring().claimed(), model.size());
        ASSERT_EQ(ring.ring().readable(), !model.empty());
        ASSERT_EQ(ring.ring().writable(), model.size() < GetParam());
    }
}

TEST_P(RingOfCapacity, lagging_hints_change_nothing) {
    ScratchRing ring(GetParam());
    std::mt19937_64 random(test_seed());
    SCOPED_TRACE("TELPHER_SEED=" + std::to_string(test_seed()));
    std::deque<std::uint64_t> model;
    std::uint64_t next = 0;
    for (int step = 0; step < 5'000; ++step) {
        // Both hints anywhere at or below the truth, by laps.
        ring.set_hints(random() % (ring.ring().claimed() + 1),
                       random() % (ring.ring().committed() + 1));
        if (random() % 2 == 0) {
            const Status expected = model.size() < GetParam() ? Status::ok : Status::queue_full;
            ASSERT_EQ(ring.offer(next), expected) << "at step " << step;
            if (expected == Status::ok) {
                model.push_back(next);
            }
            ++next;
        } else if (model.empty()) {
            ASSERT_EQ(ring.poll().status, Status::queue_empty) << "at step " << step;
        } else {
            const Polled got = ring.poll();
            ASSERT_EQ(got.status, Status::ok) << "at step " << step;
            ASSERT_EQ(got.value, model.front());
            model.pop_front();
        }
    }
}

TEST_P(RingOfCapacity, nothing_commits_after_the_close_sentinel) {
    for (std::uint32_t before = 0; before <= GetParam(); ++before) {
        ScratchRing ring(GetParam());
        for (std::uint32_t i = 0; i < before; ++i) {
            ASSERT_EQ(ring.offer(i), Status::ok);
        }
        ASSERT_EQ(ring.ring().close(), Status::ok);
        EXPECT_TRUE(ring.ring().closed());
        ASSERT_EQ(ring.offer(1000), Status::queue_not_found);
        EXPECT_TRUE(ring.ring().readable());
        EXPECT_TRUE(ring.ring().writable());  // the end: `commit` tells
        for (std::uint32_t i = 0; i < before; ++i) {
            const Polled got = ring.poll();
            ASSERT_EQ(got.status, Status::ok);
            EXPECT_EQ(got.value, i);
            ASSERT_EQ(ring.offer(1000), Status::queue_not_found) << "with room again";
        }
        EXPECT_EQ(ring.poll().status, Status::queue_not_found);
        EXPECT_EQ(ring.poll().status, Status::queue_not_found) << "and for ever";
        EXPECT_EQ(ring.ring().close(), Status::ok) << "closing twice is no error";
        EXPECT_EQ(ring.ring().committed(), before);
        EXPECT_EQ(ring.ring().claimed(), before);
    }
}

TEST_P(RingOfCapacity, a_lagging_tail_hint_leads_no_producer_past_the_sentinel) {
    ScratchRing ring(GetParam());
    for (std::uint64_t i = 0; i < 3 * GetParam() + 5; ++i) {
        ASSERT_EQ(ring.offer(i), Status::ok);
        ASSERT_EQ(ring.poll().status, Status::ok);
    }
    ASSERT_EQ(ring.ring().close(), Status::ok);
    const std::uint64_t end = ring.ring().committed();
    for (std::uint64_t hint = 0; hint <= end; ++hint) {
        ring.set_hints(end, hint);
        EXPECT_EQ(ring.offer(1), Status::queue_not_found) << "tail hint " << hint;
        EXPECT_EQ(ring.ring().close(), Status::ok);
        ring.set_hints(hint, end);
        EXPECT_EQ(ring.poll().status, Status::queue_not_found) << "head hint " << hint;
    }
    EXPECT_EQ(ring.ring().committed(), end);
}

TEST(Ring, a_failed_offer_leaves_the_chunk_owned_and_the_next_one_works) {
    ScratchRing ring(1);
    ASSERT_EQ(ring.offer(1), Status::ok);
    ScratchPool& memory = ring.memory();
    const std::uint32_t chunk = memory.pool().allocate(0, 6, memory.cursor(6));
    std::uint64_t position = 0;
    ASSERT_EQ(ring.ring().commit(chunk, 6, ring.thread(6), &position), Status::queue_full);
    const std::uint64_t word = memory.pool().header(chunk)->word.load(std::memory_order_relaxed);
    EXPECT_EQ(shm::word_state(word), shm::ChunkState::owned);
    EXPECT_EQ(shm::word_owner(word), 6U);
    ASSERT_EQ(ring.poll().value, 1U);
    EXPECT_EQ(ring.ring().commit(chunk, 6, ring.thread(6), &position), Status::ok);
}

TEST(Ring, each_offer_raises_the_generation_and_names_chunk_and_destination) {
    ScratchRing ring(2);
    ScratchPool& memory = ring.memory();
    const std::uint32_t chunk = memory.pool().allocate(0, 1, memory.cursor(1));
    auto& header = *memory.pool().header(chunk);
    for (std::uint64_t generation = 1; generation < 5; ++generation) {
        std::uint64_t position = 0;
        ASSERT_EQ(ring.ring().commit(chunk, 1, ring.thread(1), &position), Status::ok);
        const std::uint64_t ref = shm::make_ref(generation, chunk);
        EXPECT_EQ(ring.thread(1).inflight.load(std::memory_order_relaxed), ref);
        EXPECT_EQ(header.dest.load(std::memory_order_relaxed), ScratchRing::kDest);
        EXPECT_EQ(header.word.load(std::memory_order_relaxed),
                  shm::make_word(shm::ChunkState::offered, 1, generation));
        EXPECT_TRUE(ring.ring().holds(ref));
        EXPECT_FALSE(ring.ring().holds(shm::make_ref(generation + 1, chunk)));
        std::uint32_t got = 0;
        ASSERT_EQ(ring.ring().claim(2, &got, &position), Status::ok);
        EXPECT_EQ(got, chunk);
        EXPECT_EQ(header.word.load(std::memory_order_relaxed),
                  shm::make_word(shm::ChunkState::claimed, 2, generation));
        header.word.store(shm::make_word(shm::ChunkState::owned, 1, generation),
                          std::memory_order_relaxed);
    }
}

TEST(Ring, the_generation_wraps_without_touching_the_owner) {
    ScratchRing ring(2);
    ScratchPool& memory = ring.memory();
    const std::uint32_t chunk = memory.pool().allocate(0, 4095, memory.cursor(1));
    memory.pool().header(chunk)->word.store(
        shm::make_word(shm::ChunkState::owned, 4095, shm::kGenerationMask),
        std::memory_order_relaxed);
    std::uint64_t position = 0;
    ASSERT_EQ(ring.ring().commit(chunk, 4095, ring.thread(1), &position), Status::ok);
    EXPECT_EQ(memory.pool().header(chunk)->word.load(std::memory_order_relaxed),
              shm::make_word(shm::ChunkState::offered, 4095, 0));
    std::uint32_t got = 0;
    EXPECT_EQ(ring.ring().claim(1, &got, &position), Status::ok);
}

// A consumer killed between claim and hint, a producer killed between commit and hint: whoever
// comes next raises them, also when there is nothing to take or no room, so that who looks at the
// hints alone while spinning is not misled for ever.
TEST(Ring, an_offer_that_finds_no_room_and_a_poll_that_finds_nothing_repair_the_hints) {
    for (const std::uint32_t capacity : {1U, 2U, 5U}) {
        ScratchRing ring(capacity);
        for (std::uint64_t i = 0; i < capacity; ++i) {
            ASSERT_EQ(ring.offer(i), Status::ok);
        }
        ring.set_hints(0, capacity - 1);
        ASSERT_EQ(ring.offer(9), Status::queue_full);
        EXPECT_EQ(ring.tail_hint(), capacity);
        EXPECT_EQ(ring.ring().room_hint(), 0U);
        for (std::uint64_t i = 0; i < capacity; ++i) {
            ASSERT_EQ(ring.poll().status, Status::ok);
        }
        ring.set_hints(0, capacity);
        ASSERT_EQ(ring.poll().status, Status::queue_empty);
        EXPECT_EQ(ring.head_hint(), capacity);
        EXPECT_FALSE(ring.ring().maybe_readable());
    }
}

TEST(Ring, a_claimed_message_in_the_middle_is_passed_over) {
    ScratchRing ring(4);
    for (std::uint64_t i = 0; i < 4; ++i) {
        ASSERT_EQ(ring.offer(i), Status::ok);
    }
    ASSERT_EQ(ring.poll().value, 0U);
    ring.set_hints(0, 4);
    EXPECT_EQ(ring.ring().claimed(), 1U);
    EXPECT_EQ(ring.poll().value, 1U);
    EXPECT_EQ(ring.poll().position, 2U);
}

TEST(Ring, raise_never_lowers_a_hint) {
    shm::Word hint{5};
    shm::Ring::raise(hint, 3);
    EXPECT_EQ(hint.load(std::memory_order_relaxed), 5U);
    shm::Ring::raise(hint, 8);
    EXPECT_EQ(hint.load(std::memory_order_relaxed), 8U);
}

// Goal: no two positions of one lap share a slot, for every size, and each keeps its slot on every
// lap.
TEST(Ring, the_permutation_of_slots_is_a_bijection) {
    for (std::uint32_t slots = 2; slots <= 4096; slots *= 2) {
        ScratchRing scratch(slots - 1, 1);
        const shm::Ring& ring = scratch.ring();
        ASSERT_EQ(ring.slots(), slots);
        std::set<const shm::Slot*> seen;
        for (std::uint64_t position = 0; position < slots; ++position) {
            const shm::Slot* slot = &ring.slot(position);
            EXPECT_TRUE(seen.insert(slot).second) << position << " of " << slots;
            EXPECT_EQ(slot, &ring.slot(position + slots));
            EXPECT_EQ(slot, &ring.slot(position + 1000ULL * slots));
        }
        const auto* first = reinterpret_cast<const std::byte*>(*seen.begin());
        const auto* last = reinterpret_cast<const std::byte*>(*seen.rbegin());
        EXPECT_EQ(last - first, static_cast<std::ptrdiff_t>((slots - 1) * sizeof(shm::Slot)));
        EXPECT_EQ(first - reinterpret_cast<const std::byte*>(&ring.control()),
                  static_cast<std::ptrdiff_t>(shm::kRingSlotsOffset));
    }
}

TEST(Ring, four_neighbours_in_time_share_a_cache_line) {
    ScratchRing scratch(1023, 1);
    for (std::uint64_t position = 0; position < 1024; position += 4) {
        const auto line = reinterpret_cast<std::uintptr_t>(&scratch.ring().slot(position)) / 64;
        for (std::uint64_t i = 1; i < 4; ++i) {
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&scratch.ring().slot(position + i)) / 64,
                      line);
        }
        EXPECT_NE(reinterpret_cast<std::uintptr_t>(&scratch.ring().slot(position + 4)) / 64,
                  line + 1);
    }
}

}  // namespace
}  // namespace telpher::test

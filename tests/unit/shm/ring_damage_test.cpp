// What a ring answers when a buggy process has scribbled over it: an error or a plausible outcome,
// never a hang, never an access outside the mapping (checked under AddressSanitizer).

#include "shm/ring.hpp"
#include "tests/unit/support/scratch_ring.hpp"

#include <gtest/gtest.h>

#include <random>

namespace telpher::test {
namespace {

// Every call a user can make. Returns whether each ended with a status that it may end with.
bool all_calls_answer(ScratchRing& ring) {
    const Status offered = ring.offer(1);
    const bool offer_fine = offered == Status::ok || offered == Status::queue_full ||
                            offered == Status::queue_not_found || offered == Status::corrupt ||
                            offered == Status::out_of_memory;
    const Status polled = ring.poll().status;
    const bool poll_fine = polled == Status::ok || polled == Status::queue_empty ||
                           polled == Status::queue_not_found || polled == Status::corrupt;
    std::uint64_t position = 0;
    std::uint32_t chunk = 0;
    std::uint64_t word = 0;
    static_cast<void>(ring.ring().front(position, &chunk, &word));
    static_cast<void>(ring.ring().readable());
    static_cast<void>(ring.ring().writable());
    static_cast<void>(ring.ring().maybe_readable());
    static_cast<void>(ring.ring().room_hint());
    static_cast<void>(ring.ring().committed());
    static_cast<void>(ring.ring().claimed());
    static_cast<void>(ring.ring().closed());
    static_cast<void>(ring.ring().holds(42));
    return offer_fine && poll_fine;
}

TEST(RingDamage, a_position_that_cannot_stand_in_its_slot_is_corrupt) {
    ScratchRing ring(3);
    for (std::uint64_t i = 0; i < 4; ++i) {
        ring.ring().slot(i).pos.store(1000 + 2 * i, std::memory_order_relaxed);
    }
    EXPECT_EQ(ring.offer(1), Status::corrupt);
    EXPECT_EQ(ring.poll().status, Status::corrupt);
}

TEST(RingDamage, a_reference_to_a_chunk_that_does_not_exist_is_corrupt) {
    ScratchRing ring(3);
    ASSERT_EQ(ring.offer(1), Status::ok);
    for (const std::uint64_t ref :
         {shm::make_ref(1, 0xFFFFF0), shm::make_ref(1, 0xFFFFFE), shm::kNoRef}) {
        ring.ring().slot(0).ref.store(ref, std::memory_order_relaxed);
        EXPECT_EQ(ring.poll().status, Status::corrupt) << std::hex << ref;
        EXPECT_TRUE(ring.ring().readable()) << "`claim` has to tell";
    }
}

TEST(RingDamage, a_reference_to_somebody_elses_chunk_takes_nothing_from_them) {
    ScratchRing ring(3);
    ASSERT_EQ(ring.offer(1), Status::ok);
    ScratchPool& memory = ring.memory();
    const std::uint32_t loan = memory.pool().allocate(0, 7, memory.cursor(7));
    ring.ring().slot(0).ref.store(shm::make_ref(1, loan), std::memory_order_relaxed);
    EXPECT_EQ(ring.poll().status, Status::queue_empty);
    EXPECT_EQ(memory.state(loan), shm::ChunkState::owned);
}

TEST(RingDamage, hints_that_lead_end_every_call) {
    for (const std::uint64_t hint : {1ULL, 2ULL, 5ULL, 1000ULL, 1ULL << 40U, ~0ULL - 1, ~0ULL}) {
        for (const bool head : {false, true}) {
            ScratchRing ring(3);
            ASSERT_EQ(ring.offer(1), Status::ok);
            ring.set_hints(head ? hint : 0, head ? 1 : hint);
            EXPECT_TRUE(all_calls_answer(ring)) << hint << (head ? " as head" : " as tail");
        }
    }
}

TEST(RingDamage, positions_at_the_end_of_their_range_end_every_call) {
    for (const std::uint64_t pos : {~0ULL, ~0ULL - 1, ~0ULL - 3, 1ULL << 63U, 0ULL}) {
        for (std::uint64_t where = 0; where < 4; ++where) {
            ScratchRing ring(3);
            ASSERT_EQ(ring.offer(1), Status::ok);
            ring.ring().slot(where).pos.store(pos, std::memory_order_relaxed);
            EXPECT_TRUE(all_calls_answer(ring)) << pos << " in slot of " << where;
            EXPECT_TRUE(all_calls_answer(ring)) << pos << " in slot of " << where;
        }
    }
}

TEST(RingDamage, sentinels_everywhere_say_closed) {
    ScratchRing ring(3);
    for (std::uint64_t i = 0; i < 4; ++i) {
        ring.ring().slot(i).pos.store(i + 1, std::memory_order_relaxed);
        ring.ring().slot(i).ref.store(shm::kClosedRef, std::memory_order_relaxed);
    }
    EXPECT_EQ(ring.offer(1), Status::queue_not_found);
    EXPECT_EQ(ring.poll().status, Status::queue_not_found);
}

// Method: random words, biased to plausible ones, over slots, hints and chunk words; after each
// scribble every call has to answer. A hang is the test's time limit, a wild access
// AddressSanitizer's.
TEST(RingDamage, random_scribbles_never_hang_or_crash) {
    std::mt19937_64 random(test_seed());
    SCOPED_TRACE("TELPHER_SEED=" + std::to_string(test_seed()));
    for (int round = 0; round < 300; ++round) {
        const auto capacity = static_cast<std::uint32_t>(1 + random() % 20);
        ScratchRing ring(capacity, 40);
        for (int step = 0; step < 100; ++step) {
            const std::uint64_t around = ring.tail_hint() + random() % 64 - 32;
            const std::uint64_t values[] = {random(), around, random() % 64, ~0ULL, around << 24U};
            const std::uint64_t value = values[random() % 5];
            switch (random() % 5) {
                case 0:
                    ring.ring().slot(random() % 32).pos.store(value, std::memory_order_relaxed);
                    break;
                case 1:
                    ring.ring().slot(random() % 32).ref.store(value, std::memory_order_relaxed);
                    break;
                case 2:
                    ring.set_hints(value, ring.tail_hint());
                    break;
                case 3:
                    ring.set_hints(ring.head_hint(), value);
                    break;
                default:
                    ring.memory()
                        .pool()
                        .header(static_cast<std::uint32_t>(random() % 40))
                        ->word.store(value, std::memory_order_relaxed);
            }
            ASSERT_TRUE(all_calls_answer(ring)) << "round " << round << " step " << step;
        }
    }
}

}  // namespace
}  // namespace telpher::test

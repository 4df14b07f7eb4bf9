// A leased message on its way: offered for later, back into its queue, or to the dead letters.

#include "shm/base/bug.hpp"
#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"
#include "shm/leases.hpp"

namespace telpher::shm {

// Killed before PARKED: OWNED, our reaper frees it. Behind it: nobody's, and found by a pass. Its way to a
// consumer is never that of a first offer (`open` has noted the generation of PARKED as that): a reaper that
// meets it there parks it.
void Leases::park_offer(std::uint32_t chunk,
                        std::uint64_t dest,
                        std::uint64_t due_us) const noexcept {
    // relaxed: the word is ours (OWNED), nobody else changes it
    const std::uint64_t generation =
        (word_generation(word(chunk).load(std::memory_order_relaxed)) + 1) & kGenerationMask;
    SHM_STEP("lease.later.dest");
    // relaxed: published by PARKED
    pool_->header(chunk)->dest.store(dest, std::memory_order_relaxed);
    SHM_STEP("lease.later.due");
    if (!bug(Bug::due_after_parked)) {
        // relaxed: as above
        block(chunk).due.store(make_moment(generation, due_us), std::memory_order_relaxed);
    }
    SHM_STEP("lease.later.parked");
    // C0: pairs with ring_inline.hpp:R4 and reaper.cpp:K1. The commit point. seq_cst: then the look at
    // `lease_look` (LE7).
    word(chunk).store(make_parked(ReturnReason::none, generation), std::memory_order_seq_cst);
    if (bug(Bug::due_after_parked)) {
        SHM_STEP("lease.later.due_late");
        // relaxed: the seeded bug
        block(chunk).due.store(make_moment(generation, due_us), std::memory_order_relaxed);
    }
}

// Killed between the two CAS: OFFERED and in flight, and not its first offer: our reaper parks it.
Status Leases::bring_back(std::uint32_t chunk,
                          std::uint64_t parked,
                          Ring& lane,
                          ThreadRecord& thread) const noexcept {
    const std::uint64_t generation = (word_generation(parked) + 1) & kGenerationMask;
    const std::uint64_t ref = make_ref(generation, chunk);
    SHM_STEP("lease.bring.inflight");
    thread.inflight.store(ref, std::memory_order_relaxed);  // relaxed: published by the CAS
    std::uint64_t expected = parked;
    SHM_STEP("lease.bring.cas");
    // C0: pairs with ring_inline.hpp:R4 and reaper.cpp:K1.
    if (!word(chunk).compare_exchange_strong(
            expected,
            make_word(ChunkState::offered, me_, generation),
            std::memory_order_acq_rel,
            std::memory_order_relaxed)) {  // failure: another was faster
        return Status::none;
    }
    SHM_STEP("lease.bring.returned");
    // relaxed: nobody finds the chunk before it is in the lane
    block(chunk).returned.store(
        make_returned(generation, static_cast<std::uint8_t>(parked_reason(parked))),
        std::memory_order_relaxed);
    const Status status = lane.put(ref);
    if (status != Status::ok) {
        SHM_STEP("lease.bring.undo");
        // C2: pairs with reaper.cpp:K1. In no ring: nobody else changes the word.
        word(chunk).store(make_parked(parked_reason(parked), (generation + 1) & kGenerationMask),
                          std::memory_order_release);
    }
    return status;
}

// Killed behind it: our reaper parks it.
bool Leases::take(std::uint32_t chunk, std::uint64_t& seen) const noexcept {
    const std::uint64_t generation = word_generation(seen);
    const std::uint64_t moving =
        make_word(ChunkState::moving, me_, (generation + 1) & kGenerationMask);
    if (word_state(seen) == ChunkState::claimed) {
        take_note_away(chunk, generation);
    }
    std::uint64_t expected = seen;
    SHM_STEP("lease.take.cas");
    // LE5: pairs with leases.cpp:LE6.
    if (!word(chunk).compare_exchange_strong(
            expected,
            moving,
            std::memory_order_acq_rel,
            std::memory_order_relaxed)) {  // failure: another was faster
        return false;
    }
    seen = moving;
    return true;
}

// Killed before MOVING: as it was; CLAIMED, our reaper condemns it. Behind it, until its destination is another: MOVING
// of its function; our reaper condemns it, whatever its block says. Behind that: the block is a lease's, and
// our reaper parks it.
bool Leases::condemn(std::uint32_t chunk,
                     std::uint64_t& seen,
                     const Letter& letter) const noexcept {
    std::uint64_t generation = (word_generation(seen) + 1) & kGenerationMask;
    std::uint64_t expected = seen;
    SHM_STEP("lease.condemn.cas");
    // K4: pairs with ring_inline.hpp:C2, and with LE5 of who was here before.
    if (!word(chunk).compare_exchange_strong(
            expected,
            make_word(ChunkState::moving, me_, generation),
            std::memory_order_acq_rel,
            std::memory_order_relaxed)) {  // failure: a helper was faster
        return false;
    }
    SHM_STEP("lease.condemn.block");
    open(chunk);
    LeaseBlock& b = block(chunk);
    // relaxed, all: the chunk is ours alone; published by what follows
    b.count.store(make_count(0, 0), std::memory_order_relaxed);  // relaxed: as above
    b.sequence.store(letter.order, std::memory_order_relaxed);
    b.dead.store(
        make_dead(
            wall_coarse_ns() / 1'000'000, letter.from, static_cast<std::uint8_t>(letter.reason)),
        std::memory_order_relaxed);  // relaxed: as above
    SHM_STEP("lease.condemn.dest");
    // LE11: pairs with reaper.cpp:K1. Who reaps us and sees the new destination sees the new block.
    pool_->header(chunk)->dest.store(letter.dest, std::memory_order_release);
    SHM_STEP("lease.condemn.parked");
    generation = (generation + 1) & kGenerationMask;
    seen = make_parked(letter.reason, generation);
    // C0: pairs with ring_inline.hpp:R4 and reaper.cpp:K1. seq_cst: then the look at `lease_look` (LE7).
    word(chunk).store(seen, std::memory_order_seq_cst);
    return true;
}

// Killed behind the store: MOVING of the dead letters, our reaper parks it; it comes through the returns lane.
void Leases::begin_its_turn(std::uint32_t chunk, std::uint64_t taken) const noexcept {
    SHM_STEP("lease.turn.count");
    // relaxed: the chunk is ours alone. No generation that it is OFFERED with: that would be a first offer.
    block(chunk).count.store(make_count(word_generation(taken), 0), std::memory_order_relaxed);
}

Status Leases::carry(std::uint32_t chunk,
                     std::uint64_t& taken,
                     Ring& ring,
                     std::uint64_t dest,
                     ThreadRecord& thread) const noexcept {
    const std::uint64_t generation = (word_generation(taken) + 1) & kGenerationMask;
    const std::uint64_t ref = make_ref(generation, chunk);
    SHM_STEP("lease.carry.dest");
    // relaxed: the chunk is ours alone. Killed from here on: it is parked in its new queue.
    pool_->header(chunk)->dest.store(dest, std::memory_order_relaxed);
    SHM_STEP("lease.carry.inflight");
    thread.inflight.store(ref, std::memory_order_relaxed);  // relaxed: published by C0
    SHM_STEP("lease.carry.offered");
    // C0: pairs with ring_inline.hpp:R4 and reaper.cpp:K1.
    word(chunk).store(make_word(ChunkState::offered, me_, generation), std::memory_order_release);
    const Status status = ring.put(ref);
    if (status != Status::ok) {
        taken = make_word(ChunkState::moving, me_, (generation + 1) & kGenerationMask);
        SHM_STEP("lease.carry.undo");
        // C2: pairs with reaper.cpp:K1. In no ring: nobody else changes the word.
        word(chunk).store(taken, std::memory_order_release);
    }
    return status;
}

}  // namespace telpher::shm

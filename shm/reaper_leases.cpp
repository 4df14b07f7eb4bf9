// What the reaper does with chunks that are not simply somebody's.

#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"
#include "shm/reaper.hpp"

#include <algorithm>

namespace telpher::shm {

// What is not simply somebody's: evicted from a topic, an answered call, of a queue with leases.
Reaper::Settled Reaper::sweep_special(std::uint32_t chunk,
                                      std::uint64_t seen,
                                      std::uint32_t slot,
                                      std::span<const std::uint64_t> inflight) {
    switch (word_state(seen)) {
        case ChunkState::retired:
            if (word_owner(seen) == slot || word_owner(seen) == kNobodysChunk) {
                directory_->free_retired(chunk, word_owner(seen));
                return Settled::yes;
            }
            return Settled::no;
        case ChunkState::replied:
        case ChunkState::failed:
        case ChunkState::orphaned:
            return settle_call(chunk, seen, slot) ? Settled::yes : Settled::again;
        default:
            return sweep_leased(chunk, seen, slot, inflight);
    }
}

// A chunk of a queue with leases: what the dead read, held or carried. `no`: it is none, or as any other.
Reaper::Settled Reaper::sweep_leased(std::uint32_t chunk,
                                     std::uint64_t seen,
                                     std::uint32_t slot,
                                     std::span<const std::uint64_t> inflight) {
    const ChunkState state = word_state(seen);
    const bool block = state == ChunkState::lingering || state == ChunkState::parked ||
                       state == ChunkState::moving;
    if (!block && state != ChunkState::claimed && state != ChunkState::offered) {
        return Settled::no;
    }
    // K1: pairs with lease_moves.cpp:LE11; of others it was written before OFFERED.
    const std::uint64_t dest = pool_->header(chunk)->dest.load(std::memory_order_acquire);
    // Of a MOVING one-way request the block may still be a call's.
    if ((!block || state == ChunkState::moving) && dest_lane(dest) != Lane::leased) {
        return Settled::no;
    }
    if (!leases_.forget_reader(chunk, seen, slot)) {
        return Settled::again;
    }
    if (state == ChunkState::lingering) {
        leases_.free_if_unread(chunk, seen);  // who was to free it may be the dead
        return Settled::yes;
    }
    if (state != ChunkState::parked && word_owner(seen) != slot) {
        return Settled::yes;
    }
    const auto found = directory_->pinned(dest_entry(dest));
    const bool exists = found && found->generation == dest_generation(dest);
    if (state == ChunkState::parked) {
        return exists || leases_.settle(chunk, seen) ? Settled::yes : Settled::again;
    }
    if (state == ChunkState::offered) {
        const std::uint64_t ref = make_ref(word_generation(seen), chunk);
        if (std::find(inflight.begin(), inflight.end(), ref) == inflight.end()) {
            return Settled::yes;
        }
        const auto ring = exists ? directory_->ring(*found) : std::nullopt;
        const auto lane = exists ? directory_->returns_lane(*found) : std::nullopt;
        if ((ring && ring->holds(ref)) || (lane && lane->holds(ref))) {
            return Settled::yes;
        }
        if (leases_.first_offer(chunk, seen)) {
            return Settled::no;  // it had not been sent
        }
    }
    if (exists && found->state == EntryState::live && !bug(Bug::reaper_frees_leased)) {
        return leases_.park_for_dead(chunk, seen) ? Settled::yes : Settled::again;
    }
    SHM_STEP("reap.leased");
    if (!leases_.settle(chunk, seen)) {
        return Settled::again;
    }
    count_abandoned(dest);
    return Settled::yes;
}

// A one-way request that the dead had claimed, or was condemning: to the dead letters of its function.
// `no`: it is none, or there are no dead letters.
Reaper::Settled Reaper::condemn(std::uint32_t chunk,
                                std::uint64_t seen,
                                std::uint64_t dest,
                                std::uint32_t me) const {
    const bool moving = word_state(seen) == ChunkState::moving;
    if (!moving && word_state(seen) != ChunkState::claimed) {
        return Settled::no;
    }
    const auto found = directory_->pinned(dest_entry(dest));
    if (!found || found->generation != dest_generation(dest) || found->kind() != Kind::function ||
        (!moving && !is_oneway(*pool_->header(chunk))) || bug(Bug::reaper_frees_oneway)) {
        return Settled::no;
    }
    const auto letters = directory_->dead_letters(*found);
    if (!letters) {
        return Settled::no;
    }
    if (visits_) {
        return Settled::left;
    }
    if (!Leases(pool_, me).condemn(
            chunk, seen, {letters->dest(), found->entry, ReturnReason::consumer_died, 0})) {
        return Settled::again;
    }
    SHM_STEP("reap.condemn.count");
    // relaxed: a statistic
    directory_->entry(found->entry).dead_lettered.fetch_add(1, std::memory_order_relaxed);
    if (!moving) {
        count_abandoned(dest);
    }
    return Settled::yes;
}

}  // namespace telpher::shm

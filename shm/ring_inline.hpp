#pragma once
// The hot half of Ring (shm/ring.hpp): commit and claim.

#include "shm/ring.hpp"

namespace telpher::shm {

inline void Ring::raise(Word& hint, std::uint64_t value) noexcept {
    SHM_STEP("ring.raise.load");
    // relaxed: only compared; a hint that moves backwards costs others a walk
    if (hint.load(std::memory_order_relaxed) < value) {
        SHM_STEP("ring.raise.store");
        // R1: pairs with R2. Who starts from this hint sees the slots and words below it as we saw
        // them.
        hint.store(value, std::memory_order_release);
    }
}

// Looks from `t` on for the first position that is not filled: its slot's content in pos and ref.
// queue_not_found when the sentinel is met, whatever lap it belongs to: a lagging hint may have led
// us past the position of the sentinel modulo the ring, and nothing may be committed after it.
inline Status Ring::find_tail(std::uint64_t& t,
                              std::uint64_t& pos,
                              std::uint64_t& ref,
                              std::uint64_t& budget) const noexcept {
    for (; budget != 0; --budget) {
        Slot& s = slot(t);
        SHM_STEP("ring.commit.load_pos");
        // R3: pairs with C1. The reference we read next is not older than this position.
        pos = s.pos.load(std::memory_order_acquire);
        SHM_STEP("ring.commit.load_ref");
        // R3: pairs with C1; a torn pair fails the CAS.
        ref = s.ref.load(std::memory_order_acquire);
        if (ref == kClosedRef && (!bug(Bug::closed_only_at_tail) || pos == t + 1)) {
            SHM_STEP("ring.commit.reload_pos");
            // R3: pairs with C1. Unchanged, so the sentinel belongs to this position.
            if (s.pos.load(std::memory_order_acquire) == pos) {
                return Status::queue_not_found;
            }
            continue;
        }
        if (pos < t + 1) {
            return Status::ok;
        }
        if (((pos - 1 - t) & mask_) != 0) {
            return Status::corrupt;  // a position that cannot stand in this slot
        }
        t = pos > t + 1 ? pos : t + 1;
        if (budget % kStepsPerHint == 1) {
            SHM_STEP("ring.commit.reload_tail");
            // R2: pairs with R1. Never leads: as in `claim`, others may be far ahead by now.
            const std::uint64_t now = control_->tail.load(std::memory_order_acquire);
            t = now > t && !bug(Bug::hint_not_read_again) ? now : t;
        }
    }
    return Status::corrupt;
}

inline Ring::Room Ring::room_at(std::uint64_t& t, std::uint64_t& budget) noexcept {
    // relaxed: private, and any earlier head hint over-estimates the length
    const std::uint64_t known = head_seen().load(std::memory_order_relaxed);
    if (t >= known && t - known < capacity_ && !bug(Bug::unguarded_distance)) [[likely]] {
        return Room::yes;
    }
    SHM_STEP("ring.commit.load_head");
    // R2: pairs with R1. Never leads, so the length it gives is never too small.
    std::uint64_t h = control_->head.load(std::memory_order_acquire);
    if (h > t && !bug(Bug::unguarded_distance)) {
        t = h;  // everything below h is filled: others committed beyond t since we looked
        return h > kPositionMax ? Room::damaged : Room::look_again;
    }
    head_seen().store(h, std::memory_order_relaxed);  // relaxed: as above
    if (t - h < capacity_) [[likely]] {
        return Room::yes;
    }
    if (!walk_head(h, t, budget) || h > kPositionMax) {
        return Room::damaged;
    }
    raise(control_->head, h);
    if (h > t && !bug(Bug::unguarded_distance)) {
        t = h;  // as above: laps were run while we walked
        return Room::look_again;
    }
    return t - h < capacity_ ? Room::yes : Room::no;
}

// Commits `ref` at the first unfilled position from `t` on, if there is room; leaves it in t.
inline Status Ring::insert(std::uint64_t& t, std::uint64_t ref) noexcept {
    for (std::uint64_t budget = steps_max(); budget != 0; --budget) {
        std::uint64_t old_pos = 0;
        std::uint64_t old_ref = 0;
        const Status status = find_tail(t, old_pos, old_ref, budget);
        if (status != Status::ok) {
            return status;
        }
        const Room room = ref == kClosedRef ? Room::yes : room_at(t, budget);
        if (room == Room::look_again) {
            continue;
        }
        if (room != Room::yes) {
            return room == Room::no ? Status::queue_full : Status::corrupt;
        }
        SHM_STEP("ring.commit.cas");
        // C1: pairs with R3 and R5. The commit point: one atomic step makes the message part of the
        // queue; seq_cst, so that the look at the waiters that follows comes after it
        // (doorbell.hpp:W3).
        if (compare_exchange_slot(slot(t), old_pos, old_ref, t + 1, ref)) {
            return Status::ok;
        }
    }
    return Status::corrupt;
}

inline Status Ring::commit(std::uint32_t chunk,
                           std::uint32_t me,
                           ThreadRecord& thread,
                           std::uint64_t* position,
                           Word* note) noexcept {
    ChunkHeader& header = *pool_->header(chunk);
    // relaxed: the word is ours (OWNED), nobody else changes it
    const std::uint64_t generation =
        (word_generation(header.word.load(std::memory_order_relaxed)) + 1) & kGenerationMask;
    const std::uint64_t mine = make_ref(generation, chunk);
    SHM_STEP("ring.commit.dest");
    if (!bug(Bug::dest_after_commit)) {
        header.dest.store(dest_, std::memory_order_relaxed);  // relaxed: published by C0
    }
    SHM_STEP("ring.commit.inflight");
    thread.inflight.store(mine, std::memory_order_relaxed);  // relaxed: published by C0
    if (note != nullptr && !bug(Bug::offer_not_noted)) [[unlikely]] {
        SHM_STEP("ring.commit.note");
        note->store(mine, std::memory_order_relaxed);  // relaxed: published by C0
    }
    SHM_STEP("ring.commit.offered");
    // C0: pairs with R4 and the reaper's load of the word (reaper.cpp:K1). Whoever sees OFFERED
    // sees the message, its destination and our in-flight word.
    header.word.store(make_word(ChunkState::offered, me, generation), std::memory_order_release);
    SHM_STEP("ring.commit.load_tail");
    // R2: pairs with R1. Never leads: every position below is filled.
    std::uint64_t t = control_->tail.load(std::memory_order_acquire);
    const Status status = insert(t, mine);
    if (status == Status::ok) {
        if (bug(Bug::dest_after_commit)) {
            SHM_STEP("ring.commit.dest_late");
            header.dest.store(dest_, std::memory_order_relaxed);  // relaxed: the seeded bug
        }
        raise(control_->tail, t + 1);
        if ((t & 3U) == 0) {
            // Two lines ahead, before the consumer's polling and prefetching can take it from us.
            prefetch_for_write(&slot(t + 8));
        }
        *position = t;
        return Status::ok;
    }
    if (status == Status::queue_full) {
        raise(control_->tail, t);  // whoever committed up to here may not have lived to say so
    }
    if (note != nullptr) [[unlikely]] {
        SHM_STEP("ring.commit.unnote");
        // Before the chunk is a loan again: then a later offer of it may look like this one.
        note->store(kNoRef, std::memory_order_relaxed);  // relaxed: published by C2
    }
    SHM_STEP("ring.commit.undo");
    // C2: pairs with the reaper's load (reaper.cpp:K1). The chunk is a loan again.
    header.word.store(make_word(ChunkState::owned, me, generation), std::memory_order_release);
    return status;
}

inline Status Ring::claim(std::uint32_t me,
                          std::uint32_t* chunk,
                          std::uint64_t* position,
                          std::uint64_t* claimed) noexcept {
    SHM_STEP("ring.claim.load_head");
    // R2: pairs with R1. Never leads: every position below is claimed.
    const std::uint64_t started = control_->head.load(std::memory_order_acquire);
    std::uint64_t h = started;
    for (std::uint64_t steps = 0; steps <= steps_max(); ++steps) {
        const Status status = claim_at(h, me, chunk, claimed);
        if (status == Status::ok) {
            raise(control_->head, h + 1);
            look_ahead(h);
            *position = h;
            return Status::ok;
        }
        if (status != Status::none) {
            if (status == Status::queue_empty && h != started) {
                raise(control_->head, h);  // whoever claimed up to here did not live to say so
            }
            return status;
        }
        if (steps % kStepsPerHint == kStepsPerHint - 1) {
            SHM_STEP("ring.claim.reload_head");
            // R2: pairs with R1. Never leads, as above. Who walks over what others claim while they claim as fast
            // never comes to the end of it: a consumer of a full queue was overtaken 66,000 times in a row.
            const std::uint64_t now = control_->head.load(std::memory_order_acquire);
            h = now > h && !bug(Bug::hint_not_read_again) ? now : h;
        }
    }
    // A ring that nobody changes is walked in two laps whatever its words are: others were faster each time.
    return Status::queue_empty;
}

// Tries position `h`: ok = claimed; none = `h` was moved on; everything else ends the search.
inline Status Ring::claim_at(std::uint64_t& h,
                             std::uint32_t me,
                             std::uint32_t* chunk,
                             std::uint64_t* claimed) noexcept {
    Slot& s = slot(h);
    SHM_STEP("ring.claim.load_pos");
    // R5: pairs with C1. A filled position's message is visible.
    const std::uint64_t pos = s.pos.load(std::memory_order_acquire);
    if (pos < h + 1) {
        return Status::queue_empty;
    }
    if (pos > h + 1) {
        if (((pos - 1 - h) & mask_) != 0) {
            return Status::corrupt;  // a position that cannot stand in this slot
        }
        h = pos - (mask_ + 1);  // lapped: the position one lap before it was claimed, and all below
        return Status::none;
    }
    SHM_STEP("ring.claim.load_ref");
    // R5: pairs with C1; the position is read again below.
    const std::uint64_t ref = s.ref.load(std::memory_order_acquire);
    SHM_STEP("ring.claim.reload_pos");
    // R5: pairs with C1. Unchanged, so that ref belongs to it.
    if (s.pos.load(std::memory_order_acquire) != pos) {
        return Status::none;
    }
    if (ref == kClosedRef) {
        return Status::queue_not_found;
    }
    const std::uint32_t candidate = ref_chunk(ref);
    if (!pool_->valid(candidate)) [[unlikely]] {
        // The domain may have grown since we looked; what cannot be mapped here stays in the queue.
        if (const Status status = pool_->reach(candidate); status != Status::ok) {
            return status;
        }
    }
    if (bug(Bug::head_before_claim)) {
        raise(control_->head, h + 1);
    }
    Word& word = pool_->header(candidate)->word;
    SHM_STEP("ring.claim.load_word");
    // R4: pairs with C0.
    std::uint64_t seen = word.load(std::memory_order_acquire);
    SHM_STEP("ring.claim.cas");
    // C3: pairs with C0 and W1 (doorbell.hpp:W1). The claim point: exactly one consumer wins;
    // seq_cst, so that the look at producers waiting for room comes after it.
    if (matches(ref, seen) && word.compare_exchange_strong(
                                  seen,
                                  make_word(ChunkState::claimed, me, word_generation(seen)),
                                  std::memory_order_seq_cst,
                                  std::memory_order_relaxed)) {  // failure: somebody else's, go on
        *chunk = candidate;
        if (claimed != nullptr) {
            *claimed = make_word(ChunkState::claimed, me, word_generation(seen));
        }
        return Status::ok;
    }
    ++h;
    return Status::none;
}

// Fetches the message eight positions on for writing: its claim and its release will write that
// line.
inline void Ring::look_ahead(std::uint64_t h) const noexcept {
    const Slot& s = slot(h + kLookAhead);
    if (s.pos.load(std::memory_order_relaxed) !=
        h + kLookAhead + 1) {  // relaxed: only a prefetch follows
        return;
    }
    const std::uint32_t chunk =
        ref_chunk(s.ref.load(std::memory_order_relaxed));  // relaxed: as above
    if (pool_->valid(chunk)) {
        const auto* line = reinterpret_cast<const std::byte*>(pool_->header(chunk));
        prefetch_for_write(line);
        prefetch_for_write(line + kCacheLine);
    }
}

}  // namespace telpher::shm

#pragma once
// The hot half of TopicRing (shm/topic_ring.hpp): publish, look, copy, pin.

#include "shm/topic_ring.hpp"

namespace telpher::shm {

// Makes `what` OFFERED, to be found in `thread` by the reaper. Returns its reference.
inline std::uint64_t TopicRing::put_forward(const Outgoing& what, ThreadRecord& thread) noexcept {
    ChunkHeader& header = *pool_->header(what.chunk);
    // relaxed: the word is ours (OWNED), nobody else changes it
    const std::uint64_t generation =
        (word_generation(header.word.load(std::memory_order_relaxed)) + 1) & kGenerationMask;
    const std::uint64_t mine = make_ref(generation, what.chunk);
    SHM_STEP("topic.publish.dest");
    header.dest.store(dest_ | static_cast<std::uint64_t>(what.lane) << 20,
                      std::memory_order_relaxed);  // relaxed: published by T10
    SHM_STEP("topic.publish.inflight");
    thread.inflight.store(mine, std::memory_order_relaxed);  // relaxed: published by T10
    SHM_STEP("topic.publish.offered");
    // T10: pairs with T12 and the reaper's load (reaper.cpp:K1). Whoever sees OFFERED sees the
    // message, its destination and our in-flight word.
    header.word.store(make_word(ChunkState::offered, what.me, generation),
                      std::memory_order_release);
    return mine;
}

inline Status TopicRing::publish(const Outgoing& what,
                                 ThreadRecord& thread,
                                 GateCache& known,
                                 std::uint64_t* position,
                                 std::uint64_t* evicted) noexcept {
    const std::uint64_t mine = put_forward(what, thread);
    SHM_STEP("topic.publish.load_tail");
    // R2: pairs with R1 (ring_inline.hpp:R1). Never leads.
    std::uint64_t t = control_->tail.load(std::memory_order_acquire);
    Status status = Status::corrupt;
    for (std::uint64_t budget = steps_max(); budget != 0; --budget) {
        std::uint64_t old_pos = 0;
        std::uint64_t old_ref = 0;
        status = find_tail(t, old_pos, old_ref, budget);
        if (status != Status::ok) {
            break;
        }
        // After the slot was read: a blocking subscriber that joined before position t - slots was
        // filled is seen.
        if (policy_ == SlowPolicy::block && !gate(t, known)) [[unlikely]] {
            status = Status::queue_full;
            break;
        }
        SHM_STEP("topic.publish.victim");
        // relaxed: read by the reaper of a dead thread, after the kernel's lock
        *evicted = old_pos == 0 ? kNoRef : old_ref;
        thread.victim.store(*evicted, std::memory_order_relaxed);  // relaxed: as above
        SHM_STEP("topic.publish.cas");
        // T11: pairs with R3 and R5 (ring_inline.hpp:R3, ring_inline.hpp:R5) and T13. The commit
        // point; seq_cst, so that the look at the waiters that follows comes after it
        // (doorbell.hpp:W3).
        if (compare_exchange_slot(slot(t), old_pos, old_ref, t + 1, mine)) {
            raise(control_->tail, t + 1);
            if ((t & 3U) == 0) {
                prefetch_for_write(&slot(t + 8));
            }
            fetch_victim(t + 4);
            *position = t;
            return Status::ok;
        }
    }
    SHM_STEP("topic.publish.undo");
    // C2: pairs with the reaper's load (reaper.cpp:K1). The chunk is a loan again.
    Word& word = pool_->header(what.chunk)->word;
    // relaxed: OFFERED by us, nobody else changes it while we live
    const std::uint64_t generation = word_generation(word.load(std::memory_order_relaxed));
    word.store(make_word(ChunkState::owned, what.me, generation), std::memory_order_release);
    return status == Status::queue_not_found ? Status::topic_not_found : status;
}

// What will be evicted soon is in the caches of its readers: asked for while there is time.
inline void TopicRing::fetch_victim(std::uint64_t position) const noexcept {
    // relaxed: only a prefetch follows
    const std::uint64_t ref = slot(position).ref.load(std::memory_order_relaxed);
    if (pool_->valid(ref_chunk(ref))) {
        const auto* line = reinterpret_cast<const std::byte*>(pool_->header(ref_chunk(ref)));
        for (std::size_t i = 0; i < kFetchedLines; ++i) {
            prefetch_for_write(line + i * kCacheLine);
        }
    }
}

inline void TopicRing::look_ahead(std::uint64_t cursor) const noexcept {
    const Slot& s = slot(cursor + kLookAhead);
    // relaxed, both: only a prefetch follows
    if (s.pos.load(std::memory_order_relaxed) != cursor + kLookAhead + 1) {
        return;
    }
    const std::uint32_t chunk =
        ref_chunk(s.ref.load(std::memory_order_relaxed));  // relaxed: as above
    if (pool_->valid(chunk)) {
        const auto* line = reinterpret_cast<const std::byte*>(pool_->header(chunk));
        for (std::size_t i = 0; i < kFetchedLines; ++i) {
            __builtin_prefetch(line + i * kCacheLine, 0, 3);
        }
    }
}

inline bool TopicRing::gate(std::uint64_t t, GateCache& known) noexcept {
    // T17: pairs with T16 (topic_ring.cpp:T16).
    const std::uint64_t changes = topic_->changes.load(std::memory_order_seq_cst);
    if (changes == known.changes && t < known.limit) [[likely]] {
        return true;
    }
    const std::uint64_t lowest = lowest_cursor(true);
    known.changes = changes;
    known.limit = lowest > ~0ULL - capacity_ ? ~0ULL : lowest + capacity_;
    return t < known.limit;
}

// Killed before it: `victim` names the chunk, and the reaper retires it. After it: the reaper frees it.
inline bool TopicRing::retire(std::uint64_t ref, std::uint32_t owner) noexcept {
    const std::uint32_t chunk = ref_chunk(ref);
    if (ref == kNoRef || ref == kClosedRef || pool_->reach(chunk) != Status::ok) {
        return false;
    }
    Word& word = pool_->header(chunk)->word;
    // relaxed: the CAS decides
    std::uint64_t seen = word.load(std::memory_order_relaxed);
    if (!matches(ref, seen)) {
        return false;
    }
    SHM_STEP("topic.retire.cas");
    // H2: pairs with H1. Retired first, the hazards looked at second; a reader names its hazard
    // first, and looks at the word second: in the single order of seq_cst one of us sees the other.
    return word.compare_exchange_strong(
        seen,
        make_word(ChunkState::retired, owner, word_generation(seen)),
        std::memory_order_seq_cst,
        std::memory_order_relaxed);  // failure: retired by another
}

inline void TopicRing::retire(std::uint64_t ref, std::uint32_t me, RetiredList& list) noexcept {
    if (!retire(ref, me)) {
        return;
    }
    if (bug(Bug::free_without_hazards)) {
        pool_->free_now(ref_chunk(ref));
        return;
    }
    if (list.count == RetiredList::kMax) {
        // All of them are being read: the oldest is left to a full pass.
        disown(list.refs[0]);
        for (std::uint32_t i = 1; i < list.count; ++i) {
            list.refs[i - 1] = list.refs[i];
        }
        --list.count;
    }
    list.refs[list.count++] = ref;
    list.bytes += pool_->class_of(ref_chunk(ref)).chunk_bytes;
    if (list.count % RetiredList::kBatch == 0 || list.bytes >= RetiredList::kBytesMax) {
        free_retired(list);
    }
}

inline Status TopicRing::look(std::uint64_t* cursor, std::uint64_t* ref) const noexcept {
    for (std::uint32_t round = 0; round < 1024; ++round) {
        const std::uint64_t c = *cursor;
        Slot& s = slot(c);
        SHM_STEP("topic.look.pos");
        // T13: pairs with T11. A filled position's message is visible.
        const std::uint64_t pos = s.pos.load(std::memory_order_acquire);
        if (pos < c + 1) {
            return Status::queue_empty;
        }
        if (pos > c + 1) {
            if (((pos - 1 - c) & mask_) != 0 || pos > kPositionMax) {
                return Status::corrupt;  // a position that cannot stand in this slot
            }
            // Overtaken. Position pos - 1 is filled, so that all up to pos - 1 - slots are evicted; a
            // little further on it is likely to find what stays for a while.
            *cursor = pos - slots() + slots() / 8;
            return Status::gap;
        }
        SHM_STEP("topic.look.ref");
        // T13: pairs with T11; the position is read again below.
        *ref = s.ref.load(std::memory_order_acquire);
        SHM_STEP("topic.look.again");
        // T13: pairs with T11. Unchanged, so that the reference belongs to it.
        if (s.pos.load(std::memory_order_acquire) != pos) {
            continue;
        }
        if (*ref == kClosedRef) {
            return Status::topic_not_found;
        }
        if (!pool_->valid(ref_chunk(*ref))) [[unlikely]] {
            return pool_->reach(ref_chunk(*ref));
        }
        return Status::ok;
    }
    return Status::timed_out;
}

inline bool TopicRing::still(std::uint64_t ref) const noexcept {
    // T12: pairs with T10, and with the release stores of the next message in this chunk: what we
    // read before belongs to `ref`.
    return matches(ref, pool_->header(ref_chunk(ref))->word.load(std::memory_order_acquire));
}

inline bool TopicRing::may_copy(std::uint64_t ref) const noexcept {
    // T12: pairs with T10: acquire, so that the word is looked at after it.
    return dest_lane(pool_->header(ref_chunk(ref))->dest.load(std::memory_order_acquire)) ==
           Lane::copied;
}

inline bool TopicRing::copy(std::uint64_t ref, std::span<std::byte> out) const noexcept {
    auto* words = reinterpret_cast<std::uint64_t*>(pool_->message(ref_chunk(ref)).data());
    for (std::size_t i = 0; i < out.size() / sizeof(std::uint64_t); ++i) {
        SHM_STEP("topic.copy.word");
        // T14: pairs with T15 (src/broker/topic_core.cpp:T15). Acquire, so that a word of a later
        // message makes its owner's change of the chunk's word visible to `still`.
        const std::uint64_t word =
            std::atomic_ref<std::uint64_t>(words[i]).load(std::memory_order_acquire);
        __builtin_memcpy(out.data() + i * sizeof word, &word, sizeof word);
    }
    SHM_STEP("topic.copy.check");
    return still(ref) || bug(Bug::cursor_before_validation);
}

inline bool TopicRing::pin(Word& hazard, std::uint64_t ref) const noexcept {
    SHM_STEP("topic.pin.hazard");
    // H1: pairs with H2.
    hazard.store(ref, std::memory_order_seq_cst);
    SHM_STEP("topic.pin.check");
    // H1: pairs with H2.
    if (matches(ref, pool_->header(ref_chunk(ref))->word.load(std::memory_order_seq_cst))) {
        return true;
    }
    unpin(hazard);
    return false;
}

inline void TopicRing::unpin(Word& hazard) noexcept {
    SHM_STEP("topic.unpin");
    // H3: pairs with H4 (topic_ring.cpp:H4). Our last read happened before the chunk is free.
    hazard.store(0, std::memory_order_release);
}

}  // namespace telpher::shm

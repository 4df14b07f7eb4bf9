// The second half of Directory: pinning rings, and taking removed ones apart.

#include "shm/base/step.hpp"
#include "shm/call_layout.hpp"
#include "shm/directory.hpp"
#include "shm/doorbell.hpp"
#include "shm/lease_keeper.hpp"
#include "shm/leases.hpp"

namespace telpher::shm {

bool Directory::attach(const Found& found) {
    const std::lock_guard hold(attached_mutex_);
    DirectoryEntry& e = entries_[found.entry];
    const std::uint64_t bit = 1ULL << (slot_ % 64);
    if (attach_counts_[found.entry] == 0) {
        SHM_STEP("directory.attach.bit");
        // G1: pairs with G2. Our bit, then our look at the word; the recycler's word, then its look
        // at the bits: in the single order of seq_cst one of us sees the other.
        e.attached[slot_ / 64].fetch_or(bit, std::memory_order_seq_cst);
    }
    SHM_STEP("directory.attach.check");
    // G1: pairs with G2.
    const std::uint64_t word = e.word.load(std::memory_order_seq_cst);
    const EntryState state = entry_state(word);
    if (entry_generation(word) == found.generation &&
        (state == EntryState::live || state == EntryState::closed)) {
        ++attach_counts_[found.entry];
        return true;
    }
    if (attach_counts_[found.entry] == 0) {
        SHM_STEP("directory.attach.undo");
        // G3: pairs with G2. We did not touch the ring.
        e.attached[slot_ / 64].fetch_and(~bit, std::memory_order_release);
    }
    return false;
}

void Directory::detach(std::uint32_t entry) {
    const std::lock_guard hold(attached_mutex_);
    if (attach_counts_[entry] == 0 || --attach_counts_[entry] != 0) {
        return;
    }
    const std::uint64_t bit = 1ULL << (slot_ % 64);
    // relaxed: a statistic; of functions, which are not served without a handle, nothing changes
    entries_[entry].consumers[slot_ / 64].fetch_and(~bit, std::memory_order_relaxed);
    SHM_STEP("directory.detach.bit");
    // G3: pairs with G2. Our last access to the ring happened before it is taken apart.
    entries_[entry].attached[slot_ / 64].fetch_and(~bit, std::memory_order_release);
}

// Under the directory lock: nobody closes the function as unserved between its birth and our bit.
void Directory::start_serving(std::uint32_t entry) noexcept {
    const std::lock_guard hold(attached_mutex_);
    if (++serve_counts_[entry] == 1) {
        SHM_STEP("directory.serve.bit");
        // relaxed: read by holders of the lock, or to look again
        entries_[entry].consumers[slot_ / 64].fetch_or(1ULL << (slot_ % 64),
                                                       std::memory_order_relaxed);
    }
}

void Directory::stop_serving(std::uint32_t entry) noexcept {
    const std::lock_guard hold(attached_mutex_);
    if (serve_counts_[entry] != 0 && --serve_counts_[entry] == 0) {
        SHM_STEP("directory.serve.end");
        // relaxed: as above
        entries_[entry].consumers[slot_ / 64].fetch_and(~(1ULL << (slot_ % 64)),
                                                        std::memory_order_relaxed);
    }
}

std::uint32_t Directory::serving_here(std::uint32_t entry) {
    const std::lock_guard hold(attached_mutex_);
    return serve_counts_[entry];
}

bool Directory::unserved(const Found& found) const noexcept {
    if (found.family() != Family::function) {
        return false;
    }
    for (const Word& bits : entries_[found.entry].consumers) {
        // relaxed: whoever acts on it holds the lock, under which bits are set
        if (bits.load(std::memory_order_relaxed) != 0) {
            return false;
        }
    }
    return true;
}

// A function was closed: who waits for an answer of it looks at its request again.
void Directory::ring_callers() noexcept {
    for (ThreadRecord& thread : threads_) {
        // E7: pairs with src/broker/call_wait.hpp:CW3.
        if (thread.awaits_call.load(std::memory_order_seq_cst) != 0) {
            SHM_STEP("directory.ring.caller");
            ring_doorbell(thread);
        }
    }
}

// Killed before it: the queue dies with us. After it: with the next who holds the directory lock
// after a death, or looks (the janitor).
void Directory::disown(const Found& found) noexcept {
    DirectoryEntry& e = entries_[found.entry];
    // E5: pairs with E6 (directory.cpp:E6).
    if (entry_generation(e.word.load(std::memory_order_acquire)) != found.generation) {
        return;
    }
    SHM_STEP("directory.disown");
    // E1: pairs with E2 (directory.cpp:E2).
    std::atomic_ref<std::uint64_t>(e.info.owner).store(kNobody, std::memory_order_release);
}

// What was committed and never polled: freed and counted. Idempotent: each chunk goes by a CAS of
// its own.
void Directory::drain(const Found& found) {
    if (found.family() == Family::topic) {
        drain_topic(found);
        return;
    }
    for (auto ring : {this->returns_lane(found), this->ring(found)}) {
        std::uint32_t chunk = 0;
        std::uint64_t position = 0;
        std::uint64_t claimed = 0;
        while (ring && ring->claim(slot_, &chunk, &position, &claimed) == Status::ok) {
            if (found.leased()) {
                static_cast<void>(Leases(pool_, slot_).settle(chunk, claimed));
            } else {
                pool_->free_now(chunk);
            }
            SHM_STEP("directory.drain.count");
            entries_[found.entry].dropped.fetch_add(
                1, std::memory_order_relaxed);  // relaxed: a statistic
        }
    }
    if (found.leased()) {
        drain_parked(found);
    }
}

std::optional<Found> Directory::dead_letters(const Found& of) const noexcept {
    if (of.info.dead_letter_entry == 0) {
        return std::nullopt;
    }
    auto found = at(of.info.dead_letter_entry - 1);
    return found && found->state == EntryState::live && found->leased() &&
                   static_cast<std::uint32_t>(found->generation) == of.info.dead_letter_generation
               ? found
               : std::nullopt;
}

// What a CLOSED function did not get to: one-way requests become dead letters, in their order. Callers may still
// have it pinned. Killed anywhere: the next who tidies goes on; of one that was MOVING then our bit keeps the
// function until our reaper has condemned it.
void Directory::condemn_left(std::uint32_t index) {
    const auto found = at(index);
    const auto letters =
        found && found->family() == Family::function ? dead_letters(*found) : std::nullopt;
    const auto ring = letters ? this->ring(*found) : std::nullopt;
    if (!ring || !attach(*found)) {
        return;
    }
    const Leases leases(pool_, slot_);
    // R2: pairs with ring_inline.hpp:R1.
    std::uint64_t position = ring->control().head.load(std::memory_order_acquire);
    std::uint32_t chunk = 0;
    std::uint64_t seen = 0;
    bool any = false;
    // Bounded, whatever a damaged ring says.
    for (std::uint32_t left = found->info.slots;
         left != 0 && ring->front(position, &chunk, &seen) == Status::ok;
         --left, ++position) {
        if (is_oneway(*pool_->header(chunk)) &&
            leases.condemn(
                chunk, seen, {letters->dest(), index, ReturnReason::undeliverable, position + 1})) {
            any = true;
            SHM_STEP("directory.condemn.count");
            // relaxed: a statistic
            entries_[index].dead_lettered.fetch_add(1, std::memory_order_relaxed);
        }
    }
    if (any) {
        LeaseKeeper::look_by(entries_[letters->entry], 1);
    }
    detach(index);
}

// What had been given back and was not handed out again. Nobody is attached: nobody brings it back.
void Directory::drain_parked(const Found& found) {
    static_cast<void>(pool_->learn());
    const Leases leases(pool_, slot_);
    for (std::uint32_t k = 0; k < pool_->class_count(); ++k) {
        const ChunkClass& c = pool_->chunk_class(k);
        for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
            const std::uint32_t chunk = c.first_chunk + i;
            // R4: pairs with leases.cpp:LE5.
            const std::uint64_t seen = pool_->header(chunk)->word.load(std::memory_order_acquire);
            // relaxed: written before the word that we have seen
            if (word_state(seen) == ChunkState::parked &&
                pool_->header(chunk)->dest.load(std::memory_order_relaxed) == found.dest() &&
                leases.settle(chunk, seen)) {
                SHM_STEP("directory.drain.parked");
                entries_[found.entry].dropped.fetch_add(
                    1, std::memory_order_relaxed);  // relaxed: a statistic
            }
        }
    }
}

// A topic's chunks are not only in its ring: the sentinel took the place of one, and readers kept
// others. Nobody is attached: no hazard, nothing in flight. Idempotent: each chunk goes by one CAS.
void Directory::drain_topic(const Found& found) {
    static_cast<void>(pool_->learn());
    for (std::uint32_t k = 0; k < pool_->class_count(); ++k) {
        const ChunkClass& c = pool_->chunk_class(k);
        for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
            ChunkHeader& header = *pool_->header(c.first_chunk + i);
            // K1: pairs with topic_ring_inline.hpp:T10.
            std::uint64_t seen = header.word.load(std::memory_order_acquire);
            const ChunkState state = word_state(seen);
            // relaxed: written before OFFERED
            const std::uint64_t dest = header.dest.load(std::memory_order_relaxed);
            if ((state != ChunkState::offered && state != ChunkState::retired) ||
                dest_entry(dest) != found.entry || dest_generation(dest) != found.generation) {
                continue;
            }
            SHM_STEP("directory.drain.topic");
            // P2: pairs with chunk_pool.hpp:P1.
            if (header.word.compare_exchange_strong(
                    seen,
                    make_word(ChunkState::free, 0, word_generation(seen)),
                    std::memory_order_acq_rel,
                    std::memory_order_relaxed)) {  // failure: freed by another pass
                pool_->mark_free(c.first_chunk + i);
            }
        }
    }
}

bool Directory::free_retired(std::uint32_t chunk, std::uint32_t owner) noexcept {
    ChunkHeader& header = *pool_->header(chunk);
    // K1: pairs with topic_ring_inline.hpp:H2.
    const std::uint64_t seen = header.word.load(std::memory_order_acquire);
    if (word_state(seen) != ChunkState::retired || word_owner(seen) != owner) {
        return false;
    }
    // relaxed: written before it was OFFERED, which was before it was RETIRED
    const std::uint64_t dest = header.dest.load(std::memory_order_relaxed);
    const auto found = pinned(dest_entry(dest));
    if (found && found->generation == dest_generation(dest)) {
        auto ring = topic(*found);
        return ring && ring->free_if_unused(make_ref(word_generation(seen), chunk), owner);
    }
    // Its topic is gone, and all who read it before.
    std::uint64_t expected = seen;
    SHM_STEP("directory.free.retired");
    // P2: pairs with chunk_pool.hpp:P1.
    if (!header.word.compare_exchange_strong(
            expected,
            make_word(ChunkState::free, 0, word_generation(seen)),
            std::memory_order_acq_rel,
            std::memory_order_relaxed)) {  // failure: freed by another pass
        return false;
    }
    pool_->mark_free(chunk);
    return true;
}

bool Directory::free_retired() noexcept {
    bool any = false;
    for (std::uint32_t k = 0; k < pool_->class_count(); ++k) {
        const ChunkClass& c = pool_->chunk_class(k);
        for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
            any = free_retired(c.first_chunk + i, kNobodysChunk) || any;
        }
    }
    return any;
}

void Directory::recycle_entry(std::uint32_t index) {
    DirectoryEntry& e = entries_[index];
    // relaxed: changed only under the lock, which we hold
    const std::uint64_t generation = entry_generation(e.word.load(std::memory_order_relaxed));
    SHM_STEP("directory.recycle.word");
    // G2: pairs with G1 and G3.
    e.word.store(make_entry_word(EntryState::recycling, generation), std::memory_order_seq_cst);
    for (Word& bits : e.attached) {
        SHM_STEP("directory.recycle.bits");
        // G2: pairs with G1 and G3.
        if (bits.load(std::memory_order_seq_cst) != 0) {
            SHM_STEP("directory.recycle.back");
            // E6: pairs with E5 (directory.cpp:E5). Somebody still uses it: later.
            e.word.store(make_entry_word(EntryState::closed, generation),
                         std::memory_order_release);
            return;
        }
    }
    Found found{index, generation, EntryState::closed, {}};
    found.info = e.info;  // under the lock nobody writes it
    drain(found);
    SHM_STEP("directory.recycle.free");
    // E6: pairs with E5 (directory.cpp:E5). Its ring's memory is free from here on; the next life
    // has the next generation.
    e.word.store(make_entry_word(EntryState::free, generation), std::memory_order_release);
}

void Directory::recycle() {
    const std::uint32_t count = used();
    for (std::uint32_t i = 0; i < count; ++i) {
        // relaxed: changed only under the lock, which we hold
        if (entry_state(entries_[i].word.load(std::memory_order_relaxed)) == EntryState::closed) {
            condemn_left(i);
            recycle_entry(i);
        }
    }
}

// After a lock holder died. Every step leaves a state from which this can start again.
void Directory::mend() {
    const std::uint32_t count =
        std::min(used() + 1, entry_count_);  // +1: killed before `used` was raised
    for (std::uint32_t i = 0; i < count; ++i) {
        DirectoryEntry& e = entries_[i];
        // relaxed: changed only under the lock, which we hold
        const std::uint64_t word = e.word.load(std::memory_order_relaxed);
        switch (entry_state(word)) {
            case EntryState::creating:
                SHM_STEP("directory.mend.creating");
                // E6: pairs with E5 (directory.cpp:E5).
                e.word.store(make_entry_word(EntryState::free, entry_generation(word)),
                             std::memory_order_release);
                break;
            case EntryState::closed:
                if (const auto found = read(i)) {
                    if (auto ring = this->ring(*found); ring && !ring->closed()) {
                        static_cast<void>(ring->close());
                        wake_all(ring->control().items, threads_);
                        wake_all(ring->control().space, threads_);
                        ring_callers();
                    }
                }
                break;
            case EntryState::recycling:
                recycle_entry(i);
                break;
            default:
                break;
        }
    }
}

}  // namespace telpher::shm

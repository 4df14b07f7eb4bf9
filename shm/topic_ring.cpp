#include "shm/topic_ring.hpp"

#include <algorithm>
#include <utility>

namespace telpher::shm {

std::span<SubscriberRecord> TopicRing::subscribers() const noexcept {
    // H5: pairs with H6. A record whose owner has a hazard is below it.
    const std::uint64_t used = topic_->used.load(std::memory_order_seq_cst);
    return {records(), static_cast<std::size_t>(std::min<std::uint64_t>(used, subscribers_max_))};
}

bool TopicRing::named_by_hazard(std::uint64_t ref) const noexcept {
    for (SubscriberRecord& record : subscribers()) {
        SHM_STEP("topic.hazards.owner");
        // H5: pairs with H6. Nobody's: who takes it now looks at the chunk's word after us.
        if (record.owner.load(std::memory_order_seq_cst) == 0) {
            continue;
        }
        for (const Word& hazard : record.hazards) {
            SHM_STEP("topic.hazards.read");
            // H4: pairs with H1 (topic_ring_inline.hpp:H1) and H3 (topic_ring_inline.hpp:H3).
            if (hazard.load(std::memory_order_seq_cst) == ref) {
                return true;
            }
        }
    }
    return false;
}

// The state first, the hazards second, the CAS with the generation last (tests/model/topic.pml).
// Killed anywhere: another pass frees it.
bool TopicRing::free_if_unused(std::uint64_t ref, std::uint32_t owner) noexcept {
    const std::uint32_t chunk = ref_chunk(ref);
    Word& word = pool_->header(chunk)->word;
    // H2: pairs with H1 (topic_ring_inline.hpp:H1).
    std::uint64_t seen = word.load(std::memory_order_seq_cst);
    if (word_state(seen) != ChunkState::retired || word_owner(seen) != owner ||
        !ref_names(ref, word_generation(seen))) {
        return false;
    }
    const bool unused = !named_by_hazard(ref);
    const std::uint64_t next =
        unused ? make_word(ChunkState::free, 0, word_generation(seen))
               : make_word(ChunkState::retired, kNobodysChunk, word_generation(seen));
    SHM_STEP("topic.free.cas");
    // P2: pairs with chunk_pool.hpp:P1. All readers have ended before the next owner writes.
    if (!word.compare_exchange_strong(seen,
                                      next,
                                      std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {  // failure: by another pass
        return false;
    }
    if (unused) {
        pool_->mark_free(chunk);
    }
    return unused;
}

// Killed before it: the reaper does it.
void TopicRing::disown(std::uint64_t ref) noexcept {
    Word& word = pool_->header(ref_chunk(ref))->word;
    // relaxed: the word is ours
    const std::uint64_t generation = word_generation(word.load(std::memory_order_relaxed));
    SHM_STEP("topic.disown");
    // P2: pairs with chunk_pool.hpp:P1, through whoever frees it.
    word.store(make_word(ChunkState::retired, kNobodysChunk, generation),
               std::memory_order_release);
}

// Small ones are kept for this thread's next messages, as long as there is room.
void TopicRing::free_or_keep(std::uint64_t ref, RetiredList& list) noexcept {
    const std::uint32_t chunk = ref_chunk(ref);
    const std::uint32_t bytes = pool_->class_of(chunk).chunk_bytes;
    if (bytes <= kCopiedChunkBytes && (list.clean_count == 0 || list.clean_bytes == bytes) &&
        list.clean_count < RetiredList::kMax) {
        list.clean_bytes = bytes;
        list.clean[(list.clean_first + list.clean_count++) % RetiredList::kMax] = ref;
        return;
    }
    pool_->free_now(chunk);
}

// Killed anywhere in it: the chunk is the dead's.
std::uint32_t TopicRing::take_retired(RetiredList& list,
                                      std::uint32_t chunk_bytes,
                                      std::uint32_t me) noexcept {
    if (list.clean_count == 0 || list.clean_bytes != chunk_bytes) {
        return kNoChunk;
    }
    const std::uint32_t chunk = ref_chunk(list.clean[list.clean_first]);
    list.clean_first = (list.clean_first + 1) % RetiredList::kMax;
    --list.clean_count;
    Word& word = pool_->header(chunk)->word;
    // relaxed, both: the word is ours, and nobody takes the chunk from us by this store
    const std::uint64_t generation = word_generation(word.load(std::memory_order_relaxed));
    SHM_STEP("topic.take");
    word.store(make_word(ChunkState::owned, me, generation),
               std::memory_order_relaxed);  // relaxed: as above
    return chunk;
}

void TopicRing::give_back(RetiredList& list) noexcept {
    free_retired(list);
    for (; list.count != 0; --list.count) {
        disown(list.refs[list.count - 1]);  // it is being read
    }
    for (; list.clean_count != 0; --list.clean_count) {
        pool_->free_now(ref_chunk(list.clean[list.clean_first]));
        list.clean_first = (list.clean_first + 1) % RetiredList::kMax;
    }
}

void TopicRing::free_retired(RetiredList& list) noexcept {
    // One look at the hazards for all of them. What is named by none now can be named by none later:
    // readers look at the word after they named it.
    std::uint64_t named[4 * kHazards];
    std::uint32_t names = 0;
    bool all_known = true;
    for (SubscriberRecord& record : subscribers()) {
        SHM_STEP("topic.hazards.owner");
        // H5: pairs with H6.
        if (record.owner.load(std::memory_order_seq_cst) == 0) {
            continue;
        }
        for (const Word& hazard : record.hazards) {
            SHM_STEP("topic.hazards.read");
            // H4: pairs with H1 (topic_ring_inline.hpp:H1) and H3 (topic_ring_inline.hpp:H3).
            const std::uint64_t ref = hazard.load(std::memory_order_seq_cst);
            if (ref != 0 && names < std::size(named)) {
                named[names++] = ref;
            } else if (ref != 0) {
                all_known = false;
            }
        }
    }
    std::uint32_t kept = 0;
    std::uint64_t kept_bytes = 0;
    for (std::uint32_t i = 0; i < list.count; ++i) {
        const std::uint64_t ref = list.refs[i];
        if (!all_known || std::find(named, named + names, ref) != named + names) {
            list.refs[kept++] = ref;
            kept_bytes += pool_->class_of(ref_chunk(ref)).chunk_bytes;
            continue;
        }
        free_or_keep(ref, list);
    }
    list.count = kept;
    list.bytes = kept_bytes;
}

SubscriberRecord* TopicRing::join(std::uint64_t identity,
                                  SlowPolicy policy,
                                  std::uint64_t* cursor) noexcept {
    for (std::uint32_t i = 0; i < subscribers_max_; ++i) {
        SubscriberRecord& record = records()[i];
        std::uint64_t nobody = 0;
        // relaxed: a first look; the CAS decides
        if (record.owner.load(std::memory_order_relaxed) != 0) {
            continue;
        }
        std::uint64_t used = topic_->used.load(std::memory_order_relaxed);  // relaxed: as above
        SHM_STEP("topic.join.used");
        // H6: pairs with H5. Raised, never lowered, before we have a hazard.
        while (used < i + 1 &&
               !topic_->used.compare_exchange_weak(used, i + 1, std::memory_order_seq_cst)) {
        }
        SHM_STEP("topic.join.owner");
        // H6: pairs with H5.
        if (!record.owner.compare_exchange_strong(nobody, identity, std::memory_order_seq_cst)) {
            continue;
        }
        // What a dead owner left. Its hazards count until here, which costs others nothing but memory.
        for (Word& hazard : record.hazards) {
            SHM_STEP("topic.join.hazard");
            unpin(hazard);
        }
        // A lower bound of where we shall begin, before publishers can see us as blocking.
        // R2: pairs with R1 (ring_inline.hpp:R1).
        const std::uint64_t hint = control_->tail.load(std::memory_order_acquire);
        SHM_STEP("topic.join.cursor");
        // T16: pairs with T17.
        record.cursor.store(hint, std::memory_order_seq_cst);
        record.lost.store(0, std::memory_order_relaxed);  // relaxed: a statistic
        SHM_STEP("topic.join.active");
        // T16: pairs with T17. Registered first, the tail looked for second: who commits at the
        // position that we find unfilled, or later, sees us.
        record.control.store(
            make_subscriber_word(SubscriberState::active, static_cast<std::uint8_t>(policy)),
            std::memory_order_seq_cst);
        SHM_STEP("topic.join.changes");
        topic_->changes.fetch_add(1, std::memory_order_seq_cst);  // T16: as above
        *cursor = bug(Bug::join_at_hint) ? hint : tail();
        record.first.store(*cursor, std::memory_order_relaxed);  // relaxed: a statistic
        SHM_STEP("topic.join.start");
        // T16: pairs with T17.
        record.cursor.store(*cursor, std::memory_order_seq_cst);
        return &record;
    }
    return nullptr;
}

void TopicRing::start_at(SubscriberRecord& record, std::uint64_t position) noexcept {
    record.first.store(position, std::memory_order_relaxed);  // relaxed: a statistic
    SHM_STEP("topic.join.earlier");
    // T16: pairs with T17. What is evicted meanwhile is told as lost.
    record.cursor.store(position, std::memory_order_seq_cst);
    topic_->changes.fetch_add(1, std::memory_order_seq_cst);  // T16: as above: limits are too far
}

void TopicRing::retire_subscriber(SubscriberRecord& record) noexcept {
    SHM_STEP("topic.leave.control");
    // T16: pairs with T17.
    record.control.store(make_subscriber_word(SubscriberState::free, 0), std::memory_order_seq_cst);
    topic_->changes.fetch_add(1, std::memory_order_seq_cst);  // T16: as above
}

void TopicRing::leave(SubscriberRecord& record) noexcept {
    for (Word& hazard : record.hazards) {
        unpin(hazard);
    }
    retire_subscriber(record);
    SHM_STEP("topic.leave.owner");
    // H6: pairs with H5.
    record.owner.store(0, std::memory_order_seq_cst);
    SHM_STEP("topic.leave.changes");
    topic_->changes.fetch_add(1, std::memory_order_seq_cst);  // T16: pairs with T17
}

// By any number of helpers: nothing but this CAS, so that a helper that was stopped cannot touch what
// the next owner has written.
bool TopicRing::reap(SubscriberRecord& record, std::uint64_t identity) noexcept {
    std::uint64_t expected = identity;
    SHM_STEP("topic.reap.owner");
    // H6: pairs with H5.
    if (record.owner.load(std::memory_order_seq_cst) != identity ||
        !record.owner.compare_exchange_strong(expected, 0, std::memory_order_seq_cst)) {
        return false;
    }
    SHM_STEP("topic.reap.changes");
    topic_->changes.fetch_add(1, std::memory_order_seq_cst);  // T16: pairs with T17
    return true;
}

std::uint32_t TopicRing::subscriber_count() noexcept {
    std::uint32_t count = 0;
    for (SubscriberRecord& record : subscribers()) {
        // T17: pairs with T16.
        count += record.owner.load(std::memory_order_acquire) != 0 &&
                         subscriber_state(record.control.load(std::memory_order_acquire)) ==
                             SubscriberState::active
                     ? 1U
                     : 0U;
    }
    return count;
}

std::uint64_t TopicRing::lowest_cursor(bool blocking_only) const noexcept {
    std::uint64_t lowest = ~0ULL;
    for (SubscriberRecord& record : subscribers()) {
        // T17: pairs with T16.
        const std::uint64_t word = record.control.load(std::memory_order_seq_cst);
        if (record.owner.load(std::memory_order_seq_cst) == 0 ||  // T17: as above
            subscriber_state(word) != SubscriberState::active ||
            (blocking_only &&
             subscriber_policy(word) != static_cast<std::uint8_t>(SlowPolicy::block))) {
            continue;
        }
        lowest = std::min(lowest,
                          record.cursor.load(std::memory_order_seq_cst));  // T17: as above
    }
    return lowest;
}

bool TopicRing::has_room() noexcept {
    GateCache fresh;
    return policy_ != SlowPolicy::block || closed() || gate(tail(), fresh);
}

bool TopicRing::has_room(std::uint64_t byte_budget) noexcept {
    if (!has_room()) {
        return false;
    }
    if (byte_budget == 0 || policy_ != SlowPolicy::block || closed()) {
        return true;
    }
    // What blocking subscribers have yet to read may not be trimmed for the budget.
    const std::uint64_t lowest = lowest_cursor(true);
    return lowest == ~0ULL || bytes_between(lowest, tail()) < byte_budget;
}

// Killed in it: the floor stays, and the next trim begins there again; what is retired stays so.
void TopicRing::trim(std::uint64_t position, std::uint32_t me, RetiredList& list) noexcept {
    const std::uint64_t end = std::min(position, tail());
    std::uint64_t p = floor();
    if (end > slots() && p < end - slots()) {
        p = end - slots();  // evicted meanwhile
    }
    for (; p < end; ++p) {
        Slot& s = slot(p);
        SHM_STEP("topic.trim.slot");
        // T13: pairs with T11 (topic_ring_inline.hpp:T11).
        const std::uint64_t pos = s.pos.load(std::memory_order_acquire);
        const std::uint64_t ref = s.ref.load(std::memory_order_acquire);  // T13: as above
        if (pos == p + 1 && ref != kClosedRef &&
            s.pos.load(std::memory_order_acquire) == pos) {  // T13: as above
            retire(ref, me, list);
        }
    }
    raise(control_->head, end);
}

std::uint64_t TopicRing::bytes_between(std::uint64_t from, std::uint64_t to) const noexcept {
    std::uint64_t bytes = 0;
    for (std::uint64_t p = from; p < to; ++p) {
        Slot& s = slot(p);
        // T13: pairs with T11 (topic_ring_inline.hpp:T11). An estimate while others publish.
        const std::uint64_t ref = s.ref.load(std::memory_order_acquire);
        if (s.pos.load(std::memory_order_acquire) == p + 1 && ref != kClosedRef &&  // T13: as above
            pool_->valid(ref_chunk(ref)) && still(ref)) {
            bytes += pool_->class_of(ref_chunk(ref)).chunk_bytes;
        }
    }
    return bytes;
}

}  // namespace telpher::shm

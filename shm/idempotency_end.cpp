// How what is remembered ends: its time, want of room, and the deaths of those who were at work on it.

#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"
#include "shm/directory.hpp"
#include "shm/idempotency.hpp"
#include "shm/idempotency_time.hpp"

#include <algorithm>
#include <new>
#include <vector>

namespace telpher::shm {
namespace {

constexpr std::uint64_t kSweepNs = 1'000'000'000;
// Each look resolves the record, or another helper has.
constexpr int kReapLooksMax = 64;

}  // namespace

bool IdempotencyStore::expired(std::uint32_t record, std::uint64_t now_ns) const noexcept {
    // relaxed: whoever acts on it changes the word by a CAS
    return records_[record].expires.load(std::memory_order_relaxed) <= now_ns;
}

// Killed before the CAS: it is remembered; behind it: ENDING, which the reaper finishes.
bool IdempotencyStore::end(std::uint32_t record, std::uint64_t seen) noexcept {
    if (record_state(seen) != RecordState::done) {
        return change(record, seen, record_word_as(seen, RecordState::free, 0));
    }
    // relaxed: a first look; who cannot reach the response leaves the record to those who can
    const std::uint64_t ref = records_[record].ref.load(std::memory_order_relaxed);
    if (ref != kNoRef && pool_->reach(ref_chunk(ref)) == Status::out_of_memory) {
        return false;
    }
    if (!change(record, seen, record_word_as(seen, RecordState::ending, me_))) {
        return false;
    }
    finish_end(record, seen);
    return true;
}

// Any number at once; each step may be done by another.
void IdempotencyStore::finish_end(std::uint32_t record, std::uint64_t ending) noexcept {
    // relaxed, both: written before DONE; the word is looked at again
    const std::uint64_t ref = records_[record].ref.load(std::memory_order_relaxed);
    const std::uint64_t outcome =
        records_[record].outcome.load(std::memory_order_relaxed);  // relaxed: as above
    SHM_STEP("idempotency.end.look");
    // ID2: pairs with idempotency.cpp:ID1. Still ENDING: the reference was this record's.
    if (words_[record].load(std::memory_order_seq_cst) != ending) {
        return;
    }
    if (ref != kNoRef && (outcome & kOfferOutcome) == 0) {
        if (pool_->reach(ref_chunk(ref)) == Status::out_of_memory) {
            return;
        }
        free_kept(ref);
    }
    static_cast<void>(change(record, ending, record_word_as(ending, RecordState::free, 0)));
}

// The generation rises, so that nobody takes a later life of the chunk for this one.
void IdempotencyStore::free_kept(std::uint64_t ref) noexcept {
    const std::uint32_t chunk = ref_chunk(ref);
    if (pool_->reach(chunk) != Status::ok) {
        return;  // damage
    }
    Word& word = pool_->header(chunk)->word;
    std::uint64_t seen = word.load(std::memory_order_relaxed);  // relaxed: the CAS decides
    while (ref_names(ref, word_generation(seen)) &&
           (word_state(seen) == ChunkState::kept || word_state(seen) == ChunkState::owned)) {
        SHM_STEP("idempotency.free");
        const std::uint64_t next = (word_generation(seen) + 1) & kGenerationMask;
        // ID5: pairs with idempotency.cpp:ID4; and with chunk_pool.hpp:P1, as P2 does.
        if (word.compare_exchange_strong(seen,
                                         make_word(ChunkState::free, 0, next),
                                         std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {  // failure: looked at again
            pool_->mark_free(chunk);
            return;
        }
    }
}

// The oldest outcome of the destination among the places of a key, or one that has expired, whoever's.
std::uint32_t IdempotencyStore::make_room(const Asked& asked,
                                          const Places& places,
                                          std::uint64_t now_ns,
                                          std::uint32_t& evicted) noexcept {
    std::uint32_t oldest = kNoRecord;
    std::uint64_t oldest_word = 0;
    std::uint64_t oldest_expires = ~0ULL;
    for (const std::uint32_t first : places.first) {
        for (std::uint32_t i = first; i < first + kBucketRecords; ++i) {
            const std::uint64_t word = word_of(i);
            if (!at_rest(record_state(word))) {
                continue;
            }
            // relaxed, both: whoever ends it does so by a CAS on the word that was seen before
            const std::uint64_t expires = records_[i].expires.load(std::memory_order_relaxed);
            const bool ours = asked.evict && records_[i].destination.load(
                                                 std::memory_order_relaxed) ==  // relaxed: as above
                                                 asked.destination;
            if ((expires <= now_ns || ours) && expires < oldest_expires) {
                oldest = i;
                oldest_word = word;
                oldest_expires = expires;
            }
        }
    }
    if (oldest == kNoRecord || !end(oldest, oldest_word)) {
        return oldest == kNoRecord ? kNoRecord
                                   : oldest;  // changed meanwhile: the caller looks again
    }
    evicted += oldest_expires > now_ns ? 1U : 0U;
    return oldest;
}

IdempotencyStore::Usage IdempotencyStore::usage(std::uint64_t destination,
                                                std::uint64_t now_ns) noexcept {
    Usage usage;
    for (std::uint32_t i = 0; i < count_; ++i) {
        const std::uint64_t word = word_of(i);
        if (record_state(word) == RecordState::free) {
            continue;
        }
        if (at_rest(record_state(word)) && expired(i, now_ns)) {
            end(i, word);
            continue;
        }
        // relaxed, all: figures
        if (records_[i].destination.load(std::memory_order_relaxed) != destination) {
            continue;
        }
        ++usage.entries;
        const std::uint64_t ref =
            records_[i].ref.load(std::memory_order_relaxed);  // relaxed: as above
        const std::uint64_t outcome =
            records_[i].outcome.load(std::memory_order_relaxed);  // relaxed: as above
        if (ref != kNoRef && (outcome & kOfferOutcome) == 0 && pool_->valid(ref_chunk(ref))) {
            usage.bytes += pool_->class_of(ref_chunk(ref)).chunk_bytes;
        }
    }
    return usage;
}

std::uint32_t IdempotencyStore::evict(std::uint64_t destination, const Usage& fewer) noexcept {
    struct Old {
        std::uint64_t expires, word, bytes;
        std::uint32_t record;
    };
    std::vector<Old> all;
    try {
        all.reserve(count_);
    } catch (const std::bad_alloc&) {
        return 0;  // nothing is forgotten: it is full
    }
    for (std::uint32_t i = 0; i < count_; ++i) {
        const std::uint64_t word = word_of(i);
        // relaxed, all: each is ended by a CAS on the word that was seen before
        if (at_rest(record_state(word)) &&
            records_[i].destination.load(std::memory_order_relaxed) == destination) {
            const std::uint64_t ref =
                records_[i].ref.load(std::memory_order_relaxed);  // relaxed: as above
            all.push_back(
                {records_[i].expires.load(std::memory_order_relaxed),  // relaxed: as above
                 word,
                 pool_->valid(ref_chunk(ref)) ? pool_->class_of(ref_chunk(ref)).chunk_bytes : 0,
                 i});
        }
    }
    const auto older = [](const Old& a, const Old& b) { return a.expires < b.expires; };
    if (fewer.bytes != 0) {
        std::sort(all.begin(), all.end(), older);
    } else if (fewer.entries < all.size()) {
        std::nth_element(all.begin(),
                         all.begin() + static_cast<std::ptrdiff_t>(fewer.entries),
                         all.end(),
                         older);
    }
    std::uint32_t ended = 0;
    std::uint64_t bytes = 0;
    for (const Old& old : all) {
        if (ended >= fewer.entries && bytes >= fewer.bytes) {
            break;
        }
        if (end(old.record, old.word)) {
            ++ended;
            bytes += old.bytes;
        }
    }
    return ended;
}

void IdempotencyStore::sweep(std::uint64_t now_ns) noexcept {
    std::uint64_t due =
        head_->next_sweep.load(std::memory_order_relaxed);  // relaxed: only who sweeps
    if (head_->used.load(std::memory_order_relaxed) == 0 || now_ns < due ||  // relaxed: a hint
        !head_->next_sweep.compare_exchange_strong(
            due, now_ns + kSweepNs, std::memory_order_relaxed)) {  // relaxed: as above
        return;
    }
    for (std::uint32_t i = 0; i < count_; ++i) {
        const std::uint64_t word = word_of(i);
        if (at_rest(record_state(word)) && expired(i, now_ns)) {
            end(i, word);
        }
    }
}

// ---- after a death -----------------------------------------------------------------------------

// Killed anywhere: what is left is the next reaper's, and that looks at chunks only behind it.
void IdempotencyStore::reap(std::uint32_t slot, Directory& directory) noexcept {
    for (std::uint32_t i = 0; i < count_; ++i) {
        for (int looks = 0; looks < kReapLooksMax; ++looks) {
            const std::uint64_t word = word_of(i);
            const RecordState state = record_state(word);
            if (state == RecordState::free || at_rest(state) || record_owner(word) != slot) {
                break;
            }
            SHM_STEP("idempotency.reap");
            resolve(i, word, directory);
        }
    }
}

void IdempotencyStore::resolve(std::uint32_t record,
                               std::uint64_t seen,
                               Directory& directory) noexcept {
    RecordState to = RecordState::free;
    switch (record_state(seen)) {
        case RecordState::running: {
            IdempotencyRecord& r = records_[record];
            // relaxed, both: their writer is dead, and its death was seen through the kernel's lock
            const std::uint64_t outcome = r.outcome.load(std::memory_order_relaxed);
            const std::uint64_t ref = r.ref.load(std::memory_order_relaxed);  // relaxed: as above
            if ((outcome & kOfferOutcome) == 0) {
                to = bug(Bug::uncertain_forgotten) ? RecordState::free : RecordState::uncertain;
            } else if (committed(ref, record_owner(seen), directory)) {
                to = RecordState::done;
            }
            break;
        }
        case RecordState::reading:
            to = RecordState::done;
            break;
        case RecordState::ending:
            finish_end(record, seen);
            return;
        default:
            break;  // nobody has seen it
    }
    if (to != RecordState::free) {
        settle_time(records_[record]);
    }
    static_cast<void>(change(record, seen, record_word_as(seen, to, 0)));
}

// Whether the offer of `owner`, dead, that names `ref` was committed. Its chunk is as it left it, or as
// those left it who took the message: no reaper frees it before all records are resolved.
bool IdempotencyStore::committed(std::uint64_t ref,
                                 std::uint32_t owner,
                                 Directory& directory) const noexcept {
    const std::uint32_t chunk = ref_chunk(ref);
    if (ref == kNoRef || pool_->reach(chunk) != Status::ok) {
        return false;
    }
    // ID6: pairs with ring_inline.hpp:C0 and ring_inline.hpp:C2.
    const std::uint64_t word = pool_->header(chunk)->word.load(std::memory_order_seq_cst);
    if (word_state(word) == ChunkState::owned && word_owner(word) == owner &&
        ref_names(ref, word_generation(word) + 1)) {
        return false;  // it was about to be offered
    }
    if (word_state(word) != ChunkState::offered || !ref_names(ref, word_generation(word))) {
        return true;  // somebody has taken it
    }
    // relaxed: written before OFFERED
    const std::uint64_t dest = pool_->header(chunk)->dest.load(std::memory_order_relaxed);
    const auto found = directory.pinned(dest_entry(dest));
    const auto ring =
        found && found->generation == dest_generation(dest) ? directory.ring(*found) : std::nullopt;
    if (ring && ring->holds(ref)) {
        return true;
    }
    // Not there: unless it was taken since we looked at the word.
    // ID6: pairs with ring_inline.hpp:C0.
    return pool_->header(chunk)->word.load(std::memory_order_seq_cst) != word;
}

bool IdempotencyStore::keeps(std::uint32_t chunk, std::uint64_t word) const noexcept {
    // relaxed: written before the record named the chunk
    const std::uint64_t dest = pool_->header(chunk)->dest.load(std::memory_order_relaxed);
    const std::uint32_t record = kept_record(dest);
    if (record >= count_) {
        return false;
    }
    const std::uint64_t seen = word_of(record);
    const RecordState state = record_state(seen);
    return record_generation(seen) == kept_generation(dest) &&
           (state == RecordState::done || state == RecordState::reading ||
            state == RecordState::ending) &&
           // relaxed, both: written before DONE
           (records_[record].outcome.load(std::memory_order_relaxed) & kOfferOutcome) == 0 &&
           records_[record].ref.load(std::memory_order_relaxed) ==  // relaxed: as above
               make_ref(word_generation(word), chunk);
}

bool IdempotencyStore::adopt(std::uint32_t chunk, std::uint64_t seen) noexcept {
    if (!keeps(chunk, seen) || bug(Bug::response_not_kept)) {
        return false;
    }
    SHM_STEP("idempotency.adopt");
    // ID4: pairs with ID5. Failure: another helper was faster, or the record has ended, and the chunk.
    pool_->header(chunk)->word.compare_exchange_strong(
        seen,
        make_word(ChunkState::kept, kNobodysChunk, word_generation(seen)),
        std::memory_order_acq_rel,
        std::memory_order_relaxed);  // failure: nothing more to do
    return true;
}

bool IdempotencyStore::in_place(std::uint32_t record) const noexcept {
    const Hash128 key = key_of(record);
    const Places places = places_of(key);
    const std::uint32_t bucket = record / kBucketRecords * kBucketRecords;
    return (bucket == places.first[0] || bucket == places.first[1]) &&
           record_tag(word_of(record)) == (places.tag & kRecordTagMask);
}

}  // namespace telpher::shm

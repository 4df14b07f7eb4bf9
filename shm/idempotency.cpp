// Finding, beginning and completing. How records end, and what is done after a death, lies in
// idempotency_end.cpp.

#include "shm/idempotency.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/cpu.hpp"
#include "shm/base/step.hpp"
#include "shm/idempotency_time.hpp"

#include <algorithm>

namespace telpher::shm {
namespace {

constexpr int kBeginRounds = 64;
// Looks at a proposal of a lower place before it is taken back: its owner needs some ten instructions.
constexpr int kPatience = 256;
// A place that a record of another key has, or of a key that is not known yet. No word is like that.
constexpr std::uint64_t kOther = ~0ULL;
// A place changes under a look so often only if somebody scribbles over it.
constexpr int kLooksMax = 1024;

// The word of a place where `key` is, or that is free; else kOther. A word that changes under the look is
// looked at again: what it changed to may be a rival's confirmation.
std::uint64_t look(const IdempotencyStore& store,
                   std::uint32_t place,
                   const Hash128& key,
                   std::uint64_t tag) noexcept {
    SHM_STEP("idempotency.search");
    std::uint64_t word = store.word_of(place);
    for (int looks = 0; looks < kLooksMax; ++looks) {
        const RecordState state = record_state(word);
        if (state == RecordState::free) {
            return word;
        }
        if (state == RecordState::writing || record_tag(word) != (tag & kRecordTagMask)) {
            return kOther;
        }
        const bool same = store.key_of(place) == key;
        SHM_STEP("idempotency.search.again");
        const std::uint64_t again = store.word_of(place);
        if (again == word) {
            return same ? word : kOther;
        }
        word = again;
    }
    return word;
}

}  // namespace

IdempotencyStore::IdempotencyStore(std::span<std::byte> region,
                                   ChunkPool* pool,
                                   std::uint32_t me) noexcept
    : head_(reinterpret_cast<IdempotencyHead*>(region.data())), pool_(pool), me_(me) {
    const std::uint64_t bytes = region.size() - sizeof(IdempotencyHead);
    const std::uint64_t most = bytes / (sizeof(Word) + sizeof(IdempotencyRecord));
    count_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, kRecordsMax) /
                                        kBucketRecords * kBucketRecords);
    words_ = reinterpret_cast<Word*>(region.data() + sizeof(IdempotencyHead));
    // A multiple of 8 words is a multiple of 64 bytes.
    records_ = reinterpret_cast<IdempotencyRecord*>(words_ + count_);
}

IdempotencyStore::Places IdempotencyStore::places_of(const Hash128& key) const noexcept {
    const std::uint64_t buckets = count_ / kBucketRecords;
    const std::uint64_t one = key.low % buckets;
    std::uint64_t other = key.high % buckets;
    other = other == one ? (one + 1) % buckets : other;
    return {{static_cast<std::uint32_t>(one * kBucketRecords),
             static_cast<std::uint32_t>(other * kBucketRecords)},
            (key.low ^ key.high) >> 40};
}

Hash128 IdempotencyStore::key_of(std::uint32_t record) const noexcept {
    // relaxed, both: written before PROPOSED, and the word is looked at again
    return {records_[record].key[0].load(std::memory_order_relaxed),
            records_[record].key[1].load(std::memory_order_relaxed)};  // relaxed: as above
}

// One that is further than PROPOSED, else a proposal, else nothing; and a place, in the bucket that has more.
IdempotencyStore::Seen IdempotencyStore::search(const Hash128& key,
                                                const Places& places,
                                                std::uint32_t mine) noexcept {
    Seen seen{kNoRecord, 0, kNoRecord};
    std::uint32_t most_free = 0;
    for (const std::uint32_t first : places.first) {
        std::uint32_t free_here = 0;
        std::uint32_t last_free = kNoRecord;
        for (std::uint32_t i = first; i < first + kBucketRecords; ++i) {
            const std::uint64_t word = i == mine ? kOther : look(*this, i, key, places.tag);
            if (record_state(word) == RecordState::free) {
                ++free_here;
                last_free = i;
            } else if (word != kOther &&
                       (seen.word == 0 || record_state(seen.word) == RecordState::proposed)) {
                seen.record = i;
                seen.word = word;
            }
        }
        if (free_here > most_free) {
            most_free = free_here;
            seen.free = last_free;
        }
    }
    return seen;
}

bool IdempotencyStore::change(std::uint32_t record,
                              std::uint64_t& seen,
                              std::uint64_t to) noexcept {
    SHM_STEP("idempotency.change");
    // ID3: pairs with ID1 and ID3. Whoever has it next sees what its last owner wrote.
    if (words_[record].compare_exchange_strong(
            seen,
            to,
            std::memory_order_seq_cst,
            std::memory_order_relaxed)) {  // failure: looked at again
        seen = to;
        return true;
    }
    return false;
}

// A word of ours: nobody else changes it while we live.
void IdempotencyStore::store(const Answer& ours, RecordState state) noexcept {
    SHM_STEP("idempotency.store");
    // ID1: pairs with ID2 and ID3. Who sees the state sees the outcome and the response.
    words_[ours.record].store(record_word_as(ours.word, state, 0), std::memory_order_release);
}

void IdempotencyStore::write(std::uint32_t record,
                             const Asked& asked,
                             std::uint64_t /*now_ns*/) noexcept {
    IdempotencyRecord& r = records_[record];
    // relaxed, all: published by the word (ID1)
    r.key[0].store(asked.key.low, std::memory_order_relaxed);
    r.key[1].store(asked.key.high, std::memory_order_relaxed);           // relaxed: as above
    r.print[0].store(asked.print.low, std::memory_order_relaxed);        // relaxed: as above
    r.print[1].store(asked.print.high, std::memory_order_relaxed);       // relaxed: as above
    r.destination.store(asked.destination, std::memory_order_relaxed);   // relaxed: as above
    r.expires.store(kNotYet | asked.ttl_ns, std::memory_order_relaxed);  // relaxed: as above
    r.ref.store(kNoRef, std::memory_order_relaxed);                      // relaxed: as above
    r.outcome.store(asked.offer ? kOfferOutcome : 0,
                    std::memory_order_relaxed);  // relaxed: as above
}

// ---- beginning ---------------------------------------------------------------------------------

IdempotencyStore::Answer IdempotencyStore::begin(const Asked& asked,
                                                 std::uint64_t now_ns) noexcept {
    const Places places = places_of(asked.key);
    std::uint32_t evicted = 0;
    for (int round = 0; round < kBeginRounds; ++round) {
        Seen seen = search(asked.key, places, kNoRecord);
        std::optional<Answer> answer;
        if (seen.word != 0 && record_state(seen.word) == RecordState::ending) {
            finish_end(seen.record, seen.word);  // its owner may be stopped
            continue;
        }
        // Another proposal is met behind our own: its owner may be stopped, too.
        if (seen.word != 0 && record_state(seen.word) != RecordState::proposed) {
            if (at_rest(record_state(seen.word)) && expired(seen.record, now_ns)) {
                end(seen.record, seen.word);
                continue;
            }
            answer = judge(asked, seen, now_ns);
        } else {
            const std::uint32_t place =
                seen.free != kNoRecord ? seen.free : make_room(asked, places, now_ns, evicted);
            answer = place == kNoRecord ? Answer{} : propose(asked, places, place, now_ns);
        }
        if (answer) {
            answer->evicted = evicted;
            return *answer;
        }
    }
    return {Found::running, 0, 0, 0, evicted};  // others are at it without end
}

// Nothing: it has changed meanwhile.
std::optional<IdempotencyStore::Answer> IdempotencyStore::judge(const Asked& asked,
                                                                const Seen& seen,
                                                                std::uint64_t /*now_ns*/) noexcept {
    IdempotencyRecord& r = records_[seen.record];
    // relaxed, all: written before the word; that is looked at again
    const Hash128 print{r.print[0].load(std::memory_order_relaxed),
                        r.print[1].load(std::memory_order_relaxed)};          // relaxed: as above
    const std::uint64_t outcome = r.outcome.load(std::memory_order_relaxed);  // relaxed: as above
    std::uint64_t word = seen.word;
    // ID2: pairs with ID1. Unchanged: all of it belongs together.
    if (words_[seen.record].load(std::memory_order_seq_cst) != word) {
        return std::nullopt;
    }
    if (!(print == asked.print)) {
        return Answer{Found::conflict, seen.record, word};
    }
    switch (record_state(word)) {
        case RecordState::done:
            if ((outcome & kOfferOutcome) != 0) {
                return Answer{Found::done, seen.record, word, outcome};  // nothing to copy
            }
            if (!change(seen.record, word, record_word_as(word, RecordState::reading, me_))) {
                return std::nullopt;
            }
            return Answer{Found::done, seen.record, word, outcome};
        case RecordState::uncertain:
        case RecordState::failed:
            if (!asked.rerun) {
                return Answer{
                    record_state(word) == RecordState::failed ? Found::failed : Found::uncertain,
                    seen.record,
                    word,
                    outcome};
            }
            if (!change(seen.record, word, record_word_as(word, RecordState::running, me_))) {
                return std::nullopt;
            }
            // relaxed: ours, and published by its next word
            r.expires.store(kNotYet | asked.ttl_ns, std::memory_order_relaxed);
            return Answer{Found::rerun, seen.record, word};
        default:
            return Answer{Found::running, seen.record, word};
    }
}

// Nothing: another of that key was there, or took the place.
std::optional<IdempotencyStore::Answer> IdempotencyStore::propose(const Asked& asked,
                                                                  const Places& places,
                                                                  std::uint32_t place,
                                                                  std::uint64_t now_ns) noexcept {
    // relaxed: the CAS decides
    std::uint64_t word = words_[place].load(std::memory_order_relaxed);
    if (record_state(word) != RecordState::free ||
        !change(
            place,
            word,
            make_record_word(RecordState::writing, me_, record_generation(word) + 1, places.tag))) {
        return std::nullopt;
    }
    if (head_->used.load(std::memory_order_relaxed) == 0) {  // relaxed: a hint, set once
        head_->used.store(1, std::memory_order_relaxed);     // relaxed: as above
    }
    SHM_STEP("idempotency.write");
    write(place, asked, now_ns);
    const std::uint64_t mine = record_word_as(word, RecordState::proposed, me_);
    SHM_STEP("idempotency.propose");
    // ID1: pairs with ID2. The proposal, then the look at all places.
    words_[place].store(mine, std::memory_order_seq_cst);
    if (!confirm(asked.key, places, place, mine)) {
        return std::nullopt;
    }
    return Answer{Found::begun, place, record_word_as(mine, RecordState::running, me_)};
}

// PROPOSED -> RUNNING, if no other of that key gets there first.
bool IdempotencyStore::confirm(const Hash128& key,
                               const Places& places,
                               std::uint32_t place,
                               std::uint64_t mine) noexcept {
    for (int look = 0;; ++look) {
        const Seen rival = bug(Bug::proposal_not_checked) ? Seen{kNoRecord, 0, kNoRecord}
                                                          : search(key, places, place);
        if (rival.word == 0) {
            std::uint64_t expected = mine;
            return change(place, expected, record_word_as(mine, RecordState::running, me_));
        }
        if (record_state(rival.word) != RecordState::proposed) {
            std::uint64_t expected = mine;  // perhaps it was taken back already
            static_cast<void>(change(place, expected, record_word_as(mine, RecordState::free, 0)));
            return false;
        }
        // The lower place goes first, unless its owner does not get on.
        if (rival.record > place || look >= kPatience) {
            std::uint64_t expected = rival.word;
            static_cast<void>(
                change(rival.record, expected, record_word_as(rival.word, RecordState::free, 0)));
        } else {
            cpu_pause();
        }
    }
}

// ---- its end -----------------------------------------------------------------------------------

void IdempotencyStore::complete(const Answer& ours,
                                std::uint64_t outcome,
                                std::uint32_t chunk) noexcept {
    IdempotencyRecord& r = records_[ours.record];
    // relaxed, all: published by the word (ID1)
    r.outcome.store(outcome, std::memory_order_relaxed);
    settle_time(r);
    if ((outcome & kOfferOutcome) != 0) {
        store(ours,
              RecordState::
                  done);  // `ref` names its message until then, and is none of ours behind it
        return;
    }
    if (chunk == kNoChunk) {
        r.ref.store(kNoRef, std::memory_order_relaxed);  // relaxed: as above
        store(ours, RecordState::done);
        return;
    }
    ChunkHeader& header = *pool_->header(chunk);
    // relaxed: the chunk is ours
    std::uint64_t word = header.word.load(std::memory_order_relaxed);
    header.dest.store(make_kept(ours.record, record_generation(ours.word)),
                      std::memory_order_relaxed);  // relaxed: as above
    r.ref.store(make_ref(word_generation(word), chunk),
                std::memory_order_relaxed);  // relaxed: as above
    store(ours, RecordState::done);
    SHM_STEP("idempotency.keep");
    // ID4: pairs with ID5. From here on it is the record's; failure: that has ended meanwhile, and the chunk.
    header.word.compare_exchange_strong(
        word,
        make_word(ChunkState::kept, kNobodysChunk, word_generation(word)),
        std::memory_order_release,
        std::memory_order_relaxed);  // failure: nothing more to do
}

void IdempotencyStore::fail(const Answer& ours, std::uint64_t outcome) noexcept {
    // relaxed: published by the word (ID1)
    records_[ours.record].outcome.store(outcome & ~kOfferOutcome, std::memory_order_relaxed);
    settle_time(records_[ours.record]);
    store(ours, RecordState::failed);
}

void IdempotencyStore::withdraw(const Answer& ours) noexcept { store(ours, RecordState::free); }

std::span<const std::byte> IdempotencyStore::response(const Answer& ours) const noexcept {
    // relaxed: READING by us, and written before DONE, which we have seen
    const std::uint64_t ref = records_[ours.record].ref.load(std::memory_order_relaxed);
    const std::uint32_t chunk = ref_chunk(ref);
    if ((ours.outcome & kOfferOutcome) != 0 || ref == kNoRef || pool_->reach(chunk) != Status::ok) {
        return {};
    }
    // ID5: pairs with ID4. Its bytes were written before DONE.
    const std::uint64_t word = pool_->header(chunk)->word.load(std::memory_order_acquire);
    const bool kept = word_state(word) == ChunkState::kept || word_state(word) == ChunkState::owned;
    return kept && ref_names(ref, word_generation(word)) ? pool_->message(chunk)
                                                         : std::span<const std::byte>{};
}

void IdempotencyStore::release(const Answer& ours) noexcept {
    if (record_state(ours.word) == RecordState::reading) {
        store(ours, RecordState::done);
    }
}

}  // namespace telpher::shm

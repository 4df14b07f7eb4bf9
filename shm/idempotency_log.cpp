// What a log keeps of the idempotency store, and asks it.

#include "shm/base/step.hpp"
#include "shm/idempotency.hpp"
#include "shm/idempotency_time.hpp"

#include <cstddef>

namespace telpher::shm {
namespace {

// Each further one takes another life of the place.
constexpr int kHoldsLooksMax = 8;

const IdempotencyRecord& record_with(const Word* note) noexcept {
    return *reinterpret_cast<const IdempotencyRecord*>(reinterpret_cast<const std::byte*>(note) -
                                                       offsetof(IdempotencyRecord, ref));
}

}  // namespace

std::uint64_t IdempotencyStore::name_of(const Word* note) const noexcept {
    const auto record = static_cast<std::uint64_t>(&record_with(note) - records_);
    return record_generation(word_of(static_cast<std::uint32_t>(record))) << 32U | (record + 1);
}

void IdempotencyStore::set_logged(Word* note, std::uint64_t lsn) noexcept {
    SHM_STEP("idempotency.logged");
    // relaxed: published by the submission's FREE (log_table.cpp:LG2), and by what the log is told (log_table.cpp:LG8)
    records_[&record_with(note) - records_].outcome.store(kOfferOutcome | lsn,
                                                          std::memory_order_relaxed);
}

std::optional<IdempotencyStore::Begun> IdempotencyStore::begun(std::uint64_t name) const noexcept {
    const std::uint64_t record = (name & ~0U) - 1;
    if (name == 0 || record >= count_) {
        return std::nullopt;
    }
    const auto at = static_cast<std::uint32_t>(record);
    const std::uint64_t word = word_of(at);
    if (record_state(word) != RecordState::running || record_generation(word) != name >> 32U) {
        return std::nullopt;
    }
    const IdempotencyRecord& r = records_[at];
    // relaxed, all: written before RUNNING, and the word is looked at again
    const Hash128 print{r.print[0].load(std::memory_order_relaxed),
                        r.print[1].load(std::memory_order_relaxed)};      // relaxed: as above
    const std::uint64_t ttl = r.expires.load(std::memory_order_relaxed);  // relaxed: as above
    const Begun begun{key_of(at), print, ttl & ~kNotYet};
    return word_of(at) == word && (ttl & kNotYet) != 0 ? std::optional(begun) : std::nullopt;
}

bool IdempotencyStore::accepted(std::uint64_t name, std::uint64_t lsn) const noexcept {
    const std::uint64_t record = (name & ~0U) - 1;
    if (name == 0 || record >= count_) {
        return false;
    }
    const std::uint64_t word = word_of(static_cast<std::uint32_t>(record));
    // relaxed: written before DONE
    return record_state(word) == RecordState::done && record_generation(word) == name >> 32U &&
           records_[record].outcome.load(std::memory_order_relaxed) == (kOfferOutcome | lsn);
}

std::optional<bool> IdempotencyStore::holds(std::uint32_t record,
                                            const Hash128& key,
                                            std::uint64_t lsn) const noexcept {
    std::uint64_t word = word_of(record);
    for (int looks = 0; looks < kHoldsLooksMax; ++looks) {
        const RecordState state = record_state(word);
        // relaxed: see set_logged; the word is looked at again
        const std::uint64_t outcome = records_[record].outcome.load(std::memory_order_relaxed);
        const bool same = (state == RecordState::running || state == RecordState::done) &&
                          key_of(record) == key && outcome == (kOfferOutcome | lsn);
        const std::uint64_t again = word_of(record);
        if (again == word) {
            return same;
        }
        word = again;  // RUNNING became DONE, or it is another's by now
    }
    return std::nullopt;
}

std::optional<bool> IdempotencyStore::remembers(const Hash128& key,
                                                std::uint64_t lsn) const noexcept {
    const Places places = places_of(key);
    bool known = true;
    for (const std::uint32_t first : places.first) {
        for (std::uint32_t i = first; i < first + kBucketRecords; ++i) {
            if (record_tag(word_of(i)) != (places.tag & kRecordTagMask)) {
                continue;
            }
            const std::optional<bool> held = holds(i, key, lsn);
            if (held && *held) {
                return true;
            }
            known = known && held.has_value();
        }
    }
    return known ? std::optional(false) : std::nullopt;
}

std::uint32_t IdempotencyStore::in_use() const noexcept {
    // relaxed: a hint
    if (head_->used.load(std::memory_order_relaxed) == 0) {
        return 0;
    }
    std::uint32_t used = 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
        used += record_state(word_of(i)) != RecordState::free ? 1U : 0U;
    }
    return used;
}

}  // namespace telpher::shm

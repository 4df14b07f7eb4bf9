#pragma once
// What the region of the idempotency store holds: which requests were seen, and what became of them.
// Part of shm/layout.hpp, with its contract.

#include "shm/layout.hpp"

#include <cstddef>
#include <cstdint>

namespace telpher::shm {

// Places that one key may have: two buckets of neighbouring words, one cache line each.
inline constexpr std::uint32_t kBucketRecords = 8;

// The beginning of the region. The words follow, a multiple of kBucketRecords; behind them the records, at
// a multiple of 64.
struct alignas(kCacheLine) IdempotencyHead {
    Word next_sweep;  // coarse monotonic ns: nobody need look for what has expired before
    Word used;        // 1: something was remembered since the domain was made
    std::uint64_t reserved[6];
};
static_assert(sizeof(IdempotencyHead) == 64);

// A record's word: state:4 | owner process slot:12 | generation:24 | tag:24. The tag is a part of the key's
// hash, so that a search reads few records. The generation rises whenever a place is taken.
enum class RecordState : std::uint8_t {
    free = 0,
    writing = 1,    // its owner fills it
    proposed = 2,   // complete, but another of its key may be there: its owner looks
    running = 3,    // its owner runs the request, or offers the message
    done = 4,       // the outcome stands
    reading = 5,    // done, and its owner copies the response
    ending = 6,     // its owner frees the response, then the place
    uncertain = 7,  // its owner died while it ran
    failed = 8      // the handler failed, and perhaps something happened
};
inline constexpr int kRecordGenerationBits = 24;
inline constexpr std::uint64_t kRecordGenerationMask = (1ULL << kRecordGenerationBits) - 1;
inline constexpr std::uint64_t kRecordTagMask = (1ULL << 24) - 1;
constexpr std::uint64_t make_record_word(RecordState state,
                                         std::uint32_t owner,
                                         std::uint64_t generation,
                                         std::uint64_t tag) {
    return (static_cast<std::uint64_t>(state) << 60) |
           (static_cast<std::uint64_t>(owner & 0xFFFU) << 48) |
           ((generation & kRecordGenerationMask) << 24) | (tag & kRecordTagMask);
}
constexpr RecordState record_state(std::uint64_t word) {
    return static_cast<RecordState>(word >> 60);
}
constexpr std::uint32_t record_owner(std::uint64_t word) {
    return static_cast<std::uint32_t>(word >> 48) & 0xFFFU;
}
constexpr std::uint64_t record_generation(std::uint64_t word) {
    return word >> 24 & kRecordGenerationMask;
}
constexpr std::uint64_t record_tag(std::uint64_t word) { return word & kRecordTagMask; }
// The same record in another state.
constexpr std::uint64_t record_word_as(std::uint64_t word, RecordState state, std::uint32_t owner) {
    return make_record_word(state, owner, record_generation(word), record_tag(word));
}

// What is remembered of one request. Written only by whom the word names, or who took it over.
struct alignas(kCacheLine) IdempotencyRecord {
    Word key[2];       // hash of scope, destination and request id
    Word print[2];     // hash of what the request says
    Word destination;  // hash of family and name, and for a queue of its life
    Word expires;      // coarse monotonic clock, ns
    Word ref;  // running offer: its chunk as it will be OFFERED; done request: the chunk of the
               // response; kNoRef: none
    Word
        outcome;  // an offer: kOfferOutcome | sequence number, 0 = not known; failed: error id:55 | status:8
};
static_assert(sizeof(IdempotencyRecord) == 64);

// Marks the record of an offer, whose `ref` is never a response. Set before the record is PROPOSED.
inline constexpr std::uint64_t kOfferOutcome = 1ULL << 63U;

// The destination word of a chunk that a record keeps: record:24 | generation of its word:24.
constexpr std::uint64_t make_kept(std::uint32_t record, std::uint64_t generation) {
    return (static_cast<std::uint64_t>(record) << 24) | (generation & kRecordGenerationMask);
}
constexpr std::uint32_t kept_record(std::uint64_t dest) {
    return static_cast<std::uint32_t>(dest >> 24) & 0xFFFFFFU;
}
constexpr std::uint64_t kept_generation(std::uint64_t dest) { return dest & kRecordGenerationMask; }

// Bytes of the region for `records` places.
constexpr std::uint64_t idempotency_bytes(std::uint64_t records) {
    return sizeof(IdempotencyHead) +
           (records * sizeof(Word) + kCacheLine - 1) / kCacheLine * kCacheLine +
           records * sizeof(IdempotencyRecord);
}

}  // namespace telpher::shm

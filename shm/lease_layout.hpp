#pragma once
// What a chunk of a queue with leases holds between its header and its message.

#include "shm/layout.hpp"

#include <cstddef>
#include <cstdint>

namespace telpher::shm {

inline constexpr std::uint32_t kLeaseReaders = 2;

// Behind the header of a chunk that a queue with leases carries (its destination's lane is
// Lane::leased). Written only by who has the chunk by its word; what a consumer writes whose lease may
// expire meanwhile names the generation it is meant for, and its note in `readers` keeps the chunk from
// being used for anything else until it is through.
struct LeaseBlock {
    Word deadline;  // moment: until when the lease holds
    Word due;       // moment: PARKED, and not to be handed out before
    Word readers
        [kLeaseReaders];  // reader: who may read it, under a lease or one that expired; 0 = nobody
    Word count;           // first generation:40 (0: in no ring yet) | deliveries:24
    Word sequence;        // its number in the queue, 0 = not known
    Word returned;        // generation:40 | 0:16 | reason:8, of the last time it came back
    Word dead;            // wall clock ms:44 | entry it came from:12 | reason:8; 0 = no dead letter
};
static_assert(sizeof(LeaseBlock) == 64, "payloads keep their alignment to the chunk's lines");
inline constexpr std::size_t kLeaseMessageOffset = kMessageOffset + sizeof(LeaseBlock);

// A time in microseconds of the coarse monotonic clock, for one generation of the word. 48 bits last
// 8.9 years of uptime.
inline constexpr int kMomentBits = 48;
inline constexpr std::uint64_t kMomentMax = (1ULL << kMomentBits) - 1;
constexpr std::uint64_t make_moment(std::uint64_t generation, std::uint64_t us) {
    return (generation << kMomentBits) | (us < kMomentMax ? us : kMomentMax);
}
constexpr bool moment_names(std::uint64_t moment, std::uint64_t generation) {
    return moment >> kMomentBits == (generation & 0xFFFFU);
}
constexpr std::uint64_t moment_us(std::uint64_t moment) { return moment & kMomentMax; }

// An entry's `lease_look`: when the next pass over its leases is worth its while, in us, 0 = never; and
// whether more is parked than its returns lane had room for: then the pass comes when that is empty.
inline constexpr std::uint64_t kMoreParked = 1ULL << 63U;
constexpr std::uint64_t look_us(std::uint64_t look) { return look & ~kMoreParked; }

// The generation of a lease:40 | 0:12 | its holder's process slot:12. Never 0: generations begin at 1.
constexpr std::uint64_t make_reader(std::uint64_t generation, std::uint32_t holder) {
    return (generation << 24) | (holder & 0xFFFU);
}
constexpr std::uint32_t reader_holder(std::uint64_t reader) {
    return static_cast<std::uint32_t>(reader) & 0xFFFU;
}

inline constexpr std::uint64_t kLowGenerationMask = (1ULL << 40) - 1;  // as in references
constexpr std::uint64_t make_count(std::uint64_t first, std::uint64_t deliveries) {
    return (first << 24) | (deliveries < 0xFFFFFFU ? deliveries : 0xFFFFFFU);
}
constexpr std::uint64_t count_first(std::uint64_t count) { return count >> 24; }
constexpr std::uint32_t count_deliveries(std::uint64_t count) {
    return static_cast<std::uint32_t>(count) & 0xFFFFFFU;
}

constexpr std::uint64_t make_returned(std::uint64_t generation, std::uint8_t reason) {
    return (generation << 24) | reason;
}
constexpr std::uint64_t make_dead(std::uint64_t wall_ms, std::uint32_t entry, std::uint8_t reason) {
    return (wall_ms << 20) | (static_cast<std::uint64_t>(entry & 0xFFFU) << 8) | reason;
}
// Of a letter whose queue is not there any more: the entry that is taken last.
inline constexpr std::uint32_t kDeadEntryUnknown = 0xFFF;
constexpr std::uint8_t dead_reason(std::uint64_t dead) { return static_cast<std::uint8_t>(dead); }
constexpr std::uint32_t dead_entry(std::uint64_t dead) {
    return static_cast<std::uint32_t>(dead >> 8) & 0xFFFU;
}
constexpr std::uint64_t dead_wall_ms(std::uint64_t dead) { return dead >> 20; }

}  // namespace telpher::shm

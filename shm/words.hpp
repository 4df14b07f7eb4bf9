#pragma once
// The words of a segment that hold several things: what their bits mean, and the limits that follow.
// Part of shm/layout.hpp, with its contract.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace telpher::shm {

static_assert(std::endian::native == std::endian::little, "the segment format is little-endian");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free,
              "a hidden mutex would be private to one process");

using Word = std::atomic<std::uint64_t>;

inline constexpr std::uint64_t kMagic = 0x3152'4548'504C'4554;  // "TELPHER1"
inline constexpr std::uint16_t kLayoutMajor = 1;                // another major is refused
inline constexpr std::uint16_t kLayoutMinor = 0;                // a higher minor is accepted
inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::size_t kLinePair = 128;  // what the adjacent-line prefetcher moves together
inline constexpr std::size_t kPageBytes = 4096;

[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t value,
                                               std::uint64_t alignment) noexcept {
    return (value + alignment - 1) / alignment * alignment;
}

inline constexpr std::uint32_t kProcessesMax = 1024;
inline constexpr std::uint32_t kThreadsMax = 4096;  // 64 x 64 bits: a two-level waiter bitmap
inline constexpr std::uint32_t kDestinationsMax = 4096;
inline constexpr std::uint32_t kClassesMax = 16;
inline constexpr std::uint32_t kSlabChunks = 64;
inline constexpr std::uint32_t kChunksMax =
    (1U << 24) - 2;  // a reference has 24 bits, all ones = CLOSED
inline constexpr std::uint32_t kRegionsMax = 32;
inline constexpr std::uint32_t kDataSegmentsMax = 48;
inline constexpr std::uint32_t kRecordsMin = 64;        // of the idempotency store
inline constexpr std::uint32_t kRecordsMax = 1U << 20;  // a kept chunk names its record by 24 bits
inline constexpr std::uint32_t kPoolClassesMax = kClassesMax + kDataSegmentsMax;
inline constexpr std::uint64_t kChunkBytesMax = 1ULL << 30;
inline constexpr std::uint32_t kCapacityMax = 1U << 24;
inline constexpr std::size_t kNameBytesMax = 100;

// ---- chunk word: state:4 | owner process slot:12 | generation:48 --------------------------------
enum class ChunkState : std::uint8_t {
    free = 0,       // in the pool
    owned = 1,      // a loan being filled, or kept for reuse by its owner
    offered = 2,    // handed to a destination
    claimed = 3,    // polled, not yet released
    lingering = 4,  // done with, but a holder whose lease expired may still read it   (leases)
    retired = 5,    // evicted from a topic, nobody's               (topics)
    parked = 6,     // nobody's: to be handed out again; its owner field says why      (leases)
    moving = 7,     // on its way to the dead letters; its mover's                     (leases)
    replied = 8,    // a call that was answered, or the chunk its answer lies in; the caller's
    failed = 9,     // a call whose server died; the caller's
    orphaned = 10,  // a call whose caller gave up; the server's that has it
    kept = 11       // a response that the idempotency store keeps; a record's
};
// Owner of a RETIRED chunk that anybody may free; of any other, its owner does, or the owner's reaper.
inline constexpr std::uint32_t kNobodysChunk = 0xFFF;
inline constexpr int kGenerationBits = 48;
inline constexpr std::uint64_t kGenerationMask = (1ULL << kGenerationBits) - 1;

constexpr std::uint64_t make_word(ChunkState state, std::uint32_t owner, std::uint64_t generation) {
    return (static_cast<std::uint64_t>(state) << 60) |
           (static_cast<std::uint64_t>(owner & 0xFFFU) << 48) | (generation & kGenerationMask);
}
constexpr ChunkState word_state(std::uint64_t word) { return static_cast<ChunkState>(word >> 60); }
constexpr std::uint32_t word_owner(std::uint64_t word) {
    return static_cast<std::uint32_t>(word >> 48) & 0xFFFU;
}
constexpr std::uint64_t word_generation(std::uint64_t word) { return word & kGenerationMask; }

// ---- reference: generation low 40 | chunk 24; in slots and in-flight words ---------------------
inline constexpr std::uint64_t kClosedRef = ~0ULL;
inline constexpr std::uint64_t kNoRef = ~0ULL - 1;  // chunk 0xFFFFFE is above kChunksMax
constexpr std::uint64_t make_ref(std::uint64_t generation, std::uint32_t chunk) {
    return (generation << 24) | chunk;
}
constexpr std::uint32_t ref_chunk(std::uint64_t ref) {
    return static_cast<std::uint32_t>(ref) & 0xFFFFFFU;
}
constexpr std::uint64_t ref_generation(std::uint64_t ref) { return ref >> 24; }
constexpr bool ref_names(std::uint64_t ref, std::uint64_t generation) {
    return ref_generation(ref) == (generation & ((1ULL << 40) - 1));
}

// ---- destination word in a chunk: generation:40 | lane:4 | directory index:20 ------------------
enum class Lane : std::uint8_t {
    main = 0,     // a queue, a topic, a function
    returns = 1,  // the second ring of a queue
    copied = 2,   // a topic, by a publisher who wrote the chunk word by word: readers may copy it
    leased = 3    // a queue with leases: a LeaseBlock stands before the message, in either ring
};
constexpr std::uint64_t make_dest(std::uint32_t entry,
                                  std::uint64_t generation,
                                  Lane lane = Lane::main) {
    return (generation << 24) | (static_cast<std::uint64_t>(lane) << 20) | entry;
}
constexpr Lane dest_lane(std::uint64_t dest) { return static_cast<Lane>((dest >> 20) & 0xFU); }
constexpr std::uint32_t dest_entry(std::uint64_t dest) {
    return static_cast<std::uint32_t>(dest) & 0xFFFFFU;
}
constexpr std::uint64_t dest_generation(std::uint64_t dest) { return dest >> 24; }

}  // namespace telpher::shm

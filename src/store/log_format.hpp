#pragma once
// What the files of a log look like, byte for byte; FORMAT.md beside this file says what it means.

#include "shm/base/os.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace telpher::store {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

// A position in the order of all records of one log: 1, 2, 3, ... Never used twice for two records.
using Lsn = std::uint64_t;

inline constexpr std::array<char, 8> kLogMagic = {'t', 'e', 'l', 'p', 'h', 'l', 'o', 'g'};
inline constexpr std::uint32_t kLogVersion = 1;
inline constexpr std::size_t kSegmentHeaderBytes = 4096;
inline constexpr std::size_t kRecordAlign = 8;
inline constexpr std::uint64_t kSegmentBytesDefault = 64U << 20U;
inline constexpr std::uint64_t kSegmentBytesLeast = 16U << 10U;
inline constexpr std::uint64_t kSegmentBytesMost = 4ULL << 30U;
inline constexpr std::uint64_t kSegmentNumberMost = ~0ULL >> 1U;
inline constexpr std::size_t kLogNameBytesMax = 200;

enum class RecordKind : std::uint8_t {
    destination = 1,  // what the messages of a destination are for; the newest one counts
    removed = 2,      // a destination, with all that belongs to it
    message = 3,
    state =
        4,  // of one message: where it is now and what became of it so far; the newest one counts
    done = 5,  // ranges of messages that need nothing more
    entry =
        6,  // a value that a destination keeps by key; the newest one counts, an empty one removes it
    closed = 7,  // everything before it was on disk, and nothing comes after it in its segment
    withdrawn =
        8,  // ranges of messages that never came to their queue; what entries say of them is void
};
inline constexpr RecordKind kLastKind = RecordKind::withdrawn;

// In the flags of a message's record: the payload is compressed.
inline constexpr std::uint8_t kPackedPayload = 1;

// 56 bytes before each payload. What pads it up to the next record is 0.
struct RecordHeader {
    std::uint64_t header_sum;   // XXH3 of the 48 bytes behind it, seeded by the log
    std::uint64_t payload_sum;  // XXH3 of the payload, seeded by the log
    Lsn lsn;                    // one more than the record before
    Lsn confirmed;              // every record up to this one was on disk when this one was written
    Lsn origin;                 // the first lsn of the message that this is about; 0: of none
    std::uint32_t payload_bytes;
    std::uint32_t destination;
    std::uint8_t kind;
    std::uint8_t flags;       // kPackedPayload, or 0
    std::uint16_t reserved;   // 0
    std::uint32_t reserved2;  // 0
};
static_assert(sizeof(RecordHeader) == 56 && sizeof(RecordHeader) % kRecordAlign == 0);
static_assert(std::is_trivially_copyable_v<RecordHeader>);

// The first 4096 bytes of each file.
struct SegmentHeader {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t header_bytes;
    shm::Uuid log;               // the same in all files of one log
    std::uint64_t number;        // as in the file's name
    Lsn first_lsn;               // of the first record
    std::uint64_t previous;      // number of the file before this one; 0 if there was none
    std::uint64_t previous_end;  // where its records end; 0 if there was none
    std::uint64_t size_bytes;    // what was reserved
    std::uint64_t created_ms;    // since 1970, for people
    std::uint32_t name_bytes;
    std::uint32_t reserved;      // 0
    std::array<char, 256> name;  // whose log this is
    std::array<std::byte, 3744> zeros;
    std::uint64_t sum;  // XXH3 of what is before it
};
static_assert(sizeof(SegmentHeader) == kSegmentHeaderBytes);
static_assert(offsetof(SegmentHeader, previous) == 48);
static_assert(offsetof(SegmentHeader, name) == 88);
static_assert(offsetof(SegmentHeader, sum) == kSegmentHeaderBytes - 8);
static_assert(std::is_trivially_copyable_v<SegmentHeader>);

// In the payload of `done` and `withdrawn`: messages by their origin, first to last.
struct DoneRange {
    Lsn first;
    Lsn last;
};
static_assert(sizeof(DoneRange) == 16);

// The payload of a `state` that a domain writes: the message moved to the queue that the header names.
struct MessageState {
    std::uint64_t dead_wall_ms;        // when it became a dead letter, since 1970
    std::uint32_t origin_destination;  // the queue that it came from
    std::uint32_t deliveries;
    std::uint8_t reason;  // ReturnReason
    std::array<std::uint8_t, 7> reserved;
};
static_assert(sizeof(MessageState) == 24 && std::is_trivially_copyable_v<MessageState>);

// The value of an `entry` that a domain writes: a message with that request id was accepted.
struct RememberedRequest {
    std::array<std::uint64_t, 2> print;  // hash of what it says
    std::uint64_t made_wall_ms;          // since 1970
    std::uint64_t expires_wall_ms;
};
static_assert(sizeof(RememberedRequest) == 32 && std::is_trivially_copyable_v<RememberedRequest>);

constexpr std::uint64_t aligned(std::uint64_t bytes) {
    return (bytes + kRecordAlign - 1) / kRecordAlign * kRecordAlign;
}
// What a record with so much payload takes in its segment.
constexpr std::uint64_t record_bytes(std::uint64_t payload_bytes) {
    return sizeof(RecordHeader) + aligned(payload_bytes);
}

}  // namespace telpher::store

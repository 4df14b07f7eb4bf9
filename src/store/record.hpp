#pragma once
// Records and headers of segments: making them, and checking what a file holds.

#include "src/store/log_format.hpp"
#include "src/store/storage.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace telpher::store {

// What tells the records of one log from all other bytes: derived from its uuid.
using Seed = std::uint64_t;
Seed seed_of(const shm::Uuid& log);

std::uint64_t payload_sum(Bytes payload, Seed seed);

// What a caller says of a record; the log adds the rest.
struct NewRecord {
    RecordKind kind = RecordKind::message;
    std::uint32_t destination = 0;
    Lsn origin =
        0;  // of a message: 0 for a new one, which gets its own lsn; of an entry: 0 if it is about none
    Bytes payload{};
    bool again = false;   // it is in the log already, and moves to another segment
    bool packed = false;  // of a message: the payload is compressed (packed_payload.hpp)
};

RecordHeader make_header(const NewRecord& record, Lsn lsn, Lsn confirmed, Seed seed);
// The same without its sums, and without what was confirmed.
RecordHeader unsummed_header(const NewRecord& record, Lsn lsn);

// Sets the sum of a header's other fields.
void seal(RecordHeader& header, Seed seed);

// Whether these are the bytes of a header of this log.
bool header_holds(const RecordHeader& header, Seed seed);

// A record as it was read; `payload` lives as long as its reader says. The header is the file's: where the payload was
// compressed, and a reader has unpacked it, that is longer than payload_bytes says.
struct Record {
    RecordHeader header;
    Bytes payload;

    [[nodiscard]] RecordKind kind() const { return static_cast<RecordKind>(header.kind); }
};

// `log.000000000000002a`, and back; nothing for any other name.
std::string segment_name(std::uint64_t number);
std::optional<std::uint64_t> segment_number(std::string_view name);

struct SegmentFacts {
    shm::Uuid log{};
    std::string name{};  // whose log it is
    std::uint64_t number = 0;
    Lsn first_lsn = 0;
    std::uint64_t previous = 0;  // number of the segment before it, below its own; 0: none
    std::uint64_t previous_end = 0;
    std::uint64_t size_bytes = 0;
    std::uint64_t created_ms = 0;
};

SegmentHeader make_segment_header(const SegmentFacts& facts);
// `path` is named in errors. Errors: corrupt (not a log, or damaged), version_mismatch.
Result<SegmentFacts> check_segment_header(const SegmentHeader& header, const std::string& path);

}  // namespace telpher::store

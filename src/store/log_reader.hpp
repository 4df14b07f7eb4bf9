#pragma once
// Reads a log from its oldest record to its newest one, and tells a torn end from damage.

#include "src/store/record.hpp"
#include "src/store/storage.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace telpher::store {

// Where a record lies.
struct Place {
    std::uint64_t segment = 0;
    std::uint64_t offset = 0;  // of its header
    bool operator==(const Place&) const = default;
};

struct SegmentReport {
    SegmentFacts facts;
    std::uint64_t file_bytes = 0;
    std::uint64_t end = 0;  // where its records end
    std::uint64_t records = 0;
};

// Records that cannot be read although they were confirmed.
struct Damage {
    Place place;
    Lsn first = 0;
    Lsn last = 0;  // what comes behind `first` is gone up to here; 0: nobody knows
    std::string why;
};

struct LogReport {
    std::vector<SegmentReport> segments;   // oldest first; empty: there is no log
    std::vector<Damage> damages;           // only where they are to be listed
    std::vector<std::uint64_t> overtaken;  // numbers of segments that are not part of the log
    Lsn next_lsn = 1;
    Lsn confirmed = 0;             // up to here the log itself says that it was on disk
    std::uint64_t tail = 0;        // where what nothing confirms begins in the last segment
    std::uint64_t torn_bytes = 0;  // behind the last record, written but no whole record
    bool closed = false;           // it was closed in good order
};

struct ReadOptions {
    // Called for each record, in order; what it returns ends the reading. The payload is what was put, and lives until
    // it returns. One that cannot be decompressed is damage.
    std::function<Result<void>(const Record&, const Place&)> visit{};
    // Whose log it must be; empty: anybody's. Error: mismatch.
    std::string name{};
    // Damage is listed in the report, and reading goes on behind it; else it is an error.
    bool list_damage = false;
};

// Changes nothing. A torn end is none of these errors: whatever a crash or a power loss leaves is read up to the
// last whole record.
//   errors   corrupt (damage in what was confirmed, a missing segment: names file, offset and record),
//            version_mismatch, mismatch (another log's), storage_failed (it could not be read), out_of_memory
Result<LogReport> read_log(Storage& storage, const ReadOptions& options);

}  // namespace telpher::store

#pragma once
// Making a segment: under another name until it is whole and on disk.
//
//   Crash    killed anywhere: no file has a segment's name unless it is whole; what is left has a name that
//            remove_leftovers() knows.
//   Memory   all of them throw std::bad_alloc.
//   Failure  until name_segment() nothing happened that counts. From then on the segment may be there or not.
//   Writers  several processes may write one log in turns. Whoever was stopped on the way, and overtaken by another one
//            that took a higher number, may still come to the end of name_segment(): no later segment names that one,
//            so it is not part of the log. Nobody may therefore write into a segment that he has named before he knows
//            that no other one was named since.

#include "src/store/record.hpp"
#include "src/store/storage.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace telpher::store {

inline constexpr const char* kSpareName = "spare";

// What a new segment begins with: records that nothing confirms, out of the one before it.
struct TailCopy {
    std::uint64_t segment = 0;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;  // behind the last one

    [[nodiscard]] std::uint64_t bytes() const { return end - begin; }
};

// Under which a segment is made.
std::string unfinished_name(std::uint64_t number);

// An empty file with room on the disk for all of it; one that has the name already is replaced.
Result<std::unique_ptr<File>> reserve_file(Storage& storage,
                                           const std::string& name,
                                           std::uint64_t size_bytes);

// Writes the header, and behind it the tail if there is one, into a reserved file of `facts.size_bytes`, and syncs it.
// `facts.created_ms` is set in here.
Result<void> begin_segment(Storage& storage,
                           File& file,
                           const SegmentFacts& facts,
                           const TailCopy* tail);

// Gives a file that begin_segment() has synced its segment's name, on disk when this returns. After an error it may
// have it or not: then nothing may go into an older segment any more.
Result<void> name_segment(Storage& storage, const std::string& from, std::uint64_t number);

// The first sync behind a write to a block that is only reserved waits for the file system's journal, since the block's
// extent changes; one that was written before, be it with zeros, needs none. A segment begins with two stretches of
// zeros, and whoever comes from one into the next writes the one behind it: a matter of speed alone, so what fails in
// it is not told.
inline constexpr std::uint64_t kZeroStretch = 1U << 20U;
// After records were written from `begin` to `end` of a segment of that size.
void zero_ahead(File& file,
                std::uint64_t begin,
                std::uint64_t end,
                std::uint64_t size_bytes) noexcept;

// All of that with a new file. Behind the header, and the tail, there is room for records.
Result<std::unique_ptr<File>> make_segment(Storage& storage,
                                           const SegmentFacts& facts,
                                           const TailCopy* tail);

// Removes what was being made, and the spare. Only for whoever is the only writer.
Result<void> remove_leftovers(Storage& storage);
// Removes segments that are not part of the log (LogReport::overtaken). It has to be on disk before the segment that
// passed one by is dropped: what is older than a missing segment is told as damage.
Result<void> remove_overtaken(Storage& storage, std::span<const std::uint64_t> numbers);

}  // namespace telpher::store

#pragma once
// Steps through the records of one segment, and looks behind what is none.
//
//   Hostile   every length is bounded by the file's size before anything is read or allocated.
//   Memory    one block of 1 MiB, more only for a record that is longer.

#include "src/store/record.hpp"
#include "src/store/storage.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace telpher::store {

// A file that is read from its beginning to its end, in blocks.
class BlockReader {
  public:
    BlockReader(File& file, std::uint64_t file_bytes) : file_(&file), file_bytes_(file_bytes) {}

    // Up to `size` bytes from `offset` on, fewer at the file's end; they stay until the next call.
    Result<Bytes> view(std::uint64_t offset, std::size_t size);

  private:
    File* file_;
    std::uint64_t file_bytes_;
    std::uint64_t begin_ = 0;
    std::size_t filled_ = 0;
    std::vector<std::byte> block_;
};

class SegmentScan {
  public:
    struct Range {
        std::uint64_t file_bytes = 0;
        std::uint64_t end = 0;  // where the records end if that is known, else 0
    };

    SegmentScan(File& file, Seed seed, Range range, Lsn first_lsn)
        : reader_(file, range.file_bytes),
          seed_(seed),
          limit_(range.end != 0 ? range.end : range.file_bytes),
          next_lsn_(first_lsn) {}

    // Where nobody says which record is the first one, it is the one that lies there, if one does.
    Result<void> begin_at_any();
    // The record at offset() if it is whole and the one that is expected; nothing if it is not. Steps behind it.
    Result<std::optional<Record>> next();

    // Where the next record is expected, and with which number.
    [[nodiscard]] std::uint64_t offset() const { return offset_; }
    [[nodiscard]] Lsn next_lsn() const { return next_lsn_; }
    [[nodiscard]] std::uint64_t limit() const { return limit_; }
    // Where the record began that next() returned last.
    [[nodiscard]] std::uint64_t record_offset() const { return record_offset_; }

    struct Behind {
        // The first whole record behind offset() with a number above the one that is expected.
        std::optional<std::uint64_t> offset;
        Lsn lsn = 0;
        // One of the records there says that the expected one was on disk.
        bool confirmed = false;
        // Bytes from offset() on, up to the last one that is not 0.
        std::uint64_t written = 0;
    };
    // Looks at everything behind offset(). Steps nowhere.
    Result<Behind> look_behind();

    // Goes on at that record.
    void resume(std::uint64_t offset, Lsn lsn) {
        offset_ = offset;
        next_lsn_ = lsn;
    }

  private:
    Result<std::optional<RecordHeader>> header_at(std::uint64_t offset);
    Result<std::optional<Record>> record_at(std::uint64_t offset, const RecordHeader& header);

    BlockReader reader_;
    Seed seed_;
    std::uint64_t limit_;
    Lsn next_lsn_;
    std::uint64_t offset_ = kSegmentHeaderBytes;
    std::uint64_t record_offset_ = 0;
};

}  // namespace telpher::store

#pragma once
// What a domain grows by: one more file each time, with chunks of one size or with room for rings.
//
//   Files      telpher.NAME.UUID.k, k >= 1; entry k - 1 of the table in the first segment describes
//              it, `segment_count` of the header counts those that are complete.
//   Place      behind one another in the addresses that each process set aside, so that chunk
//              numbers and offsets mean the same everywhere.
//   Threads    any number at once. `add` under the directory lock.
//   Crash      killed in `add` before the count: the file is nobody's, and the next `add` of that
//              number replaces it, or it goes with the domain. After the count: it is complete.
//   Hostile    an entry is copied once and checked, together with its file, before it is mapped.

#include "telpher/result.hpp"

#include "shm/layout.hpp"
#include "shm/shm_file.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>

namespace telpher::shm {

// What a new data segment shall hold.
struct DataPlan {
    DataKind kind = DataKind::none;
    std::uint32_t chunk_bytes = 0;  // of chunks
    std::uint32_t chunk_count = 0;
    std::uint32_t first_chunk = 0;
    std::uint64_t bytes = 0;  // of rings
};

class DataSegments {
  public:
    // Where the domain's memory lies in this process, and what it may become.
    struct Place {
        std::byte* base;
        std::uint64_t space_bytes;  // set aside here
        std::uint64_t bytes_max;    // of all segments
        std::uint64_t first_bytes;  // of the first segment
        SegmentHeader* header;
        DataSegment* table;
        std::string private_file;  // of the first segment
        Uuid uuid;
        std::uint32_t mode;
    };
    explicit DataSegments(Place place) : place_(std::move(place)) {}
    DataSegments(const DataSegments&) = delete;
    DataSegments& operator=(const DataSegments&) = delete;
    ~DataSegments() = default;

    // Maps every data segment that is complete. Errors: out_of_memory (one cannot be mapped here),
    // corrupt, domain_removed; those before it are mapped.
    [[nodiscard]] Status reach() noexcept;
    // How many are mapped; `at(i)` of those are ours to read.
    [[nodiscard]] std::uint32_t count() const noexcept {
        // V1: pairs with V2. Copies and mappings below the count are complete.
        return mapped_.load(std::memory_order_acquire);
    }
    [[nodiscard]] const DataSegment& at(std::uint32_t index) const noexcept {
        return copies_[index];
    }
    [[nodiscard]] std::byte* base() const noexcept { return place_.base; }
    [[nodiscard]] std::atomic<std::uint8_t>* hints(std::uint32_t index) const noexcept {
        return reinterpret_cast<std::atomic<std::uint8_t>*>(base() + copies_[index].offset +
                                                            kDataHintsOffset);
    }
    // Bytes of all segments that are mapped.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return end(); }

    // Touches all pages of those that are mapped, and from here on of each that will be when it is
    // mapped: the first touch of a page costs microseconds, in the middle of a message. Before it,
    // mapping is quick: for who attaches.
    void populate() noexcept;

    // Held by who takes over what `count` tells, one at a time.
    [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

    // Adds one. The caller holds the directory lock and has reached the others. Errors:
    // limit_reached (limits.segment_bytes, the table), out_of_memory (/dev/shm is full),
    // domain_removed, server_error. On error nothing is left.
    [[nodiscard]] Result<void> add(const DataPlan& plan);
    // Takes the names of all of them away; also of one that is not counted.
    void unlink() const noexcept;

  private:
    [[nodiscard]] std::uint64_t end() const noexcept;
    [[nodiscard]] Status map_next(std::uint32_t index) noexcept;
    [[nodiscard]] bool sound(const DataSegment& segment, std::uint32_t index) const noexcept;
    [[nodiscard]] Result<void> write_file(const std::string& file,
                                          const DataSegment& segment,
                                          std::uint32_t index);

    Place place_;
    std::mutex mutex_;         // guards the mapping of more, and the next
    bool populating_ = false;  // at once when mapped
    std::atomic<std::uint32_t> mapped_{0};
    std::array<DataSegment, kDataSegmentsMax> copies_{};
};

}  // namespace telpher::shm

#pragma once
// One file in shared memory: made, checked, mapped, published, taken away.
//
//   Files      telpher.NAME.UUID.0 (the private name) and, once complete, telpher.NAME: a hard link
//              to it, made by link(), which never replaces a racing creator's. What the domain grew
//              by: data_segments.hpp.
//   Trust      the file's owner, mode, type and size, and every field of its header, are checked
//              before anything is mapped; regions and classes are copied, so that a scribble cannot
//              move them.
//   Memory     reserved by posix_fallocate at creation: a full /dev/shm is an error then, and never
//              SIGBUS.
//   Crash      create: before the link nobody finds the file, `collect` removes it. unlink: the
//              public name goes first, then the data segments, then the private name; what is left
//              behind is garbage.

#include "telpher/result.hpp"

#include "shm/base/address_space.hpp"
#include "shm/base/os.hpp"
#include "shm/data_segments.hpp"
#include "shm/layout.hpp"

#include <boost/interprocess/shared_memory_object.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace telpher::shm {

// Byte offsets of OFD locks on the segment's descriptor, far beyond any file's end.
inline constexpr std::uint64_t kLockBase = 1ULL << 40;
inline constexpr std::uint64_t kVisitorLock =
    kLockBase + kProcessesMax;  // the spare process record
inline constexpr std::uint64_t kDirectoryLock = kVisitorLock + 1;
inline constexpr std::uint64_t kCreatorLock = kVisitorLock + 2;

inline constexpr std::uint64_t kSegmentBytesMaxHighest = 1ULL << 40;

// What a new segment shall hold. Validated by `create`.
struct SegmentPlan {
    std::string name;
    std::uint32_t lifetime = 0;
    std::uint32_t mode = 0600;
    std::uint32_t processes_max = kProcessesMax;
    std::uint32_t threads_max = kThreadsMax;
    std::uint32_t destinations_max = kDestinationsMax;
    std::uint64_t message_bytes_max = 20U << 20U;
    std::uint64_t ring_bytes = 18U << 20U;
    std::uint64_t pool_bytes = 24U << 20U;
    std::uint64_t segment_bytes_max = 4ULL << 30U;  // with all data segments
    std::uint64_t process_bytes_max = 0;            // in loans and deliveries; 0 = any
    std::uint32_t temporary_queues_max = 50;        // of one client
    std::uint32_t idempotency_records = 1U << 15;
    std::uint64_t options_hash = 0;
    std::string log_path{};  // where its log lies; empty: it has none
    std::uint64_t log_segment_bytes = 0;
    std::int64_t log_compress_from_bytes = -1;
};

class Segment {
  public:
    Segment() = default;
    Segment(Segment&& other) noexcept = default;
    Segment& operator=(Segment&& other) noexcept = default;
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;
    ~Segment() = default;

    // Makes a complete segment under a private name. Errors: bad_request, out_of_memory,
    // not_permitted, server_error. On error nothing is left.
    static Result<Segment> create(const SegmentPlan& plan);
    // Opens the segment that `name` (or a private file name, for `collect`) leads to. Errors:
    // domain_not_found, not_permitted, corrupt, version_mismatch, out_of_memory.
    static Result<Segment> open(std::string_view file_name);

    // Gives a complete segment its public name. Errors: already_exists, domain_not_found (the
    // private file was swept: create again), server_error.
    Result<void> publish();
    // Takes all names away; the public one only if it still leads to this file. The directory lock
    // is held.
    void unlink() noexcept;
    // Whether the public name leads to this file.
    [[nodiscard]] bool named() const noexcept;

    [[nodiscard]] SegmentHeader& header() const noexcept { return *header_; }
    [[nodiscard]] std::byte* base() const noexcept { return space_.base(); }
    // Of the first file; data() tells of the others.
    [[nodiscard]] std::size_t size_bytes() const noexcept { return copy_.segment_bytes; }
    [[nodiscard]] DataSegments& data() const noexcept { return *data_; }
    [[nodiscard]] int descriptor() const noexcept { return object_.get_mapping_handle().handle; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const Uuid& uuid() const noexcept { return uuid_; }
    [[nodiscard]] explicit operator bool() const noexcept { return header_ != nullptr; }

    // Private copies of what the header said when it was checked.
    [[nodiscard]] std::span<const ChunkClass> classes() const noexcept {
        return {copy_.classes, copy_.class_count};
    }
    [[nodiscard]] std::uint32_t processes_max() const noexcept { return copy_.processes_max; }
    [[nodiscard]] std::uint32_t threads_max() const noexcept { return copy_.threads_max; }
    [[nodiscard]] std::uint32_t destinations_max() const noexcept { return copy_.destinations_max; }
    [[nodiscard]] std::uint64_t message_bytes_max() const noexcept {
        return copy_.message_bytes_max;
    }
    [[nodiscard]] std::uint32_t temporary_queues_max() const noexcept {
        return copy_.temporary_queues_max;
    }
    [[nodiscard]] std::uint64_t process_bytes_max() const noexcept {
        return copy_.process_bytes_max;
    }
    [[nodiscard]] std::uint64_t options_hash() const noexcept { return copy_.options_hash; }
    [[nodiscard]] bool ephemeral() const noexcept { return copy_.lifetime == 1; }
    [[nodiscard]] std::uint32_t mode() const noexcept { return copy_.mode; }
    // Start and size of a region; it exists (checked at open).
    [[nodiscard]] std::span<std::byte> region(RegionKind kind) const noexcept;
    // Who waits for memory, and who for new topics.
    [[nodiscard]] WaiterMap& pool_waiters() const noexcept {
        return *reinterpret_cast<WaiterMap*>(region(RegionKind::pool_waiters).data());
    }
    [[nodiscard]] WaiterMap& directory_waiters() const noexcept { return (&pool_waiters())[1]; }

  private:
    struct Facts {  // of the header, copied once
        std::uint32_t class_count = 0;
        std::uint32_t region_count = 0;
        std::uint32_t processes_max = 0;
        std::uint32_t threads_max = 0;
        std::uint32_t destinations_max = 0;
        std::uint32_t lifetime = 0;
        std::uint32_t mode = 0;
        std::uint64_t message_bytes_max = 0;
        std::uint32_t temporary_queues_max = 0;
        std::uint64_t process_bytes_max = 0;
        std::uint64_t options_hash = 0;
        std::uint64_t segment_bytes = 0;
        ChunkClass classes[kClassesMax] = {};
        Region regions[kRegionsMax] = {};
    };
    [[nodiscard]] Result<void> map(const SegmentHeader& checked);
    void adopt(const SegmentHeader& checked);

    boost::interprocess::shared_memory_object object_;
    AddressSpace space_;
    std::unique_ptr<DataSegments> data_;
    SegmentHeader* header_ = nullptr;
    Facts copy_;
    std::string name_;          // of the domain
    std::string private_file_;  // telpher.NAME.UUID.0
    Uuid uuid_{};
};

// Whether a file name has the shape of a private one (so that no domain may be called like that).
bool is_private_file(std::string_view file_name);
// bad_request unless `name` is 1..100 of [A-Za-z0-9._-] and not of the private shape.
Result<void> check_domain_name(std::string_view name);

// Checks a header read from a file of `file_bytes`: first what it is, then every count and offset.
Result<void> check_header(const SegmentHeader& header, std::uint64_t file_bytes);
// Lays out `plan` into `header` (all but the identity). Errors: bad_request naming field, limit,
// value.
Result<void> plan_layout(const SegmentPlan& plan, SegmentHeader& header);

}  // namespace telpher::shm

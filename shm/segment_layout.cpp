// Laying out a new segment, and checking the layout of one that was found.

#include "shm/idempotency_layout.hpp"
#include "shm/log_layout.hpp"
#include "shm/segment.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace telpher::shm {
namespace {

struct Share {
    std::uint32_t chunk_bytes;
    std::uint32_t percent;  // of the pool's bytes
};
// Small messages are the many: half of the memory is for payloads below 512 bytes. From 1 KiB on a
// class has room for a header beside a payload of that power of two.
constexpr std::array<Share, 8> kShares = {
    {{128, 14}, {256, 12}, {384, 10}, {512, 10}, {1152, 14}, {4224, 14}, {16512, 13}, {65664, 13}}};

// Bit k: kind k. Each of them is there.
constexpr std::uint32_t kKnownRegions = 0b1'1111'1110U | 1U << 16U | 1U << 18U | 1U << 21U;

// What limits.message_bytes may be.
constexpr std::uint64_t kMessageBytesMin = 2048;
constexpr std::uint64_t kMessageBytesMax = 250ULL << 20U;

Error out_of_range(const char* field, std::uint64_t value, std::uint64_t low, std::uint64_t high) {
    return Error{Status::bad_request,
                 0,
                 std::string(field) + " is " + std::to_string(value) + ", allowed are " +
                     std::to_string(low) + ".." + std::to_string(high)};
}

struct Range {
    const char* field;
    std::uint64_t value, low, high;
};

Error damaged(const std::string& what) { return Error{Status::corrupt, 0, what}; }

// The bytes a region of `kind` must have at least; 0 = any.
std::uint64_t region_bytes_min(const SegmentHeader& h, RegionKind kind) {
    switch (kind) {
        case RegionKind::processes:
            return (h.processes_max + 1ULL) * sizeof(ProcessRecord);
        case RegionKind::threads:
            return static_cast<std::uint64_t>(h.threads_max) * sizeof(ThreadRecord);
        case RegionKind::directory:
            return static_cast<std::uint64_t>(h.destinations_max) * sizeof(DirectoryEntry);
        case RegionKind::pool_waiters:
            return 2 * sizeof(WaiterMap);
        case RegionKind::data_segments:
            return sizeof(DataSegment) * kDataSegmentsMax;
        case RegionKind::idempotency:
            return idempotency_bytes(kRecordsMin);
        case RegionKind::settings:
            return sizeof(SettingsBlock);
        case RegionKind::log:
            return sizeof(LogControl);
        default:
            return 1;
    }
}

class LayoutWriter {
  public:
    explicit LayoutWriter(SegmentHeader& header) : header_(header) {}
    void add(RegionKind kind, std::uint64_t bytes) {
        bytes = align_up(bytes, kPageBytes);
        header_.regions[header_.region_count++] =
            Region{static_cast<std::uint32_t>(kind), 1, kRegionRequired, offset_, bytes};
        offset_ += bytes;
    }
    [[nodiscard]] std::uint64_t offset() const { return offset_; }

  private:
    SegmentHeader& header_;
    std::uint64_t offset_ = kPageBytes;
};

Result<void> check_regions(const SegmentHeader& h) {
    std::uint32_t seen = 0;
    for (std::uint32_t i = 0; i < h.region_count; ++i) {
        const Region& r = h.regions[i];
        const std::string which =
            "region " + std::to_string(i) + " (kind " + std::to_string(r.kind) + ")";
        if (r.offset % kPageBytes != 0 || r.offset < kPageBytes || r.offset > h.segment_bytes ||
            r.bytes > h.segment_bytes - r.offset) {
            return damaged(which + ": offset " + std::to_string(r.offset) + " + " +
                           std::to_string(r.bytes) + " bytes lies outside the segment of " +
                           std::to_string(h.segment_bytes));
        }
        if (r.kind >= 32 || (kKnownRegions >> r.kind & 1U) == 0) {
            if ((r.flags & kRegionRequired) != 0) {
                return Error{Status::version_mismatch,
                             0,
                             which + " is required and unknown to this version"};
            }
            continue;
        }
        if (r.bytes < region_bytes_min(h, static_cast<RegionKind>(r.kind))) {
            return damaged(which + ": " + std::to_string(r.bytes) +
                           " bytes are fewer than its table needs");
        }
        if ((seen >> r.kind & 1U) != 0) {
            return damaged(which + " is there twice");
        }
        seen |= 1U << r.kind;
    }
    if (seen != kKnownRegions) {
        return damaged("a required region is missing");
    }
    return {};
}

// The region of a kind that `check_regions` has found.
Region region_of(const SegmentHeader& h, RegionKind kind) {
    const auto* end = h.regions + h.region_count;
    const auto* found = std::find_if(h.regions, end, [kind](const Region& r) {
        return r.kind == static_cast<std::uint32_t>(kind);
    });
    return found == end ? Region{} : *found;
}

Result<void> check_classes(const SegmentHeader& h) {
    const Region chunks = region_of(h, RegionKind::chunks);
    const Region hints = region_of(h, RegionKind::slab_hints);
    std::uint64_t next = 0;
    std::uint32_t last_bytes = 0;
    for (std::uint32_t k = 0; k < h.class_count; ++k) {
        const ChunkClass& c = h.classes[k];
        const std::string which = "chunk class " + std::to_string(k);
        if (c.chunk_bytes % kLinePair != 0 || c.chunk_bytes <= last_bytes ||
            c.chunk_bytes > kChunkBytesMax || c.chunk_count == 0 || c.chunk_count > kChunksMax ||
            c.first_chunk % kSlabChunks != 0 || c.first_chunk != next) {
            return damaged(which + ": impossible size, count or first number");
        }
        const std::uint64_t bytes = static_cast<std::uint64_t>(c.chunk_bytes) * c.chunk_count;
        if (c.offset % kCacheLine != 0 || c.offset < chunks.offset ||
            c.offset > chunks.offset + chunks.bytes ||
            bytes > chunks.offset + chunks.bytes - c.offset) {
            return damaged(which + " lies outside the region of chunks");
        }
        next = align_up(static_cast<std::uint64_t>(c.first_chunk) + c.chunk_count, kSlabChunks);
        last_bytes = c.chunk_bytes;
        if (next > kChunksMax || next / kSlabChunks > hints.bytes) {
            return damaged(which + ": more chunks than numbers or hints");
        }
    }
    return {};
}

Result<void> check_identity(const SegmentHeader& h) {
    if (h.magic == __builtin_bswap64(kMagic)) {
        return Error{Status::version_mismatch, 0, "made on a machine of the other byte order"};
    }
    if (h.magic != kMagic) {
        return damaged("not a telpher segment: the first 8 bytes are not its magic number");
    }
    if (h.layout_major != kLayoutMajor) {
        return Error{Status::version_mismatch,
                     0,
                     "layout version " + std::to_string(h.layout_major) + ", this program reads " +
                         std::to_string(kLayoutMajor)};
    }
    if (h.features != 0) {
        return Error{Status::version_mismatch,
                     0,
                     "feature bits " + std::to_string(h.features) + " are unknown to this version"};
    }
    if (h.abi_hash != abi_hash() || h.header_bytes != sizeof(SegmentHeader)) {
        return Error{Status::version_mismatch,
                     0,
                     "made by a build with other structure sizes (ABI hash differs)"};
    }
    const Uuid boot = boot_id();
    if (std::memcmp(h.boot_id, boot.data(), boot.size()) != 0) {
        return damaged(
            "boot id differs: the file is a copy, or from before the last restart of this machine");
    }
    return {};
}

}  // namespace

Result<void> check_header(const SegmentHeader& h, std::uint64_t file_bytes) {
    if (auto identity = check_identity(h); !identity) {
        return identity;
    }
    if (h.segment_bytes != file_bytes) {
        return damaged("the file has " + std::to_string(file_bytes) + " bytes, its header says " +
                       std::to_string(h.segment_bytes) + ": truncated or extended");
    }
    const Range counts[] = {
        {"processes", h.processes_max, 1, kProcessesMax},
        {"threads", h.threads_max, 1, kThreadsMax},
        {"destinations", h.destinations_max, 1, kDestinationsMax},
        {"chunk classes", h.class_count, 1, kClassesMax},
        {"regions", h.region_count, 1, kRegionsMax},
        {"bytes of the name", h.name_bytes, 1, kNameBytesMax},
        {"lifetime", h.lifetime, 0, 1},
        {"bytes of a message", h.message_bytes_max, kMessageBytesMin, kMessageBytesMax},
        {"most bytes", h.segment_bytes_max, h.segment_bytes, kSegmentBytesMaxHighest},
    };
    for (const Range& r : counts) {
        if (r.value < r.low || r.value > r.high) {
            return damaged("header: " + out_of_range(r.field, r.value, r.low, r.high).detail);
        }
    }
    if (auto regions = check_regions(h); !regions) {
        return regions;
    }
    return check_classes(h);
}

Result<void> plan_layout(const SegmentPlan& plan, SegmentHeader& header) {
    const Range ranges[] = {
        {"limits.processes", plan.processes_max, 1, kProcessesMax},
        {"limits.threads", plan.threads_max, 1, kThreadsMax},
        {"limits.destinations", plan.destinations_max, 1, kDestinationsMax},
        {"limits.message_bytes", plan.message_bytes_max, kMessageBytesMin, kMessageBytesMax},
        {"limits.ring_bytes", plan.ring_bytes, 64ULL << 10U, 4ULL << 30U},
        {"limits.pool_bytes", plan.pool_bytes, 1ULL << 20U, 1ULL << 40U},
        {"limits.temporary_queues", plan.temporary_queues_max, 0, kDestinationsMax},
        {"limits.segment_bytes", plan.segment_bytes_max, 0, kSegmentBytesMaxHighest},
        {"limits.idempotency_entries", plan.idempotency_records, kRecordsMin, kRecordsMax},
    };
    for (const Range& r : ranges) {
        if (r.value < r.low || r.value > r.high) {
            return out_of_range(r.field, r.value, r.low, r.high);
        }
    }
    if (plan.log_path.size() > kLogPathMax) {
        return out_of_range("bytes of log.directory", plan.log_path.size(), 1, kLogPathMax);
    }
    if (plan.mode != 0600 && plan.mode != 0660) {
        return Error{Status::bad_request, 0, "file_mode must be 0600 or 0660"};
    }
    header.processes_max = plan.processes_max;
    header.threads_max = plan.threads_max;
    header.destinations_max = plan.destinations_max;
    header.message_bytes_max = plan.message_bytes_max;
    header.temporary_queues_max = plan.temporary_queues_max;
    header.process_bytes_max = plan.process_bytes_max;
    header.lifetime = plan.lifetime;
    header.mode = plan.mode;
    header.options_hash = plan.options_hash;
    std::uint64_t first = 0;
    std::uint64_t bytes = 0;
    for (const Share& share : kShares) {
        const std::uint64_t count = plan.pool_bytes / 100 * share.percent / share.chunk_bytes;
        if (first + count + kSlabChunks > kChunksMax) {
            return out_of_range("limits.pool_bytes", plan.pool_bytes, 1ULL << 20U, 4ULL << 30U);
        }
        header.classes[header.class_count++] = ChunkClass{share.chunk_bytes,
                                                          static_cast<std::uint32_t>(count),
                                                          static_cast<std::uint32_t>(first),
                                                          0,
                                                          bytes};
        first = align_up(first + count, kSlabChunks);
        bytes += align_up(count * share.chunk_bytes, kPageBytes);
    }
    LayoutWriter writer(header);
    writer.add(RegionKind::processes, region_bytes_min(header, RegionKind::processes));
    writer.add(RegionKind::threads, region_bytes_min(header, RegionKind::threads));
    writer.add(RegionKind::directory, region_bytes_min(header, RegionKind::directory));
    writer.add(RegionKind::pool_waiters, region_bytes_min(header, RegionKind::pool_waiters));
    writer.add(RegionKind::data_segments, region_bytes_min(header, RegionKind::data_segments));
    writer.add(RegionKind::settings, region_bytes_min(header, RegionKind::settings));
    writer.add(RegionKind::slab_hints, first / kSlabChunks);
    writer.add(RegionKind::idempotency, idempotency_bytes(plan.idempotency_records));
    writer.add(RegionKind::log, plan.log_path.empty() ? sizeof(LogControl) : kLogBytes);
    writer.add(RegionKind::rings, plan.ring_bytes);
    const std::uint64_t chunks_at = writer.offset();
    writer.add(RegionKind::chunks, bytes);
    for (std::uint32_t k = 0; k < header.class_count; ++k) {
        header.classes[k].offset += chunks_at;
    }
    header.segment_bytes = writer.offset();
    header.segment_bytes_max = std::max(plan.segment_bytes_max, header.segment_bytes);
    return {};
}

}  // namespace telpher::shm

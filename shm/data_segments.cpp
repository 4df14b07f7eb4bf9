#include "shm/data_segments.hpp"

#include "shm/base/address_space.hpp"
#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"

#include <boost/interprocess/shared_memory_object.hpp>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <vector>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace telpher::shm {
namespace {

namespace bip = boost::interprocess;

constexpr std::size_t kEntryWords = sizeof(DataSegment) / sizeof(std::uint64_t);

// More of one segment is not mapped before it is needed: whoever makes it is waited for, and may need little of it.
constexpr std::uint64_t kPopulateMost = 64ULL << 20U;

void populate_some(std::byte* address, std::uint64_t bytes) noexcept {
    static_cast<void>(madvise(address, std::min(bytes, kPopulateMost), MADV_POPULATE_WRITE));
}

// Bytes before the content: the header, and one hint for each slab of chunks.
std::uint64_t head_bytes(std::uint32_t chunk_count) {
    return align_up(kDataHintsOffset + align_up(chunk_count, kSlabChunks) / kSlabChunks,
                    kPageBytes);
}

// An entry is read while nobody writes it, but a damaged count may say otherwise.
DataSegment load_entry(DataSegment& from) noexcept {
    std::uint64_t words[kEntryWords];
    auto* in = reinterpret_cast<std::uint64_t*>(&from);
    for (std::size_t i = 0; i < kEntryWords; ++i) {
        // relaxed: ordered by V3
        words[i] = std::atomic_ref<std::uint64_t>(in[i]).load(std::memory_order_relaxed);
    }
    DataSegment entry{};
    std::memcpy(&entry, words, sizeof entry);
    return entry;
}
void store_entry(DataSegment& to, const DataSegment& from) noexcept {
    std::uint64_t words[kEntryWords];
    std::memcpy(words, &from, sizeof words);
    auto* out = reinterpret_cast<std::uint64_t*>(&to);
    for (std::size_t i = 0; i < kEntryWords; ++i) {
        // relaxed: published by V4
        std::atomic_ref<std::uint64_t>(out[i]).store(words[i], std::memory_order_relaxed);
    }
}

bool is_sound_file(int descriptor,
                   const DataSegment& segment,
                   const Uuid& uuid,
                   std::uint32_t index) {
    struct stat facts {};
    if (fstat(descriptor, &facts) != 0 || !check_file("", facts) ||
        static_cast<std::uint64_t>(facts.st_size) != segment.bytes) {
        return false;
    }
    DataHeader header{};
    return pread(descriptor, &header, sizeof header, 0) == static_cast<ssize_t>(sizeof header) &&
           header.magic == kDataMagic && header.index == index + 1 &&
           header.bytes == segment.bytes &&
           std::equal(uuid.begin(), uuid.end(), std::begin(header.uuid));
}

std::uint64_t free_shm() {
    struct statvfs space {};
    return statvfs(kShmFolder.data(), &space) == 0
               ? static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize
               : 0;
}

// Mode and group of the first segment: who may attach may map this file, too, whatever group the
// process is in that adds it. 0 or errno.
int share(int descriptor, const std::string& first_file, std::uint32_t mode) {
    struct stat first {};
    struct stat ours {};
    if (lstat(path_of(first_file).c_str(), &first) != 0 || fstat(descriptor, &ours) != 0 ||
        ((mode & 0060U) != 0 && first.st_gid != ours.st_gid &&
         fchown(descriptor, static_cast<uid_t>(-1), first.st_gid) != 0) ||
        fchmod(descriptor, mode) != 0) {
        return errno;
    }
    return 0;
}

}  // namespace

std::uint64_t DataSegments::end() const noexcept {
    const std::uint32_t known = count();
    return known == 0 ? align_up(place_.first_bytes, kPageBytes)
                      : copies_[known - 1].offset + copies_[known - 1].bytes;
}

bool DataSegments::sound(const DataSegment& s, std::uint32_t index) const noexcept {
    const bool placed =
        s.offset == (index == 0 ? align_up(place_.first_bytes, kPageBytes)
                                : copies_[index - 1].offset + copies_[index - 1].bytes) &&
        s.bytes % kPageBytes == 0 && s.bytes != 0 && s.bytes <= 1ULL << 40 &&
        s.content >= s.offset && s.content - s.offset <= s.bytes && s.content % kPageBytes == 0;
    if (!placed) {
        return false;
    }
    const std::uint64_t content_bytes = s.bytes - (s.content - s.offset);
    if (s.kind == static_cast<std::uint32_t>(DataKind::rings)) {
        return true;
    }
    return s.kind == static_cast<std::uint32_t>(DataKind::chunks) && s.chunk_count != 0 &&
           s.chunk_count <= kChunksMax && s.chunk_bytes != 0 && s.chunk_bytes % kLinePair == 0 &&
           s.chunk_bytes <= kChunkBytesMax && s.first_chunk % kSlabChunks == 0 &&
           s.first_chunk <= kChunksMax - s.chunk_count &&
           s.content - s.offset >= head_bytes(s.chunk_count) &&
           std::uint64_t{s.chunk_bytes} * s.chunk_count <= content_bytes;
}

Status DataSegments::reach() noexcept {
    // V3: pairs with V4. Entry and file of what is counted are complete.
    const std::uint32_t complete =
        std::min(place_.header->segment_count.load(std::memory_order_acquire), kDataSegmentsMax);
    if (complete <= count()) [[likely]] {
        return Status::ok;
    }
    const std::lock_guard hold(mutex_);
    for (std::uint32_t index = count(); index < complete; ++index) {
        if (const Status status = map_next(index); status != Status::ok) {
            return status;
        }
    }
    return Status::ok;
}

Status DataSegments::map_next(std::uint32_t index) noexcept {
    const DataSegment segment = load_entry(place_.table[index]);
    if (!sound(segment, index)) {
        return Status::corrupt;
    }
    if (segment.offset > place_.space_bytes ||
        segment.bytes > place_.space_bytes - segment.offset) {
        return Status::out_of_memory;  // a limit of this process' addresses
    }
    try {
        const std::string file = sibling_file(place_.private_file, index + 1);
        const bip::shared_memory_object object(bip::open_only, file.c_str(), bip::read_write);
        const int descriptor = object.get_mapping_handle().handle;
        if (!is_sound_file(descriptor, segment, place_.uuid, index)) {
            return Status::corrupt;
        }
        std::byte* address = place_.base + segment.offset;
        if (AddressSpace::map_at(address, descriptor, segment.bytes) != 0) {
            return Status::out_of_memory;
        }
        if (populating_) {
            populate_some(address, segment.bytes);
        }
    } catch (const bip::interprocess_exception& failure) {
        // The domain was removed; or there is no descriptor or no memory left here.
        return failure.get_native_error() == ENOENT ? Status::domain_removed
                                                    : Status::out_of_memory;
    } catch (const std::bad_alloc&) {
        return Status::out_of_memory;
    }
    copies_[index] = segment;
    // V2: pairs with V1.
    mapped_.store(index + 1, std::memory_order_release);
    return Status::ok;
}

void DataSegments::populate() noexcept {
    std::uint32_t done = 0;
    for (bool all = false; !all;) {
        for (; done < count(); ++done) {  // without the lock: it takes long
            populate_some(place_.base + copies_[done].offset, copies_[done].bytes);
        }
        const std::lock_guard hold(mutex_);
        populating_ = all = done == count();
    }
}

// Makes the file, complete but for being counted.
Result<void> DataSegments::write_file(const std::string& file,
                                      const DataSegment& segment,
                                      std::uint32_t index) {
    bip::shared_memory_object object;
    for (int attempt = 0;; ++attempt) {
        SHM_STEP("grow.file");
        try {
            bip::permissions permissions(static_cast<int>(place_.mode));
            object = bip::shared_memory_object(
                bip::create_only, file.c_str(), bip::read_write, permissions);
            break;
        } catch (const bip::interprocess_exception& failure) {
            // Left by a process that was killed before it counted it: nobody else uses it.
            if (failure.get_native_error() != EEXIST || attempt != 0) {
                return open_error(file, failure.get_native_error());
            }
            SHM_STEP("grow.leftover");
            ::unlink(path_of(file).c_str());
        }
    }
    const int descriptor = object.get_mapping_handle().handle;
    SHM_STEP("grow.reserve");
    int error = share(descriptor, place_.private_file, place_.mode);
    if (error != 0) {
        ::unlink(path_of(file).c_str());
        return Error{Status::server_error,
                     error,
                     errno_text("giving a data segment the domain's group and mode", error)};
    }
    // Asked first, because taking what there is and giving it back takes long.
    error = free_shm() < segment.bytes ? ENOSPC : reserve_file(descriptor, segment.bytes);
    if (error != 0) {
        ::unlink(path_of(file).c_str());
        return Error{Status::out_of_memory,
                     error,
                     "the domain must grow by " + std::to_string(segment.bytes) +
                         " bytes of /dev/shm, " + std::to_string(free_shm()) +
                         " are free: poll what is queued, or enlarge /dev/shm"};
    }
    DataHeader header{kDataMagic, {}, index + 1, 0, segment.bytes};
    std::copy(place_.uuid.begin(), place_.uuid.end(), std::begin(header.uuid));
    // All slabs have something free.
    std::vector<unsigned char> head(segment.content - segment.offset, 1);
    std::memcpy(head.data(), &header, sizeof header);
    SHM_STEP("grow.header");
    if (pwrite(descriptor, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) {
        ::unlink(path_of(file).c_str());
        return Error{Status::server_error, errno, errno_text("writing a data segment", errno)};
    }
    return {};
}

Result<void> DataSegments::add(const DataPlan& plan) {
    // relaxed: stored under the directory lock, which we hold; whoever took the names away would not
    // take ours
    if (place_.header->state.load(std::memory_order_relaxed) ==
        static_cast<std::uint32_t>(DomainState::removed)) {
        return Error{Status::domain_removed, 0, "the domain was removed"};
    }
    const std::uint32_t index = count();
    DataSegment segment{};
    segment.kind = static_cast<std::uint32_t>(plan.kind);
    segment.offset = end();
    const std::uint64_t head =
        plan.kind == DataKind::chunks ? head_bytes(plan.chunk_count) : kPageBytes;
    const std::uint64_t content = plan.kind == DataKind::chunks
                                      ? std::uint64_t{plan.chunk_bytes} * plan.chunk_count
                                      : plan.bytes;
    segment.bytes = head + align_up(content, kPageBytes);
    segment.content = segment.offset + head;
    segment.chunk_bytes = plan.chunk_bytes;
    segment.chunk_count = plan.chunk_count;
    segment.first_chunk = plan.first_chunk;
    if (index == kDataSegmentsMax) {
        return Error{Status::limit_reached,
                     0,
                     "the domain has grown " + std::to_string(kDataSegmentsMax) +
                         " times, which is the most"};
    }
    if (segment.offset + segment.bytes > place_.bytes_max) {
        return Error{Status::limit_reached,
                     0,
                     "limits.segment_bytes is " + std::to_string(place_.bytes_max) +
                         ", the domain has " + std::to_string(segment.offset) +
                         " bytes and would need " + std::to_string(segment.bytes) + " more"};
    }
    if (!sound(segment, index)) {
        return Error{Status::limit_reached, 0, "the domain's chunks have no numbers left"};
    }
    if (bug(Bug::grow_counted_first)) {
        store_entry(place_.table[index], segment);
        place_.header->segment_count.store(index + 1, std::memory_order_release);  // V4, too early
    }
    const std::string file = sibling_file(place_.private_file, index + 1);
    if (auto written = write_file(file, segment, index); !written) {
        return written;
    }
    SHM_STEP("grow.entry");
    store_entry(place_.table[index], segment);
    SHM_STEP("grow.count");
    // V4: pairs with V3. From here on the data segment is the domain's.
    place_.header->segment_count.store(index + 1, std::memory_order_release);
    SHM_STEP("grow.map");
    if (const Status status = reach(); status != Status::ok) {
        return Error{status, 0, "mapping the data segment that the domain grew by"};
    }
    return {};
}

void DataSegments::unlink() const noexcept {
    for (std::uint32_t index = kDataSegmentsMax; index != 0; --index) {
        if (::unlink(path_of(sibling_file(place_.private_file, index)).c_str()) == 0) {
            SHM_STEP("segment.unlink.data");
        }
    }
}

}  // namespace telpher::shm

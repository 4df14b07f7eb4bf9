#include "shm/segment.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"
#include "shm/log_layout.hpp"
#include "shm/shm_file.hpp"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace telpher::shm {
namespace {

namespace bip = boost::interprocess;

Error no_room(int error, std::uint64_t wanted) {
    struct statvfs space {};
    std::uint64_t available = 0;
    if (statvfs(kShmFolder.data(), &space) == 0) {
        available = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
    }
    return {Status::out_of_memory,
            error,
            "the domain needs " + std::to_string(wanted) + " bytes of /dev/shm, " +
                std::to_string(available) +
                " are free: lower limits.pool_bytes or limits.ring_bytes, or enlarge /dev/shm"};
}

}  // namespace

Result<void> check_domain_name(std::string_view name) {
    constexpr std::string_view kAllowed =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (name.empty() || name.size() > kNameBytesMax) {
        return Error{Status::bad_request,
                     0,
                     "domain name has " + std::to_string(name.size()) + " bytes, allowed are 1.." +
                         std::to_string(kNameBytesMax)};
    }
    const std::size_t bad = name.find_first_not_of(kAllowed);
    if (bad != std::string_view::npos) {
        return Error{Status::bad_request,
                     0,
                     "domain name has a character outside [A-Za-z0-9._-] at position " +
                         std::to_string(bad)};
    }
    if (is_private_file(name)) {
        return Error{Status::bad_request,
                     0,
                     "domain name has the form of an internal file name (.UUID.number at its end)"};
    }
    return {};
}

// Maps the file at the beginning of addresses that have room for what the domain may grow by.
Result<void> Segment::map(const SegmentHeader& h) {
    auto space = AddressSpace::reserve(h.segment_bytes, h.segment_bytes_max);
    if (!space) {
        return space.error();
    }
    if (auto mapped = space->map(descriptor(), 0, h.segment_bytes); !mapped) {
        return Error{Status::out_of_memory,
                     mapped.error().os_error,
                     errno_text("mapping the segment", mapped.error().os_error)};
    }
    space_ = std::move(*space);
    header_ = reinterpret_cast<SegmentHeader*>(space_.base());
    return {};
}

void Segment::adopt(const SegmentHeader& h) {
    copy_.class_count = h.class_count;
    copy_.region_count = h.region_count;
    copy_.processes_max = h.processes_max;
    copy_.threads_max = h.threads_max;
    copy_.destinations_max = h.destinations_max;
    copy_.lifetime = h.lifetime;
    copy_.mode = h.mode;
    copy_.message_bytes_max = h.message_bytes_max;
    copy_.temporary_queues_max = h.temporary_queues_max;
    copy_.process_bytes_max = h.process_bytes_max;
    copy_.options_hash = h.options_hash;
    copy_.segment_bytes = h.segment_bytes;
    std::copy(std::begin(h.classes), std::end(h.classes), copy_.classes);
    std::copy(std::begin(h.regions), std::end(h.regions), copy_.regions);
    std::copy(std::begin(h.uuid), std::end(h.uuid), uuid_.begin());
    name_.assign(h.name, h.name_bytes);
    private_file_ = private_file(name_, uuid_);
    data_ = std::make_unique<DataSegments>(DataSegments::Place{
        space_.base(),
        space_.size_bytes(),
        std::min(h.segment_bytes_max, space_.size_bytes()),
        h.segment_bytes,
        header_,
        reinterpret_cast<DataSegment*>(region(RegionKind::data_segments).data()),
        private_file_,
        uuid_,
        h.mode});
}

std::span<std::byte> Segment::region(RegionKind kind) const noexcept {
    for (std::uint32_t i = 0; i < copy_.region_count; ++i) {
        if (copy_.regions[i].kind == static_cast<std::uint32_t>(kind)) {
            return {base() + copy_.regions[i].offset, copy_.regions[i].bytes};
        }
    }
    return {};
}

Result<Segment> Segment::create(const SegmentPlan& plan) {
    if (auto named = check_domain_name(plan.name); !named) {
        return named.error();
    }
    alignas(SegmentHeader) std::byte storage[sizeof(SegmentHeader)] = {};
    auto& header = *new (storage) SegmentHeader{};
    if (auto laid_out = plan_layout(plan, header); !laid_out) {
        return laid_out.error();
    }
    auto uuid = random_uuid();
    if (!uuid) {
        return uuid.error();
    }
    Segment segment;
    const std::string file = private_file(plan.name, *uuid);
    SHM_STEP("segment.create.open");
    try {
        bip::permissions permissions(static_cast<int>(plan.mode));
        segment.object_ =
            bip::shared_memory_object(bip::create_only, file.c_str(), bip::read_write, permissions);
    } catch (const bip::interprocess_exception& failure) {
        if (failure.get_native_error() == ENOENT) {
            return Error{Status::server_error,
                         ENOENT,
                         "/dev/shm does not exist: mount a tmpfs there (mode 1777)"};
        }
        return open_error(file, failure.get_native_error());
    }
    const int descriptor = segment.descriptor();
    SHM_STEP("segment.create.lock");
    // While we hold this byte `collect` leaves the unpublished file alone.
    static_cast<void>(try_lock_byte(descriptor, kCreatorLock));
    SHM_STEP("segment.create.reserve");
    int error =
        fchmod(descriptor, plan.mode) == 0 ? reserve_file(descriptor, header.segment_bytes) : errno;
    if (error != 0) {
        ::unlink(path_of(file).c_str());
        return error == ENOSPC || error == EFBIG || error == ENOMEM
                   ? no_room(error, header.segment_bytes)
                   : open_error(file, error);
    }
    if (auto mapped = segment.map(header); !mapped) {
        ::unlink(path_of(file).c_str());
        return mapped.error();
    }
    header.magic = kMagic;
    header.layout_major = kLayoutMajor;
    header.layout_minor = kLayoutMinor;
    header.header_bytes = sizeof(SegmentHeader);
    header.abi_hash = abi_hash();
    const Uuid boot = boot_id();
    std::copy(boot.begin(), boot.end(), header.boot_id);
    std::copy(uuid->begin(), uuid->end(), header.uuid);
    header.uid = geteuid();
    header.created_ns = read_clock(CLOCK_REALTIME);
    header.name_bytes = static_cast<std::uint32_t>(plan.name.size());
    plan.name.copy(header.name, sizeof header.name);
    SHM_STEP("segment.create.header");
    // Everything but the changing words, which are zero in fresh memory.
    std::memcpy(static_cast<void*>(segment.header_), storage, offsetof(SegmentHeader, state));
    segment.adopt(header);
    const auto hints = segment.region(RegionKind::slab_hints);
    std::memset(hints.data(), 1, hints.size());
    if (!plan.log_path.empty()) {
        auto& log = *reinterpret_cast<LogControl*>(segment.region(RegionKind::log).data());
        plan.log_path.copy(log.path, sizeof log.path);
        log.path_bytes = static_cast<std::uint32_t>(plan.log_path.size());
        log.segment_bytes = plan.log_segment_bytes;
        log.compress_from = static_cast<std::uint32_t>(plan.log_compress_from_bytes + 1);
        // relaxed: published by S1
        log.state.store(static_cast<std::uint32_t>(LogState::building), std::memory_order_relaxed);
    }
    SHM_STEP("segment.create.ready");
    // S1: pairs with attachment.cpp:S2. Whoever sees `ready` sees the complete header.
    segment.header_->state.store(static_cast<std::uint32_t>(DomainState::ready),
                                 std::memory_order_release);
    return segment;
}

Result<Segment> Segment::open(std::string_view file_name) {
    Segment segment;
    const std::string file(file_name);
    try {
        segment.object_ = bip::shared_memory_object(bip::open_only, file.c_str(), bip::read_write);
    } catch (const bip::interprocess_exception& failure) {
        return open_error(file, failure.get_native_error());
    }
    struct stat facts {};
    if (fstat(segment.descriptor(), &facts) != 0) {
        return open_error(file, errno);
    }
    if (auto fit = check_file(file, facts); !fit) {
        return fit.error();
    }
    // The header is copied once and checked before anything is mapped: a short file is an error,
    // not SIGBUS.
    alignas(SegmentHeader) std::byte storage[sizeof(SegmentHeader)] = {};
    if (pread(segment.descriptor(), storage, sizeof storage, 0) !=
        static_cast<ssize_t>(sizeof storage)) {
        return Error{Status::corrupt, errno, path_of(file) + ": the header cannot be read"};
    }
    const auto& header = *reinterpret_cast<const SegmentHeader*>(storage);
    const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
    if (auto sound = check_header(header, file_bytes); !sound) {
        Error error = sound.error();
        error.detail = path_of(file) + ": " + error.detail;
        return error;
    }
    const std::string_view name(header.name, header.name_bytes);
    if (!check_domain_name(name) || (file != public_file(name) && !is_private_file(file))) {
        return Error{
            Status::corrupt,
            0,
            path_of(file) + " holds a domain of another name: the file was renamed or linked"};
    }
    // A sparse file would be a SIGBUS on a full /dev/shm; reserving what is reserved costs nothing.
    if (static_cast<std::uint64_t>(facts.st_blocks) * 512 < file_bytes) {
        if (const int error = reserve_file(segment.descriptor(), file_bytes); error != 0) {
            return no_room(error, file_bytes);
        }
    }
    if (auto mapped = segment.map(header); !mapped) {
        return mapped.error();
    }
    segment.adopt(header);
    return segment;
}

Result<void> Segment::publish() {
    SHM_STEP("segment.publish.link");
    if (link(path_of(private_file_).c_str(), path_of(public_file(name_)).c_str()) == 0) {
        SHM_STEP("segment.publish.unlock");
        unlock_byte(descriptor(), kCreatorLock);
        return {};
    }
    const int error = errno;
    if (error == EEXIST) {
        return Error{
            Status::already_exists, error, path_of(public_file(name_)) + " exists already"};
    }
    return open_error(private_file_, error);
}

bool Segment::named() const noexcept {
    struct stat ours {};
    struct stat found {};
    return fstat(descriptor(), &ours) == 0 &&
           lstat(path_of(public_file(name_)).c_str(), &found) == 0 && ours.st_ino == found.st_ino &&
           ours.st_dev == found.st_dev;
}

void Segment::unlink() noexcept {
    SHM_STEP("segment.unlink.check");
    if (named()) {
        SHM_STEP("segment.unlink.public");
        ::unlink(path_of(public_file(name_)).c_str());
    }
    data_->unlink();
    SHM_STEP("segment.unlink.private");
    ::unlink(path_of(private_file_).c_str());
}

}  // namespace telpher::shm

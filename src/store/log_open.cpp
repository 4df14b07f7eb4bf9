// Opening a log: reading what is there, and beginning a new segment behind it.

#include "src/store/log.hpp"

#include <algorithm>
#include <utility>

namespace telpher::store {
namespace {

constexpr std::size_t kCopyBytes = 1U << 20U;

// What an open() or a change of segments that did not come to its end left behind.
Result<void> remove_leftovers(Storage& storage) {
    auto names = storage.list();
    if (!names) {
        return names.error();
    }
    for (const std::string& name : *names) {
        const bool unfinished =
            name.ends_with(".new") &&
            segment_number(std::string_view(name).substr(0, name.size() - 4)).has_value();
        if (unfinished || name == "spare") {
            if (auto removed = storage.remove(name); !removed) {
                return removed;
            }
        }
    }
    return {};
}

Result<void> check(const LogOptions& options) {
    if (options.name.empty() || options.name.size() > kLogNameBytesMax) {
        return Error{Status::bad_request,
                     0,
                     "the name of a log has " + std::to_string(options.name.size()) +
                         " bytes; it has 1 to " + std::to_string(kLogNameBytesMax)};
    }
    if (options.segment_bytes < kSegmentBytesLeast || options.segment_bytes > kSegmentBytesMost ||
        options.segment_bytes % kSegmentHeaderBytes != 0) {
        return Error{Status::bad_request,
                     0,
                     "segment_bytes is " + std::to_string(options.segment_bytes) +
                         "; it is a multiple of 4096 from 16384 to 4294967296"};
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(Storage& storage,
                                       const LogOptions& options,
                                       const ReadOptions& reading,
                                       LogReport& report) {
    if (auto checked = check(options); !checked) {
        return checked.error();
    }
    if (auto locked = storage.lock(); !locked) {
        return locked.error();
    }
    ReadOptions strict = reading;
    strict.name = options.name;
    strict.list_damage = false;
    auto read = read_log(storage, strict);
    if (!read) {
        return read.error();
    }
    report = std::move(*read);
    // Only now: nothing is changed in a folder that is not ours to open.
    if (auto removed = remove_leftovers(storage); !removed) {
        return removed.error();
    }
    // The name of the newest segment may not be on disk yet: without it, ours would come behind a gap.
    if (auto synced = storage.sync_names(); !synced) {
        return synced.error();
    }
    std::unique_ptr<Log> log(new Log(storage, options));
    if (auto begun = log->begin(report); !begun) {
        return begun.error();
    }
    return log;
}

// Killed in here: until the new segment has its name the old log is unchanged, from then on it is the new one.
Result<void> Log::begin(const LogReport& report) {
    for (const SegmentReport& segment : report.segments) {
        segments_.push_back({segment.facts.number, segment.end});
    }
    Beginning beginning{0, options_.segment_bytes};
    if (segments_.empty()) {
        auto uuid = shm::random_uuid();
        if (!uuid) {
            return uuid.error();
        }
        uuid_ = *uuid;
        segments_.push_back({0, 0});  // stands before the first one
    } else {
        uuid_ = report.segments.back().facts.log;
        // What nothing confirms is in the old segment perhaps only until the next power loss: it goes into the new one.
        const std::uint64_t tail = segments_.back().end - report.tail;
        beginning = {report.tail,
                     std::max(options_.segment_bytes, kSegmentHeaderBytes + aligned(tail))};
        segments_.back().end = report.tail;
    }
    seed_ = seed_of(uuid_);
    reader_.emplace(storage_, seed_);
    next_lsn_ = report.confirmed + 1;
    const std::uint64_t number = segments_.back().number + 1;
    const std::string name = segment_name(number) + ".new";
    auto file = fresh(name, beginning.size_bytes);
    if (!file) {
        return file.error();
    }
    Result<void> done = write_header(**file, beginning);
    offset_ = kSegmentHeaderBytes;
    done = done && !report.segments.empty() ? copy_tail(report, **file) : done;
    done = done ? (*file)->sync() : done;
    done = done ? storage_.rename(name, segment_name(number)) : done;
    done = done ? storage_.sync_names() : done;
    if (!done) {
        return done;
    }
    file_ = std::move(*file);
    file_bytes_ = beginning.size_bytes;
    next_lsn_ = report.next_lsn;
    synced_ = next_lsn_ - 1;
    if (report.segments.empty()) {
        segments_.clear();
    }
    tail_ = report.segments.empty() ? Place{} : Place{segments_.back().number, report.tail};
    segments_.push_back({number, offset_});
    trim(report);
    static_cast<void>(make_spare());  // the first message tries again and is told
    return {};
}

Result<void> Log::copy_tail(const LogReport& report, File& to) {
    const SegmentReport& last = report.segments.back();
    auto from = storage_.open(segment_name(last.facts.number), Access::read);
    if (!from) {
        return from.error();
    }
    std::vector<std::byte> block(kCopyBytes);
    for (std::uint64_t at = report.tail; at < last.end;) {
        const auto size =
            static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), last.end - at));
        auto got = (*from)->read(at, std::span(block).first(size));
        if (!got || *got == 0) {
            return got ? Error{Status::corrupt, 0, "a segment became shorter while it was read"}
                       : got.error();
        }
        const Bytes part = Bytes(block).first(*got);
        if (auto written = to.write(offset_, std::span(&part, 1)); !written) {
            return written;
        }
        at += *got;
        offset_ += *got;
    }
    return {};
}

Place Log::moved(const Place& read) const {
    const bool in_tail = read.segment == tail_.segment && read.offset >= tail_.offset;
    return in_tail ? Place{tail_.segment + 1, kSegmentHeaderBytes + (read.offset - tail_.offset)}
                   : read;
}

// Gives back what was reserved and never used. Bytes of a torn end stay as they are, for whoever wants to look.
void Log::trim(const LogReport& report) {
    if (report.segments.empty() || report.torn_bytes != 0) {
        return;
    }
    auto file = storage_.open(segment_name(report.segments.back().facts.number), Access::write);
    if (file) {
        static_cast<void>((*file)->truncate(report.tail));  // costs room, nothing else
    }
}

}  // namespace telpher::store

// Opening a log: reading what is there, and beginning a new segment behind it.

#include "src/store/log.hpp"
#include "src/store/log_segments.hpp"

#include <algorithm>
#include <utility>

namespace telpher::store {
namespace {

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
    // The name of the newest segment may not be on disk yet: without it, ours would name one that is missing.
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
    std::uint64_t size = options_.segment_bytes;
    TailCopy tail;
    if (segments_.empty()) {
        auto uuid = shm::random_uuid();
        if (!uuid) {
            return uuid.error();
        }
        uuid_ = *uuid;
    } else {
        uuid_ = report.segments.back().facts.log;
        // What nothing confirms is in the old segment perhaps only until the next power loss: it goes into the new one.
        tail = {segments_.back().number, report.tail, segments_.back().end};
        size = std::max(size, kSegmentHeaderBytes + aligned(tail.bytes()));
        segments_.back().end = report.tail;
    }
    seed_ = seed_of(uuid_);
    reader_.emplace(storage_, seed_);
    next_lsn_ = report.confirmed + 1;
    const SegmentFacts facts = next_segment(size);
    auto file = make_segment(storage_, facts, &tail);
    if (!file) {
        return file.error();
    }
    file_ = std::move(*file);
    file_bytes_ = facts.size_bytes;
    offset_ = kSegmentHeaderBytes + tail.bytes();
    next_lsn_ = report.next_lsn;
    synced_ = next_lsn_ - 1;
    tail_ = {tail.segment, tail.begin};
    segments_.push_back({facts.number, offset_});
    // Only now, when nothing depends on them whatever the disk has kept.
    if (auto removed = remove_overtaken(storage_, report.overtaken); !removed) {
        return removed;
    }
    trim(report);
    static_cast<void>(make_spare());  // the first message tries again and is told
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

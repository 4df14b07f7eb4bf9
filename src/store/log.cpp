#include "src/store/log.hpp"

#include "src/store/log_segments.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace telpher::store {
namespace {

constexpr std::uint64_t kPayloadBytesMost =
    kSegmentBytesMost - kSegmentHeaderBytes - sizeof(RecordHeader) - kRecordAlign;
constexpr std::array<std::byte, kRecordAlign> kPadding{};

bool takes_room(RecordKind kind) {
    return kind == RecordKind::message || kind == RecordKind::destination ||
           kind == RecordKind::entry;
}

}  // namespace

Error Log::fail(Error error) {
    failure_ = std::move(error);
    // Payloads need not stay any longer.
    headers_.clear();
    parts_.clear();
    return failure();
}

Error Log::failure() const {
    Error error = *failure_;
    error.detail =
        "the log stopped, and what it had not confirmed may be on disk or not; open it again: " +
        error.detail;
    return error;
}

Result<void> Log::room_for(const NewRecord& record) {
    if (record.payload.size() > kPayloadBytesMost) {
        return Error{Status::message_too_large,
                     0,
                     "a record of " + std::to_string(record.payload.size()) +
                         " bytes; the most is " + std::to_string(kPayloadBytesMost)};
    }
    if (!has_spare_ && !record.again && takes_room(record.kind)) {
        if (auto made = make_spare(); !made) {
            Error error = std::move(made).error();
            error.detail =
                "no room for more messages, what is acknowledged is still taken: " + error.detail;
            return error;
        }
    }
    const std::uint64_t needed = record_bytes(record.payload.size());
    const std::uint64_t left = file_bytes_ - offset_;
    return left >= pending_bytes_ && left - pending_bytes_ >= needed ? Result<void>()
                                                                     : roll(needed);
}

Result<Lsn> Log::append(const NewRecord& record) {
    if (failure_ || closed_) {
        return failure_ ? failure() : Error{Status::closed};
    }
    if (auto room = room_for(record); !room) {
        return room.error();
    }
    parts_.reserve(parts_.size() + 3);  // all or nothing, if there is no memory
    headers_.push_back(make_header(record, next_lsn_, synced_, seed_));
    parts_.push_back(std::as_bytes(std::span(&headers_.back(), 1)));
    parts_.push_back(record.payload);
    const std::uint64_t padding = aligned(record.payload.size()) - record.payload.size();
    parts_.push_back(Bytes(kPadding).first(static_cast<std::size_t>(padding)));
    last_ = end();
    pending_bytes_ += record_bytes(record.payload.size());
    return next_lsn_++;
}

Result<void> Log::write() {
    if (failure_) {
        return failure();
    }
    if (parts_.empty()) {
        return {};
    }
    if (auto written = file_->write(offset_, parts_); !written) {
        return fail(std::move(written).error());
    }
    zero_ahead(*file_, offset_, offset_ + pending_bytes_, file_bytes_);
    offset_ += pending_bytes_;
    segments_.back().end = offset_;
    pending_bytes_ = 0;
    headers_.clear();
    parts_.clear();
    dirty_ = true;
    return {};
}

Result<void> Log::sync() {
    if (auto written = write(); !written) {
        return written;
    }
    if (dirty_) {
        if (auto synced = file_->sync(); !synced) {
            return fail(std::move(synced).error());
        }
        dirty_ = false;
    }
    synced_ = next_lsn_ - 1;
    return {};
}

Result<void> Log::close() {
    // Twice: the record says that all before it was on disk already.
    if (auto synced = sync(); !synced || closed_) {
        return synced;
    }
    if (auto appended = append({.kind = RecordKind::closed}); !appended) {
        return appended.error();
    }
    closed_ = true;
    return sync();
}

// Behind the newest one, whose records end here.
SegmentFacts Log::next_segment(std::uint64_t size_bytes) const {
    const bool first = segments_.empty();
    return {.log = uuid_,
            .name = options_.name,
            .number = first ? 1 : segments_.back().number + 1,
            .first_lsn = next_lsn_,
            .previous = first ? 0 : segments_.back().number,
            .previous_end = first ? 0 : segments_.back().end,
            .size_bytes = size_bytes};
}

// Ends the newest segment and begins the next one. Everything in the old one is on disk before the new one says so.
Result<void> Log::roll(std::uint64_t least_bytes) {
    if (auto synced = sync(); !synced) {
        return synced;
    }
    const SegmentFacts facts =
        next_segment(std::max(options_.segment_bytes, kSegmentHeaderBytes + least_bytes));
    const bool spare = has_spare_ && facts.size_bytes == options_.segment_bytes;
    const std::string name = spare ? kSpareName : unfinished_name(facts.number);
    auto file =
        spare ? storage_.open(name, Access::write) : reserve_file(storage_, name, facts.size_bytes);
    if (!file) {
        return file.error();
    }
    if (auto begun = begin_segment(storage_, **file, facts, nullptr); !begun) {
        return begun;
    }
    // From here on the new segment may be there: nothing may go into the old one any more.
    if (auto named = name_segment(storage_, name, facts.number); !named) {
        return fail(std::move(named).error());
    }
    has_spare_ = has_spare_ && !spare;
    file_ = std::move(*file);
    file_bytes_ = facts.size_bytes;
    offset_ = kSegmentHeaderBytes;
    segments_.push_back({facts.number, offset_});
    if (!has_spare_) {
        static_cast<void>(make_spare());  // the next message tries again and is told
    }
    return {};
}

Result<void> Log::make_spare() {
    auto file = reserve_file(storage_, kSpareName, options_.segment_bytes);
    has_spare_ = file.has_value();
    return file ? Result<void>() : file.error();
}

Result<void> Log::drop_oldest() {
    if (failure_) {
        return failure();
    }
    if (segments_.size() < 2) {
        return Error{Status::bad_request, 0, "the newest segment cannot be dropped"};
    }
    const std::uint64_t number = segments_.front().number;
    if (auto removed = storage_.remove(segment_name(number)); !removed) {
        return removed;
    }
    segments_.pop_front();
    reader_->forget(number);
    // One at a time on disk, too: a missing segment between two others is damage.
    if (auto synced = storage_.sync_names(); !synced) {
        return fail(std::move(synced).error());
    }
    return {};
}

}  // namespace telpher::store

#include "src/store/store.hpp"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <new>
#include <utility>

namespace telpher::store {
namespace {

// As much is handed to the kernel at once while a segment is cleaned.
constexpr std::size_t kWriteBytes = 1U << 20U;
// Beyond what is needed, twice: so many segments.
constexpr std::uint64_t kSpareSegments = 2;
constexpr std::uint64_t kShareOfFullDisk = 4;

std::vector<DoneRange> done_ranges(std::span<const Lsn> origins) {
    std::vector<Lsn> sorted(origins.begin(), origins.end());
    std::sort(sorted.begin(), sorted.end());
    std::vector<DoneRange> ranges;
    for (const Lsn origin : sorted) {
        if (!ranges.empty() && origin <= ranges.back().last + 1) {
            ranges.back().last = origin;
        } else {
            ranges.push_back({origin, origin});
        }
    }
    return ranges;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(Storage& storage,
                                           const LogOptions& options,
                                           LogReport& report,
                                           std::int64_t compress_from) try {
    std::unique_ptr<Store> store(new Store(compress_from));
    const ReadOptions reading{.visit = [&store](const Record& record, const Place& place) {
        return store->contents_.apply(record, place);
    }};
    auto log = Log::open(storage, options, reading, report);
    if (!log) {
        return log.error();
    }
    store->log_ = std::move(*log);
    store->contents_.relocate([&](const Place& place) { return store->log_->moved(place); });
    return store;
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<Lsn> Store::append_kept(const NewRecord& record) {
    auto lsn = log_->append(record);
    if (!lsn) {
        return lsn;
    }
    const RecordHeader header = unsummed_header(record, *lsn);
    try {
        auto applied = contents_.apply({header, record.payload}, log_->last());
        return applied ? lsn : Result<Lsn>(applied.error());
    } catch (const std::bad_alloc&) {
        // The log has it and we do not: only the next open brings both together.
        failure_ = Error{Status::out_of_memory,
                         0,
                         "there was no memory for what is in the log already; open it again"};
        return *failure_;
    }
}

// A refused one leaves its bytes there until the next commit, and nothing else.
Result<Lsn> Store::append(NewRecord record, std::initializer_list<Bytes> parts) try {
    if (failure_) {
        return *failure_;
    }
    Contents::Data& payload = kept_.emplace_back();
    for (const Bytes part : parts) {
        payload.insert(payload.end(), part.begin(), part.end());
    }
    kept_bytes_ += payload.size();
    record.payload = payload;
    return append_kept(record);
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<void> Store::define(std::uint32_t destination, Bytes definition) {
    auto lsn = append({.kind = RecordKind::destination, .destination = destination}, {definition});
    return lsn ? Result<void>() : lsn.error();
}

Result<void> Store::remove(std::uint32_t destination) {
    auto lsn = append({.kind = RecordKind::removed, .destination = destination}, {});
    return lsn ? Result<void>() : lsn.error();
}

Result<Lsn> Store::put(std::uint32_t destination, Bytes payload) {
    const auto packed = packer_.pack(destination, payload);
    auto lsn = append(
        {.kind = RecordKind::message, .destination = destination, .packed = packed.has_value()},
        {packed.value_or(payload)});
    packer_.rest();
    return lsn;
}

Result<Lsn> Store::put_stored(std::uint32_t destination, const StoredPayload& payload) {
    return append(
        {.kind = RecordKind::message, .destination = destination, .packed = payload.packed},
        {payload.bytes});
}

Result<void> Store::set_state(Lsn origin, std::uint32_t destination, Bytes state) {
    if (!contents_.messages().contains(origin)) {
        return {};
    }
    auto lsn =
        append({.kind = RecordKind::state, .destination = destination, .origin = origin}, {state});
    return lsn ? Result<void>() : lsn.error();
}

Result<void> Store::done(std::span<const Lsn> origins) try {
    const std::vector<DoneRange> ranges = done_ranges(origins);
    if (ranges.empty()) {
        return {};
    }
    auto lsn = append({.kind = RecordKind::done}, {std::as_bytes(std::span(ranges))});
    return lsn ? Result<void>() : lsn.error();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<void> Store::set_entry(std::uint32_t destination,
                              const EntryKey& key,
                              Bytes value,
                              Lsn origin) {
    // What removes needs no room: a full disk does not stop it.
    auto lsn = append({.kind = RecordKind::entry,
                       .destination = destination,
                       .origin = origin,
                       .again = value.empty()},
                      {key, value});
    return lsn ? Result<void>() : lsn.error();
}

Result<void> Store::commit() {
    if (failure_) {
        return *failure_;
    }
    auto synced = log_->sync();
    if (synced) {
        kept_.clear();
        kept_bytes_ = 0;
        // One segment's worth of copying at most, but any number of segments that hold little.
        std::uint64_t copied = 0;
        while (is_due()) {
            copied += contents_.live_bytes(log_->segments().front().number);
            // What was to be committed is: if the cleaning failed, it is tried again, or the log tells the next call.
            if (!clean() || copied >= log_->segment_bytes() / 2) {
                break;
            }
        }
    }
    return synced;
}

Result<void> Store::close() { return log_->close(); }

Result<std::vector<std::byte>> Store::payload(Lsn origin) {
    const auto message = contents_.messages().find(origin);
    if (message == contents_.messages().end()) {
        return Error{Status::bad_request, 0, "there is no message " + std::to_string(origin)};
    }
    // It may not be written yet.
    if (auto written = log_->write(); !written) {
        return written.error();
    }
    return log_->read(message->second.place);
}

bool Store::is_due() const {
    const auto& segments = log_->segments();
    if (segments.size() < 2) {
        return false;
    }
    const std::uint64_t live = contents_.live_bytes(segments.front().number);
    // On a full disk what is left is for acknowledgements: they make room in the end.
    if (!log_->has_spare() && live > log_->room_left() / kShareOfFullDisk) {
        return false;
    }
    std::uint64_t used = 0;
    for (const Log::Segment& segment : segments) {
        used += segment.end;
    }
    // Each open begins a segment: there may be many that hold little.
    const std::uint64_t wanted =
        kSpareSegments + 2 * contents_.live_bytes() / log_->segment_bytes();
    return live == 0 || segments.size() > wanted + 1 ||
           used > 2 * contents_.live_bytes() + kSpareSegments * log_->segment_bytes();
}

// Killed in here: the copies are there, or some of them, and the segment as well; each message counts once.
Result<void> Store::clean() try {
    const std::uint64_t number = log_->segments().front().number;
    std::vector<Lsn> messages;
    for (const auto& [origin, message] : contents_.messages()) {
        if (message.place.segment == number || message.state_place.segment == number) {
            messages.push_back(origin);
        }
    }
    for (const Lsn origin : messages) {
        if (auto copied = copy_message(origin); !copied) {
            return copied;
        }
    }
    for (const auto& [id, destination] : contents_.destinations()) {
        if (destination.place.segment != number) {
            continue;
        }
        auto copied = append({.kind = RecordKind::destination, .destination = id, .again = true},
                             {destination.definition});
        if (!copied) {
            return copied.error();
        }
    }
    for (const auto& [id, entry] : contents_.entries()) {
        if (entry.place.segment != number) {
            continue;
        }
        auto copied = append({.kind = RecordKind::entry,
                              .destination = id.first,
                              .origin = entry.origin,
                              .again = true},
                             {id.second, entry.value});
        if (!copied) {
            return copied.error();
        }
        if (auto written = write_if_many(); !written) {
            return written;
        }
    }
    if (auto synced = log_->sync(); !synced) {
        return synced;
    }
    kept_.clear();
    kept_bytes_ = 0;
    return log_->drop_oldest();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

// Its state comes with it: a state is never older than the place of its message.
Result<void> Store::copy_message(Lsn origin) {
    const Contents::LiveMessage& message = contents_.messages().at(origin);
    auto payload = log_->read_stored(message.place);
    if (!payload) {
        return payload.error();
    }
    auto copied = append({.kind = RecordKind::message,
                          .destination = message.destination,
                          .origin = origin,
                          .again = true,
                          .packed = payload->packed},
                         {payload->bytes});
    if (copied && message.state_place.segment != 0) {
        copied = append(
            {.kind = RecordKind::state, .destination = message.destination, .origin = origin},
            {message.state});
    }
    return copied ? write_if_many() : copied.error();
}

Result<void> Store::write_if_many() {
    if (kept_bytes_ < kWriteBytes) {
        return {};
    }
    auto written = log_->write();
    if (written) {
        kept_.clear();
        kept_bytes_ = 0;
    }
    return written;
}

}  // namespace telpher::store

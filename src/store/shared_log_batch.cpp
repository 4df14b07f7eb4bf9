// What one commit of a domain's log consists of.

#include "shm/base/bug.hpp"
#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"
#include "shm/lease_layout.hpp"
#include "src/store/log_segments.hpp"
#include "src/store/request_entry.hpp"
#include "src/store/shared_log.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::store {
namespace {

constexpr std::uint64_t kBatchBytes = 8U << 20U;  // of messages, unless one is larger
constexpr std::size_t kRangesMost = 65536;        // in one `done`

// Of a message, and what may be remembered of its request.
constexpr std::uint64_t bytes_with_entry(std::uint64_t message_bytes) {
    return record_bytes(RequestEntry::kBytes) + record_bytes(message_bytes);
}

// Kept in each segment for what gives room.
std::uint64_t reserve_of(std::uint64_t segment_bytes) {
    return std::min<std::uint64_t>(segment_bytes / 8, 256U << 10U);
}

// Messages that ended, as ranges.
std::vector<DoneRange> ranges_of(std::vector<Lsn> ended) {
    std::sort(ended.begin(), ended.end());
    std::vector<DoneRange> ranges;
    for (const Lsn lsn : ended) {
        if (!ranges.empty() && (lsn == ranges.back().last || lsn == ranges.back().last + 1)) {
            ranges.back().last = lsn;
        } else if (ranges.size() < kRangesMost) {
            ranges.push_back({lsn, lsn});
        }
    }
    return ranges;
}

}  // namespace

std::uint64_t SharedLog::room(const Batch& batch, std::uint64_t reserve) const {
    const std::uint64_t used = at_.offset + batch.bytes.size() + reserve;
    return used < file_bytes_ ? file_bytes_ - used : 0;
}

Lsn SharedLog::add(Batch& batch, const NewRecord& record) {
    const std::size_t begin = batch.bytes.size();
    batch.bytes.resize(begin + record_bytes(record.payload.size()));
    const RecordHeader header = make_header(record, next_lsn_, table_.synced().next_lsn - 1, seed_);
    std::memcpy(batch.bytes.data() + begin, &header, sizeof header);
    std::copy(record.payload.begin(),
              record.payload.end(),
              batch.bytes.begin() + static_cast<std::ptrdiff_t>(begin + sizeof header));
    return next_lsn_++;
}

// Whether the words of a submission name bytes of a chunk. Those that do not are refused: nobody waits behind them.
bool SharedLog::sound(const shm::Request& request) const {
    shm::ChunkPool& pool = attachment_.pool();
    return pool.reach(request.chunk) == Status::ok && request.bytes != 0 &&
           request.offset <= pool.message(request.chunk).size() &&
           request.bytes <= pool.message(request.chunk).size() - request.offset;
}

std::vector<shm::Request> SharedLog::sound_requests() {
    std::vector<shm::Request> requests = table_.requests();
    std::erase_if(requests, [this](const shm::Request& request) {
        if (sound(request)) {
            return false;
        }
        if (table_.take(request, at_.segment, next_lsn_)) {
            table_.settle(request.submission, at_.segment, next_lsn_, false);
        }
        return true;
    });
    return requests;
}

// What is to be remembered of a request, before its message: a reader takes neither without the other. The record may be
// another's by now: then the submission is, too.
void SharedLog::add_entry(Batch& batch, const shm::Request& request) {
    const auto begun = attachment_.idempotency().begun(request.request);
    if (!begun || shm::bug(shm::Bug::request_not_logged)) {
        return;
    }
    const RequestEntry entry = entry_of(*begun, request.destination, next_lsn_ + 1);
    add(batch, entry.record());
}

// Copies the message, and only then takes it: what its owner did to the chunk meanwhile shows in the word. Not taken: it
// was withdrawn.
void SharedLog::add_message(Batch& batch, const shm::Request& request) {
    if (shm::bug(shm::Bug::settled_before_written)) {
        if (table_.take(request, at_.segment, next_lsn_)) {
            table_.settle(request.submission, at_.segment, next_lsn_, true);
        }
    }
    const std::size_t before = batch.bytes.size();
    const Lsn first = next_lsn_;
    SHM_STEP("log.copy");
    add_entry(batch, request);
    const Bytes payload =
        Bytes(attachment_.pool().message(request.chunk)).subspan(request.offset, request.bytes);
    const std::optional<Bytes> packed = packer_.pack_shared(request.destination, payload);
    if (packer_.wants(payload.size())) {
        table_.beat(shm::monotonic_ns());  // a large one takes its time
    }
    const Lsn lsn = add(batch,
                        {.destination = request.destination,
                         .payload = packed.value_or(payload),
                         .packed = packed.has_value()});
    table_.set_share(request.submission,
                     shm::share_of(packed.value_or(payload).size(), payload.size()));
    if (!table_.take(request, at_.segment, lsn)) {
        batch.bytes.resize(before);
        next_lsn_ = first;
        return;
    }
    batch.taken.push_back({request.submission, lsn});
    batch.sync = batch.sync || request.sync;
}

// The chunk may be anything by now: then there is no such number, or what is read is what is true.
std::vector<std::byte> SharedLog::state_of(std::uint32_t chunk,
                                           std::uint64_t* origin,
                                           std::uint32_t* destination) const {
    const shm::ChunkPool& pool = attachment_.pool();
    if (!pool.valid(chunk)) {
        return {};
    }
    const shm::Leases leases = attachment_.leases();
    *origin = leases.logged_seen(chunk);
    // relaxed: checked below
    const std::uint64_t dest = pool.header(chunk)->dest.load(std::memory_order_relaxed);
    if (*origin == 0 || !shm::in_a_queue(pool, chunk, *origin)) {
        return {};
    }
    *destination = hooks_.destination_of(dest);
    const std::uint64_t dead = leases.dead_seen(chunk);
    MessageState state{};
    state.dead_wall_ms = shm::dead_wall_ms(dead);
    state.deliveries = leases.deliveries_seen(chunk);
    state.reason = shm::dead_reason(dead);
    const auto from = attachment_.directory().pinned(shm::dead_entry(dead));
    state.origin_destination = from ? static_cast<std::uint32_t>(from->info.durable_log_id) : 0;
    std::vector<std::byte> bytes(sizeof state);
    std::memcpy(bytes.data(), &state, sizeof state);
    // Still the same one: what was read belonged to it.
    return shm::in_a_queue(pool, chunk, *origin) ? bytes : std::vector<std::byte>();
}

void SharedLog::add_endings(Batch& batch) {
    batch.endings = table_.endings();
    std::vector<Lsn> ended;
    std::vector<Lsn> withdrawn;
    for (const auto& ending : batch.endings) {
        if ((ending.value & shm::kMovedChunk) == 0) {
            const bool never_came =
                (ending.value & shm::kWithdrawn) != 0 && !shm::bug(shm::Bug::withdrawn_is_done);
            (never_came ? withdrawn : ended).push_back(ending.value & shm::kLsnMask);
            continue;
        }
        std::uint64_t origin = 0;
        std::uint32_t destination = 0;
        const auto state =
            state_of(static_cast<std::uint32_t>(ending.value), &origin, &destination);
        if (!state.empty() && destination != 0) {
            add(batch,
                {.kind = RecordKind::state,
                 .destination = destination,
                 .origin = origin,
                 .payload = state});
        }
    }
    for (const RecordKind kind : {RecordKind::done, RecordKind::withdrawn}) {
        const std::vector<DoneRange> ranges =
            ranges_of(std::move(kind == RecordKind::done ? ended : withdrawn));
        if (!ranges.empty()) {
            add(batch, {.kind = kind, .payload = std::as_bytes(std::span(ranges))});
        }
    }
}

// A segment with room for a record of so many bytes, if there is room on the disk. False: we do not lead any more, or the
// log has failed.
bool SharedLog::begin_another(std::uint64_t least) {
    const auto rolled = roll(least, false);
    next_lsn_ = at_.next_lsn;
    if (rolled) {
        table_.control().failure.store(0,
                                       std::memory_order_relaxed);  // relaxed: a hint for who waits
        return *rolled;
    }
    if (table_.leader() != attachment_.identity()) {
        segment_ = 0;  // who overtook us has removed what we made: no trouble of the disk
        return false;
    }
    table_.control().failure.store(static_cast<std::uint32_t>(rolled.error().os_error),
                                   std::memory_order_relaxed);  // relaxed: as above
    return table_.state() != shm::LogState::failed;
}

// Whether there is anything to write. A new segment is begun if the first message needs one.
bool SharedLog::fill(Batch& batch, Extra* extra) {
    next_lsn_ = at_.next_lsn;
    const std::vector<shm::Request> requests = sound_requests();
    std::uint64_t largest = 0;
    for (const shm::Request& request : requests) {
        largest = std::max<std::uint64_t>(largest, request.bytes);
    }
    const std::uint64_t reserve = reserve_of(table_.control().segment_bytes);
    const std::uint64_t extra_bytes = extra != nullptr && extra->record != nullptr
                                          ? record_bytes(extra->record->payload.size())
                                          : 0;
    const std::uint64_t first = requests.empty() ? 0 : bytes_with_entry(largest);
    const std::uint64_t least = std::max(first, extra_bytes);
    const bool urgent = table_.any_ended() && room(batch, reserve / 2) == 0;
    if (((least != 0 && room(batch, reserve) < least) || urgent) && !begin_another(least)) {
        return false;
    }
    batch.flushes = table_.flushes_asked();
    add_endings(batch);
    if (const std::uint64_t ended = batch.bytes.size(); ended > room({}, 0)) {
        batch = {};
        if (!begin_another(std::max(least, ended))) {
            return false;
        }
        batch.flushes = table_.flushes_asked();
        add_endings(batch);
        if (batch.bytes.size() > room({}, 0)) {  // a full disk: they wait in their table
            batch = {};
            next_lsn_ = at_.next_lsn;
        }
    }
    batch.sync = batch.flushes > table_.flushed();
    if (shm::bug(shm::Bug::flushed_before_written)) {
        table_.raise_flushed(batch.flushes);
    }
    if (extra_bytes != 0 && room(batch, 0) >= extra_bytes) {
        add(batch, *extra->record);
        extra->added = true;
    }
    std::uint64_t bytes = 0;  // of messages, before they are compressed: that takes its time, too
    for (const shm::Request& request : requests) {
        bytes += request.bytes;
        if (room(batch, reserve) < bytes_with_entry(request.bytes) ||
            (!batch.taken.empty() && bytes > kBatchBytes)) {
            break;  // it, and who came behind it, are the next one's
        }
        add_message(batch, request);
    }
    packer_.rest();
    batch.sync = batch.sync || (extra != nullptr && extra->sync);
    return !batch.bytes.empty() || batch.sync;
}

// Killed before the end is published: nothing of it counts. Behind it: who overtakes us tells those who wait.
bool SharedLog::write(Batch& batch) {
    table_.beat(shm::monotonic_ns());
    SHM_STEP("log.write");
    const Bytes all = batch.bytes;
    if (auto written = file_->write(at_.offset, std::span(&all, 1)); !written) {
        fail(written.error());
        return false;
    }
    zero_ahead(*file_, at_.offset, at_.offset + all.size(), file_bytes_);
    table_.beat(shm::monotonic_ns());
    SHM_STEP("log.sync");
    if (batch.sync) {
        if (auto synced = file_->sync(); !synced) {
            fail(synced.error());
            return false;
        }
    }
    const shm::LogPosition end{
        at_.segment, at_.offset + batch.bytes.size(), next_lsn_, at_.reserved};
    if (!table_.publish(at_, end)) {
        segment_ = 0;  // overtaken: the log ends in another segment
        return false;
    }
    at_ = end;
    if (batch.sync) {
        table_.raise_synced(at_);
    }
    return true;
}

// Whether it counts.
bool SharedLog::put_down(Batch& batch) {
    const std::uint64_t segment = at_.segment;
    const bool written = write(batch);
    if (!written && table_.state() != shm::LogState::failed) {
        return false;  // overtaken: another one tells them
    }
    for (const Taken& taken : batch.taken) {
        table_.settle(taken.submission, segment, taken.lsn, written);
    }
    if (written) {
        table_.clear(batch.endings);
        if (batch.sync) {
            table_.raise_flushed(batch.flushes);
        }
        auto& control = table_.control();
        // relaxed, all: statistics
        control.messages.fetch_add(batch.taken.size(), std::memory_order_relaxed);
        control.bytes.fetch_add(batch.bytes.size(), std::memory_order_relaxed);
        control.writes.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
        control.syncs.fetch_add(static_cast<std::uint64_t>(batch.sync),
                                std::memory_order_relaxed);  // relaxed: as above
    }
    return written;
}

}  // namespace telpher::store

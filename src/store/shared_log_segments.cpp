// The segments of a domain's log: which one is written, when the next one begins, and when old ones go.

#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"
#include "shm/lease_layout.hpp"
#include "src/store/log_chain.hpp"
#include "src/store/log_segments.hpp"
#include "src/store/segment_scan.hpp"
#include "src/store/shared_log.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace telpher::store {
namespace {

// No more segments than these are kept for what is needless.
constexpr std::size_t kSegmentsKept = 3;
constexpr std::uint64_t kCleanBytes = 8U << 20U;

Result<SegmentFacts> facts_of(Storage& folder, std::uint64_t number) {
    auto file = folder.open(segment_name(number), Access::read);
    if (!file) {
        return file.error();
    }
    SegmentHeader header{};
    auto got = (*file)->read(0, std::as_writable_bytes(std::span(&header, 1)));
    if (!got) {
        return got.error();
    }
    if (*got != sizeof header) {
        return Error{
            Status::corrupt, 0, folder.path_of(segment_name(number)) + " has no whole header"};
    }
    return check_segment_header(header, folder.path_of(segment_name(number)));
}

}  // namespace

// The messages in memory that are in the log, by their number.
struct SharedLog::Live {
    std::unordered_map<Lsn, std::uint32_t> chunks;
    std::vector<Lsn> withdrawn;  // noted as that, or about to be, and perhaps not written
    std::uint64_t bytes = 0;
    [[nodiscard]] bool has(Lsn lsn) const { return chunks.contains(lsn); }
    [[nodiscard]] bool wants(const Record& record) const {
        return record.kind() == RecordKind::message && has(record.header.origin);
    }
};

// Submissions first: a message is in its queue, or noted as withdrawn, before its submission is FREE.
SharedLog::Live SharedLog::live() const {
    Live live;
    for (const shm::Submission& s : table_.submissions()) {
        const std::uint64_t word =
            s.word.load(std::memory_order_acquire);  // LG6: pairs with shm/log_table.cpp:LG5
        if (shm::submission_state(word) == shm::SubmissionState::done) {
            live.chunks.emplace(shm::submission_number(word), shm::LogTable::kNone);
            // relaxed: written before READY
            live.bytes +=
                record_bytes(static_cast<std::uint32_t>(s.extent.load(std::memory_order_relaxed)));
        } else if (shm::submission_state(word) == shm::SubmissionState::unsent) {
            live.withdrawn.push_back(shm::submission_number(word));
        }
    }
    for (const auto& ending : table_.endings()) {
        if ((ending.value & shm::kMovedChunk) == 0 && (ending.value & shm::kWithdrawn) != 0) {
            live.withdrawn.push_back(ending.value & shm::kLsnMask);
        }
    }
    live.bytes += attachment_.idempotency().in_use() *
                  record_bytes(sizeof(shm::Hash128) + sizeof(RememberedRequest));
    shm::ChunkPool& pool = attachment_.pool();
    const shm::Leases leases = attachment_.leases();
    static_cast<void>(pool.learn());
    for (std::uint32_t k = 0; k < pool.class_count(); ++k) {
        const shm::ChunkClass& c = pool.chunk_class(k);
        for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
            const std::uint32_t chunk = c.first_chunk + i;
            // relaxed: a first look
            const auto state =
                shm::word_state(pool.header(chunk)->word.load(std::memory_order_relaxed));
            if (state == shm::ChunkState::free || state == shm::ChunkState::owned) {
                continue;
            }
            const Lsn lsn = leases.logged_seen(chunk);
            if (lsn != 0 && shm::in_a_queue(pool, chunk, lsn)) {
                live.chunks.insert_or_assign(lsn, chunk);
                live.bytes +=
                    record_bytes(shm::stored_of(c.chunk_bytes, leases.share_seen(chunk))) +
                    record_bytes(sizeof(MessageState));
            }
        }
    }
    return live;
}

// Opens the segment that is to be written, if another process began it.
Result<void> SharedLog::reach(const shm::LogPosition& at) {
    if (segment_ == at.segment && file_ != nullptr) {
        return {};
    }
    auto file = folder_->open(segment_name(at.segment), Access::write);
    if (!file) {
        return file.error();
    }
    auto size = (*file)->size_bytes();
    if (!size) {
        return size.error();
    }
    file_ = std::move(*file);
    file_bytes_ = *size;
    segment_ = at.segment;
    return {};
}

// Begins a segment behind the one that the log ends in. False: we were overtaken.
//   crash  before its name: the log is as it was. Behind it, before it is published: a file that no segment names
Result<bool> SharedLog::roll(std::uint64_t least_bytes, bool overtaken) {
    table_.beat(shm::monotonic_ns());
    shm::LogPosition reserved = at_;
    ++reserved.reserved;
    SHM_STEP("log.roll.reserve");
    if (!table_.publish(at_, reserved)) {
        segment_ = 0;
        return false;
    }
    at_ = reserved;
    TailCopy tail{at_.segment, at_.offset, at_.offset};
    Lsn first = at_.next_lsn;
    if (overtaken) {
        const shm::LogPosition synced = table_.synced();
        const bool known = synced.segment == at_.segment;
        tail.begin = known ? synced.offset : kSegmentHeaderBytes;
        first = synced.next_lsn;
        if (!known) {
            auto facts = facts_of(*folder_, at_.segment);
            if (!facts) {
                return facts.error();
            }
            first = facts->first_lsn;
        }
    } else {
        if (auto synced = file_->sync(); !synced) {
            fail(synced.error());
            return synced.error();
        }
        table_.raise_synced(at_);
    }
    const std::uint64_t number = at_.segment + at_.reserved;
    // What others were making when they were overtaken: they cannot give it its name any more.
    for (std::uint64_t other = at_.segment + 1; other < number; ++other) {
        static_cast<void>(folder_->remove(unfinished_name(other)));
    }
    const std::uint64_t size = std::max(
        table_.control().segment_bytes,
        kSegmentHeaderBytes + aligned(tail.bytes() + 2 * least_bytes) + kSegmentHeaderBytes);
    auto file = make_segment(*folder_,
                             {.log = uuid_,
                              .name = name_,
                              .number = number,
                              .first_lsn = first,
                              .previous = at_.segment,
                              .previous_end = tail.begin,
                              .size_bytes = size},
                             &tail);
    if (!file) {
        return file.error();
    }
    const shm::LogPosition begun{number, kSegmentHeaderBytes + tail.bytes(), at_.next_lsn, 0};
    SHM_STEP("log.roll.publish");
    if (!table_.publish(at_, begun)) {
        segment_ = 0;
        return false;
    }
    at_ = begun;
    table_.raise_synced(at_);
    file_ = std::move(*file);
    file_bytes_ = size;
    segment_ = number;
    // relaxed: a statistic
    table_.control().rolled.fetch_add(1, std::memory_order_relaxed);
    begin_segment();
    clean();
    return true;
}

// Each segment says what the queues are: the ones before it may go.
void SharedLog::begin_segment() {
    Batch batch;
    next_lsn_ = at_.next_lsn;
    for (const auto& [destination, definition] : hooks_.definitions()) {
        if (room(batch, 0) < record_bytes(definition.size())) {
            break;
        }
        add(batch,
            {.kind = RecordKind::destination,
             .destination = destination,
             .payload = definition,
             .again = true});
    }
    if (!batch.bytes.empty()) {
        static_cast<void>(write(batch));
    }
}

// Drops the oldest segments while the log is more than twice as long as what is needed. Their messages that are needed
// go to its end first. Endings that were noted before our look at memory are written behind that: a message that ends
// meanwhile ends in the log behind where it comes again.
void SharedLog::clean() {
    std::vector<SegmentFacts> chain;
    for (std::uint64_t number = at_.segment; number != 0;) {
        auto facts = facts_of(*folder_, number);
        if (!facts || facts->log != uuid_ || facts->previous >= number) {
            break;  // the oldest one is the last whose file is there
        }
        number = facts->previous;
        chain.push_back(std::move(*facts));
    }
    while (chain.size() > kSegmentsKept) {
        std::uint64_t all = 0;
        for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
            all += chain[i].previous_end;
        }
        const Live needed = live();
        const std::uint64_t oldest = chain.back().number;
        const std::uint64_t end = chain[chain.size() - 2].previous_end;
        if (all < 2 * needed.bytes + kSegmentsKept * table_.control().segment_bytes ||
            !clean_oldest(chain.back(), end, needed)) {
            return;
        }
        // What was overtaken goes first: it names an older one than the oldest that will be there.
        if (auto numbers = list_segments(*folder_)) {
            std::vector<std::uint64_t> overtaken;
            for (const std::uint64_t number : *numbers) {
                const bool ours = std::any_of(chain.begin(), chain.end(), [&](const auto& facts) {
                    return facts.number == number;
                });
                if (!ours && number < at_.segment) {
                    overtaken.push_back(number);
                }
            }
            if (!overtaken.empty() &&
                (!remove_overtaken(*folder_, overtaken) || !folder_->sync_names())) {
                return;
            }
        }
        SHM_STEP("log.clean.remove");
        if (!folder_->remove(segment_name(oldest)) || !folder_->sync_names()) {
            return;
        }
        chain.pop_back();
    }
}

// Whether it is an entry that still says what the domain remembers. Of a message that is in its queue, or on its way
// there, it does, whoever is at work on it.
std::optional<bool> SharedLog::remembered(const Record& entry, const Live& needed) const {
    shm::Hash128 key;
    if (entry.kind() != RecordKind::entry || entry.payload.size() < sizeof key) {
        return false;
    }
    std::memcpy(&key, entry.payload.data(), sizeof key);
    return needed.has(entry.header.origin)
               ? std::optional(true)
               : attachment_.idempotency().remembers(key, entry.header.origin);
}

void SharedLog::copy_needed(Batch& batch, const Record& record, const Live& needed) {
    const RecordHeader& header = record.header;
    add(batch,
        {.kind = record.kind(),
         .destination = header.destination,
         .origin = header.origin,
         .payload = record.payload,
         .again = true,
         .packed = (header.flags & kPackedPayload) != 0});
    const auto found = needed.chunks.find(header.origin);
    if (record.kind() != RecordKind::message || found == needed.chunks.end()) {
        return;
    }
    std::uint64_t origin = 0;
    std::uint32_t destination = 0;
    const auto state = state_of(found->second, &origin, &destination);
    if (!state.empty() && origin == header.origin && destination != 0) {
        add(batch,
            {.kind = RecordKind::state,
             .destination = destination,
             .origin = origin,
             .payload = state});
    }
}

// Whether everything that is needed of it is at the end of the log now, on disk.
bool SharedLog::clean_oldest(const SegmentFacts& facts, std::uint64_t end, const Live& needed) {
    auto file = folder_->open(segment_name(facts.number), Access::read);
    auto size = file ? (*file)->size_bytes() : Result<std::uint64_t>(file.error());
    if (!size) {
        return false;
    }
    SegmentScan scan(**file, seed_, {*size, end}, facts.first_lsn);
    Batch batch;
    batch.sync = true;
    next_lsn_ = at_.next_lsn;
    for (auto record = scan.next(); scan.offset() <= end; record = scan.next()) {
        if (!record) {
            return false;
        }
        if (!*record) {
            break;
        }
        const std::optional<bool> kept =
            needed.wants(**record) ? std::optional(true) : remembered(**record, needed);
        if (!kept) {
            return false;  // later
        }
        if (!*kept) {
            continue;
        }
        if (room(batch, record_bytes((*record)->payload.size()) + kSegmentHeaderBytes) == 0) {
            return false;  // later, with more room
        }
        copy_needed(batch, **record, needed);
        if (batch.bytes.size() > kCleanBytes) {
            if (!write(batch)) {
                return false;
            }
            batch.bytes.clear();
        }
    }
    // Their messages go with the segment, and an entry may have been copied before.
    std::vector<DoneRange> withdrawn;
    for (const Lsn lsn : needed.withdrawn) {
        withdrawn.push_back({lsn, lsn});
    }
    if (!withdrawn.empty()) {
        add(batch, {.kind = RecordKind::withdrawn, .payload = std::as_bytes(std::span(withdrawn))});
    }
    return scan.offset() == end && room({}, 0) >= batch.bytes.size() && write(batch);
}

}  // namespace telpher::store

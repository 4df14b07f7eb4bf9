#pragma once
// A log: records that are appended to segment files, and on disk when sync() says so.
//
//   Shape      segments `log.NUMBER` of a folder, each of which names the one before it; 64 MiB each unless a record is
//              longer, reserved before they are used; the newest one is written, the oldest ones are dropped by whoever
//              knows that nothing in them is needed.
//   Threads    one at a time.
//   Cost       append: a hash of the payload and of 48 bytes, no copy, no system call; write: one pwritev for all that
//              was appended; sync: one fdatasync.
//   Crash      a process killed anywhere, and a machine that stops anywhere, leave every record that sync() confirmed.
//              What was not confirmed is there up to some record or not at all. Killed in open() or in a change of
//              segments: the next open() finds the same log. Old segments are never written again.
//   Failure    a write or a sync that fails is final for this object: what was not confirmed may be on disk or not, and
//              no second sync could tell. Opening the log again finds out: it writes what nothing confirms once more,
//              into a new segment, and syncs that.
//   Full disk  a spare segment is kept. While none can be made, records that need room for good (messages,
//              destinations, entries) are refused with storage_failed, and what gives room (done, state, removed) goes
//              on.

#include "src/store/log_reader.hpp"
#include "src/store/record.hpp"
#include "src/store/record_reader.hpp"
#include "src/store/storage.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace telpher::store {

struct LogOptions {
    // Whose log it is; 1..200 bytes. Another one's is refused.
    std::string name{};
    std::uint64_t segment_bytes = kSegmentBytesDefault;
};

class Log {
  public:
    // Locks the folder, reads what is there (`visit`: each record, oldest first) and begins a new segment. `storage`
    // outlives the log.
    //   errors   as read_log, and not_permitted (in use), bad_request (options), storage_failed
    static Result<std::unique_ptr<Log>> open(Storage& storage,
                                             const LogOptions& options,
                                             const ReadOptions& reading,
                                             LogReport& report);

    // Adds a record. Its payload must stay until write() or sync() has returned, or destroyed this log.
    //   returns  its lsn; it is not on disk yet
    //   throws   std::bad_alloc: nothing happened
    //   errors   message_too_large, storage_failed (the disk is full: nothing happened, later calls may succeed; or the
    //            log has failed)
    Result<Lsn> append(const NewRecord& record);
    // Hands everything that was appended to the kernel: from then on it survives the death of this process.
    Result<void> write();
    // Has everything that was appended on disk when it returns: it survives a power loss.
    Result<void> sync();
    // Says in the log that nothing is missing; nothing can be appended afterwards.
    Result<void> close();

    // Of a record that was written: what was put, and as it is on disk. Errors: as RecordReader's.
    Result<std::vector<std::byte>> read(const Place& place) { return reader_->payload(place); }
    Result<StoredPayload> read_stored(const Place& place) { return reader_->stored(place); }

    // The same in all files of this log.
    [[nodiscard]] const shm::Uuid& uuid() const { return uuid_; }
    // Where the next record will lie if it needs no other segment.
    [[nodiscard]] Place end() const { return {segments_.back().number, offset_ + pending_bytes_}; }
    [[nodiscard]] Lsn next_lsn() const { return next_lsn_; }
    [[nodiscard]] Lsn synced() const { return synced_; }
    // Where the record lies that append() added last.
    [[nodiscard]] const Place& last() const { return last_; }
    // Where a record is that the reading in open() met there: what nothing confirmed has moved to a new segment.
    [[nodiscard]] Place moved(const Place& read) const;

    struct Segment {
        std::uint64_t number = 0;
        std::uint64_t end = 0;  // of its records; of the newest one: so far
    };
    [[nodiscard]] const std::deque<Segment>& segments() const { return segments_; }
    // Removes the oldest segment: everything in it must be needless, or be on disk a second time. Not the newest.
    Result<void> drop_oldest();

    [[nodiscard]] bool failed() const { return failure_.has_value(); }
    // Whether there is a next segment for what takes room for good; and what is left of the newest one.
    [[nodiscard]] bool has_spare() const { return has_spare_; }
    [[nodiscard]] std::uint64_t room_left() const { return file_bytes_ - offset_ - pending_bytes_; }
    [[nodiscard]] std::uint64_t segment_bytes() const { return options_.segment_bytes; }

  private:
    Log(Storage& storage, LogOptions options) : storage_(storage), options_(std::move(options)) {}
    Result<void> begin(const LogReport& report);
    void trim(const LogReport& report);
    Result<void> room_for(const NewRecord& record);
    Result<void> roll(std::uint64_t least_bytes);
    [[nodiscard]] SegmentFacts next_segment(std::uint64_t size_bytes) const;
    Result<void> make_spare();
    Error fail(Error error);
    [[nodiscard]] Error failure() const;

    Storage& storage_;
    LogOptions options_;
    shm::Uuid uuid_{};
    Seed seed_ = 0;
    std::deque<Segment> segments_;
    std::unique_ptr<File> file_;  // the newest segment
    std::uint64_t offset_ = kSegmentHeaderBytes;
    std::uint64_t file_bytes_ = 0;
    Lsn next_lsn_ = 1;
    Lsn synced_ = 0;
    bool dirty_ = false;  // written and not synced
    bool has_spare_ = false;
    bool closed_ = false;
    std::optional<Error> failure_;
    // What write() will write: headers stay where they are while others are added.
    std::deque<RecordHeader> headers_;
    std::vector<Bytes> parts_;
    std::uint64_t pending_bytes_ = 0;
    Place last_;
    // What open() moved: from this place on, in its segment, to the beginning of the next one.
    Place tail_;
    std::optional<RecordReader> reader_;
};

}  // namespace telpher::store

#pragma once
// A domain's log, written by whichever of its processes needs it next: group commit across threads and processes.
//
//   Shape      a leader for each commit (shm/log_table.hpp): it copies the messages that wait, writes them behind one
//              another with one pwritev, syncs once if any of them asks for it, publishes the new end, and tells their
//              producers. Who comes meanwhile waits, and leads the next commit.
//   Threads    any number; in one process one leads at a time.
//   Cost       one message alone: two copies, two hashes, one pwrite, one fdatasync. 64 together: the same two calls.
//              Where messages are compressed, the leader does it, before it writes.
//   Crash      a leader killed anywhere leaves a log that ends where it was published; what it had taken is taken
//              again. Whoever waits notices within 10 ms, begins a new segment, with what was published and never
//              synced at its beginning, and goes on. A leader that is stopped (SIGSTOP) for a second is overtaken in
//              the same way; when it goes on, it finds that the log ends in another segment, and forgets what it did.
//              One that hangs in a system call is overtaken after 30 s.
//   Twice      a message whose producer was confirmed by a leader that was overtaken in that moment may be in the log
//              under two numbers, and come twice after a restart: at least once.
//   Full disk  messages are refused with storage_failed while no new segment can be made; endings are taken up to the
//              end of the newest segment, and wait in memory behind that. Later offers try again.
//   Failure    a write or a sync that fails is final: storage_failed from then on, for every process, until the domain
//              is built again from its log. Messages in memory can still be polled.

#include "telpher/result.hpp"

#include "shm/attachment.hpp"
#include "src/store/packed_payload.hpp"
#include "src/store/record.hpp"
#include "src/store/storage.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace telpher::store {

// A message on its way to the disk. It lies in a chunk that its thread holds until commit() has returned.
struct Pending {
    std::uint32_t chunk = 0;
    std::uint32_t offset = 0;  // behind the chunk's header
    std::uint32_t bytes = 0;
    std::uint32_t destination = 0;
    bool sync = true;
    std::uint64_t request =
        0;  // its request's name in the idempotency store, to be logged with it; 0: none
    std::uint32_t submission = shm::LogTable::kNone;
    Lsn lsn = 0;                   // 0: not in the log
    shm::LoggedShare share = 0;    // of what is there
    Status status = Status::none;  // ok, or why not
};

struct Patience {
    std::chrono::nanoseconds timeout{};
    const std::stop_token* stop = nullptr;
};

class SharedLog {
  public:
    struct Hooks {
        // The definition of each durable queue that exists, for the beginning of a segment.
        std::function<std::vector<std::pair<std::uint32_t, std::vector<std::byte>>>()> definitions;
        // The log's number of the queue with that entry and generation; 0: none.
        std::function<std::uint32_t(std::uint64_t dest)> destination_of;
    };

    // `folder` is where the log lies, locked or shared by this process. The attachment outlives this.
    SharedLog(shm::Attachment& attachment, std::unique_ptr<Storage> folder, Hooks hooks);

    // Returns when each message is where it asked to be, or will not be. Afterwards each that is ok has to be finished:
    // once it is in its queue, or given up.
    //   status   ok, timed_out, cancelled (it did not happen: it is not in the log, or noted there as ended),
    //            storage_failed (see failure(); may have happened unless the disk is full). Of several messages the
    //            last ones may have none: all submissions were taken. They are to be committed again when the
    //            others are finished
    void commit(std::span<Pending> messages, const Patience& patience);
    void finish(const Pending& message) noexcept { table_.finish(message.submission); }
    // One record that is no message, on disk; written with the next commit's sync if `synced` is false. Errors:
    // storage_failed, timed_out.
    Result<void> append(const NewRecord& record,
                        std::chrono::nanoseconds timeout,
                        bool synced = true);
    // Writes what ended, if nobody else is at it; with `sync` it is on disk.
    void flush(bool sync);
    // Returns when what this thread noted as ended or moved before is on disk. Those who wait share a sync.
    //   errors  storage_failed, timed_out, cancelled
    Result<void> sync(const Patience& patience);
    // Why nothing is confirmed.
    [[nodiscard]] Error failure() const;

  private:
    struct Taken {
        std::uint32_t submission;
        Lsn lsn;
    };
    struct Batch {
        std::vector<std::byte> bytes;
        std::vector<Taken> taken;
        std::vector<shm::LogTable::Ending> endings;
        std::uint64_t flushes = 0;  // that it answers once it is synced
        bool sync = false;
    };
    struct Live;
    struct Extra {
        const NewRecord* record = nullptr;
        bool sync = false;
        bool added = false;
        bool written = false;
    };

    bool put_up(Pending& message);
    bool settled(Pending& message, std::uint64_t* seen) const;
    void give_up(Pending& message, Status status);
    void wait(std::uint32_t seen, std::chrono::nanoseconds left);
    bool lead(Extra* extra);
    bool overtake();
    [[nodiscard]] bool stuck(std::uint64_t leader) const;
    bool batch(bool overtaken, Extra* extra);
    bool begin_another(std::uint64_t least);
    bool fill(Batch& batch, Extra* extra);
    [[nodiscard]] bool sound(const shm::Request& request) const;
    std::vector<shm::Request> sound_requests();
    void add_message(Batch& batch, const shm::Request& request);
    void add_entry(Batch& batch, const shm::Request& request);
    void add_endings(Batch& batch);
    [[nodiscard]] std::optional<bool> remembered(const Record& entry, const Live& needed) const;
    void copy_needed(Batch& batch, const Record& record, const Live& needed);
    [[nodiscard]] std::vector<std::byte> state_of(std::uint32_t chunk,
                                                  std::uint64_t* origin,
                                                  std::uint32_t* destination) const;
    Lsn add(Batch& batch, const NewRecord& record);
    bool write(Batch& batch);
    bool put_down(Batch& batch);
    [[nodiscard]] std::uint64_t room(const Batch& batch, std::uint64_t reserve) const;
    Result<void> reach(const shm::LogPosition& at);
    Result<bool> roll(std::uint64_t least_bytes, bool overtaken);
    void begin_segment();
    void clean();
    bool clean_oldest(const SegmentFacts& facts, std::uint64_t end, const Live& needed);
    [[nodiscard]] Live live() const;
    void fail(const Error& error);

    shm::Attachment& attachment_;
    shm::LogTable& table_;
    const std::unique_ptr<Storage> folder_;
    const Hooks hooks_;
    std::string name_;
    shm::Uuid uuid_{};
    Seed seed_ = 0;

    std::mutex mutex_;  // held while this process leads; guards the rest
    std::unique_ptr<File> file_;
    std::uint64_t segment_ = 0;
    std::uint64_t file_bytes_ = 0;
    shm::LogPosition at_;  // as published by us, or found
    Lsn next_lsn_ = 1;     // of the batch under way
    Packer packer_;
};

}  // namespace telpher::store

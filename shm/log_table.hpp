#pragma once
// The shared part of a domain's log: who waits for the disk, who writes, and what ended. The files are written by
// src/store/shared_log.hpp.
//
//   Submit    a producer puts a message, which lies in a chunk that it holds, into a submission, and waits until that is
//             DONE. Whoever leads copies the message before it takes the submission, so that a producer may give up,
//             or die, at any time: what it held is only read while its word says READY.
//   Lead      one process at a time, by one CAS. A leader that dies, or is stopped, is overtaken by who waits: it
//             cannot publish an end of the log any more, because that moved to another segment.
//   End       a message that is done with leaves its number in a table of words, one CAS; whoever leads writes them.
//             Killed before it: the message comes again when the domain is built again; it was not acknowledged.
//   Threads   any number.
//   Progress  lock-free but for waiting for the disk.
//   Crash     said beside each function. `sweep` gives back what the dead left; a submission of the dead that was
//             written, and whose message is in no queue, ends.
//   Checked by tests/crash/durable_steps_test.cpp and tests/crash/durable_kills_test.cpp.

#include "shm/layout.hpp"
#include "shm/log_layout.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace telpher::shm {

class ChunkPool;
class IdempotencyStore;

// What a leader took: a copy is its own.
struct Request {
    std::uint32_t submission = 0;
    std::uint64_t word = 0;  // READY, as it was seen before the copy
    std::uint32_t chunk = 0;
    std::uint32_t offset = 0;
    std::uint32_t bytes = 0;
    std::uint32_t destination = 0;
    bool sync = true;
    std::uint64_t request = 0;  // its request's name in the idempotency store; 0: none
};

struct LogPosition {
    std::uint64_t segment = 0;
    std::uint64_t offset = 0;
    std::uint64_t next_lsn = 0;
    std::uint64_t reserved = 0;
    bool operator==(const LogPosition&) const = default;
};

// Whether that chunk carries that message of the log now, in a queue or on its way between two.
[[nodiscard]] bool in_a_queue(const ChunkPool& pool,
                              std::uint32_t chunk,
                              std::uint64_t lsn) noexcept;

class LogTable {
  public:
    static constexpr std::uint32_t kNone = ~0U;

    LogTable() = default;
    explicit LogTable(std::span<std::byte> region) noexcept;
    // Whether the domain has a log.
    [[nodiscard]] bool on() const noexcept { return on_; }
    [[nodiscard]] LogControl& control() const noexcept { return *control_; }
    // As it was when the domain was made; bounded.
    [[nodiscard]] std::string path() const;
    // Messages of at least so many bytes are compressed in the log; -1: none.
    [[nodiscard]] std::int64_t compress_from() const noexcept {
        return std::int64_t{control_->compress_from} - 1;
    }

    // ---- who waits ----------------------------------------------------------------------------
    // Puts a message up. kNone: all submissions are taken. Killed in it: FILLING or READY, freed by `sweep`.
    [[nodiscard]] std::uint32_t submit(std::uint64_t me, const Request& request) noexcept;
    [[nodiscard]] std::uint64_t look(std::uint32_t submission) const noexcept;
    // Of one that is DONE.
    [[nodiscard]] LoggedShare share(std::uint32_t submission) const noexcept {
        // relaxed: published by DONE
        return static_cast<LoggedShare>(
            submissions_[submission].share.load(std::memory_order_relaxed));
    }
    // By whoever writes the log, before take(). Killed behind it: who writes next says it anew.
    void set_share(std::uint32_t submission, LoggedShare share) noexcept {
        // relaxed: published by take()
        submissions_[submission].share.store(share, std::memory_order_relaxed);
    }
    // Nobody has taken it: it is free again. False: look again.
    [[nodiscard]] bool withdraw(std::uint32_t submission) noexcept;
    // It is being written, and its owner goes: whoever writes it notes that it ended. False: look again.
    [[nodiscard]] bool abandon(std::uint32_t submission) noexcept;
    // DONE, and its message will not come to its queue: nobody who cleans the log needs it. To be noted and finished.
    void give_up(std::uint32_t submission) noexcept;
    // DONE, FAILED or given up, and known to its owner.
    void finish(std::uint32_t submission) noexcept;

    // ---- messages that end --------------------------------------------------------------------
    // False: no room; then the message comes again when the domain is built again.
    bool note_ended(std::uint64_t lsn) noexcept { return note(lsn & kLsnMask); }
    // It never came to its queue: what is remembered of its request is void.
    bool note_withdrawn(std::uint64_t lsn) noexcept { return note(kWithdrawn | (lsn & kLsnMask)); }
    bool note_moved(std::uint32_t chunk) noexcept { return note(kMovedChunk | chunk); }
    // So many were noted and not written that somebody should lead.
    [[nodiscard]] bool crowded() const noexcept;
    [[nodiscard]] bool any_ended() const noexcept;
    // What this thread noted so far is to be on disk: its number, for `flushed`. Killed behind it: one sync too many.
    [[nodiscard]] std::uint64_t ask_flush() noexcept;
    [[nodiscard]] std::uint64_t flushes_asked() const noexcept;
    [[nodiscard]] std::uint64_t flushed() const noexcept;
    // By who has synced the endings that it read behind flushes_asked().
    void raise_flushed(std::uint64_t to) noexcept;
    struct Ending {
        std::uint32_t at;
        std::uint64_t value;
    };
    [[nodiscard]] std::vector<Ending> endings() const;
    void clear(std::span<const Ending> written) noexcept;

    // ---- who leads ----------------------------------------------------------------------------
    // Identity of who leads, 0 = nobody.
    [[nodiscard]] std::uint64_t leader() const noexcept;
    // Takes the lead from `from` (0: from nobody). Killed behind it: `me` leads, until it is overtaken.
    [[nodiscard]] bool lead(std::uint64_t from, std::uint64_t me) noexcept;
    void resign(std::uint64_t me) noexcept;
    void beat(std::uint64_t now_ns) noexcept;

    [[nodiscard]] LogPosition position() const noexcept { return read(control_->position); }
    [[nodiscard]] LogPosition synced() const noexcept { return read(control_->synced); }
    // False: somebody overtook us.
    [[nodiscard]] bool publish(const LogPosition& from, const LogPosition& to) noexcept;
    void raise_synced(const LogPosition& to) noexcept;

    // The submissions that are READY, in the order in which they were put up.
    [[nodiscard]] std::vector<Request> requests() const;
    // The copy is made: READY -> TAKEN. False: it was withdrawn.
    [[nodiscard]] bool take(const Request& request,
                            std::uint64_t segment,
                            std::uint64_t lsn) noexcept;
    // What was taken is written: TAKEN -> DONE; ABANDONED: it ends.
    void settle(std::uint32_t submission,
                std::uint64_t segment,
                std::uint64_t lsn,
                bool written) noexcept;
    // What leaders before us took and did not settle: written before `end` -> DONE, else READY. Before anything else is
    // published, and by each leader: one that was overtaken may take more afterwards.
    void settle_all(const LogPosition& end) noexcept;
    // Everybody is told that nothing is confirmed any more.
    void fail(int error) noexcept;
    [[nodiscard]] LogState state() const noexcept;

    // ---- for reapers --------------------------------------------------------------------------
    // Before any chunk of the dead is given back: nobody begins to copy one.
    void sweep(std::uint64_t dead) noexcept;
    // Behind that: what was written for the dead, and is in no queue, ends; as withdrawn, unless its request was
    // accepted, which `requests` knows by now.
    void sweep_written(std::uint64_t dead,
                       const ChunkPool& pool,
                       const IdempotencyStore& requests) noexcept;

    [[nodiscard]] std::span<Submission> submissions() const noexcept {
        return {submissions_, kSubmissions};
    }

  private:
    // One above the highest submission that was ever taken.
    [[nodiscard]] std::uint32_t used() const noexcept;
    static LogPosition read(const Slot& slot) noexcept;
    bool note(std::uint64_t value) noexcept;
    static bool free_written(Submission& s, std::uint64_t& seen) noexcept;
    static bool change(Submission& s, std::uint64_t& seen, SubmissionState to) noexcept;

    bool on_ = false;
    LogControl* control_ = nullptr;
    Submission* submissions_ = nullptr;
    Word* endings_ = nullptr;
};

}  // namespace telpher::shm

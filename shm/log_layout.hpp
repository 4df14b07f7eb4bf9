#pragma once
// What a domain keeps about its log (src/store/FORMAT.md): where the log ends, who writes it, what waits to be written.

#include "shm/layout.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace telpher::shm {

inline constexpr std::uint32_t kSubmissions = 1024;  // messages that wait for the disk at once
inline constexpr std::uint32_t kEndings = 16384;     // messages that ended, and are not yet noted
inline constexpr std::size_t kLogPathMax = 1024;

// ---- submission word: state:4 | segment's low bits:12 | count or lsn:48 -------------------------
//   FREE(count) -> FILLING(count) -> READY(count) -> TAKEN(lsn) -> DONE(lsn) or FAILED -> FREE(count + 1)
//   Its owner: FREE -> FILLING -> READY; READY -> FREE (withdrawn); TAKEN -> ABANDONED; DONE, FAILED -> FREE; DONE ->
//   UNSENT -> FREE.
//   Who writes the log: READY -> TAKEN -> DONE or FAILED; ABANDONED -> FREE; of one who came before: TAKEN -> READY.
enum class SubmissionState : std::uint8_t {
    free = 0,
    filling = 1,    // its owner writes the other words
    ready = 2,      // to be written
    taken = 3,      // being written: who writes the log has a copy of the message
    done = 4,       // on disk, as far as was asked for
    failed = 5,     // the log stopped; perhaps on disk
    abandoned = 6,  // being written, and nobody waits for it
    unsent =
        7,  // on disk, and its message will not come to its queue: about to be noted as withdrawn
};
inline constexpr int kLsnBits = 48;
inline constexpr std::uint64_t kLsnMask = (1ULL << kLsnBits) - 1;
constexpr std::uint64_t make_submission(SubmissionState state,
                                        std::uint64_t segment,
                                        std::uint64_t number) {
    return (static_cast<std::uint64_t>(state) << 60) | ((segment & 0xFFFU) << kLsnBits) |
           (number & kLsnMask);
}
constexpr SubmissionState submission_state(std::uint64_t word) {
    return static_cast<SubmissionState>(word >> 60);
}
constexpr std::uint64_t submission_number(std::uint64_t word) { return word & kLsnMask; }
constexpr std::uint64_t submission_segment(std::uint64_t word) {
    return (word >> kLsnBits) & 0xFFFU;
}

struct alignas(kCacheLine) Submission {
    Word word;
    Word owner;   // identity of its process; set while FILLING, good until FREE
    Word count;   // a ticket for this use: the order of all, and no READY word comes twice
    Word chunk;   // where the message lies, which its owner holds
    Word extent;  // offset of the message behind the chunk's header:32 | its bytes:32
    Word target;  // the log's number of its queue:32 | 1: it is to be synced
    Word
        request;  // what the idempotency store calls its request (IdempotencyStore::name_of); 0: nothing
    Word share;  // LoggedShare of its record; set by whoever writes the log, good from DONE on
};
static_assert(sizeof(Submission) == kCacheLine);

// ---- position: where the log ends; changed by one 16-byte CAS ----------------------------------
// place: number of the newest segment:35 | offset / 8 of its end:29; next: lsn of the next record:48 | numbers given to
// segments that are being made:16.
inline constexpr int kOffsetBits = 29;
constexpr std::uint64_t make_log_place(std::uint64_t segment, std::uint64_t offset) {
    return (segment << kOffsetBits) | (offset / 8);
}
constexpr std::uint64_t log_segment(std::uint64_t place) { return place >> kOffsetBits; }
constexpr std::uint64_t log_offset(std::uint64_t place) {
    return (place & ((1ULL << kOffsetBits) - 1)) * 8;
}
constexpr std::uint64_t make_log_next(std::uint64_t lsn, std::uint64_t reserved) {
    return (lsn & kLsnMask) | (reserved << kLsnBits);
}
constexpr std::uint64_t log_lsn(std::uint64_t next) { return next & kLsnMask; }
constexpr std::uint64_t log_reserved(std::uint64_t next) { return next >> kLsnBits; }

enum class LogState : std::uint32_t {
    none = 0,
    building = 1,  // the domain is being built from its log: nobody else is admitted
    ready = 2,
    failed = 3,  // a write or a sync failed: nothing is confirmed any more
};

struct LogControl {
    alignas(kLinePair) Slot position;             // everything before it was written
    Slot synced;                                  // everything before it is on disk
    std::atomic<std::uint32_t> state;             // LogState
    std::atomic<std::uint32_t> failure;           // errno of what failed
    Word builder;                                 // identity of who builds
    Word destinations;                            // the highest number of a queue in the log
    alignas(kLinePair) Word leader;               // identity of who writes; 0 = nobody
    Word heartbeat_ns;                            // when it began what it does now, monotonic
    std::atomic<std::uint32_t> commits;           // futex: how often a leader was done
    std::atomic<std::uint32_t> waiting;           // who sleeps on it, a hint
    std::atomic<std::uint32_t> used;              // one above the highest submission ever taken
    alignas(kLinePair) Word noted;                // endings ever noted
    Word collected;                               // of these, written
    Word tickets;                                 // given to submissions
    Word messages, bytes, writes, syncs, rolled;  // statistics
    alignas(kLinePair) Word flushes;              // asked for
    Word flushed;                                 // of these, the first so many are done
    alignas(kLinePair) std::uint64_t segment_bytes;
    std::uint8_t log[16];  // uuid
    std::uint32_t path_bytes;
    std::uint32_t
        compress_from;  // bytes of messages that are compressed, and more, plus 1; 0: none
    char path[kLogPathMax];
};
static_assert(offsetof(LogControl, synced) == 16 && sizeof(LogControl) <= kPageBytes);

// An ending: a message that needs nothing more (its lsn), perhaps because it never came to its queue, or one that moved
// to another queue (its chunk); 0 = nothing.
inline constexpr std::uint64_t kMovedChunk = 1ULL << 63U;
inline constexpr std::uint64_t kWithdrawn = 1ULL << 62U;

inline constexpr std::size_t kSubmissionsOffset = kPageBytes;
inline constexpr std::size_t kEndingsOffset =
    kSubmissionsOffset + sizeof(Submission) * kSubmissions;
inline constexpr std::size_t kLogBytes = kEndingsOffset + sizeof(Word) * kEndings;

// What a message's record takes in the log of what the message has in memory, in 256ths, rounded up; 0: as much. An
// estimate is made of it, nothing else.
using LoggedShare = std::uint8_t;
constexpr LoggedShare share_of(std::uint64_t stored_bytes, std::uint64_t bytes) {
    const std::uint64_t share = stored_bytes < bytes ? stored_bytes * 256 / bytes + 1 : 0;
    return static_cast<LoggedShare>(share < 256 ? share : 0);
}
constexpr std::uint64_t stored_of(std::uint64_t bytes, LoggedShare share) {
    return share == 0 ? bytes : bytes * share / 256;
}

// In a LeaseBlock's `sequence`: the message is in the log. 1 | 0:7 | share:8 | lsn:48.
inline constexpr std::uint64_t kLogged = 1ULL << 63U;
constexpr std::uint64_t make_logged(std::uint64_t lsn, LoggedShare share) {
    return kLogged | (std::uint64_t{share} << kLsnBits) | (lsn & kLsnMask);
}
// 0: it is not in the log.
constexpr std::uint64_t logged_lsn(std::uint64_t sequence) {
    return (sequence & kLogged) != 0 ? sequence & kLsnMask : 0;
}
constexpr LoggedShare logged_share(std::uint64_t sequence) {
    return static_cast<LoggedShare>(sequence >> kLsnBits);
}

}  // namespace telpher::shm

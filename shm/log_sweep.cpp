// What a domain's log owes to processes that died.

#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"
#include "shm/chunk_pool.hpp"
#include "shm/idempotency.hpp"
#include "shm/leases.hpp"
#include "shm/log_table.hpp"

namespace telpher::shm {

bool in_a_queue(const ChunkPool& pool, std::uint32_t chunk, std::uint64_t lsn) noexcept {
    if (!pool.valid(chunk)) {
        return false;
    }
    const ChunkHeader& header = *pool.header(chunk);
    // LG7: pairs with ring_inline.hpp:C0, by `finish` or the reaper's look at the chunk.
    const ChunkState state = word_state(header.word.load(std::memory_order_acquire));
    const bool held = state == ChunkState::offered || state == ChunkState::claimed ||
                      state == ChunkState::parked || state == ChunkState::moving;
    if (!held || dest_lane(glance(header.dest)) != Lane::leased) {
        return false;
    }
    const auto& block = *reinterpret_cast<const LeaseBlock*>(
        reinterpret_cast<const std::byte*>(&header) + kMessageOffset);
    return lsn != 0 && logged_lsn(glance(block.sequence)) == lsn;
}

// Killed in it: the next reaper does the rest. FILLING and READY name their process' slot, which nobody else gets while
// it is being reaped; the owner that the others name was written before READY.
void LogTable::sweep(std::uint64_t dead) noexcept {
    for (std::uint32_t i = 0; i < kSubmissions; ++i) {
        Submission& s = submissions_[i];
        std::uint64_t seen =
            s.word.load(std::memory_order_acquire);  // LG4: pairs with log_table.cpp:LG3
        const SubmissionState state = submission_state(seen);
        const bool begun = state == SubmissionState::filling || state == SubmissionState::ready;
        // relaxed: written before READY
        const bool ours = begun ? submission_segment(seen) == identity_slot(dead)
                                : s.owner.load(std::memory_order_relaxed) == dead;
        if (state == SubmissionState::free || !ours) {
            continue;
        }
        const bool taken = state == SubmissionState::taken;
        if (!taken && !begun && state != SubmissionState::failed) {
            continue;
        }
        // relaxed: nobody else counts
        const std::uint64_t count = s.count.load(std::memory_order_relaxed);
        SHM_STEP("log.sweep");
        // LG2: pairs with log_table.cpp:LG1. From the word that was the dead's: another reaper may have freed it, and a live producer may
        // have it by now. Failure: look again.
        if (!s.word.compare_exchange_strong(seen,
                                            taken
                                                ? make_submission(SubmissionState::abandoned,
                                                                  submission_segment(seen),
                                                                  submission_number(seen))
                                                : make_submission(SubmissionState::free, 0, count),
                                            std::memory_order_acq_rel,     // LG2: as above
                                            std::memory_order_relaxed)) {  // failure: as above
            --i;
        }
    }
}

void LogTable::sweep_written(std::uint64_t dead,
                             const ChunkPool& pool,
                             const IdempotencyStore& requests) noexcept {
    for (std::uint32_t i = 0; i < kSubmissions; ++i) {
        Submission& s = submissions_[i];
        std::uint64_t seen =
            s.word.load(std::memory_order_acquire);  // LG6: pairs with log_table.cpp:LG5
        const SubmissionState state = submission_state(seen);
        // relaxed: written before READY
        if ((state != SubmissionState::done && state != SubmissionState::unsent) ||
            s.owner.load(std::memory_order_relaxed) != dead) {
            continue;
        }
        const auto chunk = static_cast<std::uint32_t>(
            s.chunk.load(std::memory_order_relaxed));  // relaxed: as above
        const std::uint64_t request =
            s.request.load(std::memory_order_relaxed);  // relaxed: as above
        const std::uint64_t lsn = submission_number(seen);
        const bool ends = bug(Bug::written_ends_always) || !in_a_queue(pool, chunk, lsn);
        const bool came =
            state == SubmissionState::done && (!ends || requests.accepted(request, lsn));
        if (came && free_written(s, seen) && ends) {
            note_ended(lsn);  // it was taken out of its queue since
        } else if (!came && change(s, seen, SubmissionState::unsent)) {
            SHM_STEP("log.sweep.note");
            note_withdrawn(lsn);
            static_cast<void>(free_written(s, seen));
        }
    }
}

// Only who frees it knows that what it read was the dead's. Killed behind it: a message that is done comes again when
// the domain is built again.
bool LogTable::free_written(Submission& s, std::uint64_t& seen) noexcept {
    // relaxed: nobody else counts
    const std::uint64_t count = s.count.load(std::memory_order_relaxed);
    SHM_STEP("log.sweep.written");
    // LG2: pairs with log_table.cpp:LG1.
    return s.word.compare_exchange_strong(
        seen,
        make_submission(SubmissionState::free, 0, count),
        std::memory_order_acq_rel,   // LG2: as above
        std::memory_order_relaxed);  // failure: another reaper did
}

// Killed behind it: the next reaper notes it. No two have the same word, so that each of them may.
bool LogTable::change(Submission& s, std::uint64_t& seen, SubmissionState to) noexcept {
    const std::uint64_t next =
        make_submission(to, submission_segment(seen), submission_number(seen));
    SHM_STEP("log.sweep.unsent");
    // LG5: pairs with log_table.cpp:LG6.
    const bool changed = s.word.compare_exchange_strong(
        seen, next, std::memory_order_acq_rel, std::memory_order_relaxed);  // failure: as above
    seen = changed ? next : seen;
    return changed;
}

}  // namespace telpher::shm

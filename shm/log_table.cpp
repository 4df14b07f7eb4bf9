#include "shm/log_table.hpp"

#include "shm/base/cpu.hpp"
#include "shm/base/step.hpp"

#include <algorithm>

namespace telpher::shm {

LogTable::LogTable(std::span<std::byte> region) noexcept {
    if (region.size() < kLogBytes) {
        return;
    }
    control_ = reinterpret_cast<LogControl*>(region.data());
    submissions_ = reinterpret_cast<Submission*>(region.data() + kSubmissionsOffset);
    endings_ = reinterpret_cast<Word*>(region.data() + kEndingsOffset);
    on_ = control_->path_bytes != 0 && control_->path_bytes <= kLogPathMax;
}

std::string LogTable::path() const {
    return {control_->path, std::min<std::size_t>(control_->path_bytes, kLogPathMax)};
}

// ---- who waits ---------------------------------------------------------------------------------

std::uint32_t LogTable::submit(std::uint64_t me, const Request& request) noexcept {
    // The one that this thread used last is in its cache; else the first ones, so that few are looked at.
    thread_local std::uint32_t last = 0;
    for (std::uint32_t i = 0; i <= kSubmissions; ++i) {
        const std::uint32_t at = i == 0 ? last : i - 1;
        Submission& s = submissions_[at];
        std::uint64_t seen = s.word.load(std::memory_order_relaxed);  // relaxed: the CAS decides
        SHM_STEP("log.submit.claim");
        // LG1: pairs with LG2. The last owner has read what it wanted.
        if (submission_state(seen) != SubmissionState::free ||
            !s.word.compare_exchange_strong(
                seen,
                make_submission(
                    SubmissionState::filling, identity_slot(me), submission_number(seen)),
                std::memory_order_acquire,
                std::memory_order_relaxed)) {  // failure: another was faster
            continue;
        }
        last = at;
        SHM_STEP("log.submit.used");
        // relaxed, all: READY publishes it; nobody looks beyond
        std::uint32_t used = control_->used.load(std::memory_order_relaxed);
        while (used <= at && !control_->used.compare_exchange_weak(
                                 used, at + 1, std::memory_order_relaxed)) {  // relaxed: as above
        }
        SHM_STEP("log.submit.owner");
        // relaxed, all: published by READY
        s.owner.store(me, std::memory_order_relaxed);
        // relaxed: only unique, and in order for each thread
        const std::uint64_t count =
            (control_->tickets.fetch_add(1, std::memory_order_relaxed) + 1) & kLsnMask;
        s.count.store(count, std::memory_order_relaxed);          // relaxed: as above
        s.chunk.store(request.chunk, std::memory_order_relaxed);  // relaxed: as above
        s.extent.store(static_cast<std::uint64_t>(request.offset) << 32 | request.bytes,
                       std::memory_order_relaxed);  // relaxed: as above
        s.target.store(static_cast<std::uint64_t>(request.destination) << 1 |
                           static_cast<std::uint64_t>(request.sync),
                       std::memory_order_relaxed);                    // relaxed: as above
        s.request.store(request.request, std::memory_order_relaxed);  // relaxed: as above
        SHM_STEP("log.submit.ready");
        // LG3: pairs with LG4. The message and these words are whole.
        s.word.store(make_submission(SubmissionState::ready, identity_slot(me), count),
                     std::memory_order_release);
        return at;
    }
    return kNone;
}

std::uint64_t LogTable::look(std::uint32_t submission) const noexcept {
    // LG6: pairs with LG5. Who sees DONE sees the log's end behind it.
    return submissions_[submission].word.load(std::memory_order_acquire);
}

bool LogTable::withdraw(std::uint32_t submission) noexcept {
    Submission& s = submissions_[submission];
    std::uint64_t seen = s.word.load(std::memory_order_relaxed);  // relaxed: the CAS decides
    SHM_STEP("log.withdraw");
    return submission_state(seen) == SubmissionState::ready &&
           // LG2: pairs with LG1.
           s.word.compare_exchange_strong(
               seen,
               make_submission(SubmissionState::free, 0, submission_number(seen)),
               std::memory_order_acq_rel,
               std::memory_order_relaxed);  // failure: it was taken
}

bool LogTable::abandon(std::uint32_t submission) noexcept {
    Submission& s = submissions_[submission];
    std::uint64_t seen = s.word.load(std::memory_order_relaxed);  // relaxed: the CAS decides
    SHM_STEP("log.abandon");
    return submission_state(seen) == SubmissionState::taken &&
           s.word.compare_exchange_strong(
               seen,
               make_submission(
                   SubmissionState::abandoned, submission_segment(seen), submission_number(seen)),
               std::memory_order_relaxed,   // relaxed: nothing else is told
               std::memory_order_relaxed);  // relaxed: failure: look again
}

// Killed behind it: our reaper notes it.
void LogTable::give_up(std::uint32_t submission) noexcept {
    Submission& s = submissions_[submission];
    // relaxed: ours since DONE
    const std::uint64_t seen = s.word.load(std::memory_order_relaxed);
    SHM_STEP("log.give_up");
    // LG5: pairs with LG6. What is remembered of its request says so before.
    s.word.store(
        make_submission(SubmissionState::unsent, submission_segment(seen), submission_number(seen)),
        std::memory_order_release);
}

void LogTable::finish(std::uint32_t submission) noexcept {
    Submission& s = submissions_[submission];
    SHM_STEP("log.finish");
    // relaxed: it is ours
    const std::uint64_t count = s.count.load(std::memory_order_relaxed);
    // LG2: pairs with LG1. And with LG7: the message is where it will be found.
    s.word.store(make_submission(SubmissionState::free, 0, count), std::memory_order_release);
}

// ---- messages that end -------------------------------------------------------------------------

// Killed before the CAS: not noted, and the count is one too high, which costs looks at the table.
bool LogTable::note(std::uint64_t value) noexcept {
    thread_local std::uint32_t last = 0;
    // relaxed: before the word, so that somebody looks
    control_->noted.fetch_add(1, std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < kEndings; ++i) {
        last = (last + 1) % kEndings;
        Word& word = endings_[last];
        std::uint64_t nothing = 0;
        SHM_STEP("log.note");
        // relaxed: a first look
        if (word.load(std::memory_order_relaxed) == 0 &&
            // LG8: pairs with LG9. Who writes it sees that the message has left its queue.
            word.compare_exchange_strong(nothing,
                                         value,
                                         std::memory_order_release,
                                         std::memory_order_relaxed)) {  // failure: the next one
            return true;
        }
    }
    control_->noted.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a hint
    return false;
}

bool LogTable::crowded() const noexcept {
    // relaxed, both: a hint
    return control_->noted.load(std::memory_order_relaxed) -
               control_->collected.load(std::memory_order_relaxed) >  // relaxed: as above
           kEndings / 2;
}

bool LogTable::any_ended() const noexcept {
    // relaxed, both: a hint
    return control_->noted.load(std::memory_order_relaxed) !=
           control_->collected.load(std::memory_order_relaxed);  // relaxed: as above
}

std::uint64_t LogTable::ask_flush() noexcept {
    SHM_STEP("log.flush.ask");
    // LG21: pairs with LG22. Our notes, then the number.
    return control_->flushes.fetch_add(1, std::memory_order_acq_rel) + 1;
}

std::uint64_t LogTable::flushes_asked() const noexcept {
    // LG22: pairs with LG21. The number, then the look at the notes.
    return control_->flushes.load(std::memory_order_acquire);
}

std::uint64_t LogTable::flushed() const noexcept {
    // LG23: pairs with LG24. Whoever sees it sees the log's state behind it.
    return control_->flushed.load(std::memory_order_acquire);
}

// Killed before it: the next leader syncs once more.
void LogTable::raise_flushed(std::uint64_t to) noexcept {
    std::uint64_t seen =
        control_->flushed.load(std::memory_order_relaxed);  // relaxed: the CAS decides
    SHM_STEP("log.flush.done");
    // LG24: pairs with LG23.
    while (seen < to && !control_->flushed.compare_exchange_weak(
                            seen,
                            to,
                            std::memory_order_release,
                            std::memory_order_relaxed)) {  // failure: looked at again
    }
}

std::vector<LogTable::Ending> LogTable::endings() const {
    std::vector<Ending> found;
    for (std::uint32_t i = 0; i < kEndings; ++i) {
        // LG9: pairs with LG8.
        if (const std::uint64_t value = endings_[i].load(std::memory_order_acquire); value != 0) {
            found.push_back({i, value});
        }
    }
    return found;
}

// Killed in it: what is left is written a second time, which changes nothing.
void LogTable::clear(std::span<const Ending> written) noexcept {
    for (const Ending& ending : written) {
        std::uint64_t value = ending.value;
        SHM_STEP("log.clear");
        // relaxed, both: no number comes twice; the next one publishes itself
        endings_[ending.at].compare_exchange_strong(
            value, 0, std::memory_order_relaxed, std::memory_order_relaxed);  // relaxed: as above
    }
    control_->collected.fetch_add(written.size(), std::memory_order_relaxed);  // relaxed: a hint
}

// ---- who leads ---------------------------------------------------------------------------------

std::uint64_t LogTable::leader() const noexcept {
    // relaxed: the CAS of who wants to lead decides
    return control_->leader.load(std::memory_order_relaxed);
}

bool LogTable::lead(std::uint64_t from, std::uint64_t me) noexcept {
    SHM_STEP("log.lead");
    // LG10: pairs with LG11. We see where the last leader left the log.
    return control_->leader.compare_exchange_strong(
        from, me, std::memory_order_acq_rel, std::memory_order_relaxed);  // failure: somebody leads
}

void LogTable::resign(std::uint64_t me) noexcept {
    SHM_STEP("log.resign");
    // LG11: pairs with LG10. Failure: we were overtaken.
    control_->leader.compare_exchange_strong(
        me, 0, std::memory_order_release, std::memory_order_relaxed);  // failure: as above
    SHM_STEP("log.resign.count");
    // LG12: pairs with src/store/shared_log.cpp:LG17.
    control_->commits.fetch_add(1, std::memory_order_release);
}

void LogTable::beat(std::uint64_t now_ns) noexcept {
    control_->heartbeat_ns.store(now_ns, std::memory_order_relaxed);  // relaxed: a hint
}

LogPosition LogTable::read(const Slot& slot) noexcept {
    // LG13: pairs with LG18. The two halves may be of different moments: a CAS that expects them fails.
    const std::uint64_t place = slot.pos.load(std::memory_order_acquire);
    const std::uint64_t next = slot.ref.load(std::memory_order_acquire);  // LG13: as above
    return {log_segment(place), log_offset(place), log_lsn(next), log_reserved(next)};
}

bool LogTable::publish(const LogPosition& from, const LogPosition& to) noexcept {
    SHM_STEP("log.publish");
    // LG18: pairs with LG13 (sequentially consistent, as every compare_exchange_slot).
    return compare_exchange_slot(control_->position,
                                 make_log_place(from.segment, from.offset),
                                 make_log_next(from.next_lsn, from.reserved),
                                 make_log_place(to.segment, to.offset),
                                 make_log_next(to.next_lsn, to.reserved));
}

void LogTable::raise_synced(const LogPosition& to) noexcept {
    const std::uint64_t place = make_log_place(to.segment, to.offset);
    for (LogPosition seen = synced(); make_log_place(seen.segment, seen.offset) < place;
         seen = synced()) {
        SHM_STEP("log.synced");
        if (compare_exchange_slot(control_->synced,
                                  make_log_place(seen.segment, seen.offset),
                                  make_log_next(seen.next_lsn, 0),
                                  place,
                                  make_log_next(to.next_lsn, 0))) {
            return;
        }
    }
}

std::uint32_t LogTable::used() const noexcept {
    // relaxed: READY publishes it
    return std::min(control_->used.load(std::memory_order_relaxed), kSubmissions);
}

std::vector<Request> LogTable::requests() const {
    std::vector<Request> found;
    const std::uint32_t count = used();
    for (std::uint32_t i = 0; i < count; ++i) {
        const Submission& s = submissions_[i];
        // LG4: pairs with LG3.
        const std::uint64_t word = s.word.load(std::memory_order_acquire);
        if (submission_state(word) != SubmissionState::ready) {
            continue;
        }
        // relaxed, all: of another use, and the word has changed
        const std::uint64_t extent = s.extent.load(std::memory_order_relaxed);
        const std::uint64_t target = s.target.load(std::memory_order_relaxed);  // relaxed: as above
        const std::uint64_t chunk = s.chunk.load(std::memory_order_relaxed);    // relaxed: as above
        const std::uint64_t asked = s.request.load(std::memory_order_relaxed);  // relaxed: as above
        found.push_back({.submission = i,
                         .word = word,
                         .chunk = static_cast<std::uint32_t>(std::min<std::uint64_t>(chunk, ~0U)),
                         .offset = static_cast<std::uint32_t>(extent >> 32),
                         .bytes = static_cast<std::uint32_t>(extent),
                         .destination = static_cast<std::uint32_t>(target >> 1),
                         .sync = (target & 1U) != 0,
                         .request = asked});
    }
    std::sort(found.begin(), found.end(), [](const Request& a, const Request& b) {
        return submission_number(a.word) < submission_number(b.word);
    });
    return found;
}

bool LogTable::take(const Request& request, std::uint64_t segment, std::uint64_t lsn) noexcept {
    std::uint64_t seen = request.word;
    SHM_STEP("log.take");
    // LG14: pairs with LG2 of who withdraws or sweeps: our copy was made before its owner could give the chunk away.
    return submissions_[request.submission].word.compare_exchange_strong(
        seen,
        make_submission(SubmissionState::taken, segment, lsn),
        std::memory_order_acq_rel,
        std::memory_order_relaxed);  // failure: it was withdrawn
}

void LogTable::settle(std::uint32_t submission,
                      std::uint64_t segment,
                      std::uint64_t lsn,
                      bool written) noexcept {
    Submission& s = submissions_[submission];
    std::uint64_t seen = make_submission(SubmissionState::taken, segment, lsn);
    const auto next = written ? SubmissionState::done : SubmissionState::failed;
    SHM_STEP("log.settle");
    // LG5: pairs with LG6.
    if (s.word.compare_exchange_strong(seen,
                                       make_submission(next, segment, lsn),
                                       std::memory_order_release,
                                       std::memory_order_relaxed) ||  // failure: see below
        seen != make_submission(SubmissionState::abandoned, segment, lsn)) {
        return;
    }
    if (written) {
        note_withdrawn(lsn);
    }
    SHM_STEP("log.settle.abandoned");
    // relaxed: nobody else counts while it is not FREE
    const std::uint64_t count = s.count.load(std::memory_order_relaxed);
    // LG2: pairs with LG1. Failure: who overtook us did it.
    s.word.compare_exchange_strong(seen,
                                   make_submission(SubmissionState::free, 0, count),
                                   std::memory_order_release,
                                   std::memory_order_relaxed);  // failure: as above
}

// A leader that was overtaken may take more afterwards, with a segment that is not the newest any more: those are READY
// again as soon as a leader meets them.
void LogTable::settle_all(const LogPosition& end) noexcept {
    const std::uint32_t count_used = used();
    for (std::uint32_t i = 0; i < count_used; ++i) {
        Submission& s = submissions_[i];
        std::uint64_t seen = s.word.load(std::memory_order_acquire);  // LG6: pairs with LG5
        const SubmissionState state = submission_state(seen);
        if (state != SubmissionState::taken && state != SubmissionState::abandoned) {
            continue;
        }
        const bool written = submission_segment(seen) == (end.segment & 0xFFFU) &&
                             submission_number(seen) < end.next_lsn;
        if (written || state == SubmissionState::abandoned) {
            settle(i, submission_segment(seen), submission_number(seen), written);
            continue;
        }
        SHM_STEP("log.again");
        // relaxed, both: its owner's, who waits
        const std::uint64_t count = s.count.load(std::memory_order_relaxed);
        const std::uint64_t owner = s.owner.load(std::memory_order_relaxed);  // relaxed: as above
        // LG3: pairs with LG4. Failure: it was abandoned, and the next leader meets it.
        s.word.compare_exchange_strong(
            seen,
            make_submission(SubmissionState::ready, identity_slot(owner), count),
            std::memory_order_release,
            std::memory_order_relaxed);  // failure: as above
    }
}

void LogTable::fail(int error) noexcept {
    SHM_STEP("log.fail");
    // relaxed: published by the state
    control_->failure.store(static_cast<std::uint32_t>(error), std::memory_order_relaxed);
    // LG15: pairs with LG16.
    control_->state.store(static_cast<std::uint32_t>(LogState::failed), std::memory_order_release);
}

LogState LogTable::state() const noexcept {
    // LG16: pairs with LG15.
    return static_cast<LogState>(control_->state.load(std::memory_order_acquire));
}

}  // namespace telpher::shm

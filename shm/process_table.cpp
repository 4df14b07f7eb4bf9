#include "shm/process_table.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace telpher::shm {
namespace {

// relaxed failure everywhere: the value is only compared again
bool change(Word& word, std::uint64_t from, std::uint64_t to) noexcept {
    // J1: pairs with J2. Each state of a slot is seen with everything that was done in the state
    // before.
    return word.compare_exchange_strong(
        from, to, std::memory_order_seq_cst, std::memory_order_relaxed);
}

void describe_self(ProcessRecord& record) {
    // relaxed, all: published by the CAS to LIVE (J1)
    record.pid.store(static_cast<std::uint64_t>(getpid()), std::memory_order_relaxed);
    record.pid_namespace.store(pid_namespace(), std::memory_order_relaxed);  // relaxed: as above
    record.start_time.store(process_start_time(static_cast<std::uint32_t>(getpid())),
                            std::memory_order_relaxed);                 // relaxed: as above
    record.uid.store(getuid(), std::memory_order_relaxed);              // relaxed: as above
    record.joined_ns.store(monotonic_ns(), std::memory_order_relaxed);  // relaxed: as above
    char name[sizeof record.command] = {};
    const int descriptor = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        const ssize_t got = read(descriptor, name, sizeof name - 1);
        for (ssize_t i = 0; i < got; ++i) {
            name[i] = name[i] < ' ' ? '\0' : name[i];
        }
        close(descriptor);
    }
    for (std::size_t i = 0; i < sizeof name; ++i) {
        // relaxed: text for people, a mixture does no harm
        std::atomic_ref<char>(record.command[i]).store(name[i], std::memory_order_relaxed);
    }
}

}  // namespace

void ProcessTable::start(Segment* segment) noexcept {
    segment_ = segment;
    records_ = reinterpret_cast<ProcessRecord*>(segment->region(RegionKind::processes).data());
    count_ = segment->processes_max();
}

std::uint32_t ProcessTable::join() {
    for (std::uint32_t slot = 0; slot < count_; ++slot) {
        ProcessRecord& record = records_[slot];
        SHM_STEP("process.join.look");
        // J2: pairs with J1.
        const std::uint64_t word = record.word.load(std::memory_order_seq_cst);
        if (process_state(word) != ProcessState::free) {
            continue;
        }
        SHM_STEP("process.join.lock");
        if (try_lock_byte(segment_->descriptor(), lock_offset(slot)) != LockResult::locked) {
            continue;
        }
        SHM_STEP("process.join.joining");
        const std::uint64_t epoch = process_epoch(word);
        const std::uint64_t joining = make_process_word(ProcessState::joining, epoch);
        if (!change(record.word, word, joining)) {
            unlock_byte(segment_->descriptor(), lock_offset(slot));
            continue;
        }
        SHM_STEP("process.join.reaping");
        // J3: pairs with J4. Our predecessor in this slot may have died while it helped.
        record.reaping.store(0, std::memory_order_seq_cst);
        describe_self(record);
        SHM_STEP("process.join.live");
        static_cast<void>(
            change(record.word, joining, make_process_word(ProcessState::live, epoch)));
        SHM_STEP("process.join.generation");
        segment_->header().join_generation.fetch_add(
            1, std::memory_order_relaxed);  // relaxed: a hint to look again
        return slot;
    }
    return kProcessesMax;
}

void ProcessTable::leave(std::uint32_t slot) noexcept {
    ProcessRecord& record = records_[slot];
    SHM_STEP("process.leave.swept");
    // J2: pairs with J1.
    const std::uint64_t word = record.word.load(std::memory_order_seq_cst);
    static_cast<void>(
        change(record.word, word, make_process_word(ProcessState::swept, process_epoch(word))));
    reuse(slot, slot);
    segment_->header().join_generation.fetch_add(
        1, std::memory_order_relaxed);  // relaxed: a hint to look again
    SHM_STEP("process.leave.unlock");
    unlock_byte(segment_->descriptor(), lock_offset(slot));
}

std::vector<ProcessFacts> ProcessTable::list() const {
    std::vector<ProcessFacts> all;
    for (std::uint32_t slot = 0; slot < count_; ++slot) {
        ProcessRecord& record = records_[slot];
        // J2: pairs with J1.
        const std::uint64_t word = record.word.load(std::memory_order_seq_cst);
        if (process_state(word) == ProcessState::free) {
            continue;
        }
        ProcessFacts facts;
        facts.slot = slot;
        facts.state = process_state(word);
        facts.epoch = process_epoch(word);
        facts.pid = static_cast<std::uint32_t>(
            record.pid.load(std::memory_order_relaxed));                     // relaxed: for people
        facts.joined_ns = record.joined_ns.load(std::memory_order_relaxed);  // relaxed: for people
        for (char& c : record.command) {
            const char letter =
                std::atomic_ref<char>(c).load(std::memory_order_relaxed);  // relaxed: for people
            if (letter == '\0') {
                break;
            }
            facts.command += letter;
        }
        all.push_back(std::move(facts));
    }
    return all;
}

bool ProcessTable::alive(std::uint64_t identity) const noexcept {
    const std::uint32_t slot = identity_slot(identity);
    if (slot >= count_) {
        return false;
    }
    // J2: pairs with J1.
    const std::uint64_t word = records_[slot].word.load(std::memory_order_seq_cst);
    return make_identity(slot, process_epoch(word)) == identity &&
           (process_state(word) == ProcessState::live ||
            process_state(word) == ProcessState::joining);
}

std::uint32_t ProcessTable::others(std::uint32_t me) const noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t slot = 0; slot < count_; ++slot) {
        // J2: pairs with J1.
        const ProcessState state =
            process_state(records_[slot].word.load(std::memory_order_seq_cst));
        count +=
            slot != me && (state == ProcessState::live || state == ProcessState::joining) ? 1 : 0;
    }
    return count;
}

std::uint64_t ProcessTable::judge(std::uint32_t slot, std::uint64_t gone) noexcept {
    Word& word = records_[slot].word;
    SHM_STEP("process.judge.word");
    // J2: pairs with J1. The word first, the lock second: a process that joins between the two has
    // another epoch, and the CAS fails.
    const std::uint64_t seen = word.load(std::memory_order_seq_cst);
    const std::uint64_t identity = make_identity(slot, process_epoch(seen));
    switch (process_state(seen)) {
        case ProcessState::dead:
            return identity;
        case ProcessState::joining:
        case ProcessState::live:
            break;
        default:
            return 0;
    }
    SHM_STEP("process.judge.lock");
    if (bug(Bug::no_reaper) ||
        (gone != identity && byte_is_locked(segment_->descriptor(), lock_offset(slot)))) {
        return 0;
    }
    SHM_STEP("process.judge.dead");
    return change(word, seen, make_process_word(ProcessState::dead, process_epoch(seen))) ? identity
                                                                                          : 0;
}

bool ProcessTable::begin_reaping(std::uint32_t me, std::uint64_t identity) noexcept {
    SHM_STEP("process.reap.announce");
    // J4: pairs with J5. Announced first, the word read again second; `reuse` reads the word first
    // and the announcements second: one of us sees the other.
    records_[me].reaping.store(identity, std::memory_order_seq_cst);
    SHM_STEP("process.reap.recheck");
    // J2: pairs with J1.
    const std::uint64_t word =
        records_[identity_slot(identity)].word.load(std::memory_order_seq_cst);
    if (word == make_process_word(ProcessState::dead, identity & kEpochMask)) {
        return true;
    }
    SHM_STEP("process.reap.withdraw");
    // J4: pairs with J5.
    records_[me].reaping.store(0, std::memory_order_seq_cst);
    return false;
}

void ProcessTable::end_reaping(std::uint32_t me, std::uint64_t identity, bool complete) noexcept {
    const std::uint32_t slot = identity_slot(identity);
    const std::uint64_t epoch = identity & kEpochMask;
    if (complete) {
        SHM_STEP("process.reap.swept");
        if (change(records_[slot].word,
                   make_process_word(ProcessState::dead, epoch),
                   make_process_word(ProcessState::swept, epoch))) {
            segment_->header().reaps.fetch_add(1,
                                               std::memory_order_relaxed);  // relaxed: a statistic
        }
    }
    SHM_STEP("process.reap.withdraw");
    // J4: pairs with J5.
    records_[me].reaping.store(0, std::memory_order_seq_cst);
    reuse(slot, me);
}

void ProcessTable::reuse(std::uint32_t slot, std::uint32_t me) noexcept {
    SHM_STEP("process.reuse.word");
    // J2: pairs with J1.
    const std::uint64_t word = records_[slot].word.load(std::memory_order_seq_cst);
    if (process_state(word) != ProcessState::swept) {
        return;
    }
    const std::uint64_t identity = make_identity(slot, process_epoch(word));
    for (std::uint32_t k = 0; k <= count_; ++k) {
        if (k == me) {
            continue;
        }
        SHM_STEP("process.reuse.helper");
        // J5: pairs with J4.
        if (records_[k].reaping.load(std::memory_order_seq_cst) != identity) {
            continue;
        }
        // J2: pairs with J1. The visitor's record has no word of its own: it is live while its byte
        // is locked.
        const ProcessState state = process_state(records_[k].word.load(std::memory_order_seq_cst));
        const bool live = k == count_
                              ? byte_is_locked(segment_->descriptor(), kVisitorLock)
                              : state == ProcessState::live || state == ProcessState::joining;
        if (live) {
            return;  // a helper is still at it, or stopped in it: the slot waits, nobody else does
        }
    }
    SHM_STEP("process.reuse.free");
    static_cast<void>(change(
        records_[slot].word, word, make_process_word(ProcessState::free, process_epoch(word) + 1)));
}

}  // namespace telpher::shm

#pragma once
// Who is attached, and who has died.
//
//   Truth      an OFD lock on one byte per process on the segment's own descriptor. The kernel
//              drops it when the last thread is gone. A stopped process holds it: it is alive.
//   Word       state | epoch; FREE -> JOINING -> LIVE -> DEAD -> SWEPT -> FREE(epoch+1), each one
//              CAS.
//   Join       the byte first, the word second: a slot whose word is not FREE has had a lock
//              holder.
//   Reaping    is helped, never owned: any number of processes may reap one dead; each names it in
//              its own `reaping` word before its first step, and a slot is reused only when nobody names
//              it.
//   Crash      every transition may be the last: what follows is done by whoever looks next.
//              Checked by tests/model/reap.pml and tests/crash/.

#include "telpher/result.hpp"

#include "shm/layout.hpp"
#include "shm/segment.hpp"

#include <cstdint>
#include <vector>

namespace telpher::shm {

// One process, as listed.
struct ProcessFacts {
    std::uint32_t slot = 0;
    std::uint32_t pid = 0;
    ProcessState state = ProcessState::free;
    std::uint64_t epoch = 0;
    std::uint64_t joined_ns = 0;
    std::string command;
};

class ProcessTable {
  public:
    void start(Segment* segment) noexcept;

    // Takes a free slot for this process. kProcessesMax when none is free.
    [[nodiscard]] std::uint32_t join();
    // LIVE -> SWEPT of our own slot, then FREE if nobody reaps it. All we held must have been given
    // back.
    void leave(std::uint32_t slot) noexcept;

    [[nodiscard]] ProcessRecord& record(std::uint32_t slot) const noexcept {
        return records_[slot];
    }
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    // The record used by an attacher that found no free slot, to reap from (kVisitorLock is held).
    [[nodiscard]] std::uint32_t visitor() const noexcept { return count_; }
    [[nodiscard]] std::vector<ProcessFacts> list() const;
    // Whether that life of that slot goes on, as far as anybody has noticed.
    [[nodiscard]] bool alive(std::uint64_t identity) const noexcept;
    // LIVE or JOINING processes other than `me`.
    [[nodiscard]] std::uint32_t others(std::uint32_t me) const noexcept;

    // DEAD if the process of `slot` has died, without waiting. `gone` = the identity whose pidfd
    // said so already, or 0: the slot may have its next life by now, of which the pidfd says
    // nothing. Returns the identity of a dead process that still needs reaping, or 0.
    [[nodiscard]] std::uint64_t judge(std::uint32_t slot, std::uint64_t gone) noexcept;
    // Announces in record `me` that it helps to reap `identity`. False: it is reaped already.
    [[nodiscard]] bool begin_reaping(std::uint32_t me, std::uint64_t identity) noexcept;
    void end_reaping(std::uint32_t me, std::uint64_t identity, bool complete) noexcept;
    // SWEPT -> FREE if no live helper still names it.
    void reuse(std::uint32_t slot, std::uint32_t me) noexcept;

    [[nodiscard]] std::uint64_t lock_offset(std::uint32_t slot) const noexcept {
        return kLockBase + slot;
    }

  private:
    Segment* segment_ = nullptr;
    ProcessRecord* records_ = nullptr;
    std::uint32_t count_ = 0;
};

}  // namespace telpher::shm

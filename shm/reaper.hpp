#pragma once
// Gives back what a dead process held.
//
//   Pass       every chunk of the segment: OWNED and CLAIMED by the dead become FREE; OFFERED by
//              the dead and named by one of its in-flight words is freed unless its ring holds it,
//              or, on its way into a returns lane, committed there; other OFFERED chunks are committed and stay.
//              Requests that the dead had CLAIMED become FAILED, and their callers hear of it; answers
//              without a caller, whoever's, are freed (call.hpp). What the dead ran or offered for the
//              idempotency store is resolved before (idempotency.hpp); a response that it keeps stays. Then thread records, then waiters, then
//              (last) the attached bits, which keep rings in place while in-flight words are being
//              resolved.
//              Messages that the dead had leased, or carried on their way back, are parked: a pass of the
//              lease keeper follows (lease_keeper.hpp).
//   Threads    one reaping at a time per process (the attachment's mutex); any number of processes
//              at once.
//   Progress   every step is a CAS or an idempotent store; nobody waits for a reaper.
//   Limit      a data segment that cannot be mapped here leaves the dead DEAD, for another to reap.
//   Crash      a reaper killed or stopped at any step leaves the dead DEAD, and the next one starts
//              again. A failed CAS on a chunk re-reads it: another helper, or the message's
//              consumer, was faster.

#include "shm/call.hpp"
#include "shm/chunk_pool.hpp"
#include "shm/directory.hpp"
#include "shm/layout.hpp"
#include "shm/lease_keeper.hpp"
#include "shm/process_table.hpp"

#include <cstdint>
#include <span>

namespace telpher::shm {

class Reaper {
  public:
    void start(ProcessTable* table,
               std::span<ThreadRecord> threads,
               Directory* directory,
               ChunkPool* pool,
               bool visits = false) noexcept;

    // Looks whether the process of `slot` has died, and reaps it if so, announcing so in record
    // `me`. `gone` as in ProcessTable::judge. Returns whether it reaped.
    bool help(std::uint32_t slot, std::uint32_t me, std::uint64_t gone = 0);
    // `help` for every slot but `me`; also frees slots that wait for reuse. Returns the number
    // reaped.
    std::uint32_t help_all(std::uint32_t me);

  private:
    [[nodiscard]] bool sweep(std::uint64_t identity, std::uint32_t me);
    // False, both: it must be left to another.
    [[nodiscard]] bool sweep_chunks(std::uint32_t slot,
                                    std::uint32_t me,
                                    std::span<const std::uint64_t> inflight);
    [[nodiscard]] bool sweep_chunk(std::uint32_t chunk,
                                   std::uint32_t slot,
                                   std::uint32_t me,
                                   std::span<const std::uint64_t> inflight);
    enum class Settled { no, yes, again, left };  // left: to another helper
    [[nodiscard]] Settled sweep_special(std::uint32_t chunk,
                                        std::uint64_t seen,
                                        std::uint32_t slot,
                                        std::span<const std::uint64_t> inflight);
    [[nodiscard]] Settled sweep_leased(std::uint32_t chunk,
                                       std::uint64_t seen,
                                       std::uint32_t slot,
                                       std::span<const std::uint64_t> inflight);
    [[nodiscard]] bool settle_call(std::uint32_t chunk, std::uint64_t seen, std::uint32_t slot);
    [[nodiscard]] bool awaited(std::uint32_t chunk, std::uint64_t dest) const;
    [[nodiscard]] Settled condemn(std::uint32_t chunk,
                                  std::uint64_t seen,
                                  std::uint64_t dest,
                                  std::uint32_t me) const;
    enum class Place { committed, nowhere, unknown, retired };
    [[nodiscard]] Place place_of(std::uint32_t chunk, std::uint64_t ref);
    [[nodiscard]] Place complete_return(const Found& found, std::uint64_t ref);
    void retire_victim(std::uint64_t ref);
    void reap_subscribers(std::uint64_t identity);
    void count_abandoned(std::uint64_t dest) const noexcept;
    void sweep_waiters(std::uint64_t identity);
    void clear_attached(std::uint32_t slot) const noexcept;

    ProcessTable* table_ = nullptr;
    std::span<ThreadRecord> threads_;
    Directory* directory_ = nullptr;
    ChunkPool* pool_ = nullptr;
    Calls calls_;
    Leases leases_;
    bool visits_ = false;  // has no slot, and cannot pin a ring
};

}  // namespace telpher::shm

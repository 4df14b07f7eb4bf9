#pragma once
// Calls: a request is answered on its own chunk's word.
//
//   Word       OWNED(caller) -> OFFERED -> CLAIMED(server) -> REPLIED(caller)     commit, claim, answer
//              OFFERED -> OWNED(caller), CLAIMED(server) -> ORPHANED(server)      the caller gives up
//              CLAIMED(server) -> FAILED(caller)                                  its reaper
//              FAILED(caller) -> OFFERED                        the caller sends it again (returns lane)
//              Each of two that meet moves the word by a CAS: one wins. While a call is out, only its
//              caller, the caller's reaper and (ORPHANED) its server free the chunk, so that the
//              generation tells a stale reference, and nobody answers a later call.
//   Second     a response that does not fit, or whose request must stay whole (idempotent functions),
//   chunk      lies in a chunk of its own: the request's block names it, then its word goes from
//              OWNED(server) straight to REPLIED(caller), then the request is answered. Whoever frees
//              a request frees the chunk that it names first.
//   Waking     the request names its caller's thread; a thread that sleeps for an answer says so in its
//              record (`awaits_call`), never in the chunk, which may have its next owner by then.
//   Threads    any number. Progress: lock-free; nobody waits for another's next step.
//   Crash      server: until its answer's CAS the call is CLAIMED by the dead, and the reaper makes it
//              FAILED; after it the answer stands. caller: what is queued is claimed and discarded
//              by a server; what is answered or failed is freed by whoever finds the caller's life over:
//              the server after its CAS, or any reaper in its pass over all chunks. reaper: it changes
//              one word by a CAS; the next one starts again.
//   Checked by tests/model/call.pml and tests/crash/call_*.cpp. Not seen by tests/tools/memory_orders_test.py
//              (it has no driver for calls; x86: each is a locked instruction or a load): CW1 CW2 CW3 CW4
//              CW5 CW6.

#include "shm/call_layout.hpp"
#include "shm/chunk_pool.hpp"
#include "shm/doorbell.hpp"
#include "shm/layout.hpp"
#include "shm/process_table.hpp"

#include <cstdint>
#include <span>

namespace telpher::shm {

class Calls {
  public:
    Calls() = default;
    Calls(ChunkPool* pool, ProcessTable* table, std::span<ThreadRecord> threads) noexcept
        : pool_(pool), table_(table), threads_(threads) {}

    [[nodiscard]] CallBlock& block(std::uint32_t chunk) const noexcept {
        return *reinterpret_cast<CallBlock*>(reinterpret_cast<std::byte*>(pool_->header(chunk)) +
                                             kMessageOffset);
    }
    // The message bytes of a chunk that carries a call.
    [[nodiscard]] std::span<std::byte> message(std::uint32_t chunk) const noexcept {
        return pool_->message(chunk).subspan(sizeof(CallBlock));
    }

    // ---- the caller ---------------------------------------------------------------------------
    // Fills the block of a chunk that is the caller's, before it is committed.
    void open(std::uint32_t chunk,
              std::uint64_t client,
              std::uint64_t thread,
              std::uint64_t deadline_ns) const noexcept;
    // Whose request it is, for the idempotency store; behind `open`.
    void sign(std::uint32_t chunk, std::uint64_t principal, std::uint64_t origin) const noexcept {
        // relaxed, both: published with the rest of the block
        block(chunk).principal.store(principal, std::memory_order_relaxed);
        block(chunk).origin.store(origin, std::memory_order_relaxed);  // relaxed: as above
    }
    // Of a REPLIED call: whether its server has put it off.
    [[nodiscard]] bool deferred(std::uint32_t chunk) const noexcept {
        // relaxed: written before REPLIED, which the caller has seen
        return block(chunk).outcome.load(std::memory_order_relaxed) == kCallDeferred;
    }

    enum class Look { pending, replied, failed, lost };  // lost: damage, the word is not ours
    [[nodiscard]] Look look(std::uint32_t chunk, std::uint32_t me) const noexcept;
    // The same after saying `awaits_call`: its answer rings, or is seen here.
    [[nodiscard]] Look look_before_sleep(std::uint32_t chunk, std::uint32_t me) const noexcept;
    // Whether nobody has begun it.
    [[nodiscard]] bool queued(std::uint32_t chunk) const noexcept;
    // The caller wants no answer any more. unsent: the chunk is OWNED by it again, and nobody had
    // taken the request; orphaned: the server's; ended: look.
    enum class GivenUp { unsent, orphaned, ended };
    enum class Give {
        up,
        up_unless_begun
    };  // the second leaves a request that a server has: `ended`
    [[nodiscard]] GivenUp give_up(std::uint32_t chunk,
                                  std::uint32_t me,
                                  Give how = Give::up) const noexcept;
    // Of a REPLIED call: the chunk that holds the response; kNoChunk: it cannot be reached here, or
    // is not ours (damage).
    [[nodiscard]] std::uint32_t response(std::uint32_t chunk, std::uint32_t me) const noexcept;
    // Makes a FAILED call ready to be committed again.
    void reopen(std::uint32_t chunk) const noexcept;

    // ---- the server ---------------------------------------------------------------------------
    // Of a claimed request: whether its caller's process lives, as far as anybody has noticed.
    [[nodiscard]] bool wanted(std::uint32_t chunk) const noexcept;
    // Hands `second`, OWNED by the server and filled, to the caller of `chunk`, which names it.
    void hand_over(std::uint32_t chunk, std::uint32_t second) const noexcept;
    // CLAIMED(me) -> REPLIED, and wakes. False: the caller had given up, the chunk is ours to free.
    [[nodiscard]] bool answer(std::uint32_t chunk, std::uint32_t me) const noexcept;

    // ---- whoever frees ------------------------------------------------------------------------
    // Of a chunk that is ours: frees the chunk that it names as its response, if that is still the caller's.
    void free_second(std::uint32_t chunk) const noexcept;
    // Of any chunk: frees that and then `chunk`, if its word is still `seen`. False: it is not.
    bool discard(std::uint32_t chunk, std::uint64_t seen) const noexcept;
    // For reapers. CLAIMED(dead), seen as `seen` -> FAILED(caller), and wakes; freed if the caller is
    // gone, too. False: the word has changed.
    bool fail(std::uint32_t chunk, std::uint64_t seen) const noexcept;
    // For reapers: a REPLIED or FAILED word whose caller is gone.
    [[nodiscard]] bool deserted(std::uint32_t chunk) const noexcept;

  private:
    [[nodiscard]] Word& word(std::uint32_t chunk) const noexcept {
        return pool_->header(chunk)->word;
    }
    [[nodiscard]] Look judge(std::uint64_t seen, std::uint32_t me) const noexcept;
    void wake_caller(std::uint64_t thread) const noexcept;
    void free_named(std::uint64_t ref, std::uint64_t client) const noexcept;

    ChunkPool* pool_ = nullptr;
    ProcessTable* table_ = nullptr;
    std::span<ThreadRecord> threads_;
};

// ---- the paths of every call -------------------------------------------------------------------

inline void Calls::open(std::uint32_t chunk,
                        std::uint64_t client,
                        std::uint64_t thread,
                        std::uint64_t deadline_ns) const noexcept {
    CallBlock& b = block(chunk);
    // relaxed, all: the chunk is ours, and published by its commit (ring_inline.hpp:C0)
    b.client.store(client, std::memory_order_relaxed);
    b.thread.store(thread, std::memory_order_relaxed);         // relaxed: as above
    b.deadline.store(deadline_ns, std::memory_order_relaxed);  // relaxed: as above
    b.reply.store(kNoRef, std::memory_order_relaxed);          // relaxed: as above
    b.outcome.store(0, std::memory_order_relaxed);             // relaxed: as above
}

inline Calls::Look Calls::judge(std::uint64_t seen, std::uint32_t me) const noexcept {
    switch (word_state(seen)) {
        case ChunkState::offered:
        case ChunkState::claimed:
            return Look::pending;
        case ChunkState::replied:
            return word_owner(seen) == me ? Look::replied : Look::lost;
        case ChunkState::failed:
            return word_owner(seen) == me ? Look::failed : Look::lost;
        default:
            return Look::lost;
    }
}

inline Calls::Look Calls::look(std::uint32_t chunk, std::uint32_t me) const noexcept {
    SHM_STEP("call.look");
    // CW2: pairs with CW1. Who sees REPLIED sees the response, and the chunk it lies in.
    return judge(word(chunk).load(std::memory_order_acquire), me);
}

inline void Calls::wake_caller(std::uint64_t thread) const noexcept {
    const std::uint32_t index = call_thread(thread);
    if (index >= threads_.size()) [[unlikely]] {
        return;  // damage
    }
    SHM_STEP("call.wake.look");
    // CW4: pairs with src/broker/call_wait.hpp:CW3. Our CAS, then this look; its mark, then its look at the
    // word: in the single order of seq_cst one of us sees the other.
    if (threads_[index].awaits_call.load(std::memory_order_seq_cst) != 0) [[unlikely]] {
        ring_doorbell(threads_[index]);
    }
}

}  // namespace telpher::shm

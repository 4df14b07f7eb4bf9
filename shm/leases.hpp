#pragma once
// Leases: a polled message is lent, and comes back unless its consumer acknowledges it.
//
//   Word       OFFERED -> CLAIMED(consumer)                 the ring's claim: the lease begins
//              CLAIMED -> OWNED(consumer) or LINGERING      acknowledged
//              CLAIMED -> CLAIMED, next generation          extended
//              CLAIMED -> PARKED(reason), next generation   given back, expired, or its consumer died
//              PARKED -> OFFERED(who brings it), lane       handed out again
//              OWNED(producer) -> PARKED(none), next generation   offered for later: one store
//              CLAIMED or PARKED -> MOVING(mover) -> OFFERED of the dead-letter queue
//              OFFERED or CLAIMED one-way request -> MOVING(mover) -> PARKED of its function's dead letters
//              LINGERING -> FREE                            nobody reads it any more
//              Each but the stores of a MOVING chunk's mover is one CAS on the word: of a consumer that
//              acknowledges, one that expires the lease and a reaper exactly one wins. Each that changes
//              who holds the chunk raises the generation, so that a late party always fails.
//   Readers    a consumer notes itself in the chunk when its lease begins. A lease that expires leaves
//              the note: its holder may be stopped in the middle of reading. A message that is done with
//              while another is noted LINGERs until that one says that it is through, or is dead. So
//              messages are never copied for a redelivery, and a redelivery never waits for memory.
//   Time       coarse monotonic clock, microseconds. Who looks for expired leases only reads the chunk
//              before its CAS: the chunk may have its next life by then. A lease whose note or deadline
//              does not name the word's generation has not been noted yet, and does not expire; neither does
//              one that found no place for its note, because two holders of expired leases are still
//              reading (then the message waits for this consumer, or its death).
//   Threads    any number. Progress: lock-free; one exception: who is stopped between the CAS and
//              the next steps of a claim, a return or a move keeps that one message until it goes on or dies.
//   Crash      PARKED is nobody's, and found by a pass over all chunks (`lease_keeper.hpp`): after each
//              death, and when the entry's `lease_look` says so. OFFERED and in flight: the reaper frees it
//              if this was its first offer, else it parks it. MOVING, CLAIMED: the reaper parks it, and
//              takes the notes of the dead away.
//   Checked by tests/crash/lease_steps_test.cpp and tests/crash/lease_kills_test.cpp. Not seen by
//              tests/tools/memory_orders_test.py, which has no driver for leases: LE1 to LE11; x86: each is a
//              locked instruction or a load.

#include "telpher/lease.hpp"
#include "telpher/status.hpp"

#include "shm/chunk_pool.hpp"
#include "shm/lease_layout.hpp"
#include "shm/log_layout.hpp"
#include "shm/ring.hpp"

#include <cstdint>
#include <span>

namespace telpher::shm {

// Microseconds of the clock that leases are measured by.
std::uint64_t lease_clock_us() noexcept;

// Reads a word of a chunk that may have its next life, in which it is not a lease's and its owner is
// writing: what was read is used only if the chunk's word is the same afterwards, which a CAS decides.
// ThreadSanitizer knows nothing of that and is told not to look (as src/broker/queue_peek.cpp).
[[nodiscard]] std::uint64_t glance(const Word& word) noexcept;

class Leases {
  public:
    Leases() = default;
    Leases(ChunkPool* pool, std::uint32_t me) noexcept : pool_(pool), me_(me) {}

    [[nodiscard]] LeaseBlock& block(std::uint32_t chunk) const noexcept {
        return *reinterpret_cast<LeaseBlock*>(reinterpret_cast<std::byte*>(pool_->header(chunk)) +
                                              kMessageOffset);
    }

    // ---- the producer -------------------------------------------------------------------------
    // Fills the block of a chunk that is ours, before each attempt to commit it.
    void open(std::uint32_t chunk) const noexcept;
    // Of a chunk that is ours and open: its message is in the domain's log, under that number, and takes that there.
    void set_logged(std::uint32_t chunk, std::uint64_t lsn, LoggedShare share) const noexcept;
    // Of the same: it was delivered so often before.
    void set_deliveries(std::uint32_t chunk, std::uint32_t deliveries) const noexcept;
    // Leaves a chunk that is ours and open to the queue of `dest`, not to be handed out before `due_us`. From its
    // last store on it is sent, and not ours.
    void park_offer(std::uint32_t chunk, std::uint64_t dest, std::uint64_t due_us) const noexcept;

    // ---- the consumer -------------------------------------------------------------------------
    struct Begun {
        std::uint32_t deliveries = 0;  // this one counted
        ReturnReason reason = ReturnReason::none;
        std::uint64_t sequence = 0;
    };
    // Notes a lease on a chunk whose claim left `claimed`. `sequence`: of a message that came from the
    // queue itself; 0: it came back, and keeps its own.
    // Killed before it: the message comes back, and that delivery is not counted.
    [[nodiscard]] Begun begin(std::uint32_t chunk,
                              std::uint64_t claimed,
                              std::uint64_t until_us,
                              std::uint64_t sequence) const noexcept;
    // The message is done with. ok, lease_expired; the chunk is not ours any more in either case.
    Status acknowledge(std::uint32_t chunk,
                       std::uint64_t claimed,
                       PoolCursor* cursor) const noexcept;
    // The lease holds until `until_us` from now on; `claimed` is the word from here on. ok,
    // lease_expired (nothing changed: `lose` it).
    [[nodiscard]] Status extend(std::uint32_t chunk,
                                std::uint64_t& claimed,
                                std::uint64_t until_us) const noexcept;
    // The message comes back, not before `due_us` (0: at once); `parked` is its word from here on. ok,
    // lease_expired. The chunk is not ours any more in either case.
    [[nodiscard]] Status park(std::uint32_t chunk,
                              std::uint64_t claimed,
                              ReturnReason reason,
                              std::uint64_t due_us,
                              std::uint64_t* parked) const noexcept;
    // After lease_expired: we do not read it any more.
    void lose(std::uint32_t chunk, std::uint64_t claimed) const noexcept;

    // ---- whoever looks after them -------------------------------------------------------------
    // When the lease `claimed` ends, in us; ~0: never, it is not noted (yet). Of a chunk that may have its
    // next life already: then the word has changed.
    [[nodiscard]] std::uint64_t ends_at(std::uint32_t chunk, std::uint64_t claimed) const noexcept;
    // When a PARKED message is due.
    [[nodiscard]] std::uint64_t due_at(std::uint32_t chunk, std::uint64_t parked) const noexcept;
    // Of a chunk that may have its next life already, too.
    [[nodiscard]] std::uint64_t sequence_seen(std::uint32_t chunk) const noexcept;
    [[nodiscard]] std::uint64_t dead_seen(std::uint32_t chunk) const noexcept;
    // Its number in the domain's log, 0 = it is not there.
    [[nodiscard]] std::uint64_t logged_seen(std::uint32_t chunk) const noexcept;
    // What its record takes in the log; of one that is in it.
    [[nodiscard]] LoggedShare share_seen(std::uint32_t chunk) const noexcept;
    [[nodiscard]] std::uint32_t deliveries_seen(std::uint32_t chunk) const noexcept;
    // Ends the lease `claimed`, whoever has it. False: the word has changed.
    [[nodiscard]] bool expire(std::uint32_t chunk,
                              std::uint64_t claimed,
                              std::uint64_t* parked) const noexcept;
    // Brings a PARKED message into its queue's returns lane. ok, queue_full (PARKED again), none
    // (another was faster), corrupt.
    [[nodiscard]] Status bring_back(std::uint32_t chunk,
                                    std::uint64_t parked,
                                    Ring& lane,
                                    ThreadRecord& thread) const noexcept;
    // Takes a CLAIMED (by us) or PARKED chunk for a way of several steps; nobody but our reaper changes
    // its word afterwards. False: another was faster.
    [[nodiscard]] bool take(std::uint32_t chunk, std::uint64_t& seen) const noexcept;
    // Commits a chunk that we took to `ring`, whose destination is `dest`. ok, queue_full and others: it
    // is MOVING again.
    [[nodiscard]] Status carry(std::uint32_t chunk,
                               std::uint64_t& taken,
                               Ring& ring,
                               std::uint64_t dest,
                               ThreadRecord& thread) const noexcept;
    // A one-way request that nobody handles any more becomes a message PARKED in the queue of its dead
    // letters: OFFERED (in its ring), CLAIMED (by us, or by the dead) or MOVING of the dead -> MOVING(us) ->
    // PARKED; `seen` is its word from here on. A call's block becomes a lease's: the message lies where it
    // lay. False: the word has changed.
    //   crash  its destination is its function: our reaper does it again. Its dead letters: parked there.
    struct Letter {
        std::uint64_t dest;  // of the dead letters' queue
        std::uint32_t from;  // the function's entry
        ReturnReason reason;
        std::uint64_t order;  // among those that are condemned together; 0 = alone
    };
    // Whether it is such a message, and has not been on its way into the queue: not a later return's.
    [[nodiscard]] bool waits_for_its_turn(std::uint32_t chunk) const noexcept;
    // Of one that we took (MOVING): from here on it is as any other of its queue.
    void begin_its_turn(std::uint32_t chunk, std::uint64_t taken) const noexcept;
    [[nodiscard]] bool condemn(std::uint32_t chunk,
                               std::uint64_t& seen,
                               const Letter& letter) const noexcept;
    // Frees a chunk whose word is `seen`, or leaves it LINGERING to its readers. False: the word has
    // changed.
    bool settle(std::uint32_t chunk, std::uint64_t seen) const noexcept;
    // Frees a LINGERING chunk if nobody reads it.
    void free_if_unread(std::uint32_t chunk, std::uint64_t seen) const noexcept;
    // For reapers: process slot `dead` reads nothing any more. False: the word is not `seen` any more.
    [[nodiscard]] bool forget_reader(std::uint32_t chunk,
                                     std::uint64_t seen,
                                     std::uint32_t dead) const noexcept;
    // For reapers: CLAIMED, MOVING or OFFERED of the dead -> PARKED. False: the word has changed.
    bool park_for_dead(std::uint32_t chunk, std::uint64_t seen) const noexcept;
    // Whether an OFFERED word is the first offer of its message.
    [[nodiscard]] bool first_offer(std::uint32_t chunk, std::uint64_t word) const noexcept;
    // Whether a message that we claimed from a returns lane is handed out for the first time: it had been
    // offered for later.
    [[nodiscard]] bool first_time(std::uint32_t chunk) const noexcept {
        // relaxed: written before OFFERED, which our claim has seen
        return static_cast<std::uint8_t>(block(chunk).returned.load(std::memory_order_relaxed)) ==
               0;
    }
    // Whether anybody but the lease `but` is noted as a reader; 0: anybody at all.
    [[nodiscard]] bool read_by_others(std::uint32_t chunk, std::uint64_t but) const noexcept;

  private:
    [[nodiscard]] Word& word(std::uint32_t chunk) const noexcept {
        return pool_->header(chunk)->word;
    }
    // The note of our lease `generation`; null: there was no place for it.
    [[nodiscard]] Word* note_of(std::uint32_t chunk, std::uint64_t generation) const noexcept;
    void note(std::uint32_t chunk, std::uint64_t generation) const noexcept;
    void end_logged(std::uint64_t lsn) const noexcept;
    void take_note_away(std::uint32_t chunk, std::uint64_t generation) const noexcept;

    ChunkPool* pool_ = nullptr;
    std::uint32_t me_ = 0;
};

// The reason that a PARKED word carries in its owner field.
constexpr std::uint64_t make_parked(ReturnReason reason, std::uint64_t generation) {
    return make_word(ChunkState::parked, static_cast<std::uint32_t>(reason), generation);
}
constexpr ReturnReason parked_reason(std::uint64_t word) {
    return static_cast<ReturnReason>(static_cast<std::uint8_t>(word_owner(word)));
}

}  // namespace telpher::shm

#pragma once
// CCR, the crash-consistent ring: a bounded first-in-first-out queue of chunks.
//
//   Shape      `slots` positions (a power of two >= capacity + 1), 16 bytes each, four to a line;
//              lines are permuted so that neighbours in time are not neighbours in memory.
//   Commit     one 16-byte CAS on the slot.      Claim: one CAS on the chunk's own word.
//              head and tail are hints: they may lag by laps and move backwards; they never lead.
//   Threads    any number of producers and consumers, in any number of processes.
//   Progress   lock-free; nobody ever waits for another party's next step.
//   Crash      commit: before its CAS the chunk is OFFERED and named by the thread's in-flight
//              word, and the reaper frees it if the ring does not hold it; after the CAS it is in
//              the queue. claim: before its CAS nothing happened; after it the chunk is CLAIMED by
//              the dead and the reaper frees it. A hint not raised is raised by whoever comes next.
//   Order      slots fill in position order and are claimed in position order, so that EMPTY and
//              FULL are read at one slot. Close commits a sentinel that every later producer must
//              pass.
//   Checked by tests/model/ring.pml, tests/crash/, TSan over one mapping (tests/unit/shm/), and each
//              memory order by tests/tools/memory_orders_test.py, but for these:
//   C0 R4      not seen by TSan: C1 and R5 carry the same bytes; all four together are seen
//   R5         not seen by TSan: R4 carries the bytes; the pair: model ring/bug-ref-before-position
//              and ring/bug-position-not-reread
//   C3 W12     not seen by TSan: it has no store buffers; model wait/bug-look-before-bit
//   R1         not seen by TSan: hints are atomics; model ring/bug-head-before-claim
//   R2         not seen by TSan: the slots read next depend on it by address; no processor goes ahead
//   R3         not seen by TSan: a pair that is not one fails the CAS; a sentinel, torn or not, is
//              the end
//   C2         not seen by TSan: read by the reaper of a dead thread, after the kernel's lock

#include "telpher/status.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/cpu.hpp"
#include "shm/base/step.hpp"
#include "shm/chunk_pool.hpp"
#include "shm/layout.hpp"

#include <cstdint>

namespace telpher::shm {

class Ring {
  public:
    Ring() = default;
    // `control` points at a ring block of `slots` slots inside the mapping; both were validated.
    Ring(RingControl* control,
         std::uint32_t slots,
         std::uint32_t capacity,
         std::uint64_t dest,
         ChunkPool* pool) noexcept;

    // Puts `chunk`, OWNED by `me`, at the tail. ok (position in `*position`), queue_full,
    // queue_not_found (closed), corrupt. On any failure the chunk is OWNED by `me` again. `note`, if any,
    // names the chunk as it is OFFERED, from before that until after the CAS, and kNoRef before a failed
    // attempt is undone (idempotency.hpp).
    [[nodiscard]] Status commit(std::uint32_t chunk,
                                std::uint32_t me,
                                ThreadRecord& thread,
                                std::uint64_t* position,
                                Word* note = nullptr) noexcept;
    // Takes the oldest chunk. ok (`*chunk`, `*position`), queue_empty (also if others took each of tens of
    // thousands first), queue_not_found (closed and drained), out_of_memory (it lies in a data segment that this process cannot map: it stays),
    // corrupt.
    // `claimed`, if given: the chunk's word as the claim left it.
    [[nodiscard]] Status claim(std::uint32_t me,
                               std::uint32_t* chunk,
                               std::uint64_t* position,
                               std::uint64_t* claimed = nullptr) noexcept;
    // Fetches the slot that the next `commit` will probably write, while the message is being
    // encoded.
    void prepare_commit() const noexcept {
        // relaxed: only a prefetch follows
        prefetch_for_write(&slot(control_->tail.load(std::memory_order_relaxed)));
    }
    // Fetches the first lines of the chunk that the next `claim` will probably take, for who will write
    // them, too: a look at them first would fetch them twice.
    void prepare_claim() const noexcept {
        // relaxed, all: only prefetches follow
        const std::uint64_t h = control_->head.load(std::memory_order_relaxed);
        const Slot& s = slot(h);
        if (s.pos.load(std::memory_order_relaxed) == h + 1) {  // relaxed: as above
            const std::uint32_t chunk =
                ref_chunk(s.ref.load(std::memory_order_relaxed));  // relaxed: as above
            if (pool_->valid(chunk)) {
                const auto* line = reinterpret_cast<const std::byte*>(pool_->header(chunk));
                prefetch_for_write(line);
                prefetch_for_write(line + kCacheLine);
                prefetch_for_write(line + 2 * kCacheLine);
            }
        }
    }
    // The oldest unclaimed chunk from position `h` on (which moves there), left where it is. ok, with
    // its word as it was; queue_empty, queue_not_found (the end), out_of_memory, corrupt. Who reads the chunk then
    // must find the same word afterwards: it may be claimed and used again at any moment.
    [[nodiscard]] Status front(std::uint64_t& h,
                               std::uint32_t* chunk,
                               std::uint64_t* word) const noexcept;
    // Commits `ref`, which its dead owner left OFFERED to this ring, unless it is there already: for
    // reapers, any number at once. A second slot of the same reference is passed over by claims
    // (tests/model/lane.pml). ok, queue_full, corrupt.
    [[nodiscard]] Status complete(std::uint64_t ref) noexcept;
    // Commits `ref`, whose chunk its bringer made OFFERED and named as in flight. ok, queue_full,
    // queue_not_found (closed), corrupt; on any failure the chunk is the bringer's, who says what becomes
    // of it.
    [[nodiscard]] Status put(std::uint64_t ref) noexcept;
    // Commits the close sentinel. ok also if it is there already; corrupt.
    [[nodiscard]] Status close() noexcept;

    // Whether `claim` would find something now (a message or the end). Advisory.
    [[nodiscard]] bool readable() const noexcept;
    // Whether `commit` would find room now, or the end. Walks the head when the hint says full.
    [[nodiscard]] bool writable() noexcept;
    // The same two questions to the hints alone: cheap, for spinning. May be wrong either way for a
    // moment; `claim` and `commit` repair a hint that a killed process left behind.
    [[nodiscard]] bool maybe_readable() const noexcept {
        // R2: pairs with R1.
        const std::uint64_t h = control_->head.load(std::memory_order_acquire);
        // relaxed: `claim` looks again
        return slot(h).pos.load(std::memory_order_relaxed) >= h + 1;
    }
    [[nodiscard]] std::uint64_t room_hint() const noexcept {
        // relaxed, both: `commit` looks again
        const std::uint64_t h = control_->head.load(std::memory_order_relaxed);
        const std::uint64_t t =
            control_->tail.load(std::memory_order_relaxed);  // relaxed: as above
        return t > h ? (t - h < capacity_ ? capacity_ - (t - h) : 0) : capacity_;
    }
    // Whether a committed position holds `ref`. For the reaper.
    [[nodiscard]] bool holds(std::uint64_t ref) const noexcept;
    // Messages ever committed and ever claimed; both exact when nobody is in the middle of an
    // operation.
    [[nodiscard]] std::uint64_t committed() const noexcept;
    [[nodiscard]] std::uint64_t claimed() const noexcept;
    [[nodiscard]] bool closed() const noexcept;

    [[nodiscard]] RingControl& control() const noexcept { return *control_; }
    [[nodiscard]] std::uint32_t capacity() const noexcept {
        return static_cast<std::uint32_t>(capacity_);
    }
    [[nodiscard]] std::uint32_t slots() const noexcept {
        return static_cast<std::uint32_t>(mask_ + 1);
    }
    // The slot of a position. Public for the audit.
    [[nodiscard]] Slot& slot(std::uint64_t position) const noexcept {
        const std::uint64_t index = position & mask_;
        return slots_[((index >> 2) * kLineStride & line_mask_) << 2 | (index & slot_mask_)];
    }
    // Raises a hint: "load; if mine is larger, store". Two steps, so it may move backwards.
    static void raise(Word& hint, std::uint64_t value) noexcept;

  protected:
    // Odd, so that it permutes the lines of a power of two.
    static constexpr std::uint64_t kLineStride = 37;

    static constexpr std::uint64_t kLookAhead = 8;
    // A hint beyond it is damage: at 100 million messages a second, more than 1000 years away.
    static constexpr std::uint64_t kPositionMax = 1ULL << 62U;
    static constexpr std::uint64_t kStepsBeyond = 1U << 16;
    // A walk looks at its hint again after so many steps: others may be far ahead by now.
    static constexpr std::uint64_t kStepsPerHint = 16;

    [[nodiscard]] bool matches(std::uint64_t ref, std::uint64_t word) const noexcept {
        return word_state(word) == ChunkState::offered &&
               (bug(Bug::no_generation_check) || ref_names(ref, word_generation(word)));
    }
    // Steps after which a search ends. Over a ring that nobody changes it takes at most two laps, whatever the
    // positions and words are, plus one step for each that others complete under it while it is awake: this many
    // more, though it looks at its hint again every few steps, are beyond any machine, or damage in the making.
    [[nodiscard]] std::uint64_t steps_max() const noexcept {
        return 2 * (mask_ + 1) + kStepsBeyond;
    }

    // `budget`, below, is what is left of that, shared by all the searches of one call.
    enum class Room { yes, no, look_again, damaged };

    [[nodiscard]] Status find_tail(std::uint64_t& t,
                                   std::uint64_t& pos,
                                   std::uint64_t& ref,
                                   std::uint64_t& budget) const noexcept;
    // Whether the unfilled position `t` may be filled; moves `t` on when it proves to be behind the
    // head.
    [[nodiscard]] Room room_at(std::uint64_t& t, std::uint64_t& budget) noexcept;
    [[nodiscard]] Status insert(std::uint64_t& t, std::uint64_t ref) noexcept;
    // Moves `h` over claimed positions until it reaches `t` (beyond it only when `t` is stale:
    // others committed meanwhile); false = damage.
    [[nodiscard]] bool walk_head(std::uint64_t& h,
                                 std::uint64_t t,
                                 std::uint64_t& budget) const noexcept;
    [[nodiscard]] Status claim_at(std::uint64_t& h,
                                  std::uint32_t me,
                                  std::uint32_t* chunk,
                                  std::uint64_t* claimed) noexcept;
    void look_ahead(std::uint64_t h) const noexcept;
    [[nodiscard]] std::atomic_ref<std::uint64_t> head_seen() noexcept {
        return std::atomic_ref<std::uint64_t>(head_seen_);
    }

    RingControl* control_ = nullptr;
    Slot* slots_ = nullptr;
    ChunkPool* pool_ = nullptr;
    std::uint64_t mask_ = 0;
    std::uint64_t line_mask_ = 0;
    std::uint64_t slot_mask_ = 0;
    std::uint64_t capacity_ = 0;
    std::uint64_t dest_ = 0;
    // A head hint read earlier, private to this process: spares the consumers' line in most
    // commits. It may be old: then the length it gives is too large, never too small, and the hint
    // is read again.
    alignas(kCacheLine) std::uint64_t head_seen_ = 0;  // through head_seen()
};

}  // namespace telpher::shm

#include "shm/ring_inline.hpp"

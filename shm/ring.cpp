#include "shm/ring.hpp"

namespace telpher::shm {

Ring::Ring(RingControl* control,
           std::uint32_t slots,
           std::uint32_t capacity,
           std::uint64_t dest,
           ChunkPool* pool) noexcept
    : control_(control),
      slots_(reinterpret_cast<Slot*>(reinterpret_cast<std::byte*>(control) + kRingSlotsOffset)),
      pool_(pool),
      mask_(slots - 1),
      line_mask_(slots < 16 ? 0 : slots / 4 - 1),
      slot_mask_(slots < 16 ? slots - 1 : 3),
      capacity_(capacity),
      dest_(dest) {}

bool Ring::walk_head(std::uint64_t& h, std::uint64_t t, std::uint64_t& budget) const noexcept {
    while (h < t) {
        if (--budget == 0) {
            budget = 1;  // the caller's loop ends with it
            return false;
        }
        Slot& s = slot(h);
        SHM_STEP("ring.walk.load_pos");
        // R5: pairs with C1 (ring_inline.hpp:C1).
        const std::uint64_t pos = s.pos.load(std::memory_order_acquire);
        if (pos < h + 1) {
            return false;  // below an unfilled position everything is filled
        }
        if (pos > h + 1) {
            h = pos - (mask_ + 1) > h ? pos - (mask_ + 1) : h + 1;  // lapped, so claimed
            continue;
        }
        SHM_STEP("ring.walk.load_ref");
        // R5: pairs with C1 (ring_inline.hpp:C1).
        const std::uint64_t ref = s.ref.load(std::memory_order_acquire);
        SHM_STEP("ring.walk.reload_pos");
        // R5: pairs with C1 (ring_inline.hpp:C1).
        if (s.pos.load(std::memory_order_acquire) != pos) {
            continue;
        }
        if (ref == kClosedRef) {
            return true;
        }
        if (const Status status = pool_->reach(ref_chunk(ref)); status != Status::ok) [[unlikely]] {
            return status == Status::out_of_memory;  // counted as unclaimed, or damage
        }
        SHM_STEP("ring.walk.load_word");
        // W12: pairs with W1 (doorbell.hpp:W1): `writable` comes here after arming, and either sees
        // the claim (C3) or is seen by the claimer.
        if (matches(ref, pool_->header(ref_chunk(ref))->word.load(std::memory_order_seq_cst))) {
            return true;
        }
        ++h;
    }
    return true;
}

Status Ring::front(std::uint64_t& h, std::uint32_t* chunk, std::uint64_t* word) const noexcept {
    for (std::uint64_t budget = steps_max(); budget != 0; --budget) {
        const Slot& s = slot(h);
        SHM_STEP("ring.front.load_pos");
        // R5: pairs with C1 (ring_inline.hpp:C1).
        const std::uint64_t pos = s.pos.load(std::memory_order_acquire);
        if (pos < h + 1) {
            return Status::queue_empty;
        }
        if (pos > h + 1) {
            if (((pos - 1 - h) & mask_) != 0) {
                return Status::corrupt;  // a position that cannot stand in this slot
            }
            h = pos - (mask_ + 1);  // lapped, so claimed
            continue;
        }
        // R5: pairs with C1 (ring_inline.hpp:C1).
        const std::uint64_t ref = s.ref.load(std::memory_order_acquire);
        // R5: pairs with C1 (ring_inline.hpp:C1).
        if (s.pos.load(std::memory_order_acquire) != pos) {
            continue;
        }
        if (ref == kClosedRef) {
            return Status::queue_not_found;
        }
        *chunk = ref_chunk(ref);
        if (const Status status = pool_->reach(*chunk); status != Status::ok) [[unlikely]] {
            return status;
        }
        // R4: pairs with C0 (ring_inline.hpp:C0).
        *word = pool_->header(*chunk)->word.load(std::memory_order_acquire);
        if (matches(ref, *word)) {
            return Status::ok;
        }
        ++h;
        if (budget % kStepsPerHint == 0) {
            SHM_STEP("ring.front.reload_head");
            // R2: pairs with R1 (ring_inline.hpp:R1). As in `claim`.
            const std::uint64_t now = control_->head.load(std::memory_order_acquire);
            h = now > h && !bug(Bug::hint_not_read_again) ? now : h;
        }
    }
    return Status::queue_empty;  // as in `claim`
}

Status Ring::complete(std::uint64_t ref) noexcept {
    if (holds(ref)) {
        return Status::ok;
    }
    SHM_STEP("ring.complete");
    return put(ref);
}

Status Ring::put(std::uint64_t ref) noexcept {
    SHM_STEP("ring.put.load_tail");
    // R2: pairs with R1 (ring_inline.hpp:R1).
    std::uint64_t t = control_->tail.load(std::memory_order_acquire);
    const Status status = insert(t, ref);
    if (status == Status::ok) {
        raise(control_->tail, t + 1);
    }
    return status;
}

Status Ring::close() noexcept {
    SHM_STEP("ring.close.load_tail");
    // R2: pairs with R1 (ring_inline.hpp:R1).
    std::uint64_t t = control_->tail.load(std::memory_order_acquire);
    const Status status = insert(t, kClosedRef);  // the hint stays at the sentinel, never beyond
    return status == Status::queue_not_found ? Status::ok : status;
}

bool Ring::readable() const noexcept {
    SHM_STEP("ring.readable.head");
    // W12: pairs with W1 (doorbell.hpp:W1): the look after arming. R2: pairs with R1
    // (ring_inline.hpp:R1).
    std::uint64_t h = control_->head.load(std::memory_order_seq_cst);
    for (std::uint64_t steps = 0; steps <= 2 * (mask_ + 1); ++steps) {
        Slot& s = slot(h);
        SHM_STEP("ring.readable.pos");
        // W12: pairs with W1 (doorbell.hpp:W1). Either this sees the commit or the committer sees
        // our bit.
        const std::uint64_t pos = s.pos.load(std::memory_order_seq_cst);
        if (pos < h + 1) {
            return false;
        }
        if (pos > h + 1) {
            h = pos - (mask_ + 1) > h ? pos - (mask_ + 1) : h + 1;
            continue;
        }
        SHM_STEP("ring.readable.ref");
        // R5: pairs with C1 (ring_inline.hpp:C1).
        const std::uint64_t ref = s.ref.load(std::memory_order_acquire);
        if (ref == kClosedRef || !pool_->valid(ref_chunk(ref))) {
            return true;  // the end, a chunk to be mapped, or damage: `claim` tells
        }
        SHM_STEP("ring.readable.word");
        // R4: pairs with C0 (ring_inline.hpp:C0).
        if (matches(ref, pool_->header(ref_chunk(ref))->word.load(std::memory_order_acquire))) {
            return true;
        }
        ++h;
    }
    return true;  // undecided: `claim` tells
}

bool Ring::writable() noexcept {
    SHM_STEP("ring.writable.tail");
    // W12: pairs with W1 (doorbell.hpp:W1): the look after arming.
    std::uint64_t t = control_->tail.load(std::memory_order_seq_cst);
    for (std::uint64_t budget = steps_max(); budget != 0; --budget) {
        std::uint64_t pos = 0;
        std::uint64_t ref = 0;
        if (find_tail(t, pos, ref, budget) != Status::ok) {
            return true;  // the end, or damage: `commit` tells
        }
        switch (room_at(t, budget)) {
            case Room::look_again:
                continue;
            case Room::no:
                return false;
            case Room::yes:
            case Room::damaged:
                return true;
        }
    }
    return true;  // undecided: `commit` tells
}

bool Ring::holds(std::uint64_t ref) const noexcept {
    for (std::uint64_t i = 0; i <= mask_; ++i) {
        const Slot& s = slots_[i];
        SHM_STEP("ring.holds");
        // R5: pairs with C1 (ring_inline.hpp:C1).
        if (s.ref.load(std::memory_order_acquire) == ref &&
            s.pos.load(std::memory_order_acquire) != 0) {
            return true;
        }
    }
    return false;
}

std::uint64_t Ring::committed() const noexcept {
    // R2: pairs with R1 (ring_inline.hpp:R1).
    std::uint64_t t = control_->tail.load(std::memory_order_acquire);
    std::uint64_t pos = 0;
    std::uint64_t ref = 0;
    std::uint64_t budget = steps_max();
    const Status status = find_tail(t, pos, ref, budget);
    return status == Status::queue_not_found ? pos - 1 : t;
}

std::uint64_t Ring::claimed() const noexcept {
    // R2: pairs with R1 (ring_inline.hpp:R1).
    std::uint64_t h = control_->head.load(std::memory_order_acquire);
    const std::uint64_t t = committed();
    std::uint64_t budget = steps_max();
    static_cast<void>(walk_head(h, t, budget));
    return h < t ? h : t;
}

bool Ring::closed() const noexcept {
    // R2: pairs with R1 (ring_inline.hpp:R1).
    std::uint64_t t = control_->tail.load(std::memory_order_acquire);
    std::uint64_t pos = 0;
    std::uint64_t ref = 0;
    std::uint64_t budget = steps_max();
    return find_tail(t, pos, ref, budget) == Status::queue_not_found;
}

}  // namespace telpher::shm

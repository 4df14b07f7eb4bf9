// What a queue with leases does with what it has claimed.

#include "shm/base/clock.hpp"
#include "src/broker/lease.hpp"
#include "src/broker/queue_core.hpp"

namespace telpher::detail {
namespace {}  // namespace

// Killed in it: the message comes back, whatever is noted of the lease.
void QueueCore::begin_lease(Delivery& delivery, std::uint64_t claimed) noexcept {
    const std::uint64_t lease_us = found_.info.lease_ns / 1000;
    const std::uint64_t until = shm::lease_clock_us() + lease_us;
    const shm::Leases::Begun begun =
        attachment_.leases().begin(delivery.held_.chunk, claimed, until, delivery.sequence_);
    delivery.held_.lease = claimed;
    delivery.sequence_ = begun.sequence;
    delivery.deliveries_ = begun.deliveries;
    delivery.reason_ = begun.reason;
    shm::DirectoryEntry& entry = attachment_.directory().entry(found_.entry);
    // LE7: pairs with shm/lease_keeper.cpp:LE8. Our note, then this look; the pass's store, then its look at
    // the chunk: in the single order of seq_cst one of us sees the other.
    const std::uint64_t look = shm::look_us(entry.lease_look.load(std::memory_order_seq_cst));
    if (look == 0 || look > until) [[unlikely]] {
        if (shm::LeaseKeeper::look_by(entry, until) && lease_us < kJanitorKnowsUs) {
            attachment_.poke_janitor();
        }
    }
}

// A busy janitor, or another thread at it: it is being looked for.
bool QueueCore::look_for_parked() noexcept {
    // LE10: pairs with shm/lease_keeper.cpp:LE9. The lane was emptied, then this look; the mark, then its look
    // at the lane.
    const std::uint64_t look =
        attachment_.directory().entry(found_.entry).lease_look.load(std::memory_order_seq_cst);
    const bool due = shm::look_us(look) != 0 && shm::look_us(look) <= shm::lease_clock_us();
    return (due || (look & shm::kMoreParked) != 0) && attachment_.keep_leases();
}

void QueueCore::discard(shm::ThreadContext& context,
                        std::uint32_t chunk,
                        std::uint64_t claimed) noexcept {
    if (leased_) {
        static_cast<void>(attachment_.leases().acknowledge(chunk, claimed, &context.cursor));
    } else {
        attachment_.pool().release(chunk, attachment_.slot(), context.cursor);
    }
}

void QueueCore::discard_expired(shm::ThreadContext& context,
                                std::uint32_t chunk,
                                std::uint64_t claimed) noexcept {
    if (found_.info.dead_letter_entry == 0) {
        discard(context, chunk, claimed);
        return;
    }
    const shm::LeaseKeeper keeper = attachment_.keeper();
    if (const auto queue = keeper.pin(chunk)) {
        static_cast<void>(keeper.bury(*queue, chunk, claimed, ReturnReason::expired, context));
        if (keeper.unpin(*queue)) {
            attachment_.tidy_directory();
        }
    } else {
        discard(context, chunk, claimed);
    }
}

// One look at every chunk: figures that producers and consumers do not pay for.
void QueueCore::measure_leases(QueueStatus& status) const {
    const shm::ChunkPool& pool = attachment_.pool();
    for (std::uint32_t k = 0; k < pool.class_count(); ++k) {
        const shm::ChunkClass& c = pool.chunk_class(k);
        for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
            const shm::ChunkHeader& header = *pool.header(c.first_chunk + i);
            // R4: pairs with shm/ring_inline.hpp:C0.
            const shm::ChunkState state =
                shm::word_state(header.word.load(std::memory_order_acquire));
            // relaxed: a figure of a moment
            if ((state == shm::ChunkState::claimed || state == shm::ChunkState::parked) &&
                header.dest.load(std::memory_order_relaxed) == found_.dest()) {
                ++(state == shm::ChunkState::claimed ? status.leased : status.delayed);
            }
        }
    }
    const shm::DirectoryEntry& entry = attachment_.directory().entry(found_.entry);
    // relaxed, both: statistics
    status.lease_expired = entry.lease_expired.load(std::memory_order_relaxed);
    status.dead_lettered =
        entry.dead_lettered.load(std::memory_order_relaxed);  // relaxed: as above
    status.delivery = static_cast<DeliveryMode>(found_.info.delivery);
    status.lease = Duration(static_cast<std::int64_t>(found_.info.lease_ns));
    status.deliveries_max = found_.info.deliveries_max;
    if (found_.info.dead_letter_entry != 0) {
        const auto dead = attachment_.directory().at(found_.info.dead_letter_entry - 1);
        if (dead &&
            static_cast<std::uint32_t>(dead->generation) == found_.info.dead_letter_generation) {
            status.dead_letter = dead->name();
        }
    }
}

}  // namespace telpher::detail

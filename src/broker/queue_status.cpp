// What a queue tells about itself, figures that producers and consumers do not pay for, and why it refuses.

#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace telpher::detail {

// Payload bytes and the oldest timestamp of what is committed, read beside producers and consumers:
// each message's word is read before and after, and a message that changed meanwhile is not
// counted.
void QueueCore::measure_backlog(const shm::Ring& ring,
                                std::uint64_t from,
                                std::uint64_t to,
                                QueueStatus& status) const {
    shm::ChunkPool& pool = attachment_.pool();
    // No more than there are slots, whatever damaged hints say.
    const std::uint64_t end = std::min(to, from + ring.slots());
    for (std::uint64_t position = from; position < end; ++position) {
        shm::Slot& slot = ring.slot(position);
        // R5: pairs with shm/ring_inline.hpp:C1.
        const std::uint64_t pos = slot.pos.load(std::memory_order_acquire);
        const std::uint64_t ref = slot.ref.load(std::memory_order_acquire);  // R5: as above
        if (pos != position + 1 || pool.reach(shm::ref_chunk(ref)) != Status::ok) {
            continue;
        }
        shm::ChunkHeader& header = *pool.header(shm::ref_chunk(ref));
        // R4: pairs with shm/ring_inline.hpp:C0.
        const std::uint64_t before = header.word.load(std::memory_order_acquire);
        auto* words = reinterpret_cast<std::uint64_t*>(&header) + 2 + head_bytes_ / 8;
        // Acquire, so that the second look at the word is not moved before these. R4: pairs with
        // shm/chunk_pool.hpp:P2 through the word read last.
        const std::uint64_t first =
            std::atomic_ref<std::uint64_t>(words[0]).load(std::memory_order_acquire);
        const std::uint64_t stamp = std::atomic_ref<std::uint64_t>(words[3]).load(
            std::memory_order_acquire);  // R4: as above
        // R4: as above.
        if (shm::word_state(before) != shm::ChunkState::offered ||
            header.word.load(std::memory_order_acquire) != before) {
            continue;
        }
        status.bytes += first & 0xFFFF'FFFFU;
        if (!status.oldest_age) {
            const std::uint64_t now = shm::wall_coarse_ns();
            status.oldest_age =
                std::chrono::milliseconds(now > stamp ? (now - stamp) / 1'000'000 : 0);
        }
    }
}

Result<QueueStatus> QueueCore::status() const {
    if (const Status usable = attachment_.usable(); usable != Status::ok) {
        return explain(usable, {});
    }
    QueueStatus status;
    status.name = name_;
    status.kind = found_.info.owner != 0 ? "temporary"
                  : circular_            ? "circular"
                  : durable_             ? "durable"
                                         : "bounded";
    status.capacity = ring_.capacity();
    status.polled = ring_.claimed();
    status.offered = ring_.committed();
    status.depth = status.offered > status.polled
                       ? std::min<std::uint64_t>(status.offered - status.polled, status.capacity)
                       : 0;
    status.removed = ring_.closed();
    const shm::DirectoryEntry& entry = attachment_.directory().entry(found_.entry);
    // relaxed, all: statistics
    status.expired = entry.expired.load(std::memory_order_relaxed);
    status.abandoned = entry.abandoned.load(std::memory_order_relaxed);      // relaxed: as above
    status.redelivered = entry.redelivered.load(std::memory_order_relaxed);  // relaxed: as above
    status.dropped = entry.dropped.load(std::memory_order_relaxed);          // relaxed: as above
    for (const shm::Word& bits : entry.consumers) {
        status.consumers += static_cast<std::uint32_t>(
            std::popcount(bits.load(std::memory_order_relaxed)));  // relaxed: as above
    }
    const std::uint64_t returned_from = lane_.claimed();
    const std::uint64_t returned_to = std::max(returned_from, lane_.committed());
    status.depth += returned_to - returned_from;
    measure_backlog(lane_, returned_from, returned_to, status);
    measure_backlog(ring_, status.polled, status.offered, status);
    if (leased_) {
        measure_leases(status);
    }
    status.idempotency = memory_.figures();
    if (circular_) {  // a drop is a claim, too
        status.polled -= std::min(status.polled, status.dropped);
    }
    return status;
}

// Expected outcomes carry no text, so that they do not allocate.
Error QueueCore::explain(Status status, Duration timeout) const {
    switch (status) {
        case Status::bad_request:
            return {
                status,
                0,
                "timeout is " + std::to_string(timeout.count()) + " ns, allowed are 0 and more"};
        case Status::queue_not_found:
            return {status, 0, "queue '" + name_ + "' was removed"};
        case Status::limit_reached:
            return {status,
                    0,
                    "limits.process_bytes is " +
                        std::to_string(attachment_.segment().process_bytes_max()) +
                        ", and loans and deliveries of this process hold as much"};
        case Status::not_permitted:
            return {
                status, 0, "only the process that made temporary queue '" + name_ + "' polls it"};
        case Status::domain_removed:
            return {status, 0, "domain '" + domain_->name() + "' was removed"};
        case Status::out_of_memory:
            return {status,
                    0,
                    "a data segment of the domain cannot be mapped into this process (ulimit -v, "
                    "vm.max_map_count, open files): the message stays in queue '" +
                        name_ + "'"};
        case Status::corrupt:
            return {status,
                    0,
                    "the ring of queue '" + name_ +
                        "' is damaged: positions or references make no sense"};
        default:
            return {status, 0, {}};
    }
}

}  // namespace telpher::detail

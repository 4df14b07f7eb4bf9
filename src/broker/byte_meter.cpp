#include "src/broker/byte_meter.hpp"

#include <algorithm>
#include <optional>

namespace telpher::detail {
namespace {

// The size of the chunk at `position`, nothing if the position has its next lap.
std::optional<std::uint64_t> size_at(const shm::Ring& ring,
                                     shm::ChunkPool& pool,
                                     std::uint64_t position) noexcept {
    const shm::Slot& slot = ring.slot(position);
    // R5: pairs with shm/ring_inline.hpp:C1.
    const std::uint64_t pos = slot.pos.load(std::memory_order_acquire);
    const std::uint64_t ref = slot.ref.load(std::memory_order_acquire);  // R5: as above
    // R5: as above; unchanged, so that ref belongs to it.
    if (pos != position + 1 || slot.pos.load(std::memory_order_acquire) != pos) {
        return std::nullopt;
    }
    const std::uint32_t chunk = shm::ref_chunk(ref);
    return pool.reach(chunk) == Status::ok ? pool.class_of(chunk).chunk_bytes : 0;
}

}  // namespace

std::uint64_t ByteMeter::measure(const shm::Ring& ring, shm::ChunkPool& pool) noexcept {
    const std::lock_guard hold(mutex_);
    const std::uint64_t head = ring.claimed();
    const std::uint64_t tail = std::max(head, ring.committed());
    bool known = head >= head_ && head <= tail_ && tail >= tail_;
    while (known && head_ < head) {
        const auto size = size_at(ring, pool, head_);
        known = size && *size <= bytes_;
        bytes_ -= known ? *size : 0;
        ++head_;
    }
    if (!known) {  // it went on without us: begin again
        head_ = head;
        tail_ = head;
        bytes_ = 0;
    }
    for (; tail_ < tail && tail - tail_ <= ring.slots(); ++tail_) {
        bytes_ += size_at(ring, pool, tail_).value_or(0);
    }
    return bytes_;
}

}  // namespace telpher::detail

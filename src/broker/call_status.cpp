// The figures of a function.

#include "src/broker/call_target.hpp"

#include <algorithm>
#include <bit>

namespace telpher::detail {

FunctionStatus function_status(shm::Attachment& attachment,
                               const shm::Found& found,
                               const shm::Ring& ring,
                               const shm::Ring& lane) {
    FunctionStatus status;
    const std::string name = found.name();
    status.name = name == kDefaultFunction ? std::string() : name;
    status.inflight_max = found.info.capacity;
    status.idempotent = (found.info.flags & shm::kEntryIdempotent) != 0;
    const shm::DirectoryEntry& e = attachment.directory().entry(found.entry);
    for (const shm::Word& bits : e.consumers) {
        status.servers += static_cast<std::uint32_t>(
            std::popcount(bits.load(std::memory_order_relaxed)));  // relaxed: a statistic
    }
    const std::uint64_t claimed = ring.claimed();
    status.calls = ring.committed();
    const std::uint64_t returned = lane.claimed();
    status.queued = status.calls - std::min(claimed, status.calls) + lane.committed() -
                    std::min(returned, lane.committed());
    // relaxed, all: statistics
    status.errors = e.errors.load(std::memory_order_relaxed);
    status.late = e.late.load(std::memory_order_relaxed);                    // relaxed: as above
    status.timed_out = e.timed_out.load(std::memory_order_relaxed);          // relaxed: as above
    status.expired = e.expired.load(std::memory_order_relaxed);              // relaxed: as above
    status.abandoned = e.abandoned.load(std::memory_order_relaxed);          // relaxed: as above
    status.redelivered = e.redelivered.load(std::memory_order_relaxed);      // relaxed: as above
    status.dead_lettered = e.dead_lettered.load(std::memory_order_relaxed);  // relaxed: as above
    if (const auto letters = attachment.directory().dead_letters(found)) {
        status.dead_letter = letters->name();
    }
    status.dropped = e.dropped.load(std::memory_order_relaxed);  // relaxed: as above
    if (const shm::LatencyCounts* counts = attachment.directory().latency(found)) {
        shm::LatencySnapshot snapshot;
        shm::read_latency(*counts, snapshot);
        constexpr auto kMost = static_cast<std::uint64_t>(Duration::max().count());
        status.latency = Latency::of(
            snapshot.counts, Duration(static_cast<std::int64_t>(std::min(snapshot.max_ns, kMost))));
    }
    return status;
}

Result<FunctionStatus> CallTarget::status() const {
    FunctionStatus status = function_status(*attachment_, found_, ring_, lane_);
    status.idempotency = memory_.figures();
    return status;
}

}  // namespace telpher::detail

// What a topic tells of itself.

#include "src/broker/topic_core.hpp"

#include <algorithm>

namespace telpher::detail {

Result<TopicStatus> TopicCore::status() const {
    if (const Status status = refuse({}); status != Status::ok) {
        return explain(status, {});
    }
    const std::uint64_t tail = ring_.tail();
    const std::uint64_t from =
        std::max(ring_.floor(), tail - std::min<std::uint64_t>(tail, ring_.slots()));
    TopicStatus status;
    status.name = name_;
    status.slow = policy_name(ring_.policy());
    status.capacity = ring_.capacity();
    status.history = found_.info.history;
    status.published = tail;
    status.depth = tail - std::min(from, tail);
    status.bytes = ring_.bytes_between(from, tail);
    status.removed = ring_.closed();
    for (const shm::SubscriberRecord& record : ring_.subscribers()) {
        // T17: pairs with shm/topic_ring.cpp:T16.
        if (record.owner.load(std::memory_order_acquire) == 0 ||
            shm::subscriber_state(
                record.control.load(std::memory_order_acquire)) !=  // T17: as above
                shm::SubscriberState::active) {
            continue;
        }
        ++status.subscribers;
        status.lost += record.lost.load(std::memory_order_relaxed);  // relaxed: a statistic
        const std::uint64_t cursor =
            record.cursor.load(std::memory_order_relaxed);  // relaxed: a statistic
        status.slowest_lag = std::max(status.slowest_lag, tail - std::min(tail, cursor));
    }
    return status;
}

}  // namespace telpher::detail

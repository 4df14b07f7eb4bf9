#include "tcp_bridge/returns.hpp"

#include "src/broker/queue_core.hpp"

#include <chrono>
#include <thread>
#include <utility>

namespace telpher::bridge {

bool Returns::put_back(const Queue& queue, Delivery& delivery) {
    auto& core = detail::QueueCore::of(queue);
    if (core.put_back(delivery) == Status::queue_full) {
        return false;
    }
    if (delivery) {
        core.give_up(delivery);  // its queue has ended: counted
    }
    return true;
}

void Returns::add(const Queue& queue, Delivery delivery) {
    const auto* const core = &detail::QueueCore::of(queue);
    const auto known = waiting_.find(core);
    if (known != waiting_.end()) {
        known->second.deliveries.push_back(std::move(delivery));
    } else if (!put_back(queue, delivery)) {
        Waiting& waiting = waiting_[core];
        waiting.queue = queue;
        waiting.deliveries.push_back(std::move(delivery));
    }
}

void Returns::put_back_all(Waiting& waiting) {
    auto& deliveries = waiting.deliveries;
    while (!deliveries.empty() && put_back(waiting.queue, deliveries.front())) {
        deliveries.pop_front();
    }
}

void Returns::retry() {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
        put_back_all(at->second);
        at = at->second.deliveries.empty() ? waiting_.erase(at) : std::next(at);
    }
}

void Returns::finish(Duration patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (retry(); !waiting_.empty() && std::chrono::steady_clock::now() < until; retry()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (auto& [core, waiting] : waiting_) {
        for (Delivery& delivery : waiting.deliveries) {
            detail::QueueCore::of(waiting.queue).abandon(delivery);
        }
    }
    waiting_.clear();
}

std::size_t Returns::size() const noexcept {
    std::size_t count = 0;
    for (const auto& [core, waiting] : waiting_) {
        count += waiting.deliveries.size();
    }
    return count;
}

}  // namespace telpher::bridge

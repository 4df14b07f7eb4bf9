// A session between its connections, and how it ends.

#include "src/client/remote.hpp"
#include "tcp_bridge/server_session.hpp"

#include <algorithm>
#include <utility>

namespace telpher::bridge {

void ServerSession::attach(std::uint64_t received, std::function<void()> wake) {
    wake_ = std::move(wake);
    acknowledge(received);
    for (auto& [number, subscription] : subscriptions_) {
        subscription->forget_credit();
    }
    for (auto at = kept_.first(); at != 0; at = kept_.next(at)) {
        const Kept& kept = *kept_.find(at);
        if (!kept.acknowledged) {
            push(kept);
        }
    }
}

void ServerSession::detach() {
    wake_ = nullptr;
    out_.clear();
    parts_.clear();  // messages in parts begin again
}

void ServerSession::end() {
    if (ended_) {
        return;
    }
    ended_ = true;
    wake_ = nullptr;
    for (auto& [number, subscription] : subscriptions_) {
        subscription->end();
    }
    subscriptions_.clear();
    for (auto& [correlation, operation] : std::exchange(operations_, {})) {
        operation->cancel();
    }
    for (auto at = kept_.first(); at != 0; at = kept_.next(at)) {
        Kept& kept = *kept_.find(at);
        if (kept.delivery) {
            host_->returns.add(kept.queue, std::move(kept.delivery));
        }
    }
    kept_.clear();
    for (auto& [correlation, delivery] : leases_) {
        detail::RemoteAccess::consumer_ended(delivery);
    }
    leases_.clear();
    channels_.clear();
    temporaries_.clear();
    out_.clear();
}

// The last first: none may find room that one before it was to have.
void ServerSession::drain() {
    draining_ = true;
    for (const auto& [correlation, operation] : operations_) {
        if (operation->waits_for_room()) {
            given_back_.insert(correlation);
        }
    }
    for (auto at = given_back_.rbegin(); at != given_back_.rend(); ++at) {
        operations_[*at]->cancel();
    }
    for (auto& [number, channel] : channels_) {
        for (const auto& [head, body] : take_waiting(channel)) {
            if (head.type != FrameType::poll) {  // which has taken nothing, answered or not
                answer(head.correlation, Error{Status::disconnected, 0, "the bridge ends"});
            }
        }
    }
}

bool ServerSession::settled() const {
    for (auto at = kept_.first(); at != 0; at = kept_.next(at)) {
        if (kept_.find(at)->delivery) {
            return false;
        }
    }
    return out_.empty() && std::all_of(operations_.begin(),
                                       operations_.end(),
                                       [](const auto& entry) { return entry.second->is_poll(); });
}

}  // namespace telpher::bridge

// What a remote session does when time has passed, and when that is.

#include "tcp_bridge/remote_session.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

// Expiries that count for nothing, besides as many as there are operations.
constexpr std::size_t kExpiriesStale = 64;

Error too_late(const FrameHead& head) {
    switch (head.type) {
        case FrameType::poll:
        case FrameType::watch:
        case FrameType::call:
            return {Status::timed_out, 0, {}};
        default:
            // `timed_out` of an offer would say that it did not happen.
            return {Status::disconnected, 0, "the bridge did not answer in time"};
    }
}

}  // namespace

Result<void> RemoteSession::tick(std::uint64_t now) {
    while (!expiries_.empty() && expiries_.front().at <= now) {
        const auto [at, ticket] = expiries_.front();
        std::pop_heap(expiries_.begin(), expiries_.end());
        expiries_.pop_back();
        Operation* const known = operations_.find(ticket);
        if (known == nullptr || known->expires != at) {
            continue;
        }
        Operation& operation = *known;
        operation.expires = ~0ULL;
        if (!not_begun(operation)) {
            const bool connected = state_ == State::up;
            forget_waiter(operation, connected ? too_late(operation.head) : why_down_);
            cancel(operation);
        } else {
            Error error = why_down_;
            if (state_ == State::up && operation.given_back) {
                error = {Status::timed_out, 0, {}};
            } else if (state_ == State::up) {
                error = {Status::overloaded, 0, "too many operations are unanswered; not sent"};
            } else {
                error.status = Status::disconnected;
                error.detail += "; not sent";
            }
            error.effect = Outcome::did_not_happen;
            forget_waiter(operation, std::move(error));
            erase(ticket);
        }
    }
    if (state_ == State::greeting && now >= greeting_until_) {
        return Error{Status::timed_out, 0, "the bridge did not answer HELLO in time"};
    }
    if (state_ == State::up) {
        if (now >= after(heard_, 3 * heartbeat_ns())) {
            return Error{Status::disconnected,
                         0,
                         "nothing was heard from the bridge for " +
                             std::to_string(3 * welcome_.heartbeat_ms) + " ms"};
        }
        if (now >= after(said_, heartbeat_ns())) {
            said_ = now;
            FrameHead head;
            head.type = FrameType::heartbeat;
            head.argument = all_answered_to();
            push(head);
        }
    }
    return {};
}

std::uint64_t RemoteSession::next_tick() const noexcept {
    std::uint64_t next = expiries_.empty() ? ~0ULL : expiries_.front().at;
    if (state_ == State::greeting) {
        next = std::min(next, greeting_until_);
    } else if (state_ == State::up) {
        next = std::min({next, after(heard_, 3 * heartbeat_ns()), after(said_, heartbeat_ns())});
    }
    return next;
}

void RemoteSession::set_expiry(Ticket ticket, Operation& operation, std::uint64_t at) {
    const std::uint64_t expires = operation.waiter != nullptr ? at : ~0ULL;
    if (operation.expires == expires) {
        return;
    }
    operation.expires = expires;
    if (expires != ~0ULL) {
        push_expiry({expires, ticket});
    }
}

void RemoteSession::push_expiry(Expiry expiry) {
    if (expiries_.size() <= 2 * operations_.size() + kExpiriesStale) {
        expiries_.push_back(expiry);
        std::push_heap(expiries_.begin(), expiries_.end());
        return;
    }
    // Most count for nothing: those of the operations that are there, anew.
    expiries_.clear();
    for (Ticket ticket = operations_.first(); ticket != 0; ticket = operations_.next(ticket)) {
        const Operation& operation = *operations_.find(ticket);
        if (operation.expires != 0 && operation.expires != ~0ULL) {
            expiries_.push_back({operation.expires, ticket});
        }
    }
    std::make_heap(expiries_.begin(), expiries_.end());
}

}  // namespace telpher::bridge

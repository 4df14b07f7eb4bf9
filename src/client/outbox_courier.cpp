#include "src/client/outbox_courier.hpp"

#include <utility>

namespace telpher::detail {
namespace {

// Handles that are kept; each has a channel of its own through a bridge.
constexpr std::size_t kQueuesMax = 256;

}  // namespace

Fate fate_of(const Error& error) noexcept {
    switch (error.status) {
        case Status::ok:
        case Status::duplicate:
            return Fate::delivered;
        case Status::bad_request:
        case Status::message_too_large:
        case Status::idempotency_conflict:
        case Status::mismatch:
        case Status::not_permitted:
        case Status::expired:
            return Fate::refused;
        default:
            return Fate::waits;
    }
}

OutboxCourier::OutboxCourier(std::string uri, const ConnectOptions& how, std::optional<Client> way)
    : uri_(std::move(uri)), how_(how), way_(std::move(way)) {
    how_.outbox.clear();
    how_.wait = {};
    how_.retry.reset();
    how_.retry_report = nullptr;
}

Result<void> OutboxCourier::connect() {
    auto made = telpher::connect(uri_, how_);
    if (!made) {
        return made.error();
    }
    way_ = std::move(*made);
    return {};
}

OutboxCourier::Attempt OutboxCourier::deliver(const OutboxDestination& to,
                                              const Message& message,
                                              Duration timeout,
                                              const std::stop_token& stop) {
    if (message.view().expired(std::chrono::system_clock::now())) {
        return {Fate::refused,
                Error{Status::expired, 0, "its life span ended before it could be delivered"}};
    }
    auto sent = send(to, message, timeout, stop);
    if (sent) {
        return {};
    }
    Error why = std::move(sent).error();
    // What such a connection says is not about the message.
    if (!way_->running()) {
        queues_.clear();
        way_.reset();
        return {Fate::waits, std::move(why)};
    }
    if (!to.function && why.status != Status::queue_full && why.status != Status::timed_out) {
        queues_.erase(to.name);  // it may have been removed, and made anew
    }
    const Fate fate = fate_of(why);
    return {fate, std::move(why)};
}

Result<void> OutboxCourier::send(const OutboxDestination& to,
                                 const Message& message,
                                 Duration timeout,
                                 const std::stop_token& stop) {
    if (to.function) {
        return way_->send_oneway(to.name, message, timeout, SendOptions{.stop = stop});
    }
    auto known = queues_.find(to.name);
    if (known == queues_.end()) {
        auto found = way_->queue(to.name);
        if (!found) {
            return found.error();
        }
        if (queues_.size() >= kQueuesMax) {
            queues_.clear();
        }
        known = queues_.emplace(to.name, std::move(*found)).first;
    }
    const auto offered = known->second.offer(message, timeout, stop);
    return offered ? Result<void>() : offered.error();
}

}  // namespace telpher::detail

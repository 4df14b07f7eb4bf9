// Polls and offers that complete later, and the queue's descriptor.

#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"
#include "src/broker/ready_operation.hpp"
#include "src/client/domain_core.hpp"

#include <cerrno>

namespace telpher::detail {
namespace {

bool may_wait(Status status) {
    return status == Status::queue_empty || status == Status::queue_full ||
           status == Status::out_of_memory;
}

}  // namespace

Future<Delivery> QueueCore::poll_async(Duration timeout, const std::stop_token& stop) {
    if (const Status status = refuse_consumer(timeout); status != Status::ok) {
        return ready_future(Result<Delivery>(explain(status, timeout)));
    }
    const bool waits = timeout.count() != 0;
    // relaxed: our own operations are counted before this call
    if (!waits || polls_pending_.load(std::memory_order_relaxed) == 0) {
        auto polled = poll({}, {});
        if (!waits || !may_wait(polled.status())) {
            return ready_future(std::move(polled), shared_from_this());
        }
    }
    if (stop.stop_requested()) {
        return ready_future(Result<Delivery>(Status::cancelled));
    }
    auto parker = domain_->parker();
    if (!parker) {
        return ready_future(Result<Delivery>(parker.error()));
    }
    auto* operation = new PollOperation(shared_from_this(), **parker, OperationKind::poll);
    operation->submit(timeout, stop);
    if (refuse({}) != Status::ok) {
        (*parker)->look_at_all();  // closed meanwhile: its sweep may have been before
    }
    return FutureAccess::make<Delivery>(operation);
}

Future<std::uint64_t> QueueCore::offer_async(Message message,
                                             Duration timeout,
                                             const std::stop_token& stop) {
    if (const Status status = refuse(timeout); status != Status::ok) {
        return ready_future(Result<std::uint64_t>(explain(status, timeout)));
    }
    if (auto sound = message.check(); !sound) {
        return ready_future(Result<std::uint64_t>(sound.error()));
    }
    if (message.is_durable()) {
        return offer_durable_async(std::move(message), timeout, stop);
    }
    const bool waits = timeout.count() != 0;
    bool elsewhere = false;
    // Those that wait already go first. A message that is too large need not wait to hear it.
    // relaxed: our own operations are counted before this call
    if (!waits || offers_pending_.load(std::memory_order_relaxed) == 0 ||
        wire::encoded_bytes(message) > source_.bytes_max()) {
        auto offered = offer(message, {}, {});
        if (!waits || !may_wait(offered.status())) {
            return ready_future(std::move(offered));
        }
        elsewhere = runs_elsewhere(offered);
    }
    if (stop.stop_requested()) {
        return ready_future(Result<std::uint64_t>(Status::cancelled));
    }
    auto parker = domain_->parker();
    if (!parker) {
        return ready_future(Result<std::uint64_t>(parker.error()));
    }
    auto* operation = new OfferOperation(shared_from_this(), **parker, OperationKind::offer);
    operation->message = std::move(message);
    operation->origin = t_origin;
    operation->elsewhere = elsewhere;
    operation->submit(timeout, stop);
    if (refuse({}) != Status::ok) {
        (*parker)->look_at_all();  // closed meanwhile: its sweep may have been before
    }
    return FutureAccess::make<std::uint64_t>(operation);
}

Future<std::uint64_t> QueueCore::ready_async(OperationKind end, Duration timeout) {
    const bool message = end == OperationKind::poll;
    if (const Status status = message ? refuse_consumer(timeout) : refuse(timeout);
        status != Status::ok) {
        return ready_future(Result<std::uint64_t>(explain(status, timeout)));
    }
    if (ready(end)) {
        return ready_future(Result<std::uint64_t>(std::uint64_t{0}));
    }
    if (timeout.count() == 0) {
        const Status status = message ? Status::queue_empty : Status::queue_full;
        return ready_future(Result<std::uint64_t>(explain(status, timeout)));
    }
    auto parker = domain_->parker();
    if (!parker) {
        return ready_future(Result<std::uint64_t>(parker.error()));
    }
    auto* operation = new ReadyOperation(shared_from_this(), **parker, end);
    operation->submit(timeout, {});
    if (refuse({}) != Status::ok) {
        (*parker)->look_at_all();  // as above
    }
    return FutureAccess::make<std::uint64_t>(operation);
}

// ---- descriptor --------------------------------------------------------------------------------

Result<int> QueueCore::fd() {
    if (const Status status = refuse_consumer({}); status != Status::ok) {
        return explain(status, {});
    }
    const std::lock_guard hold(watch_mutex_);
    if (watch_ == nullptr) {
        auto parker = domain_->parker();
        if (!parker) {
            return parker.error();
        }
        const int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (descriptor < 0) {
            return Error{Status::limit_reached, errno, "eventfd"};
        }
        watch_ = std::make_shared<Watch>(descriptor, found_, domain_->closed());
        if (closed_.load(std::memory_order_relaxed)) {  // relaxed: a later close waits for the lock
            watch_->close_queue();
        }
        // V7: pairs with V8.
        watched_.store(true, std::memory_order_release);
        (*parker)->watch(watch_);
    }
    return watch_->descriptor();
}

// After a poll that took nothing.
void QueueCore::rearm_watch() noexcept {
    // V8: pairs with V7.
    if (watched_.load(std::memory_order_acquire) && refuse({}) == Status::ok && watch_->rearm()) {
        if (auto parker = domain_->parker()) {
            (*parker)->poke();
        }
    }
}

void QueueCore::close_async() noexcept {
    {
        const std::lock_guard hold(watch_mutex_);
        if (watch_ != nullptr) {
            watch_->close_queue();
        }
    }
    domain_->nudge_parker();
}

void QueueCore::end_watch() noexcept {
    if (watch_ != nullptr) {
        watch_->end();
    }
}

}  // namespace telpher::detail

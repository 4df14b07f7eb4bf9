// The public Queue: one predictable call into its core, or into its remote end.

#include "telpher/queue.hpp"

#include "src/broker/causation.hpp"
#include "src/broker/lease.hpp"
#include "src/broker/queue_core.hpp"
#include "src/broker/waiter.hpp"
#include "src/client/remote.hpp"
#include "src/client/retrier.hpp"
#include "src/wire/names.hpp"

#include <algorithm>

namespace telpher {

namespace detail {
void give_back(Held& held) noexcept {
    if (held.memory != nullptr) {
        if (held.chunk == kRemoteChunk) [[unlikely]] {
            RemoteMemory::free(held);
            return;
        }
        if (held.lease != 0) {
            if (!held.memory->forked()) {
                static_cast<void>(return_lease(held, ReturnReason::nacked, 0));
            }
            held.memory = nullptr;
            return;
        }
        held.memory->give_back(held.chunk);
        held.memory = nullptr;
    }
}
}  // namespace detail

Result<std::uint64_t> Queue::offer(const Message& message,
                                   Duration timeout,
                                   const RetryOptions& options) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(
            message, [&](const Message& marked) { return offer(marked, timeout, options); });
    }
    detail::RetryTask task = detail::task_of(detail::RetryKind::offer, name(), timeout, options);
    if (!message.request_id().empty() && retrier_ != nullptr && !retrier_->forked() &&
        (options.retry || retries_)) {
        task.idempotent =
            task.idempotent || retrier_->remembers(task.kind, task.name, [this]() -> Result<bool> {
                const auto now = status();
                return now ? Result<bool>(now->idempotency.on) : Result<bool>(now.error());
            });
    }
    return detail::with_retries<std::uint64_t>(
        retrier_.get(), options.retry, task, [&](std::uint32_t /*attempt*/, Duration left) {
            if (core_ != nullptr) {
                return core_->offer(message, left, options.stop);
            }
            return remote_ != nullptr ? remote_->offer(message, left, options.stop)
                                      : Result<std::uint64_t>(Status::closed);
        });
}

Result<std::uint64_t> Queue::offer(const Message& message, Duration timeout, std::stop_token stop) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(message, [&](const Message& marked) {
            return offer(marked, timeout, std::move(stop));
        });
    }
    if (retries_) [[unlikely]] {
        return offer(message, timeout, RetryOptions{.stop = std::move(stop)});
    }
    if (core_ != nullptr) {
        return core_->offer(message, timeout, stop);
    }
    return remote_ != nullptr ? remote_->offer(message, timeout, stop)
                              : Result<std::uint64_t>(Status::closed);
}

Result<std::uint64_t> Queue::offer(Loan&& loan, Duration timeout, std::stop_token stop) {
    if (retries_) [[unlikely]] {
        return detail::with_retries<std::uint64_t>(
            retrier_.get(),
            {},
            {.kind = detail::RetryKind::offer, .name = name(), .timeout = timeout, .stop = stop},
            [&](std::uint32_t /*attempt*/, Duration left) {
                if (core_ != nullptr) {
                    return core_->offer(loan, left, stop);
                }
                return remote_ != nullptr ? remote_->offer(loan, left, stop)
                                          : Result<std::uint64_t>(Status::closed);
            });
    }
    if (core_ != nullptr) {
        return core_->offer(loan, timeout, stop);
    }
    return remote_ != nullptr ? remote_->offer(loan, timeout, stop)
                              : Result<std::uint64_t>(Status::closed);
}

Result<Delivery> Queue::poll(Duration timeout, std::stop_token stop) {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->poll(timeout, stop) : Result<Delivery>(Status::closed);
    }
    return core_->poll(timeout, stop);
}

Result<Delivery> Queue::poll_typed(std::uint64_t type_id,
                                   std::size_t size_bytes,
                                   Duration timeout,
                                   std::stop_token stop) {
    const TypeTag type{type_id, static_cast<std::uint32_t>(size_bytes)};
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->poll_typed(type, timeout, stop)
                                  : Result<Delivery>(Status::closed);
    }
    return core_->poll_typed(type, timeout, stop);
}

Result<Loan> Queue::loan(std::string_view topic, std::size_t payload_bytes, Duration timeout) {
    if (!*this) {
        return Status::closed;
    }
    if (auto named = wire::check_name("topic", topic); !named) {
        return named.error();
    }
    wire::LoanPlan plan;
    plan.topic = topic;
    plan.payload_bytes = payload_bytes;
    plan.aligned64 = payload_bytes >= wire::kAlignedFrom;
    return core_ != nullptr ? core_->loan(plan, timeout) : remote_->loan(plan);
}

Result<Loan> Queue::loan_typed(std::uint64_t type_id, std::size_t size_bytes, Duration timeout) {
    if (!*this) {
        return Status::closed;
    }
    wire::LoanPlan plan;
    plan.topic = "typed";
    plan.payload_bytes = size_bytes;
    plan.type = TypeTag{type_id, static_cast<std::uint32_t>(size_bytes)};
    plan.aligned64 = true;
    return core_ != nullptr ? core_->loan(plan, timeout) : remote_->loan(plan);
}

Result<std::size_t> Queue::offer_n(std::span<const Message> messages,
                                   Duration timeout,
                                   std::stop_token stop) {
    std::vector<Message> marked;
    if (detail::caused()) [[unlikely]] {
        marked.assign(messages.begin(), messages.end());
        std::for_each(marked.begin(), marked.end(), detail::inherit);
        messages = marked;
    }
    if (core_ != nullptr) {
        return core_->offer_n(messages, timeout, stop);
    }
    return remote_ != nullptr ? remote_->offer_n(messages, timeout, stop)
                              : Result<std::size_t>(Status::closed);
}

Result<std::vector<Delivery>> Queue::poll_n(std::size_t max,
                                            Duration timeout,
                                            std::stop_token stop) {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->poll_n(max, timeout, stop)
                                  : Result<std::vector<Delivery>>(Status::closed);
    }
    return core_->poll_n(max, timeout, stop);
}

Future<Delivery> Queue::poll_async(Duration timeout, std::stop_token stop) {
    if (core_ != nullptr) {
        return core_->poll_async(timeout, stop);
    }
    return remote_ != nullptr ? remote_->poll_async(timeout, stop)
                              : detail::ready_future(Result<Delivery>(Status::closed));
}

Future<std::uint64_t> Queue::offer_async(Message message, Duration timeout, std::stop_token stop) {
    detail::inherit(message);
    if (core_ != nullptr) {
        return core_->offer_async(std::move(message), timeout, stop);
    }
    return remote_ != nullptr ? remote_->offer_async(std::move(message), timeout, stop)
                              : detail::ready_future(Result<std::uint64_t>(Status::closed));
}

Result<int> Queue::fd() {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->fd() : Result<int>(Status::closed);
    }
    return core_->fd();
}

Result<std::uint64_t> Queue::purge() {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->purge() : Result<std::uint64_t>(Status::closed);
    }
    return core_->purge();
}

Result<Message> Queue::peek() const {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->peek() : Result<Message>(Status::closed);
    }
    return core_->peek();
}

void Queue::close() {
    if (core_ != nullptr) {
        core_->close();
    } else if (remote_ != nullptr) {
        remote_->close();
    }
}

Result<void> Queue::flush(Duration timeout) {
    if (timeout.count() <= 0) {
        return Error{
            Status::bad_request,
            0,
            "timeout is " + std::to_string(timeout.count()) + " ns, allowed is more than 0"};
    }
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->flush(timeout) : Result<void>(Status::closed);
    }
    return core_->flush(timeout);
}

Result<QueueStatus> Queue::status() const {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->status() : Result<QueueStatus>(Status::closed);
    }
    return core_->status();
}

const std::string& Queue::name() const {
    static const std::string none;
    if (core_ != nullptr) {
        return core_->name();
    }
    return remote_ != nullptr ? remote_->name() : none;
}
std::uint32_t Queue::capacity() const {
    if (core_ != nullptr) {
        return core_->capacity();
    }
    return remote_ != nullptr ? remote_->capacity() : 0;
}
bool Queue::created() const { return core_ != nullptr && core_->created(); }

void Messages::next() {
    current_.release();
    if (stop_.stop_requested()) {  // a queue that is never empty must not keep the loop going
        status_ = Status::cancelled;
        return;
    }
    auto delivery = queue_.poll(detail::kForever, stop_);
    if (delivery) {
        current_ = std::move(*delivery);
    } else {
        status_ = delivery.status();
    }
}

}  // namespace telpher

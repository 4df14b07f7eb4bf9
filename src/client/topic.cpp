// The public Topic, Sample and Subscription.

#include "telpher/topic.hpp"

#include "src/broker/causation.hpp"
#include "src/broker/publish_operation.hpp"
#include "src/broker/subscription_core.hpp"
#include "src/broker/topic_core.hpp"
#include "src/client/remote.hpp"
#include "src/client/retrier.hpp"

#include <cstring>

namespace telpher {

Result<Published> Topic::publish(const Message& message,
                                 Duration timeout,
                                 const RetryOptions& options) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(
            message, [&](const Message& marked) { return publish(marked, timeout, options); });
    }
    return detail::with_retries<Published>(
        retrier_.get(),
        options.retry,
        detail::task_of(detail::RetryKind::publish, name(), timeout, options),
        [&](std::uint32_t /*attempt*/, Duration left) {
            if (core_ != nullptr) {
                return core_->publish(message, left, options.stop);
            }
            return remote_ != nullptr ? remote_->publish(message, left, options.stop)
                                      : Result<Published>(Status::closed);
        });
}

Result<Published> Topic::publish(const Message& message, Duration timeout, std::stop_token stop) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(message, [&](const Message& marked) {
            return publish(marked, timeout, std::move(stop));
        });
    }
    if (retries_) [[unlikely]] {
        return publish(message, timeout, RetryOptions{.stop = std::move(stop)});
    }
    if (core_ != nullptr) {
        return core_->publish(message, timeout, stop);
    }
    return remote_ != nullptr ? remote_->publish(message, timeout, stop)
                              : Result<Published>(Status::closed);
}

Result<Published> Topic::publish(Loan&& loan, Duration timeout, std::stop_token stop) {
    if (retries_) [[unlikely]] {
        return detail::with_retries<Published>(
            retrier_.get(),
            {},
            {.kind = detail::RetryKind::publish, .name = name(), .timeout = timeout, .stop = stop},
            [&](std::uint32_t /*attempt*/, Duration left) {
                if (core_ != nullptr) {
                    return core_->publish(loan, left, stop);
                }
                return remote_ != nullptr ? remote_->publish(loan, left, stop)
                                          : Result<Published>(Status::closed);
            });
    }
    if (core_ != nullptr) {
        return core_->publish(loan, timeout, stop);
    }
    return remote_ != nullptr ? remote_->publish(loan, timeout, stop)
                              : Result<Published>(Status::closed);
}

Future<Published> Topic::publish_async(Message message, Duration timeout, std::stop_token stop) {
    detail::inherit(message);
    if (core_ != nullptr) {
        return core_->publish_async(std::move(message), timeout, stop);
    }
    return remote_ != nullptr ? remote_->publish_async(std::move(message), timeout, stop)
                              : detail::ready_future(Result<Published>(Status::closed));
}

Result<Loan> Topic::loan(std::size_t payload_bytes, Duration timeout) {
    if (!*this) {
        return Status::closed;
    }
    wire::LoanPlan plan;
    plan.topic = name();
    plan.payload_bytes = payload_bytes;
    plan.aligned64 = payload_bytes >= wire::kAlignedFrom;
    return core_ != nullptr ? core_->loan(plan, timeout) : remote_->loan(plan);
}

Result<Loan> Topic::loan_typed(std::uint64_t type_id, std::size_t size_bytes, Duration timeout) {
    if (!*this) {
        return Status::closed;
    }
    wire::LoanPlan plan;
    plan.topic = name();
    plan.payload_bytes = size_bytes;
    plan.type = TypeTag{type_id, static_cast<std::uint32_t>(size_bytes)};
    plan.aligned64 = true;
    return core_ != nullptr ? core_->loan(plan, timeout) : remote_->loan(plan);
}

Result<TopicStatus> Topic::status() const {
    if (core_ != nullptr) {
        return core_->status();
    }
    return remote_ != nullptr ? remote_->status() : Result<TopicStatus>(Status::closed);
}

const std::string& Topic::name() const {
    static const std::string none;
    if (core_ != nullptr) {
        return core_->name();
    }
    return remote_ != nullptr ? remote_->name() : none;
}

bool Topic::created() const { return created_; }

// ---- Sample ------------------------------------------------------------------------------------

// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): the buffer, as in topic.hpp
Sample::Sample(Sample&& other) noexcept { take_over(other); }

Sample& Sample::operator=(Sample&& other) noexcept {
    if (this != &other) {
        release();
        take_over(other);
    }
    return *this;
}

// Views into the buffer move with it.
void Sample::take_over(Sample& other) noexcept {
    sequence_ = other.sequence_;
    lost_before_ = other.lost_before_;
    reader_ = std::exchange(other.reader_, nullptr);
    hazard_ = other.hazard_;
    keeps_ = std::move(other.keeps_);
    buffered_ = std::exchange(other.buffered_, false);
    detail::MessageParts parts = other.parts();
    if (buffered_) {
        std::memcpy(buffer_, other.buffer_, kBufferBytes);
        const auto moved = [this, &other](const void* old) {
            return buffer_ + (static_cast<const std::byte*>(old) - other.buffer_);
        };
        parts.topic = reinterpret_cast<const char*>(moved(parts.topic));
        parts.extension = reinterpret_cast<const char*>(moved(parts.extension));
        parts.payload = moved(parts.payload);
    }
    static_cast<MessageView&>(*this) = MessageView(parts);
    static_cast<MessageView&>(other) = MessageView();
}

void Sample::release() noexcept {
    if (reader_ != nullptr) {
        detail::SubscriptionCore::unpin(*std::exchange(reader_, nullptr), hazard_);
    }
    keeps_.reset();
}

// ---- Subscription --------------------------------------------------------------------------------

Subscription::~Subscription() { unsubscribe(); }

Subscription& Subscription::operator=(Subscription&& other) noexcept {
    if (this != &other) {
        unsubscribe();
        core_ = std::move(other.core_);
        remote_ = std::move(other.remote_);
    }
    return *this;
}

Result<Sample> Subscription::next(Duration timeout, std::stop_token stop) {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->next(timeout, stop) : Result<Sample>(Status::closed);
    }
    return core_->next(timeout, stop);
}

Result<std::vector<Sample>> Subscription::next_n(std::size_t max,
                                                 Duration timeout,
                                                 std::stop_token stop) {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->next_n(max, timeout, stop)
                                  : Result<std::vector<Sample>>(Status::closed);
    }
    return core_->next_n(max, timeout, stop);
}

void Subscription::unsubscribe() noexcept {
    if (core_ != nullptr) {
        core_->end();
    } else if (remote_ != nullptr) {
        remote_->unsubscribe();
    }
}

SubscriptionStatus Subscription::status() const {
    if (core_ != nullptr) {
        return core_->status();
    }
    return remote_ != nullptr ? remote_->status() : SubscriptionStatus{};
}

}  // namespace telpher

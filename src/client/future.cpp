// The public Future: a reference to an operation.

#include "telpher/future.hpp"

#include "src/broker/call_operation.hpp"
#include "src/broker/operation.hpp"
#include "src/broker/publish_operation.hpp"
#include "src/broker/queue_core.hpp"

namespace telpher {
namespace detail {

FutureBase::operator bool() const noexcept { return operation_ != nullptr && !operation_->read; }

bool FutureBase::ready() const noexcept {
    return operation_ == nullptr || operation_->forked() || operation_->over();
}

bool FutureBase::wait(Duration timeout) const { return ready() || operation_->wait(timeout); }

bool FutureBase::cancel() noexcept { return operation_ != nullptr && operation_->cancel(); }

void FutureBase::abandon() noexcept {
    if (operation_ != nullptr) {
        std::exchange(operation_, nullptr)->abandon();
    }
}

bool FutureBase::suspend(std::coroutine_handle<> coroutine) noexcept {
    return operation_->suspend(coroutine);
}

namespace {

// Waits, and takes the result out. The operation stays: somebody may be cancelling it.
template <typename Kind, typename T>
Result<T> take_result(Operation* operation, Duration timeout) {
    if (operation != nullptr && operation->forked()) {
        return Status::forked;
    }
    if (operation == nullptr || operation->read) {
        return Error{Status::bad_request, 0, "the future is empty: never filled, or read already"};
    }
    if (timeout.count() < 0) {
        return Error{
            Status::bad_request,
            0,
            "timeout is " + std::to_string(timeout.count()) + " ns, allowed are 0 and more"};
    }
    if (!operation->wait(timeout)) {
        return Status::timed_out;
    }
    operation->read = true;
    operation->before_read();
    if (operation->cancelled()) {
        return Status::cancelled;
    }
    auto& place = static_cast<Kind*>(operation)->result;
    Result<T> result = std::move(*place);
    place.reset();
    operation->close_contents();
    return result;
}

}  // namespace
}  // namespace detail

template <>
Result<Delivery> Future<Delivery>::get(Duration timeout) {
    return detail::take_result<detail::PollOperation, Delivery>(operation(), timeout);
}

template <>
Result<Message> Future<Message>::get(Duration timeout) {
    return detail::take_result<detail::CallOperation, Message>(operation(), timeout);
}

template <>
Result<Published> Future<Published>::get(Duration timeout) {
    return detail::take_result<detail::PublishOperation, Published>(operation(), timeout);
}

template <>
Result<std::uint64_t> Future<std::uint64_t>::get(Duration timeout) {
    return detail::take_result<detail::OfferOperation, std::uint64_t>(operation(), timeout);
}

}  // namespace telpher

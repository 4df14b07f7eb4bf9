#include "src/broker/call_operation.hpp"

#include "shm/base/clock.hpp"
#include "src/broker/parker.hpp"
#include "src/client/domain_core.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

// As CallTarget::call.
constexpr std::uint64_t kLongestRestNs = 16'000'000;

}  // namespace

CallOperation::CallOperation(Result<Message> outcome) : Operation(nullptr) {
    result.emplace(std::move(outcome));
}

CallOperation::CallOperation(const std::shared_ptr<DomainCore>& domain,
                             Parker& parker,
                             std::shared_ptr<CallTarget> target)
    : Operation(domain, parker, OperationKind::call, domain->attachment()),
      target_(std::move(target)),
      domain_(domain.get()),
      awaits_(&parker) {}

Result<Future<Message>> CallOperation::start(std::shared_ptr<DomainCore> domain,
                                             std::shared_ptr<CallTarget> target,
                                             const Message& request,
                                             Duration timeout) {
    auto context = domain->attachment().context();
    if (!context) {
        return context.error();
    }
    auto parker = domain->parker();
    if (!parker) {
        return parker.error();
    }
    // No room is `overloaded` at once; the deadline that travels is the call's.
    const std::stop_token never;
    const CallOptions options{timeout, &never, &domain->closed(), domain->strategy(), false};
    CallClock clock({});
    const std::uint64_t began = shm::monotonic_ns();
    const auto chunk = target->begin(
        request, **context, shm::make_call_thread((*parker)->thread_index(), 0), options, clock);
    if (!chunk) {
        return chunk.error();
    }
    auto* operation = new CallOperation(domain, **parker, std::move(target));
    operation->chunk_ = *chunk;
    operation->began_ns_ = began;
    operation->deadline_ns = deadline_after(timeout);
    auto future = FutureAccess::make<Message>(operation);
    operation->submit();
    if (domain->usable() != Status::ok) {
        (*parker)->look_at_all();  // closed meanwhile: its sweep may have been before
    }
    return future;
}

// Nobody changes the target and the chunk's number, and a look at the chunk does no harm when the call
// was withdrawn.
bool CallOperation::ready() const noexcept {
    if (again_ns_ == 0) [[likely]] {
        return target_->moved_last(chunk_);
    }
    const bool due = shm::monotonic_ns() >= again_ns_;
    if (!due) {
        awaits_->look_by(again_ns_);
    }
    return due;
}

Status CallOperation::run() {
    if (again_ns_ != 0) {
        again_ns_ = 0;
        if (auto sent = target_->send_again(chunk_, awaits_->context()); !sent) {
            target_->measure().ended(began_ns_, 1, sent.status());
            result.emplace(sent.error());
            return Status::ok;
        }
    } else if (target_->deferred(chunk_)) {
        again_ns_ = shm::monotonic_ns() + rest_ns_;
        rest_ns_ = std::min(2 * rest_ns_, kLongestRestNs);
        awaits_->look_by(again_ns_);
        return Status::queue_empty;
    }
    auto outcome = target_->advance(chunk_, awaits_->context(), attempts_);
    const Status status = outcome.status();
    if (status != Status::queue_empty) {
        target_->measure().ended(began_ns_, 1, status);
        result.emplace(CallTarget::truthful(std::move(outcome), was_deferred()));
        return Status::ok;  // it is over, whatever the status of its result
    }
    return status;
}

void CallOperation::fail(Status status) {
    result.emplace(CallTarget::truthful(target_->give_up(chunk_, status), was_deferred()));
    target_->measure().ended(began_ns_, 1, result->status());
}

Status CallOperation::usable() const noexcept { return domain_->usable(); }

void CallOperation::forget_input() noexcept {
    static_cast<void>(target_->give_up(chunk_, Status::cancelled));
}

Future<Message> ready_future(Result<Message> result) {
    return FutureAccess::make<Message>(new CallOperation(std::move(result)));
}

}  // namespace telpher::detail

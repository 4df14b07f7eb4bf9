#include "src/broker/operation.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/futex.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"
#include "src/broker/wakes_later.hpp"
#include "src/client/domain_core.hpp"

#include <algorithm>
#include <cassert>
#include <limits>

namespace telpher::detail {

Operation::Operation(std::shared_ptr<QueueCore> core)
    : word_(kDone), references_(1), core_(std::move(core)) {
    if (core_ != nullptr) {
        memory_ = core_->attachment().weak_from_this();
    }
}

Operation::Operation(std::shared_ptr<QueueCore> core, Parker& parker, OperationKind kind)
    : word_(kPending),
      references_(2),
      kind_(kind),
      parker_(&parker),
      found_(core->found()),
      core_(std::move(core)),
      memory_(core_->attachment().weak_from_this()) {
    core_->pending(kind_).fetch_add(1,
                                    std::memory_order_relaxed);  // relaxed: our next calls see it
}

Operation::Operation(std::shared_ptr<void> owner,
                     Parker& parker,
                     OperationKind kind,
                     shm::Attachment& attachment,
                     const shm::Found& found)
    : word_(kPending),
      references_(2),
      kind_(kind),
      parker_(&parker),
      found_(found),
      owner_(std::move(owner)),
      memory_(attachment.weak_from_this()) {}

Operation::Operation(std::shared_ptr<void> owner,
                     std::shared_ptr<OperationHost> host,
                     OperationKind kind)
    : word_(kPending),
      references_(2),
      kind_(kind),
      host_(std::move(host)),
      owner_(std::move(owner)) {}

Status Operation::usable() const noexcept { return core_->usable(); }

void Operation::hold() noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller holds one
}

void Operation::drop() noexcept {
    // F8: pairs with F8. Whoever deletes it sees what the other did to it.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        on_stop_.reset();  // waits for a stop request that is looking at us
        delete this;
    }
}

bool Operation::over() const noexcept {
    // F2: pairs with F1. Who sees DONE sees the result.
    return is_over(word_.load(std::memory_order_acquire));
}

bool Operation::cancelled() const noexcept {
    // relaxed: CANCELLED is final and has no result
    return (word_.load(std::memory_order_relaxed) & kPhase) == kCancelled;
}

bool Operation::to_resume() const noexcept {
    // relaxed: `resume` decides
    return (word_.load(std::memory_order_relaxed) & kContinued) != 0;
}

bool Operation::wait(Duration timeout) {
    if (over() || timeout.count() <= 0) {
        return over();
    }
    const std::uint64_t deadline = deadline_after(timeout);
    assert((parker_ != nullptr || host_ != nullptr) && "only a finished operation has neither");
    if (parker_ != nullptr && Parker::on_thread_of(parker_)) {
        return parker_->help(*this, deadline);
    }
    if (host_ != nullptr && host_->wait_for(*this, deadline)) {
        return over();
    }
    if (const auto memory = memory_.lock()) {
        // A sleeper keeps no memory from others.
        if (shm::ThreadContext* context = memory->known_context(); context != nullptr) {
            memory->pool().flush(context->cursor);
        }
    }
    for (;;) {
        // F2: pairs with F1.
        const std::uint32_t word = word_.fetch_or(kWaited, std::memory_order_acquire);
        if (is_over(word)) {
            return true;
        }
        const std::uint64_t now = shm::monotonic_ns();
        if (now >= deadline) {
            return false;
        }
        const auto left = std::min<std::uint64_t>(
            deadline - now, static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
        shm::futex_wait(word_, word | kWaited, Duration(left));
    }
}

// The queue's count of pending operations: while it is not 0, new ones queue up behind.
void Operation::account() noexcept {
    if (core_ == nullptr) {
        return;  // a remote queue
    }
    // relaxed: published with the word, or read by the same thread
    core_->pending(kind_).fetch_sub(1, std::memory_order_relaxed);
}

void Operation::wake(std::uint32_t flags) noexcept {
    if ((flags & kWaited) != 0) {
        shm::futex_wake(word_, std::numeric_limits<int>::max());
    }
    if ((flags & kRung) != 0) {
        // relaxed: the flag was set after it, with release
        if (shm::ThreadRecord* bell = bell_.load(std::memory_order_relaxed); bell != nullptr) {
            shm::ring_doorbell(*bell);
        }
    }
}

// It was PENDING and is CANCELLED, by us: the contents are ours.
void Operation::withdraw(std::uint32_t flags) noexcept {
    assert((parker_ != nullptr || host_ != nullptr) && "only a finished operation has neither");
    account();
    forget_input();
    if (host_ != nullptr) {
        host_->withdrawn(*this);
    } else if (parker_ != nullptr) {
        parker_->note_withdrawn();
    }
    wake(flags);
    if ((flags & kContinued) != 0) {
        hold();
        if (host_ != nullptr) {
            host_->resume(*this);
        } else if (parker_ != nullptr) {
            parker_->submit(*this);  // to be resumed
        }
    }
    // Last: it may be the last handle, and take the parker with it.
    const std::shared_ptr<void> owner = std::move(owner_);
    const std::shared_ptr<QueueCore> core = std::move(core_);
}

bool Operation::cancel() noexcept {
    if (forked() || (host_ != nullptr && (over() || !host_->may_withdraw(*this)))) {
        return false;
    }
    // relaxed: the CAS decides
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    std::uint32_t next = 0;
    do {
        if (is_over(word)) {
            return false;
        }
        next = word | ((word & kPhase) == kPending ? kCancelled : kUnwanted);
        // F5: pairs with F4 and F6. What attempts did to the contents, and who waits.
    } while (!word_.compare_exchange_weak(word,
                                          next,
                                          std::memory_order_acq_rel,
                                          std::memory_order_relaxed));  // failure: again
    if ((word & kPhase) != kPending) {
        return false;
    }
    withdraw(word);
    return true;
}

// With a reference of its own: who drops the last one waits for this call, and this call, when the
// queue it lets go of was the last handle, for the parker. That must not be the one who drops.
void Operation::cancel_by_request() noexcept {
    // relaxed: the CAS decides
    std::uint32_t references = references_.load(std::memory_order_relaxed);
    do {
        if (references == 0) {
            return;  // being deleted, after we return
        }
    } while (!references_.compare_exchange_weak(
        references, references + 1, std::memory_order_relaxed));  // relaxed: others hold one
    cancel();
    drop();
}

void Operation::abandon() noexcept {
    if (forked()) {
        return;  // nothing of it is ours
    }
    // relaxed: the CAS decides
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    std::uint32_t next = 0;
    do {
        // A coroutine that ends while it waits is not resumed.
        next = (word & ~kContinued) | kAbandoned;
        next |= (word & kPhase) == kPending ? kCancelled : 0;
        // F5: pairs with F1 and F4.
    } while (!word_.compare_exchange_weak(word,
                                          next,
                                          std::memory_order_acq_rel,
                                          std::memory_order_relaxed));  // failure: again
    if ((word & kPhase) == kPending) {
        withdraw(0);
    } else if ((word & kPhase) == kDone) {
        put_back();
        close_contents();
    }
    drop();  // TAKING: the parker sees kAbandoned, and gives back what it took
}

bool Operation::suspend(std::coroutine_handle<> coroutine) noexcept {
    if (host_ != nullptr && !host_->can_resume()) {
        return false;
    }
    continuation_ = coroutine;
    // F6: pairs with F1, F5 and F7. Publishes the handle.
    return !is_over(word_.fetch_or(kContinued, std::memory_order_acq_rel));
}

bool Operation::ring_when_over(shm::ThreadRecord& thread) noexcept {
    bell_.store(&thread, std::memory_order_relaxed);  // relaxed: published by the flag
    // F6: pairs with F1 and F5.
    return !is_over(word_.fetch_or(kRung, std::memory_order_acq_rel));
}

void Operation::do_not_ring() noexcept {
    // relaxed: a ring too many costs nothing
    word_.fetch_and(~kRung, std::memory_order_relaxed);
}

void Operation::close_contents() noexcept {
    core_.reset();
    owner_.reset();
}

void Operation::submit() {
    if (!parker_->try_submit(*this)) {
        if (claim()) {
            fail(Status::overloaded);
            static_cast<void>(finish());
        }
        drop();
    }
}

void Operation::submit(Duration timeout, const std::stop_token& stop) {
    deadline_ns = deadline_after(timeout);
    if (stop.stop_possible()) {
        cancel_by(stop);
    }
    submit();
}

bool Operation::claim() noexcept {
    // relaxed, all: the contents came with the submission, or were ours before; it only decides
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    do {
        if ((word & kPhase) != kPending) {
            return false;
        }
    } while (!word_.compare_exchange_weak(
        word, word | kTaking, std::memory_order_relaxed));  // relaxed: as above
    return true;
}

bool Operation::unclaim() noexcept {
    std::uint32_t word = word_.load(std::memory_order_relaxed);  // relaxed: the CAS decides
    std::uint32_t next = 0;
    do {
        next = (word & ~kPhase) | ((word & (kAbandoned | kUnwanted)) != 0 ? kCancelled : kPending);
        // F4: pairs with F5. Whoever cancels it next sees what the attempt did to the contents.
    } while (!word_.compare_exchange_weak(word,
                                          next,
                                          std::memory_order_acq_rel,
                                          std::memory_order_relaxed));  // failure: again
    if ((next & kPhase) == kCancelled) {
        withdraw(word);
        return false;
    }
    return true;
}

bool Operation::finish() noexcept {
    account();
    // F1: pairs with F2, F5 and F6. Publishes the result; sees who waits for it.
    const std::uint32_t flags = word_.fetch_add(kDone - kTaking, std::memory_order_acq_rel);
    if ((flags & kAbandoned) != 0) {
        put_back();
        const std::shared_ptr<void> owner = std::move(owner_);
        const std::shared_ptr<QueueCore> core = std::move(core_);
        return false;
    }
    if ((flags & (kWaited | kRung)) != 0 && !WakesLater::put_off(*this, flags)) {
        wake(flags);
    }
    return (flags & kContinued) != 0;
}

void Operation::resume() {
    // F7: pairs with F6. Once, and not after the coroutine was destroyed.
    if ((word_.fetch_and(~kContinued, std::memory_order_acq_rel) & kContinued) != 0) {
        continuation_.resume();
    }
}

Status PollOperation::run() {
    auto taken = core()->poll({}, {});
    const Status status = taken.status();
    if (status != Status::queue_empty) {
        result.emplace(std::move(taken));
    }
    return status;
}

void PollOperation::put_back() noexcept {
    if (result && result->has_value() && core() != nullptr) {
        if (shm::bug(shm::Bug::unread_future_drops)) {
            (*result)->release();
            return;
        }
        core()->give_up(**result);
    }
}

void OfferOperation::fail(Status status) {
    if (elsewhere && status == Status::timed_out) {
        result.emplace(Error{status,
                             0,
                             "a message of the same request id was under way elsewhere",
                             Outcome::may_have_happened});
    } else {
        result.emplace(status);
    }
}

Status OfferOperation::run() {
    const OriginScope scope(origin);
    auto sent = core()->offer(message, {}, {});
    const Status status = sent.status();
    elsewhere = runs_elsewhere(sent);
    if (status != Status::queue_full && status != Status::out_of_memory) {
        result.emplace(std::move(sent));
        forget_input();
    }
    return status;
}

Future<Delivery> ready_future(Result<Delivery> result, std::shared_ptr<QueueCore> core) {
    auto* operation = new PollOperation(std::move(core));
    operation->result.emplace(std::move(result));
    return FutureAccess::make<Delivery>(operation);
}

Future<std::uint64_t> ready_future(Result<std::uint64_t> result) {
    auto* operation = new OfferOperation(nullptr);
    operation->result.emplace(std::move(result));
    return FutureAccess::make<std::uint64_t>(operation);
}

}  // namespace telpher::detail

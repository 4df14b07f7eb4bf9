// What the threads of a consumer do.

#include "src/broker/causation.hpp"
#include "src/broker/waiter.hpp"
#include "src/client/consuming.hpp"

#include <algorithm>
#include <exception>
#include <string>

namespace telpher::detail {
namespace {

constexpr int kExtendAtPart = 3;  // of a lease's time
// Behind a poll that failed for a reason that passes: doubled with each, up to the second one.
constexpr auto kPauseFirst = std::chrono::milliseconds(10);
constexpr std::uint32_t kPauseDoublings = 6;

// Nothing will be polled from there any more.
bool ends(Status status) noexcept {
    switch (status) {
        case Status::closed:
        case Status::queue_not_found:
        case Status::domain_removed:
        case Status::not_permitted:
        case Status::forked:
        case Status::corrupt:
        case Status::bad_request:
            return true;
        default:
            return false;
    }
}

void count(std::atomic<std::uint64_t>& counter) noexcept {
    counter.fetch_add(1, std::memory_order_relaxed);  // relaxed: a statistic
}

}  // namespace

// ---- the threads of handlers -------------------------------------------------------------------

void Consuming::run(std::size_t thread) {
    Batch& batch = batches_[thread];
    Error why;
    std::uint32_t streak = 0;  // of polls that failed
    while (!stop_.stop_requested() && why.status == Status::ok) {
        Error trouble = fetch(batch);
        if (trouble.status == Status::ok) {
            streak = 0;
            while (!batch.empty()) {
                if (lot_ == nullptr) {
                    handle(batch);
                } else if (!parks(batch)) {
                    lot_->begin_handling();
                    handle(batch);
                    lot_->end_handling();
                }
            }
        } else if (ends(trouble.status)) {
            why = std::move(trouble);
        } else if (trouble.status != Status::timed_out && trouble.status != Status::cancelled) {
            streak += pause(trouble, streak) ? 1U : 0U;
        }
    }
    if (lot_ != nullptr) {
        // What is given back to a queue that was removed is gone: it is handled, in its time.
        lot_->leave(why.status == Status::queue_not_found);
    }
    end(why);
}

// What can be had, into our hands; ok, or why not.
Error Consuming::fetch(Batch& batch) {
    if (lot_ != nullptr) {
        lot_->wait_for_room();
    }
    std::vector<Delivery> fetched;
    if (options_.prefetch == 1) {
        auto one = queue_.poll(kForever, stop_.get_token());
        if (!one) {
            return std::move(one).error();
        }
        fetched.push_back(std::move(*one));
    } else {
        auto several = queue_.poll_n(options_.prefetch, kForever, stop_.get_token());
        if (!several) {
            return std::move(several).error();
        }
        fetched = std::move(*several);
    }
    hold(batch, std::move(fetched), Clock::now() + lease_ / kExtendAtPart);
    return {};
}

void Consuming::hold(Batch& batch, std::vector<Delivery> deliveries, Clock::time_point due) {
    {
        const std::lock_guard guard(batch.mutex);
        batch.deliveries = std::move(deliveries);
        batch.lost.assign(batch.deliveries.size(), false);
        batch.next = 0;
        batch.due = due;
    }
    call_extender(due);
}

// Somebody has something in hand. A look that is under way may have missed it: the next one does not.
void Consuming::call_extender(Clock::time_point due) noexcept {
    if (lease_.count() == 0) {
        return;
    }
    const std::lock_guard guard(rest_mutex_);
    if (due < soonest_) {
        soonest_ = due;
        rest_.notify_one();
    }
}

// The next one in hand. While its handler runs its lease is extended; then it is ours alone.
void Consuming::handle(Batch& batch) {
    Delivery& delivery = batch.deliveries[batch.next];
    bool lost = false;
    {
        const std::lock_guard guard(batch.mutex);
        lost = batch.lost[batch.next];
    }
    const std::optional<Handled> said = lost ? std::nullopt : run_handler(delivery);
    {
        const std::lock_guard guard(batch.mutex);
        ++batch.next;
    }
    if (lost) {
        let_go_lost(delivery);
    } else if (said) {
        settle(delivery, *said);
    } else if (lease_.count() != 0) {
        settle(delivery, Handled::nack(options_.retry_after));
    } else {
        delivery.release();
    }
}

// Before its turn: another handles it.
void Consuming::let_go_lost(Delivery& delivery) noexcept {
    count(leases_lost_);
    tell(Status::lease_expired, "its lease ended while it waited for its handler", &delivery);
    delivery.release();
}

// Nothing: it failed, and that has been told.
std::optional<Handled> Consuming::run_handler(const Delivery& delivery) noexcept {
    Status status = Status::handler_error;
    std::string text;
    const CauseScope cause(delivery);
    try {
        const Result<Handled> said = handler_(delivery);
        if (said) {
            return *said;
        }
        status = said.status();
        text = said.error().detail;
    } catch (const std::exception& failure) {
        text = failure.what();
    } catch (...) {
        text = "an exception that is no std::exception";
    }
    count(handler_errors_);
    tell(status, text, &delivery);
    return std::nullopt;
}

void Consuming::settle(Delivery& delivery, const Handled& said) noexcept {
    Result<void> done;
    std::atomic<std::uint64_t>* counter = &acknowledged_;
    const MessageNames names = lot_ != nullptr ? MessageNames(delivery) : MessageNames();
    switch (said.verdict) {
        case Handled::Verdict::ack:
            done = delivery.ack();
            break;
        case Handled::Verdict::nack:
            counter = &given_back_;
            done = delivery.nack(said.delay);
            break;
        case Handled::Verdict::reject:
            counter = &rejected_;
            done = delivery.reject();
            break;
    }
    if (done) {
        count(*counter);
        if (lot_ != nullptr && said.verdict != Handled::Verdict::nack) {
            lot_->gate().processed(names.all());
        }
        return;
    }
    if (done.status() == Status::lease_expired) {
        count(leases_lost_);
    }
    tell(done.status(), done.error().detail, &delivery);
    delivery.release();
}

// Before the next poll. False: it has been stopped meanwhile.
bool Consuming::pause(const Error& trouble, std::uint32_t streak) {
    if (streak == 0) {
        tell(trouble.status, trouble.detail, nullptr);
    }
    std::condition_variable_any none;
    std::mutex mutex;
    std::unique_lock hold(mutex);
    const auto length = kPauseFirst * (1U << std::min(streak, kPauseDoublings));
    return !none.wait_for(
        hold, stop_.get_token(), length, [this] { return stop_.stop_requested(); });
}

// One thread less. The last one tells, and lets the extender go.
void Consuming::end(const Error& why) noexcept {
    Error told;
    {
        const std::lock_guard guard(rest_mutex_);
        if (why_.status == Status::ok) {
            why_ = why;
        }
        told = why_;
        // Z1: pairs with Z1. The last one sees what the others did.
        if (running_.fetch_sub(1, std::memory_order_acq_rel) != 1) {
            return;
        }
        rest_.notify_one();
    }
    if (told.status == Status::ok || stop_.stop_requested() || !options_.on_end) {
        return;
    }
    try {
        options_.on_end(told);
    } catch (...) {
        count(handler_errors_);
    }
}

// What a callback throws is counted.
void Consuming::tell(Status status, std::string_view text, const Delivery* delivery) noexcept {
    if (!options_.on_error) {
        return;
    }
    try {
        ConsumeFailure failure{.queue = queue_.name(), .status = status, .text = std::string(text)};
        if (failure.text.empty()) {
            failure.text = to_string(status);
        }
        if (delivery != nullptr) {
            failure.sequence = delivery->sequence();
            failure.deliveries = delivery->deliveries();
        }
        options_.on_error(failure);
    } catch (...) {
        count(handler_errors_);
    }
}

// ---- the thread that extends their leases ------------------------------------------------------

void Consuming::extend_leases() {
    std::unique_lock hold(rest_mutex_);
    // Z1: pairs with Z1.
    while (running_.load(std::memory_order_acquire) != 0) {
        const Clock::time_point due = soonest_;
        if (due == Clock::time_point::max()) {
            rest_.wait(hold);
        } else if (due > Clock::now()) {
            rest_.wait_until(hold, due);
        } else {
            soonest_ = Clock::time_point::max();
            hold.unlock();
            const Next next = extend_due();
            hold.lock();
            soonest_ = next ? std::min(soonest_, *next) : soonest_;
        }
    }
}

// Extends what is due. When the next is; nothing: nobody has anything in hand.
Consuming::Next Consuming::extend_due() noexcept {
    Next next;
    for (Batch& batch : batches_) {
        extend_due(batch, next);
    }
    if (lot_ == nullptr) {
        return next;
    }
    const Next parked = lot_->extend_due(lease_ / kExtendAtPart,
                                         [this](Delivery& delivery) { return extend(delivery); });
    if (parked) {
        next = next ? std::min(*next, *parked) : parked;
    }
    for (Batch& batch : going_on_) {
        extend_due(batch, next);
    }
    return next;
}

void Consuming::extend_due(Batch& batch, Next& next) noexcept {
    const std::lock_guard guard(batch.mutex);
    if (batch.empty()) {
        return;
    }
    if (batch.due <= Clock::now()) {
        batch.due = Clock::now() + lease_ / kExtendAtPart;
        for (std::size_t i = batch.next; i < batch.deliveries.size(); ++i) {
            if (!batch.lost[i]) {
                batch.lost[i] = !extend(batch.deliveries[i]);
            }
        }
    }
    next = next ? std::min(*next, batch.due) : batch.due;
}

// False: it is ours no more.
bool Consuming::extend(Delivery& delivery) noexcept {
    const Result<void> done = delivery.extend();
    if (done) {
        count(extended_);
    }
    return done.status() != Status::lease_expired;
}

}  // namespace telpher::detail

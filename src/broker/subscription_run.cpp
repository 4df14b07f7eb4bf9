// A subscription with a handler: the thread that takes its messages, and how it ends.

#include "shm/base/signals.hpp"
#include "src/broker/causation.hpp"
#include "src/broker/subscription_core.hpp"
#include "src/client/domain_core.hpp"

#include <pthread.h>

#include <chrono>
#include <exception>
#include <system_error>

namespace telpher::detail {
namespace {}  // namespace

Result<void> SubscriptionCore::run(SampleHandler handler) {
    handler_ = std::move(handler);
    handled_ = true;
    running_ = true;
    handling_->finished = false;
    const shm::SignalsBlocked blocked;
    Result<void> started;
    try {
        // The thread keeps the core until the subscription ends, and tells after it has let go of it.
        std::thread([self = shared_from_this(), handling = handling_]() mutable {
            self->handle();
            self.reset();
            // Nobody joins us: what this thread's destructors would give back after `finished` would hold
            // the attachment meanwhile, and the process may end before it is left.
            shm::end_contexts_of_this_thread();
            const std::lock_guard hold(handling->mutex);
            handling->finished = true;
            handling->changed.notify_all();
        }).detach();
    } catch (const std::system_error& failure) {
        running_ = false;
        handling_->finished = true;
        started = Error{Status::limit_reached,
                        failure.code().value(),
                        "no thread for the subscription's handler: " + std::string(failure.what())};
    }
    return started;
}

void SubscriptionCore::handle() {
    pthread_setname_np(pthread_self(), "telpher-handler");
    Status status = Status::ok;
    Error error;
    while (status == Status::ok) {
        Sample sample;
        status = next_into(sample, &error, kForever, {});
        if (status == Status::timed_out) {
            status = Status::ok;
            continue;
        }
        if (status != Status::ok) {
            break;
        }
        if (options_.executor) {
            give_away(sample);
        } else {
            handle_one(sample);
        }
    }
    // Ended by itself, not by its owner.
    if (options_.on_end && !ended_.load(std::memory_order_acquire)) {  // Q1: pairs with Q2
        try {
            options_.on_end(error.status == Status::ok ? explain(status, {}) : error);
        } catch (...) {
            handler_errors_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a statistic
        }
    }
    running_ = false;
}

// Has the executor run the handler, and waits for it: one after another, in the topic's order.
void SubscriptionCore::give_away(const Sample& sample) noexcept {
    const auto handling = handling_;
    const auto done = [handling] {
        const std::lock_guard hold(handling->mutex);
        handling->given_away = false;
        handling->changed.notify_all();
    };
    {
        const std::lock_guard hold(handling->mutex);
        handling->given_away = true;
    }
    try {
        options_.executor([this, &sample, done] {
            handle_one(sample);
            done();
        });
    } catch (...) {
        // It did not take it. relaxed: a statistic
        handler_errors_.fetch_add(1, std::memory_order_relaxed);
        done();
    }
    std::unique_lock hold(handling->mutex);
    handling->changed.wait(hold, [&handling] { return !handling->given_away; });
}

void SubscriptionCore::handle_one(const Sample& sample) noexcept {
    {
        const std::lock_guard hold(handling_->mutex);
        handling_->on = std::this_thread::get_id();
    }
    run_handler(sample);
    const std::lock_guard hold(handling_->mutex);
    handling_->on = {};
}

void SubscriptionCore::run_handler(const Sample& sample) noexcept {
    // Q1: pairs with Q2. After the end, no handler begins.
    if (ended_.load(std::memory_order_acquire)) {
        return;
    }
    std::string text;
    const CauseScope cause(sample);
    try {
        handler_(sample);
        return;
    } catch (const std::exception& failure) {
        text = failure.what();
    } catch (...) {
        text = "an exception that is no std::exception";
    }
    // relaxed: a statistic
    handler_errors_.fetch_add(1, std::memory_order_relaxed);
    if (options_.on_error) {
        try {
            options_.on_error(text);
        } catch (...) {
            handler_errors_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a statistic
        }
    }
}

void SubscriptionCore::end() noexcept {
    // Q2: pairs with Q1 (subscription_wait.cpp:Q1).
    ended_.store(true, std::memory_order_release);
    if (attachment_.forked()) {
        return;  // a child has no such thread, and the records are the parent's
    }
    {
        // Publishers wait for nobody who has gone, and its samples stay readable.
        const std::lock_guard hold(readers_mutex_);
        for (auto& reader : readers_) {
            reader->topic->ring().retire_subscriber(*reader->record);
            shm::wake_all(reader->topic->ring().control().space, attachment_.threads());
        }
    }
    attachment_.ring_own_threads();
    const auto handling = handling_;
    std::unique_lock hold(handling->mutex);
    // From the handler itself: it ends when that has returned.
    handling->changed.wait(hold, [&handling] {
        return handling->finished || handling->on == std::this_thread::get_id();
    });
}

SubscriptionStatus SubscriptionCore::status() const {
    SubscriptionStatus status;
    {
        const std::lock_guard hold(readers_mutex_);
        status.topics = static_cast<std::uint32_t>(readers_.size());
    }
    // relaxed, all: statistics
    status.received = received_.load(std::memory_order_relaxed);
    status.lost = lost_.load(std::memory_order_relaxed);                      // relaxed: as above
    status.expired = expired_.load(std::memory_order_relaxed);                // relaxed: as above
    status.handler_errors = handler_errors_.load(std::memory_order_relaxed);  // relaxed: as above
    // Q1: pairs with Q2.
    status.running = !ended_.load(std::memory_order_acquire) && (!handled_ || running_);
    return status;
}

}  // namespace telpher::detail

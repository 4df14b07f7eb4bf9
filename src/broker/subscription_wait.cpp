// How a subscriber waits: spins over its topics, then sleeps on one doorbell with a bit in each.

#include "shm/base/clock.hpp"
#include "shm/base/cpu.hpp"
#include "src/broker/subscription_core.hpp"
#include "src/client/domain_core.hpp"

#include <algorithm>

namespace telpher::detail {

Status SubscriptionCore::reason(const std::stop_token& stop) const noexcept {
    if (stop.stop_requested()) {
        return Status::cancelled;
    }
    // Q1: pairs with Q2 (src/broker/subscription_run.cpp:Q2): set before the doorbell is rung.
    if (ended_.load(std::memory_order_acquire)) {
        return Status::closed;
    }
    return domain_->usable();
}

bool SubscriptionCore::maybe() const noexcept {
    for (const auto& reader : readers_) {
        if (!reader->ended && reader->topic->ring().maybe_at(reader->cursor)) {
            return true;
        }
    }
    return false;
}

bool SubscriptionCore::ready() const noexcept {
    for (const auto& reader : readers_) {
        if (!reader->ended && reader->topic->ring().is_at(reader->cursor)) {
            return true;
        }
    }
    return wild_ && directory_generation() != seen_generation_;
}

Status SubscriptionCore::next_into(Sample& sample,
                                   Error* error,
                                   Duration timeout,
                                   const std::stop_token& stop) {
    if (timeout.count() < 0) [[unlikely]] {
        return Status::bad_request;
    }
    if (const Status status = reason({}); status != Status::ok) [[unlikely]] {
        return status;
    }
    Status status = take(sample, error);
    shm::ThreadContext* quick = attachment_.quick_context();
    if (status != Status::queue_empty) [[likely]] {
        if (quick != nullptr) {
            ++quick->run;
        }
        return status;
    }
    tell_cursors();
    auto context = attachment_.context();
    if (!context) {
        *error = std::move(context).error();
        return error->status;
    }
    pace(**context);
    if (wild_) {
        if (auto followed = follow(); !followed) {
            *error = std::move(followed).error();
            return error->status;
        }
        status = take(sample, error);
    }
    if (status != Status::queue_empty || timeout.count() == 0) {
        return status;
    }
    const std::uint64_t now = shm::monotonic_ns();
    const auto left = static_cast<std::uint64_t>(timeout.count());
    const std::uint64_t deadline_ns = left > ~0ULL - now ? ~0ULL : now + left;
    while (status == Status::queue_empty) {
        status = wait(**context, deadline_ns, stop);
        if (status != Status::ok) {
            return status;
        }
        status = wild_ ? Status::queue_empty : take(sample, error);
        if (wild_) {
            if (auto followed = follow(); !followed) {
                *error = std::move(followed).error();
                return error->status;
            }
            status = take(sample, error);
        }
    }
    return status;
}

// ok: look again.
Status SubscriptionCore::wait(shm::ThreadContext& context,
                              std::uint64_t deadline_ns,
                              const std::stop_token& stop) {
    const std::uint64_t started = shm::monotonic_ns();
    std::uint32_t limit = std::max(context.spin_limit, kSpinMin);
    switch (domain_->strategy()) {
        case WaitStrategy::eco:
            limit = 0;
            break;
        case WaitStrategy::latency:
            limit = kSpinLatency;
            break;
        case WaitStrategy::balanced:
            break;
    }
    std::uint32_t pause = context.pause;
    for (std::uint32_t i = 0; i < limit; ++i) {
        rest(pause);
        if (maybe()) {
            context.spin_limit = std::min(limit * 2, kSpinMax);
            return Status::ok;
        }
        if ((i & 63U) == 63U) {
            if (const Status status = reason(stop); status != Status::ok) {
                return status;
            }
            if (shm::monotonic_ns() >= deadline_ns) {
                return Status::timed_out;
            }
        }
    }
    context.spin_limit = std::max(limit / 2, kSpinMin);
    const Status status = sleep(context, deadline_ns, stop);
    if (status == Status::ok && shm::monotonic_ns() - started < kSleepWorthNs) {
        context.spin_limit = kSpinMax;
    }
    return status;
}

// Publishers ring everybody, so that no wake needs to be passed on. Killed in it: bits stay behind
// that cost one futile ring each.
Status SubscriptionCore::sleep(shm::ThreadContext& context,
                               std::uint64_t deadline_ns,
                               const std::stop_token& stop) {
    attachment_.pool().flush(context.cursor);  // a sleeper keeps no memory from others
    shm::ThreadRecord& me = *context.record;
    const std::stop_callback on_stop(stop, [&me] { shm::ring_doorbell(me); });
    shm::WaiterMap& newcomers = attachment_.segment().directory_waiters();
    for (;;) {
        SHM_STEP("wait.seen");
        // D2: pairs with shm/doorbell.hpp:D1. Read before the bits are set.
        const std::uint32_t seen = me.doorbell.load(std::memory_order_acquire);
        for (const auto& reader : readers_) {
            shm::arm(reader->topic->ring().control().items, context.index);
        }
        if (wild_) {
            shm::arm(newcomers, context.index);
        }
        Status status = Status::ok;
        bool again = ready();
        if (!again && (status = reason(stop)) == Status::ok) {
            const std::uint64_t now = shm::monotonic_ns();
            if (now >= deadline_ns) {
                status = Status::timed_out;
            } else {
                const auto left = std::chrono::nanoseconds(static_cast<std::int64_t>(
                    std::min<std::uint64_t>(deadline_ns - now, shm::kSleepMax.count())));
                SHM_STEP("wait.sleep");
                shm::futex_wait(me.doorbell, seen, left);
                again = ready();
            }
        }
        for (const auto& reader : readers_) {
            static_cast<void>(shm::disarm(reader->topic->ring().control().items, context.index));
        }
        if (wild_) {
            static_cast<void>(shm::disarm(newcomers, context.index));
        }
        if (again || status != Status::ok) {
            return again ? Status::ok : status;
        }
    }
}

}  // namespace telpher::detail

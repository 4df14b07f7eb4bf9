#pragma once
// One thread waiting for the answer to a call: spin on the request's word, then sleep on the doorbell
// that the request names.
//
//   Reasons    `wait` ends with ok (the word has moved), timed_out, cancelled, closed, domain_removed,
//              forked, or function_not_found (its function was closed, and nobody has begun it).
//   Deaths     a server's death is told by its reaper. Where that is late, the look after each second of
//              sleep finds it.
//   Crash      killed asleep: a mark in a thread record, which its next user takes away.

#include "src/broker/waiter.hpp"

#include <algorithm>

namespace telpher::detail {

inline constexpr std::uint32_t kRestMax = 64;  // pauses before the first look for an answer

// The end of a wait; the clock is read when somebody asks.
class CallClock {
  public:
    explicit CallClock(Duration timeout) noexcept : timeout_(timeout) {}
    [[nodiscard]] std::uint64_t deadline_ns() noexcept {
        if (deadline_ns_ == 0) {
            const std::uint64_t now = shm::monotonic_ns();
            const auto wait = static_cast<std::uint64_t>(timeout_.count());
            deadline_ns_ = wait > ~0ULL - now ? ~0ULL : now + wait;
        }
        return deadline_ns_;
    }
    [[nodiscard]] Duration left() noexcept {
        const std::uint64_t deadline = deadline_ns();
        const std::uint64_t now = shm::monotonic_ns();
        constexpr auto kMost = static_cast<std::uint64_t>(Duration::max().count());
        return now >= deadline
                   ? Duration{}
                   : Duration(static_cast<std::int64_t>(std::min(deadline - now, kMost)));
    }

  private:
    Duration timeout_;
    std::uint64_t deadline_ns_ = 0;
};

// What may end a call besides its answer.
struct CallOptions {
    Duration timeout{};
    const std::stop_token* stop = nullptr;
    const std::atomic<bool>* closed = nullptr;  // of the Client
    WaitStrategy strategy = WaitStrategy::balanced;
    bool waits_for_room = true;
};

class CallWait {
  public:
    CallWait(shm::Attachment& attachment,
             shm::ThreadContext& context,
             const CallOptions& options,
             CallClock& clock)
        : attachment_(attachment), context_(context), options_(options), clock_(clock) {}
    CallWait(const CallWait&) = delete;
    CallWait& operator=(const CallWait&) = delete;
    ~CallWait() = default;

    // `look()` whether the word has moved; `look_last()` the same with the order that a sleeper needs;
    // `gone()` whether the function was closed; `check()` looks after its server.
    template <typename Look, typename LookLast, typename Gone, typename Check>
    [[nodiscard]] Status wait(Look&& look, LookLast&& look_last, Gone&& gone, Check&& check) {
        if (spin(look)) {
            context_.call_slept = false;
            return Status::ok;
        }
        context_.call_slept = true;
        attachment_.pool().flush(context_.cursor);  // a sleeper keeps no memory from others
        shm::ThreadRecord& me = *context_.record;
        auto ring_me = [&me] { shm::ring_doorbell(me); };
        const std::stop_callback on_stop(*options_.stop, ring_me);
        const std::uint64_t started = shm::monotonic_ns();
        SHM_STEP("call.sleep.mark");
        // CW3: pairs with shm/call.hpp:CW4 and shm/directory_recycle.cpp:E7. The mark, then the look; whoever
        // answers or closes moves its word, then looks for the mark.
        me.awaits_call.store(1, std::memory_order_seq_cst);
        Status status = Status::none;
        while (status == Status::none) {
            SHM_STEP("call.sleep.seen");
            // D2: pairs with shm/doorbell.hpp:D1. Read before the looks: a ring after it is not slept over.
            const std::uint32_t seen = me.doorbell.load(std::memory_order_acquire);
            if (look_last()) {
                status = Status::ok;
            } else if (gone()) {
                status = Status::function_not_found;
            } else if (status = reason(); status == Status::ok) {
                status = sleep(me, seen, check);
            }
        }
        me.awaits_call.store(0, std::memory_order_relaxed);  // relaxed: a ring too many is harmless
        if (status == Status::ok && shm::monotonic_ns() - started < kSleepWorthNs) {
            context_.spin_limit = kSpinMax;
        }
        return status;
    }

  private:
    // none: look again.
    template <typename Check>
    Status sleep(shm::ThreadRecord& me, std::uint32_t seen, Check&& check) {
        const Duration left = clock_.left();
        if (left.count() == 0) {
            return Status::timed_out;
        }
        SHM_STEP("call.sleep");
        const std::uint64_t before = shm::monotonic_ns();
        shm::futex_wait(me.doorbell, seen, std::min<Duration>(left, shm::kSleepMax));
        if (shm::monotonic_ns() - before >= static_cast<std::uint64_t>(shm::kSleepMax.count())) {
            check();
        }
        return Status::none;
    }

    // Why to stop waiting, ok if there is no reason.
    [[nodiscard]] Status reason() const {
        if (options_.stop->stop_requested()) {
            return Status::cancelled;
        }
        // Q1: pairs with Q2 (src/broker/queue_poll.cpp:Q2): set before the doorbell is rung.
        if (options_.closed->load(std::memory_order_acquire)) {
            return Status::closed;
        }
        return attachment_.usable();
    }

    template <typename Look>
    bool spin(Look&& look) {
        std::uint32_t limit = context_.spin_limit;
        if (options_.strategy == WaitStrategy::eco) {
            limit = 0;
        } else if (options_.strategy == WaitStrategy::latency) {
            limit = kSpinLatency;
        } else if (limit < kSpinMin) {
            limit = kSpinMax / 2;
        }
        // Each look takes the word's line from the server that is about to write it: the first one comes
        // when the last answers came.
        std::uint32_t& rest = context_.call_rest;
        for (std::uint32_t p = 0; limit != 0 && p < rest; ++p) {
            shm::cpu_pause();
        }
        for (std::uint32_t i = 0; i < limit; ++i) {
            if (look()) {
                context_.spin_limit = limit * 2 < kSpinMax ? limit * 2 : kSpinMax;
                rest = i == 0 ? rest - rest / 8 : std::min(rest + 1, kRestMax);
                return true;
            }
            shm::cpu_pause();
            if ((i & 63U) == 63U && (reason() != Status::ok || clock_.left().count() == 0)) {
                break;
            }
        }
        context_.spin_limit = limit / 2 > kSpinMin ? limit / 2 : kSpinMin;
        return false;
    }

    shm::Attachment& attachment_;
    shm::ThreadContext& context_;
    const CallOptions& options_;
    CallClock& clock_;
};

}  // namespace telpher::detail

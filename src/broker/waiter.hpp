#pragma once
// One thread waiting at one end of a queue: spin, then sleep on its doorbell.
//
//   Reasons    `wait` ends with ok (look again), timed_out, cancelled, closed, domain_removed or
//              forked.
//   Crash      as doorbell.hpp: a killed sleeper leaves a bit that costs one futile ring.
//   Source     the sequence is that of tests/model/wait.pml: seen, bit, summary, look, sleep,
//              disarm; whoever was chosen by a waker and leaves something behind passes the wake
//              on.

#include "telpher/options.hpp"
#include "telpher/status.hpp"

#include "shm/attachment.hpp"
#include "shm/base/clock.hpp"
#include "shm/base/cpu.hpp"
#include "shm/doorbell.hpp"

#include <chrono>
#include <stop_token>

namespace telpher::detail {

// Bounds of spinning, in looks at the queue; each costs a pause of 30 to 60 ns.
inline constexpr std::uint32_t kSpinMax = 4096;
inline constexpr std::uint32_t kSpinMin = 64;
inline constexpr std::uint32_t kSpinLatency = 65'536;
// A sleep and its wake-up cost about that much: who was woken sooner should have gone on spinning.
inline constexpr std::uint64_t kSleepWorthNs = 80'000;

inline constexpr std::uint32_t kPauseMax = 128;  // pauses between looks at a stream we keep up with
inline constexpr std::uint32_t kRunEnough =
    64;  // messages between misses: the stream is far enough ahead

// Between two looks. A stream that is caught up with is let run ahead a little, a single message is
// not; nor is what has not moved while it was: the time of a spin stays that of its looks.
inline void rest(std::uint32_t& pause) noexcept {
    for (std::uint32_t p = 0; p < pause; ++p) {
        shm::cpu_pause();
    }
    pause = pause > 2 ? pause / 2 : 1;
}

// After a look that found nothing: how long to leave the producer alone, from the length of the
// last run.
inline void pace(shm::ThreadContext& context) noexcept {
    if (context.run >= 2 && context.run < kRunEnough) {
        context.pause = std::min(context.pause * 2, kPauseMax);
    } else if (context.run == 1) {
        context.pause = 1;
    }
    context.run = 0;
}

// Nobody sees the difference to longer waits, and deadlines do not overflow.
inline constexpr Duration kForever = std::chrono::hours(24 * 365);

// Between looks at a full ring, or at the cursors of those whom a publisher waits for.
inline constexpr std::uint32_t kFullPause = 32;

// A janitor that looks every 5 s need not be told of what comes later.
inline constexpr std::uint64_t kJanitorKnowsUs = 5'000'000;

// What may end a wait besides the queue itself.
struct WaitOptions {
    Duration timeout{};
    const std::stop_token* stop = nullptr;
    const std::atomic<bool>* closed[2] = {nullptr, nullptr};  // of the handle and of its client
    WaitStrategy strategy = WaitStrategy::balanced;
};

class Waiter {
  public:
    Waiter(shm::Attachment& attachment,
           shm::ThreadContext& context,
           shm::WaiterMap& map,
           const WaitOptions& options)
        : attachment_(attachment), context_(context), map_(map), options_(options) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() = default;

    // Returns ok when there may be something; never blocks longer than the timeout. `maybe(look)`
    // is the cheap question asked while spinning, `ready()` the exact one asked before sleeping.
    template <typename Maybe, typename Ready>
    [[nodiscard]] Status wait(Maybe&& maybe, Ready&& ready) {
        if (deadline_ns_ == 0) {
            started_ns_ = shm::monotonic_ns();
            deadline_ns_ = deadline(started_ns_);
        }
        // Others may have been faster each time, or the hints too hopeful: time passes all the
        // same.
        if ((++rounds_ & 63U) == 0) {
            if (const Status status = reason(); status != Status::ok) {
                return status;
            }
            if (shm::monotonic_ns() >= deadline_ns_) {
                return Status::timed_out;
            }
        }
        if (spin(maybe)) {
            return Status::ok;
        }
        const Status status = sleep(ready);
        if (status == Status::ok && shm::monotonic_ns() - started_ns_ < kSleepWorthNs) {
            context_.spin_limit = kSpinMax;
        }
        return status;
    }

    // Call when leaving, after the last take: passes on the wake that chose us if something is
    // left.
    template <typename Left>
    void leave(Left&& left) {
        if (chosen_ && left()) {
            shm::wake(map_, attachment_.threads(), left);
        }
    }

  private:
    [[nodiscard]] std::uint64_t deadline(std::uint64_t now) const {
        const auto timeout = static_cast<std::uint64_t>(options_.timeout.count());
        return timeout > ~0ULL - now ? ~0ULL : now + timeout;
    }
    // Why to stop waiting, ok if there is no reason.
    [[nodiscard]] Status reason() const {
        if (options_.stop->stop_requested()) {
            return Status::cancelled;
        }
        for (const std::atomic<bool>* flag : options_.closed) {
            // Q1: pairs with Q2 (src/broker/queue_poll.cpp:Q2): set before the doorbell is rung.
            if (flag->load(std::memory_order_acquire)) {
                return Status::closed;
            }
        }
        return attachment_.usable();
    }

    template <typename Maybe>
    bool spin(Maybe&& maybe) {
        std::uint32_t limit = context_.spin_limit;
        if (options_.strategy == WaitStrategy::eco) {
            limit = 0;
        } else if (options_.strategy == WaitStrategy::latency) {
            limit = kSpinLatency;
        } else if (limit < kSpinMin) {
            limit = kSpinMax / 2;
        }
        std::uint32_t pause = context_.pause;
        for (std::uint32_t i = 0; i < limit; ++i) {
            // First the pause: the caller has just looked.
            rest(pause);
            if (maybe(i)) {
                context_.spin_limit = limit * 2 < kSpinMax ? limit * 2 : kSpinMax;
                return true;
            }
            if ((i & 63U) == 63U &&
                (reason() != Status::ok || shm::monotonic_ns() >= deadline_ns_)) {
                break;
            }
        }
        context_.spin_limit = limit / 2 > kSpinMin ? limit / 2 : kSpinMin;
        return false;
    }

    template <typename Ready>
    Status sleep(Ready&& ready) {
        attachment_.pool().flush(context_.cursor);  // a sleeper keeps no memory from others
        shm::ThreadRecord& me = *context_.record;
        auto ring_me = [&me] { shm::ring_doorbell(me); };
        const std::stop_callback on_stop(*options_.stop, ring_me);
        for (;;) {
            SHM_STEP("wait.seen");
            // D2: pairs with D1 (doorbell.hpp:D1). Read before the bit is set: a ring after it is
            // not slept over.
            const std::uint32_t seen = me.doorbell.load(std::memory_order_acquire);
            shm::arm(map_, context_.index);
            Status status = Status::ok;
            bool again = ready();
            if (!again && (status = reason()) == Status::ok) {
                const std::uint64_t now = shm::monotonic_ns();
                if (now >= deadline_ns_) {
                    status = Status::timed_out;
                } else {
                    const auto left = std::chrono::nanoseconds(static_cast<std::int64_t>(
                        std::min<std::uint64_t>(deadline_ns_ - now, shm::kSleepMax.count())));
                    SHM_STEP("wait.sleep");
                    shm::futex_wait(me.doorbell, seen, left);
                    again = ready();
                }
            }
            chosen_ = shm::disarm(map_, context_.index) || chosen_;
            if (again || status != Status::ok) {
                return again ? Status::ok : status;
            }
        }
    }

    shm::Attachment& attachment_;
    shm::ThreadContext& context_;
    shm::WaiterMap& map_;
    const WaitOptions& options_;
    std::uint64_t started_ns_ = 0;
    std::uint64_t deadline_ns_ = 0;
    std::uint32_t rounds_ = 0;
    bool chosen_ = false;
};

}  // namespace telpher::detail

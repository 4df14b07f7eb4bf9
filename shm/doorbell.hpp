#pragma once
// Who waits for what, and how one of them is woken: one futex per thread (its doorbell, in its
// thread record) and one two-level bitmap of thread records per thing to wait for.
//
//   Wait       spin without a bit; then  seen = doorbell; arm (bit, then summary); look again;
//              futex_wait(doorbell, seen); disarm.
//   Wake       after the commit or claim: no summary bit = no system call. Otherwise take one bit,
//              ring that doorbell; if nobody slept there, take the next one while something is
//              left. For a topic's message: take every bit, and ring each.
//   Threads    any number. Progress: lock-free; `wake` makes at most kThreadsMax system calls.
//   Crash      killed while armed: a bit without a sleeper stays behind, costs one futile ring and
//              is gone. Killed in `wake` between taking a bit and ringing: the sleeper is covered
//              by the reaper, which rings every live thread, and by the 1 s bound of each sleep.
//   Checked by tests/model/wait.pml and each.pml, with the bug for each rule, and each memory order by
//              tests/tools/memory_orders_test.py, but for these, which TSan cannot see because it has no
//              store buffers and all is atomic (x86: each is a locked instruction, or a load):
//   W1         not seen by TSan: model wait/bug-look-before-bit
//   W2         not seen by TSan: model wait/bug-summary-before-word
//   W3         not seen by TSan: model wait/bug-waker-looks-before-commit
//   W4 W5      not seen by TSan: one RMW each on one word; its result decides, at any order
//   W6 W7      not seen by TSan: model wait/bug-summary-cleared-late
//   W8 W11     not seen by TSan: late, it costs what a stopped waker costs; the chosen pass it on
//   W9         not seen by TSan: model wait/bug-rung-before-closed
//   W10        not seen by TSan: what it misses is rung by the reaper all the same (reaper.cpp)

#include "shm/base/bug.hpp"
#include "shm/base/futex.hpp"
#include "shm/base/step.hpp"
#include "shm/layout.hpp"

#include <bit>
#include <chrono>
#include <span>

namespace telpher::shm {

// No sleep is longer: it bounds what a *stopped* waker or waiter can cost the others.
inline constexpr std::chrono::nanoseconds kSleepMax = std::chrono::seconds(1);

// Rings one thread: it returns from its sleep, or does not fall asleep. Returns whether it slept.
inline bool ring_doorbell(ThreadRecord& thread) noexcept {
    SHM_STEP("doorbell.ring");
    // D1: pairs with src/broker/waiter.hpp:D2. What we committed before is seen by the thread that
    // sees the new value.
    thread.doorbell.fetch_add(1, std::memory_order_release);
    SHM_STEP("doorbell.wake");
    return futex_wake(thread.doorbell, 1) > 0;
}

// Says in `map` that thread record `thread` waits. Read the doorbell before, look at the queue
// after.
inline void arm(WaiterMap& map, std::uint32_t thread) noexcept {
    SHM_STEP("wait.arm.word");
    // W1: pairs with W3 and the commit CAS. Either the waker sees our bit, or our next look sees
    // its message: both sides store, then load, and the single order of seq_cst lets no two loads
    // both miss.
    map.words[thread / 64].fetch_or(1ULL << (thread % 64), std::memory_order_seq_cst);
    SHM_STEP("wait.arm.summary");
    // W2: pairs with W3, as W1. The word is set first, so that a waker that sees the summary finds
    // the bit.
    map.summary.fetch_or(1ULL << (thread / 64), std::memory_order_seq_cst);
}

// Takes the mark back. True if a waker had taken it: then the caller was chosen, and must pass the
// wake on if it leaves something behind.
inline bool disarm(WaiterMap& map, std::uint32_t thread) noexcept {
    SHM_STEP("wait.disarm");
    const std::uint64_t bit = 1ULL << (thread % 64);
    // W5: pairs with W4. One of us and the waker takes the bit.
    return (map.words[thread / 64].fetch_and(~bit, std::memory_order_seq_cst) & bit) == 0;
}

// Takes the bits of word `w` one by one until one belonged to somebody; returns its thread or
// kThreadsMax.
inline std::uint32_t take_waiter(WaiterMap& map, std::uint32_t w) noexcept {
    SHM_STEP("wake.clear_summary");
    if (!bug(Bug::summary_cleared_late)) {
        // W6: pairs with W2. Cleared before the word is read: a bit set after our read sets it
        // again.
        map.summary.fetch_and(~(1ULL << w), std::memory_order_seq_cst);
    }
    SHM_STEP("wake.read_word");
    // W7: pairs with W1. Reads the word after the summary bit was taken away.
    std::uint64_t bits = map.words[w].load(std::memory_order_seq_cst);
    std::uint32_t found = kThreadsMax;
    while (found == kThreadsMax && bits != 0) {
        const auto b = static_cast<std::uint32_t>(std::countr_zero(bits));
        SHM_STEP("wake.take_bit");
        // W4: pairs with W5. Whoever clears the bit rings the thread.
        const std::uint64_t old = map.words[w].fetch_and(~(1ULL << b), std::memory_order_seq_cst);
        bits = old & ~(1ULL << b);
        if ((old >> b & 1U) != 0) {
            found = w * 64 + b;
        }
    }
    SHM_STEP("wake.restore_summary");
    if (bits != 0) {
        // W8: pairs with W3. Others still wait in this word.
        map.summary.fetch_or(1ULL << w, std::memory_order_seq_cst);
    } else if (bug(Bug::summary_cleared_late)) {
        map.summary.fetch_and(~(1ULL << w), std::memory_order_seq_cst);  // W6, in the wrong place
    }
    return found;
}

// The slow half of `wake`: somebody waits.
template <typename Left>
void wake_one(WaiterMap& map, std::span<ThreadRecord> threads, Left&& left) noexcept {
    for (std::uint32_t round = 0; round < kThreadsMax; ++round) {
        SHM_STEP("wake.load_summary");
        // W3: pairs with W1 and W2: the load half of store-then-load.
        const std::uint64_t summary = map.summary.load(std::memory_order_seq_cst);
        if (summary == 0) {
            return;
        }
        const std::uint32_t thread =
            take_waiter(map, static_cast<std::uint32_t>(std::countr_zero(summary)));
        if (thread >= threads.size()) {
            continue;  // nobody's any more, or a bit that no thread of this domain has set
        }
        if (ring_doorbell(threads[thread]) || !left()) {
            return;
        }
        // Nobody slept there (dead, stopped, or not yet asleep): tell the next one too.
    }
}

// Wakes one waiter of `map` if there is one. `left()` tells whether something is left to be woken
// for. Call it after the CAS (seq_cst) that made something available.
template <typename Left>
inline void wake(WaiterMap& map, std::span<ThreadRecord> threads, Left&& left) noexcept {
    SHM_STEP("wake.look");
    // W3: pairs with W1 and W2: our CAS is before this load in the single order, their bit before
    // their look.
    if (map.summary.load(std::memory_order_seq_cst) == 0) [[likely]] {
        return;
    }
    wake_one(map, threads, left);
}

// Wakes everyone who waits now, each once: whoever is still on its way out of its sleep when more comes
// is not rung again. For what all of them want (a topic's message).
void wake_each(WaiterMap& map, std::span<ThreadRecord> threads) noexcept;

// Rings everyone in `map`, and leaves the bits, so that it may be repeated (a removal).
void wake_all(WaiterMap& map, std::span<ThreadRecord> threads) noexcept;

// Makes the summary agree with the words, after a death.
void repair_summary(WaiterMap& map) noexcept;

}  // namespace telpher::shm

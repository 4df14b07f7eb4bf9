#pragma once
// What one thread of this process keeps about one attachment. Private memory.

#include "shm/chunk_pool.hpp"
#include "shm/layout.hpp"

#include <atomic>
#include <cstdint>

namespace telpher::shm {

struct alignas(kLinePair) ThreadContext {
    ThreadRecord* record = nullptr;  // in the segment: doorbell, in-flight word
    std::uint32_t index = 0;         // of the record
    bool in_use = false;             // guarded by the attachment's mutex
    PoolCursor cursor{};
    // Chunks taken and given back by this thread; written by it alone, summed by `close`.
    std::atomic<std::uint64_t> taken{0};
    std::atomic<std::uint64_t> returned{0};
    // Adaptive spinning: how long the last waits took tells how long the next may spin.
    std::uint32_t spin_limit = 0;
    std::uint32_t run = 0;  // messages since the last miss
    std::uint32_t pause = 1;
    std::uint32_t call_rest = 0;  // pauses before the first look for a call's answer
    // Which calls are measured (src/broker/call_measure.hpp).
    bool call_slept = true;         // whether the last one was waited for asleep
    std::uint32_t measure_in = 0;   // calls that are not measured before the next that is
    std::uint32_t measure_gap = 0;  // a random number, behind how many the one after that
    std::uint64_t id_prefix = 0;    // of message ids
    std::uint64_t id_counter = 0;
    std::uint64_t logged =
        0;  // of what it sends now: make_logged of its place in the log, 0 = none
    Word* note =
        nullptr;  // where its offers note their chunk: one that the idempotency store knows
};

// Adds to a counter with one writer, without a locked instruction.
inline void count_up(std::atomic<std::uint64_t>& counter) noexcept {
    // relaxed: one writer
    const std::uint64_t count = counter.load(std::memory_order_relaxed) + 1;
    // O1: pairs with attachment_end.cpp:O2. Whoever counts it sees what we did to the chunk and the
    // cursor, and may end the attachment: it is our last access to it.
    counter.store(count, std::memory_order_release);
}

// Gives back what the calling thread has in any attachment, as its end would do. For a thread that
// nobody joins: its destructors run while the process ends, and would keep an attachment past its close.
void end_contexts_of_this_thread() noexcept;

}  // namespace telpher::shm

#pragma once
// A ring, a pool and a doorbell table in plain memory, and parties that use them: what the schedule
// explorer (fibers.hpp) runs.

#include "shm/ring.hpp"
#include "tests/crash/queue_history.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace telpher::crash {

class RingWorld {
  public:
    static constexpr std::uint32_t kChunks = 64;

    // `chunks_used`: the parties fight over so few chunks that a freed one comes back at once.
    RingWorld(std::uint32_t capacity, std::uint32_t chunks_used);
    ~RingWorld();
    RingWorld(const RingWorld&) = delete;
    RingWorld& operator=(const RingWorld&) = delete;

    // Empty again. `laps` messages have passed through; the hints say `lag` positions less than
    // they could.
    void reset(std::uint32_t laps, std::uint32_t lag);

    // One operation each, written into the history. An offer that finds no chunk is not written.
    void offer(std::uint32_t party, std::uint32_t value);
    void poll(std::uint32_t party);
    void close(std::uint32_t party);

    // Gives back what `party` held when it died, as the reaper does.
    void reap(std::uint32_t party);
    // Polls what is left, then: history, nothing leaked, hints not ahead. Empty = good.
    std::string judge();
    QueueHistory& history() { return history_; }

  private:
    std::uint32_t take_chunk(std::uint32_t party);
    Operation& begin(std::uint32_t party, Verb verb, std::uint32_t value);
    void end(std::uint32_t party, Status status);
    std::string judge_memory();

    std::uint32_t capacity_;
    std::uint32_t slots_;
    std::uint32_t chunks_used_;
    std::size_t ring_bytes_;
    std::byte* memory_;
    shm::RingControl* control_;
    shm::ThreadRecord threads_[8];
    std::atomic<std::uint8_t> hints_[1];
    shm::ChunkPool pool_;
    shm::Ring rings_[8];  // a handle for each party, as if each were a process
    QueueHistory history_;
    Operation pending_[8];
    bool busy_[8] = {};  // pending_ has begun and not ended
};

}  // namespace telpher::crash

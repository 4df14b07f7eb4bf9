#pragma once
// How many bytes of memory the messages in a ring take: for queues with a byte budget.
//
//   Why        a shared counter would have to be charged before the commit and be right again after
//              a kill in between. The ring itself is always right: each producing process reads it,
//              each position once.
//   Exact      when nobody is in the middle of an offer: producers that look at the same moment may
//              exceed the budget by one message each.
//   Threads    any number of one process; consumers are not asked.
//   Cost       one position read per message committed, and one per message claimed; the whole ring
//              when a lap was missed.
//   Crash      nothing in shared memory.

#include "shm/chunk_pool.hpp"
#include "shm/ring.hpp"

#include <cstdint>
#include <mutex>

namespace telpher::detail {

class ByteMeter {
  public:
    // Bytes of the chunks in `ring` now.
    [[nodiscard]] std::uint64_t measure(const shm::Ring& ring, shm::ChunkPool& pool) noexcept;

  private:
    std::mutex mutex_;
    std::uint64_t head_ = 0;  // bytes_ is of the positions from head_ to tail_ - 1
    std::uint64_t tail_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace telpher::detail

#pragma once
// Messages that clients did not confirm, on their way back to their queues. A queue takes back at once as many as
// its returns lane holds (16 to 1,024); the others wait here until somebody polls.
//
//   Threads   one at a time: the I/O thread
//   Order     of each queue: as they were given
//   Memory    a handle and a delivery for each message that waits: the messages stay where they are
//   Crash     killed: what waits is counted as abandoned, as all that the bridge held

#include "telpher/queue.hpp"

#include <cstddef>
#include <deque>
#include <map>

namespace telpher::bridge {

class Returns {
  public:
    // Puts it back now, if there is room and nothing of its queue waits.
    void add(const Queue& queue, Delivery delivery);
    // As far as there is room now.
    void retry();
    // The bridge ends: as `retry`, for at most `patience`; what is left is counted as abandoned.
    void finish(Duration patience);
    // Messages that wait.
    [[nodiscard]] std::size_t size() const noexcept;

  private:
    struct Waiting {
        Queue queue{};
        std::deque<Delivery> deliveries{};
    };
    // False: there is no room.
    static bool put_back(const Queue& queue, Delivery& delivery);
    static void put_back_all(Waiting& waiting);
    std::map<const detail::QueueCore*, Waiting> waiting_;  // each keeps its core
};

}  // namespace telpher::bridge

// The dead letters that are in a queue, leased one after another.
#pragma once

#include "telpher/queue.hpp"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace telpher::cli {

// Those that were there when it was made, oldest first. It holds what stays there until the end: what was
// seen is not met again.
//
//   Order   letters that are given back are handed out first, in the order in which they were given back, as
//           long as they fit the queue's lane for that: at most kKeptMax are held at once.
class Letters {
  public:
    static constexpr std::uint64_t kKeptMax = 1000;

    // At most the oldest `max`.
    //   errors  bad_request (a queue that lends no messages has no dead letters), and as Queue::status
    static Result<Letters> of(Queue queue, std::uint64_t max);

    // The next one; nothing after the last. Errors: as Queue::poll, but for queue_empty.
    Result<std::optional<Delivery>> next();
    // It stays in the queue: given back by put_back. After kKeptMax of them there is no next one.
    void keep(Delivery letter) { kept_.push_back(std::move(letter)); }
    // In order, also if the queue goes on with letters that came back earlier. Those that are not given back
    // here are when the process ends.
    void put_back();

    [[nodiscard]] std::uint64_t depth() const { return depth_; }  // when it was made

  private:
    Letters(Queue queue, const QueueStatus& status, std::uint64_t max);

    Queue queue_;
    std::uint64_t depth_;
    std::uint64_t left_;
    Duration patience_{};     // for those that were given back a moment ago, and are on their way
    bool came_back_ = false;  // the last one, earlier
    std::vector<Delivery> kept_{};
};

}  // namespace telpher::cli

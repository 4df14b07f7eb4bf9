#include "tools/telpher/letters.hpp"

#include "tools/telpher/status_json.hpp"

#include <algorithm>
#include <chrono>

namespace telpher::cli {

namespace {

constexpr Duration kPatience = std::chrono::milliseconds(200);

}  // namespace

Letters::Letters(Queue queue, const QueueStatus& status, std::uint64_t max)
    : queue_(std::move(queue)),
      depth_(status.depth + status.delayed),
      left_(std::min(depth_, max)),
      patience_(status.delayed != 0 ? kPatience : Duration{}) {}

Result<Letters> Letters::of(Queue queue, std::uint64_t max) {
    const auto status = queue.status();
    if (!status) {
        return status.error();
    }
    if (status->delivery != DeliveryMode::at_least_once) {
        return Error{Status::bad_request,
                     0,
                     queue.name() + " is of delivery " + delivery_text(status->delivery) +
                         ": dead letters are in queues of delivery at-least-once"};
    }
    return Letters(std::move(queue), *status, max);
}

Result<std::optional<Delivery>> Letters::next() {
    if (left_ == 0 || kept_.size() >= kKeptMax) {
        return std::optional<Delivery>();
    }
    --left_;
    auto letter = queue_.poll(patience_);
    if (letter) {
        came_back_ = letter->reason() != ReturnReason::none;
        return std::optional<Delivery>(std::move(*letter));
    }
    if (letter.status() == Status::queue_empty || letter.status() == Status::timed_out) {
        return std::optional<Delivery>();
    }
    return letter.error();
}

// Those that came back earlier, from a look like this one, are before all that did not: behind the last of
// them, ours are in order again.
void Letters::put_back() {
    while (came_back_ && !kept_.empty() && kept_.size() < kKeptMax) {
        auto letter = queue_.poll();
        came_back_ = letter && letter->reason() != ReturnReason::none;
        if (letter) {
            kept_.push_back(std::move(*letter));
        }
    }
    for (Delivery& letter : kept_) {
        letter.release();
    }
    kept_.clear();
}

}  // namespace telpher::cli

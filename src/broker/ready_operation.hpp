#pragma once
// Waits until a queue has a message, or room, and takes neither: for a bridge, whose clients want to know.
//
//   Contents   as Operation. It is not counted among the queue's pending polls and offers: nobody queues up behind it.
//   Crash      private memory of one process: gone with it.

#include "src/broker/operation.hpp"
#include "src/broker/queue_core.hpp"

#include <memory>

namespace telpher::detail {

class ReadyOperation final : public OfferOperation {
  public:
    // `end`: poll = a message, offer = room. Keeps the queue.
    ReadyOperation(const std::shared_ptr<QueueCore>& queue, Parker& parker, OperationKind end)
        : OfferOperation(queue, parker, end, queue->attachment(), queue->found()), queue_(*queue) {}

    Status run() override {
        if (!queue_.ready(kind())) {
            return kind() == OperationKind::poll ? Status::queue_empty : Status::queue_full;
        }
        result.emplace(std::uint64_t{0});
        return Status::ok;
    }
    [[nodiscard]] Status usable() const noexcept override { return queue_.usable(); }

  private:
    QueueCore& queue_;  // the owner
};

}  // namespace telpher::detail

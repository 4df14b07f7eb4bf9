#pragma once
// A thread of a Server or Client, with a record of its own: the parker, the sender of durable messages.
//
//   Threads   `start` before all else, once; `end` once, from any thread, itself included
//   Fork      in a child it must not be destroyed: its owner keeps it

#include "telpher/result.hpp"

#include "shm/attachment.hpp"

#include <functional>
#include <memory>
#include <thread>

namespace telpher::detail {

class OwnThread {
  public:
    // Runs `body`, which keeps who has this, on a thread of that name (at most 15 bytes), where no signal is handled;
    // returns once it has its record.
    // Errors, and then there is no thread: limit_reached (no thread can be started), as Attachment::context.
    Result<void> start(const char* name,
                       const std::shared_ptr<shm::Attachment>& attachment,
                       std::function<void()> body);
    // Of a thread that was started; any thread may read which record it is.
    [[nodiscard]] shm::ThreadContext& context() const noexcept { return *context_; }
    // Waits until `body` has returned; on that thread it does not wait.
    void end() noexcept;

  private:
    std::thread thread_;
    shm::ThreadContext* context_ = nullptr;
};

}  // namespace telpher::detail

#pragma once
// What other threads tell an I/O thread: operations that have completed, samples that have come. One
// descriptor wakes it.
//
//   Threads  `push` any number; `take` the I/O thread.
//   Cost     a lock held for a move; a system call for the first of a batch

#include "tcp_bridge/bodies.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace telpher::bridge {

class Inbox {
  public:
    using Task = std::function<void()>;  // run on the I/O thread

    Inbox() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    Inbox(const Inbox&) = delete;
    Inbox& operator=(const Inbox&) = delete;
    ~Inbox() {
        if (descriptor_ >= 0) {
            ::close(descriptor_);
        }
    }
    // -1: there was no descriptor to be had.
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

    void push(Task task) {
        bool first = false;
        {
            const std::lock_guard hold(mutex_);
            first = tasks_.empty();
            tasks_.push_back(std::move(task));
        }
        const std::uint64_t one = 1;
        if (first) {
            static_cast<void>(!::write(descriptor_, &one, sizeof one));
        }
    }
    // Everything that was pushed, in order; the descriptor is quiet afterwards.
    [[nodiscard]] std::vector<Task> take() {
        std::uint64_t count = 0;
        static_cast<void>(!::read(descriptor_, &count, sizeof count));
        const std::lock_guard hold(mutex_);
        return std::exchange(tasks_, {});
    }

  private:
    const int descriptor_;
    std::mutex mutex_;  // guards tasks_
    std::vector<Task> tasks_;
};

}  // namespace telpher::bridge

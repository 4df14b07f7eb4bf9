#pragma once
// The thread of a bridge that runs commands: one may wait for a lock that another process holds, and the I/O
// thread has others to serve.
//
//   Threads   `run` and `stop` from any.
//   Memory    what is waiting: sessions bound it by their unanswered operations
//   Order     one after another, first in, first out

#include "telpher/result.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace telpher::bridge {

class CommandThread {
  public:
    using Task = std::function<void()>;

    CommandThread() = default;
    CommandThread(const CommandThread&) = delete;
    CommandThread& operator=(const CommandThread&) = delete;
    ~CommandThread() { stop(); }

    // Started by the first. Error: limit_reached (no thread can be started), closed (after `stop`).
    Result<void> run(Task task);
    // Finishes the task that is running, and forgets the others.
    void stop() noexcept;

  private:
    void serve();

    std::mutex mutex_;  // guards what follows
    std::condition_variable wakes_;
    std::deque<Task> tasks_;
    bool stopped_ = false;
    std::thread thread_;
};

}  // namespace telpher::bridge

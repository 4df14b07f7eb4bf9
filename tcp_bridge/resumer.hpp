#pragma once
// The thread that resumes the coroutines of one remote client: what they do must not hold its I/O thread up.
//
//   Life     made when the first coroutine waits; ends after stop() when nothing is left, and begins again
//            if something comes later
//   Threads  any number at once

#include "src/broker/operation.hpp"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

namespace telpher::bridge {

class Resumer {
  public:
    Resumer() : state_(std::make_shared<State>()) {}
    Resumer(const Resumer&) = delete;
    Resumer& operator=(const Resumer&) = delete;
    ~Resumer() { stop(); }

    // False: no thread could be started.
    [[nodiscard]] bool start() noexcept;
    // Takes over one reference of the operation.
    void resume(detail::Operation& operation) noexcept;
    void stop() noexcept;

  private:
    struct State {
        std::mutex mutex;  // guards the others
        std::condition_variable changed;
        std::deque<detail::Operation*> operations;
        bool running = false;
        bool stopped = false;
    };
    static bool start(const std::shared_ptr<State>& state) noexcept;
    static void run(const std::shared_ptr<State>& state) noexcept;

    const std::shared_ptr<State> state_;  // the thread's, too
};

}  // namespace telpher::bridge

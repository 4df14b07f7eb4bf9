#pragma once
// What a remote Queue::fd() is: an eventfd that is readable while the queue may have something, as
// src/broker/watch.hpp, with a WATCH in the parker's place.
//
//   States   quiet: a WATCH is under way. raised: it was answered, and nothing is asked until a poll found the queue
//            empty.
//   No miss  the bridge looks when the WATCH arrives, which is behind the poll that found nothing.
//   Threads  any

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <utility>

namespace telpher::bridge {

class RemoteWatch {
  public:
    RemoteWatch() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    RemoteWatch(const RemoteWatch&) = delete;
    RemoteWatch& operator=(const RemoteWatch&) = delete;
    // Without the lock: nobody else has it any more, unless a thread of a parent had.
    ~RemoteWatch() { close_descriptor(); }

    // -1: there was none to be had, or it has ended.
    [[nodiscard]] int descriptor() const {
        const std::lock_guard hold(mutex_);
        return descriptor_;
    }
    void raise() noexcept {
        const std::lock_guard hold(mutex_);
        raised_ = true;
        const std::uint64_t one = 1;
        if (descriptor_ >= 0) {
            static_cast<void>(!::write(descriptor_, &one, sizeof one));
        }
    }
    // Quiet from now on. False: it was already.
    [[nodiscard]] bool rearm() noexcept {
        const std::lock_guard hold(mutex_);
        std::uint64_t count = 0;
        if (descriptor_ >= 0) {
            static_cast<void>(!::read(descriptor_, &count, sizeof count));
        }
        return std::exchange(raised_, false);
    }
    // Closes the descriptor, which nobody uses any more.
    void end() noexcept {
        const std::lock_guard hold(mutex_);
        close_descriptor();
    }

  private:
    void close_descriptor() noexcept {
        if (descriptor_ >= 0) {
            ::close(std::exchange(descriptor_, -1));
        }
    }
    mutable std::mutex mutex_;  // guards what follows
    int descriptor_;
    bool raised_ = false;
};

}  // namespace telpher::bridge

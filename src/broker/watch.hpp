#pragma once
// What Queue::fd() shares with the parker: an eventfd that is readable while the queue may have
// something.
//
//   States   quiet: the parker watches the queue, and raises when it has a message or has ended.
//            raised: the descriptor is readable, and the parker leaves the queue alone until a poll
//            found it empty and calls `rearm`.
//   No miss  `rearm` empties the descriptor, then becomes quiet, then makes the parker look again:
//            whatever came in between is found by that look.

#include "shm/directory.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace telpher::detail {

class Watch {
  public:
    Watch(int descriptor, const shm::Found& found, const std::atomic<bool>& domain_closed)
        : found_(found), domain_closed_(domain_closed), descriptor_(descriptor) {}
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { end(); }

    [[nodiscard]] const shm::Found& found() const noexcept { return found_; }

    // ---- the parker's side --------------------------------------------------------------------
    [[nodiscard]] bool quiet() const noexcept {
        // V2: pairs with V1. The descriptor was emptied before, and the poll before that.
        return !raised_.load(std::memory_order_acquire);
    }
    [[nodiscard]] bool gone() const noexcept {
        return gone_.load(
            std::memory_order_relaxed);  // relaxed: `write` looks again under the lock
    }
    [[nodiscard]] bool closed() const noexcept {
        // V4: pairs with V3, and with src/client/domain_core.cpp:Q2.
        return closed_.load(std::memory_order_acquire) ||
               domain_closed_.load(std::memory_order_acquire);  // V4: as above
    }
    void raise() noexcept {
        const std::lock_guard hold(mutex_);
        // V5: pairs with V6. Stored before the descriptor is readable: who was woken by it sees it.
        raised_.store(true, std::memory_order_release);
        const std::uint64_t one = 1;
        if (descriptor_ >= 0) {
            static_cast<void>(!write(descriptor_, &one, sizeof one));
        }
    }

    // ---- the queue's side ---------------------------------------------------------------------
    // After a poll that found the queue empty; the caller pokes the parker afterwards. False: it
    // was quiet already.
    bool rearm() noexcept {
        // V6: pairs with V5.
        if (!raised_.load(std::memory_order_acquire)) {
            return false;
        }
        const std::lock_guard hold(mutex_);
        std::uint64_t count = 0;
        if (descriptor_ >= 0) {
            static_cast<void>(!read(descriptor_, &count, sizeof count));
        }
        // V1: pairs with V2.
        raised_.store(false, std::memory_order_release);
        return true;
    }
    void close_queue() noexcept {
        // V3: pairs with V4.
        closed_.store(true, std::memory_order_release);
    }
    // Closes the descriptor.
    void end() noexcept {
        const std::lock_guard hold(mutex_);
        gone_.store(true, std::memory_order_relaxed);  // relaxed: the lock publishes it
        if (descriptor_ >= 0) {
            close(descriptor_);
            descriptor_ = -1;
        }
    }
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  private:
    const shm::Found found_;
    const std::atomic<bool>& domain_closed_;  // outlives the parker
    std::mutex mutex_;                        // around each use of the descriptor, and its end
    int descriptor_;
    std::atomic<bool> raised_{false};
    std::atomic<bool> closed_{false};
    std::atomic<bool> gone_{false};
};

}  // namespace telpher::detail

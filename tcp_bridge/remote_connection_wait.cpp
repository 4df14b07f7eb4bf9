// How a caller that waits for the only answer under way reads it itself: woken by the socket, not by the I/O
// thread that the socket woke before.

#include "shm/base/clock.hpp"
#include "tcp_bridge/remote_connection.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace telpher::bridge {
namespace {

// How long a caller looks at its socket before it sleeps: about what sleeping and waking cost.
constexpr std::uint64_t kSpinNs = 50'000;
constexpr std::uint32_t kSpinAgain = 64;

// Callers of this process that wait so. With several, each look of one keeps a processor from another.
std::atomic<std::uint32_t> waiting_callers{0};

bool alone() noexcept {
    return waiting_callers.load(std::memory_order_relaxed) == 1;  // relaxed: a hint
}

}  // namespace

// Nobody else has an answer, a sample or a write that the I/O thread would have to care for.
bool RemoteConnection::may_read() const noexcept {
    return socket_ >= 0 && !reading_ && !hanging_up_ && !blocked_ && session_.up() &&
           session_.unanswered() == 1 && !session_.has_subscriptions() && !on_io_thread();
}

bool RemoteConnection::wait_for(detail::Operation& operation, std::uint64_t deadline) noexcept {
    std::unique_lock hold(mutex_);
    if (operation.over()) {
        return true;
    }
    if (!may_read()) {
        leave(hold);  // sends what was gathered; the I/O thread reads
        return operation.over();
    }
    reading_ = caller_reads_ = io_rests_ = true;
    used_ = true;
    leave(hold, Leave::read_by_caller);
    waiting_callers.fetch_add(1, std::memory_order_relaxed);  // relaxed: a hint
    Result<void> good;
    while (good && !operation.over() && now() < deadline) {
        good = look(deadline);
        hold.lock();
        const bool others = hanging_up_ || blocked_;
        hold.unlock();
        if (others) {
            break;
        }
    }
    waiting_callers.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a hint
    hold.lock();
    reading_ = caller_reads_ = false;
    if (!good) {
        broken_ = good.error();
    }
    if (hanging_up_) {
        changed_.notify_all();
    }
    leave(hold);  // what others wait for, the I/O thread reads
    return operation.over() || now() >= deadline;
}

// One read, perhaps after some sleep. Error: the stream is of no use any more.
Result<void> RemoteConnection::look(std::uint64_t deadline) {
    bool more = true;
    if (spin()) {
        return read(&more, Leave::read_by_caller);
    }
    // A sleep in the read itself, for a moment (kMomentUs): mostly the answer is there then.
    const ssize_t got = ::recv(socket_, input_.get(), kReadAtOnce, 0);
    if (got != -1 || (errno != EAGAIN && errno != EINTR)) {
        return take(got, errno, &more, Leave::read_by_caller);
    }
    const std::uint64_t time = now();
    const std::uint64_t left = deadline > time ? deadline - time : 0;
    const auto ms = std::min(left / kNanosecondsPerMillisecond + 1, kSleepMs);
    std::array<pollfd, 2> watched{pollfd{socket_, POLLIN, 0},
                                  pollfd{nudged_descriptor_, POLLIN, 0}};
    ::poll(watched.data(), watched.size(), static_cast<int>(ms));
    if (watched[1].revents != 0) {
        std::uint64_t count = 0;
        static_cast<void>(!::read(nudged_descriptor_, &count, sizeof count));
    }
    return watched[0].revents != 0 ? read(&more, Leave::read_by_caller) : Result<void>();
}

// Whether something came while we looked. Looking that was in vain is not repeated soon.
bool RemoteConnection::spin() noexcept {
    if (!alone() || (spin_skips_ > 0 && --spin_skips_ > 0)) {
        return false;
    }
    const std::uint64_t until = now() + kSpinNs;
    do {
        std::byte first{};
        if (::recv(socket_, &first, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) {
            return true;
        }
    } while (alone() && now() < until);
    spin_skips_ = kSpinAgain;
    return false;
}

void RemoteConnection::nudge() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(nudged_descriptor_, &one, sizeof one));  // full: it is readable
}

}  // namespace telpher::bridge

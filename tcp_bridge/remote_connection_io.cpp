// The I/O thread of a remote client's connection.

#include "shm/base/os.hpp"
#include "tcp_bridge/remote_connection.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

namespace telpher::bridge {
namespace {

using namespace std::chrono_literals;

// GOODBYE has this long to leave.
constexpr std::uint64_t kGoodbyeNs = 50'000'000;
constexpr suseconds_t kMomentUs = 2000;
// Callers that read for themselves come back within this time, or the I/O thread reads again. While they do, it
// rests twice as long each time, up to a bound: a look of each of many connections' threads costs their callers the
// processor, but heartbeats and the bridge's end must not wait long when the last caller has gone.
constexpr std::uint64_t kRestNs = 10'000'000;
constexpr std::uint64_t kRestUsedMaxNs = 100'000'000;
constexpr std::uint64_t kRestsPerHeartbeat = 8;
constexpr std::uint64_t kRestMaxNs = 1'000'000'000;  // while one caller waits

}  // namespace

// False: it has ended.
bool RemoteConnection::tick() {
    std::unique_lock hold(mutex_);
    static_cast<void>(session_.tick(now()));  // without a stream, nothing can be wrong with it
    const bool ended = session_.ended();
    leave(hold);
    return !ended;
}

short RemoteConnection::sleep(std::uint64_t until) {
    std::array<pollfd, 2> watched{};
    {
        std::unique_lock hold(mutex_);
        if (session_.has_output()) {
            flush(hold, false);  // others leave it to us while we are awake
        }
        until = std::min(until, session_.next_tick());
        if (io_rests_) {
            until = std::min(until, rest_until());
        }
        wakes_at_ = until;
        const auto events = static_cast<short>((io_rests_ ? 0 : POLLIN) | (blocked_ ? POLLOUT : 0));
        watched[0] = {poked_descriptor_, POLLIN, 0};
        watched[1] = {io_rests_ && !blocked_ ? -1 : socket_, events, 0};
    }
    const std::uint64_t time = now();
    std::uint64_t ms = 0;
    if (until > time) {
        ms = std::min((until - time) / kNanosecondsPerMillisecond + 1, kSleepMs);
    }
    ::poll(watched.data(), watched.size(), static_cast<int>(ms));
    const std::lock_guard hold(mutex_);
    wakes_at_ = 0;  // awake: nobody need wake us
    if (watched[0].revents != 0) {
        std::uint64_t count = 0;
        static_cast<void>(::read(poked_descriptor_, &count, sizeof count));
        poked_ = false;
    }
    return watched[1].revents;
}

// Callers read for themselves: until when that need not be looked into.
std::uint64_t RemoteConnection::rest_until() noexcept {
    const bool used = std::exchange(used_, false);
    if (!used && !caller_reads_) {
        io_rests_ = false;
        rest_ns_ = 0;
        return ~0ULL;
    }
    const std::uint64_t most =
        used ? std::min(kRestUsedMaxNs, session_.heartbeat_ns() / kRestsPerHeartbeat) : kRestMaxNs;
    rest_ns_ = std::clamp(2 * rest_ns_, std::min(kRestNs, most), most);
    return now() + rest_ns_;
}

void RemoteConnection::pause(std::uint64_t ns) {
    const std::uint64_t until = now() + ns;
    while (tick() && now() < until) {
        sleep(until);
    }
}

void RemoteConnection::note_failure(const Error& error) {
    std::unique_lock hold(mutex_);
    session_.cut(error);
    ++failures_;
    failure_ = error;
    changed_.notify_all();
    leave(hold);
}

void RemoteConnection::serve(int socket) {
    // Only callers that read for themselves read without MSG_DONTWAIT, and for a moment.
    const timeval moment{0, kMomentUs};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
    fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK);
    {
        std::unique_lock hold(mutex_);
        socket_ = socket;
        channel_ = options_.make_channel();
        wire_.clear();
        wire_sent_ = 0;
        plain_.clear();
        blocked_ = false;
        io_rests_ = false;
        rest_ns_ = 0;
        follows_ = 0;
        broken_.reset();
        session_.connected(now());
        leave(hold);
    }
    if (input_ == nullptr) {
        input_ = std::make_unique_for_overwrite<std::byte[]>(kReadAtOnce);
    }
    const Error why = talk();
    hang_up(why);
}

// Until the stream is of no use any more; why.
Error RemoteConnection::talk() {
    bool welcomed = false;
    for (;;) {
        const short ready = sleep(~0ULL);
        Result<void> good;
        if ((ready & (POLLIN | POLLHUP | POLLERR)) != 0) {
            good = read_all();
        }
        std::unique_lock hold(mutex_);
        if (good && broken_) {
            good = *broken_;
        }
        if (good) {
            good = session_.tick(now());
        }
        if (good && (ready & POLLOUT) != 0) {
            flush(hold, true);
        }
        const bool ended = session_.ended();
        if (!welcomed && session_.up()) {
            welcomed = true;
            backoff_.reset();
            changed_.notify_all();
        }
        leave(hold);
        if (!good) {
            return good.error();
        }
        if (ended) {
            return {Status::closed, 0, {}};
        }
    }
}

// What there is, unless a caller reads.
Result<void> RemoteConnection::read_all() {
    {
        const std::lock_guard hold(mutex_);
        if (reading_ || io_rests_) {
            return {};
        }
        reading_ = true;
    }
    Result<void> good;
    for (bool more = true; more && good;) {
        good = read(&more, Leave::now);
    }
    const std::lock_guard hold(mutex_);
    reading_ = false;
    return good;
}

Result<void> RemoteConnection::read(bool* more, Leave how) {
    const ssize_t got = ::recv(socket_, input_.get(), kReadAtOnce, MSG_DONTWAIT);
    return take(got, errno, more, how);
}

// What a read gave.
Result<void> RemoteConnection::take(ssize_t got, int error, bool* more, Leave how) {
    *more = got == static_cast<ssize_t>(kReadAtOnce);
    if (got == 0) {
        return Error{Status::disconnected, 0, "the bridge closed the connection"};
    }
    if (got < 0) {
        if (error == EAGAIN || error == EINTR) {
            return {};
        }
        return Error{Status::disconnected, error, shm::errno_text("recv", error)};
    }
    std::unique_lock hold(mutex_);
    auto good = channel_->open({input_.get(), static_cast<std::size_t>(got)}, session_.reader());
    if (good) {
        good = session_.received(now());
    }
    leave(hold, how);
    return good;
}

// The stream is over; who is in the middle of a write finishes it first, for the descriptor's sake.
void RemoteConnection::hang_up(const Error& why) {
    std::unique_lock hold(mutex_);
    hanging_up_ = true;
    say_goodbye(hold);
    ::shutdown(socket_, SHUT_RDWR);  // a forked child may hold it open
    changed_.wait(hold, [this] { return !writing_ && !reading_; });
    ::close(std::exchange(socket_, -1));
    hanging_up_ = false;
    const bool was_up = session_.up();
    session_.cut(why);
    if (!was_up) {
        ++failures_;
        failure_ = session_.ended() ? why : session_.why_down();
        changed_.notify_all();
    }
    leave(hold);
}

// Its own, or that of a broken protocol: as far as it leaves at once.
void RemoteConnection::say_goodbye(std::unique_lock<std::mutex>& hold) {
    const std::uint64_t until = now() + kGoodbyeNs;
    for (;;) {
        flush(hold, true);
        if ((!writing_ && !blocked_) || now() >= until) {
            return;
        }
        hold.unlock();
        pollfd watched{socket_, POLLOUT, 0};
        ::poll(&watched, 1, 1);
        hold.lock();
        if ((watched.revents & (POLLERR | POLLHUP)) != 0) {
            return;
        }
    }
}

}  // namespace telpher::bridge

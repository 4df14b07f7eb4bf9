#include "tools/telpher/signals.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>

namespace telpher::cli {

namespace {

sigset_t handled_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

void ring(int fd) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);  // fails only at 2^64 - 1
}

}  // namespace

Interrupt::Interrupt() {
    std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is an error of write, not a death
    const sigset_t set = handled_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signal_fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    stop_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (signal_fd_ < 0 || stop_fd_ < 0 || wake_fd_ < 0) {
        // Out of descriptors: better killable by Ctrl-C than deaf to it.
        pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
        return;
    }
    thread_ = std::thread([this] { watch(); });
}

Interrupt::~Interrupt() {
    if (thread_.joinable()) {
        done_.store(true, std::memory_order_relaxed);  // relaxed: nothing is read after it
        ring(wake_fd_);
        thread_.join();
    }
    for (const int fd : {signal_fd_, stop_fd_, hangup_fd_, wake_fd_}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

void Interrupt::watch_stdout() {
    watch_stdout_.store(true, std::memory_order_relaxed);  // relaxed: nothing is read after it
    ring(wake_fd_);
}

void Interrupt::watch_hangup() {
    if (hangup_fd_ < 0) {
        hangup_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    // Without a descriptor nobody could wait for it: it stops, as before.
    // H1: pairs with H2. hangup_fd_ is written before the thread writes to it.
    watch_hangup_.store(hangup_fd_ >= 0, std::memory_order_release);
}

bool Interrupt::take_hangup() {
    std::uint64_t count = 0;
    return hangup_fd_ >= 0 && ::read(hangup_fd_, &count, sizeof count) > 0;
}

void Interrupt::watch() {
    while (!done_.load(std::memory_order_relaxed)) {  // relaxed: nothing is read after it
        // No event is asked for on stdout: POLLERR and POLLHUP are always reported. A negative
        // descriptor is skipped; once it is gone, it must not be looked at again and again.
        // relaxed: nothing is read after it
        const bool look_at_stdout = watch_stdout_.load(std::memory_order_relaxed) && !stopped();
        std::array<pollfd, 3> fds{pollfd{signal_fd_, POLLIN, 0},
                                  pollfd{wake_fd_, POLLIN, 0},
                                  pollfd{look_at_stdout ? STDOUT_FILENO : -1, 0, 0}};
        if (::poll(fds.data(), fds.size(), -1) < 0) {
            continue;  // EINTR: a stop and continue of the whole process
        }
        if ((fds[0].revents & POLLIN) != 0) {
            take_signal();
        }
        if ((fds[1].revents & POLLIN) != 0) {
            std::uint64_t count = 0;
            [[maybe_unused]] const auto bytes = ::read(wake_fd_, &count, sizeof count);
        }
        if (fds[2].revents != 0) {
            stop();
        }
    }
}

void Interrupt::take_signal() {
    signalfd_siginfo info{};
    if (::read(signal_fd_, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) {
        return;
    }
    const int number = static_cast<int>(info.ssi_signo);
    // H2: pairs with H1. What watch_hangup made is seen.
    if (number == SIGHUP && info.ssi_code <= 0 && watch_hangup_.load(std::memory_order_acquire)) {
        ring(hangup_fd_);  // sent by a process; the system's own codes are above 0
        return;
    }
    // A person at the keyboard only: the system sends a parent's death as often as it moves the
    // child to another thread of the dying parent.
    if (number == SIGINT && signal() == SIGINT) {
        ::_exit(1);
    }
    if (!interrupted()) {
        signal_.store(number, std::memory_order_relaxed);  // relaxed: nothing is read after it
    }
    stop();
}

void Interrupt::stop() {
    source_.request_stop();
    ring(stop_fd_);
}

void unblock_signals() {
    const sigset_t set = handled_signals();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_DFL);
}

bool stdout_is_gone() {
    pollfd fd{STDOUT_FILENO, 0, 0};
    return ::poll(&fd, 1, 0) > 0 && (fd.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

}  // namespace telpher::cli

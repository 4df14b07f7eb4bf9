// The processes of the harness: started, watched through pidfds, killed by pid, always reaped.
#include "bench/e2e/harness.hpp"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>

namespace telpher::bench {

namespace {

volatile std::sig_atomic_t signal_seen = 0;

void on_signal(int) { signal_seen = 1; }

void pin_to(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        std::perror("sched_setaffinity");
        _exit(1);
    }
}

// The life of a child between fork and _exit; the parent's atexit handlers are not its business.
[[noreturn]] void live(const Context& context,
                       int cpu,
                       int parent,
                       const std::function<void()>& body) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);  // it died before we asked to die with it
    }
    signal(SIGINT, SIG_IGN);  // the parent decides
    signal(SIGTERM, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    alarm(context.scale.child_seconds_max);
    if (cpu >= 0) {
        pin_to(cpu);
    }
    body();
    std::fflush(nullptr);
    _exit(0);
}

// Waits until one of `children` ends. False when the time is over or a signal came.
bool wait_for_any(const Context& context, const std::vector<Child*>& children) {
    std::vector<pollfd> fds;
    for (const Child* child : children) {
        fds.push_back({child->descriptor(), POLLIN, 0});
    }
    const std::uint64_t own_limit =
        monotonic_now_ns() + (context.scale.child_seconds_max + 2ULL) * 1'000'000'000U;
    const std::uint64_t limit = std::min(own_limit, context.deadline_ns);
    for (;;) {
        const std::uint64_t now = monotonic_now_ns();
        if (now >= limit || (interrupted() && !context.patient)) {
            return false;
        }
        const auto left_ms =
            static_cast<int>(std::min<std::uint64_t>((limit - now) / 1'000'000U + 1, 3'600'000));
        if (::poll(fds.data(), fds.size(), left_ms) > 0) {
            return true;
        }
    }
}

}  // namespace

Result<Child> Child::start(const Context& context, int cpu, const std::function<void()>& body) {
    std::fflush(nullptr);  // or the child writes our buffered output a second time
    const int parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        return Error{Status::server_error, errno, "fork"};
    }
    if (pid == 0) {
        live(context, cpu, parent, body);
    }
    const auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (pidfd < 0) {
        const int error = errno;
        ::kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        return Error{Status::server_error, error, "pidfd_open"};
    }
    return Child(pid, pidfd);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::exchange(other.pidfd_, -1)) {}

Child& Child::operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(pidfd_, other.pidfd_);
    return *this;
}

Child::~Child() {
    kill();
    reap(nullptr);
}

void Child::kill() noexcept {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
    }
}

void Child::reap(int* status) noexcept {
    if (pid_ > 0) {
        while (waitpid(pid_, status, 0) < 0 && errno == EINTR) {
        }
        close(pidfd_);
        pid_ = -1;
    }
}

Result<void> Child::wait(const Context& context) {
    const bool ended = wait_for_any(context, {this});
    if (!ended) {
        kill();
    }
    int status = 0;
    reap(&status);
    if (!ended) {
        return Error{interrupted() ? Status::cancelled : Status::timed_out,
                     0,
                     "a child did not end in time"};
    }
    if (WIFSIGNALED(status)) {
        return Error{
            Status::peer_died, 0, "a child ended by signal " + std::to_string(WTERMSIG(status))};
    }
    return WEXITSTATUS(status) == 0 ? Result<void>{}
                                    : Error{Status::handler_error, 0, "a child failed"};
}

Result<void> wait_all(const Context& context, std::vector<Child>& children) {
    std::vector<Child*> left;
    for (Child& child : children) {
        left.push_back(&child);
    }
    while (!left.empty()) {
        const bool one_ended = wait_for_any(context, left);
        for (std::size_t i = 0; i < left.size();) {
            pollfd fd{left[i]->descriptor(), POLLIN, 0};
            if (one_ended && ::poll(&fd, 1, 0) == 0) {
                ++i;
                continue;
            }
            if (!one_ended) {
                left[i]->kill();
            }
            const Result<void> end = left[i]->wait(context);
            left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
            if (!end || !one_ended) {
                children.clear();  // kills and reaps
                return end ? Error{Status::timed_out, 0, "out of time"} : end.error();
            }
        }
    }
    return {};
}

void watch_signals() {
    struct sigaction action = {};
    action.sa_handler = on_signal;  // without SA_RESTART, so that poll returns
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() noexcept { return signal_seen != 0; }

}  // namespace telpher::bench

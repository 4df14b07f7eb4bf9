#include "tools/telpher/demo_roles.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace telpher::cli {

namespace {

// The process that started this one. A role ends with it, so that a demo that is killed outright
// leaves no processes, and with the last of them its ephemeral domain goes too.
class Parent {
  public:
    Parent(int pid, const Interrupt& interrupt)
        : pid_(pid),
          descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))),
          interrupt_(interrupt) {
        ::prctl(PR_SET_PDEATHSIG, kDeathSignal);
    }
    // The signal comes when the parent's first thread has ended, its last one may still be in the
    // domain. Who leaves before that is not the last one there, and leaves the domain to nobody.
    ~Parent() {
        if (descriptor_ >= 0) {
            pollfd gone{descriptor_, POLLIN, 0};
            ::poll(&gone, 1, interrupt_.signal() == kDeathSignal ? kExitWaitMs : 0);
            ::close(descriptor_);
        }
    }
    Parent(const Parent&) = delete;
    Parent& operator=(const Parent&) = delete;

    [[nodiscard]] bool alive() const { return ::getppid() == pid_; }

  private:
    static constexpr int kDeathSignal = SIGHUP;  // not what the parent sends when it lives
    static constexpr int kExitWaitMs = 1000;     // shorter than the parent waits at a real hang-up
    int pid_;
    int descriptor_;  // of the process, readable when all of it has ended
    const Interrupt& interrupt_;
};

Result<void> run_as(Role role, RoleContext& context) {
    switch (role) {
        case Role::producer:
            return run_producer(context);
        case Role::worker_1:
        case Role::worker_2:
            return run_worker(context, role);
        case Role::pricer_1:
        case Role::pricer_2:
            return run_pricer(context, role);
        case Role::subscriber:
        case Role::slow_subscriber:
        case Role::remote_subscriber:
            return run_subscriber(context, role);
        case Role::bridge:
            return run_bridge(context);
    }
    return Status::bad_request;
}

Result<void> run_role(const RoleOptions& options, Interrupt& interrupt) {
    ::prctl(PR_SET_TIMERSLACK, 1UL);  // 10,000/s needs sleeps exact to microseconds
    const auto role = std::find(kRoleNames.begin(), kRoleNames.end(), options.role);
    auto account = SharedAccount::attach(options.account_fd);
    // A remote subscriber has nothing of the domain.
    const bool remote = options.role == kRoleNames.at(index_of(Role::remote_subscriber));
    auto client = !account ? Result<Client>(account.error())
                  : remote ? Result<Client>(Client())
                           : connect("shm:" + options.domain);
    // After the client: the parent is waited for before the client leaves the domain.
    const Parent parent(options.parent_pid, interrupt);
    if (!parent.alive()) {
        return Status::cancelled;
    }
    if (!client) {
        return client.error();
    }
    RoleContext context{options, *account, *client, interrupt};
    return run_as(static_cast<Role>(role - kRoleNames.begin()), context);
}

}  // namespace

void sleep_until(std::uint64_t at_ns) {
    const timespec at{static_cast<time_t>(at_ns / 1'000'000'000),
                      static_cast<long>(at_ns % 1'000'000'000)};
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

void wait_for(const Figure& figure, const Interrupt& interrupt, std::uint64_t look_every_ns) {
    while (figure.get() == 0 && !interrupt.stopped()) {
        sleep_until(now_ns() + look_every_ns);
    }
}

ExitCode run_demo_role(const RoleOptions& options, Interrupt& interrupt) {
    const auto done = run_role(options, interrupt);
    if (done) {
        return kExitOk;
    }
    // A role that is stopped, or whose domain the parent has taken away, has nothing to say.
    const bool stopped = interrupt.stopped() || done.status() == Status::cancelled;
    return stopped ? kExitStopped : print_error(done.error(), false);
}

}  // namespace telpher::cli

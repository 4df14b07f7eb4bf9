#include "tests/crash/tracer.hpp"

#include <sched.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>

namespace telpher::crash {

namespace {

// Tracer and traced on one processor: a step is then two context switches and no wake-up of another core.
void stay_on_this_processor() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(std::max(0, sched_getcpu())), &one);
    static_cast<void>(sched_setaffinity(0, sizeof one, &one));
}

}  // namespace

Tracer::Tracer() {
    if (sched_getaffinity(0, sizeof before_, &before_) == 0) {
        stay_on_this_processor();
    }
}

Tracer::~Tracer() { static_cast<void>(sched_setaffinity(0, sizeof before_, &before_)); }

bool Tracer::start(const TracedRole& role) {
    child_.kill();
    lost_ = false;
    // relaxed, here and below: one of the two processes runs at a time
    phase_->store(preparing, std::memory_order_relaxed);
    child_ = Child([&] {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        if (!role.prepare()) {
            return 1;
        }
        raise(SIGSTOP);
        phase_->store(acting, std::memory_order_relaxed);  // relaxed: as above
        role.act();
        phase_->store(done, std::memory_order_relaxed);  // relaxed: as above
        raise(SIGSTOP);
        return 0;
    });
    int status = 0;
    if (waitpid(child_.pid(), &status, __WALL) != child_.pid() || !WIFSTOPPED(status)) {
        child_.forget();
        return false;
    }
    // The way out of `raise` is not counted.
    while (phase_->load(std::memory_order_relaxed) == preparing) {  // relaxed: as above
        if (!resume(PTRACE_SINGLESTEP)) {
            return false;
        }
    }
    return true;
}

bool Tracer::step() {
    if (!resume(PTRACE_SINGLESTEP)) {
        lost_ = true;
        return false;
    }
    return phase_->load(std::memory_order_relaxed) == acting;  // relaxed: as above
}

bool Tracer::resume(int request) {
    int status = 0;
    if (ptrace(static_cast<__ptrace_request>(request), child_.pid(), nullptr, nullptr) != 0 ||
        waitpid(child_.pid(), &status, __WALL) != child_.pid()) {
        return false;
    }
    if (!WIFSTOPPED(status)) {
        child_.forget();
        return false;
    }
    return true;
}

}  // namespace telpher::crash

#include "tests/crash/tracer.hpp"

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <map>

namespace telpher::crash {
namespace {

constexpr std::uint32_t kInstructionsMax = 100'000;

// Tracer and traced on one processor: a step is two context switches and no wake-up of another
// core.
void stay_on_this_processor() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(std::max(0, sched_getcpu())), &one);
    static_cast<void>(sched_setaffinity(0, sizeof one, &one));
}

}  // namespace

Tracer::Tracer(TracedRole role) : role_(std::move(role)) {
    static_cast<void>(sched_getaffinity(0, sizeof before_, &before_));
}

Tracer::~Tracer() { static_cast<void>(sched_setaffinity(0, sizeof before_, &before_)); }

int Tracer::phase() const {
    return phase_->load(
        std::memory_order_relaxed);  // relaxed: one of the two processes runs at a time
}

bool Tracer::start() {
    child_.kill();
    // A busy neighbour on one processor must not slow down the whole test: each start may move.
    static_cast<void>(sched_setaffinity(0, sizeof before_, &before_));
    stay_on_this_processor();
    // relaxed, here and below: one of the two processes runs at a time
    phase_->store(preparing, std::memory_order_relaxed);
    child_ = Child([this] {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        if (!role_.prepare()) {
            return 1;
        }
        raise(SIGSTOP);
        phase_->store(acting, std::memory_order_relaxed);  // relaxed: as above
        role_.act();
        phase_->store(done, std::memory_order_relaxed);  // relaxed: as above
        raise(SIGSTOP);
        return 0;
    });
    int status = 0;
    if (waitpid(child_.pid(), &status, __WALL) != child_.pid() || !WIFSTOPPED(status)) {
        child_.forget();
        return false;
    }
    return leave_preparing();
}

// The way out of `raise` is not counted.
bool Tracer::leave_preparing() {
    if (!way_.empty() && set_breakpoint(way_.front().address)) {
        return resume(PTRACE_CONT) && phase() == acting;
    }
    while (phase() == preparing) {
        if (!resume(PTRACE_SINGLESTEP)) {
            return false;
        }
    }
    return true;
}

Tracer::Stop Tracer::step(std::uint32_t count) {
    if (!set_breakpoint(0)) {
        return Stop::lost;
    }
    while (count-- != 0) {
        if (!resume(PTRACE_SINGLESTEP)) {
            return Stop::lost;
        }
        if (phase() != acting) {
            return Stop::finished;
        }
    }
    return Stop::there;
}

std::uint32_t Tracer::record() {
    std::vector<Place> way;
    std::map<std::uint64_t, std::uint32_t> visits;
    while (way.size() < kInstructionsMax) {
        const std::uint64_t here = address();
        way.push_back({here, ++visits[here]});
        const Stop stop = step(1);
        if (stop != Stop::there) {
            way_ = std::move(way);
            return stop == Stop::finished ? static_cast<std::uint32_t>(way_.size()) : 0;
        }
    }
    return 0;
}

Tracer::Stop Tracer::jump(std::uint32_t count) {
    const Place place = count < way_.size() ? way_[count] : Place{0, 1};
    // It stands at the first instruction: the first visit there is over.
    const std::uint32_t visits = place.visit - (place.address == way_.front().address ? 1 : 0);
    if (!set_breakpoint(place.address)) {
        return Stop::lost;
    }
    for (std::uint32_t i = 0; i < visits; ++i) {
        if (!resume(PTRACE_CONT)) {
            return Stop::lost;
        }
        if (phase() != acting) {
            return Stop::finished;
        }
    }
    return address() == place.address ? Stop::there : Stop::finished;
}

// 0 = none.
bool Tracer::set_breakpoint(std::uint64_t address) const {
    constexpr auto kAddress = offsetof(user, u_debugreg[0]);
    constexpr auto kControl = offsetof(user, u_debugreg[7]);
    const pid_t pid = child_.pid();
    if (ptrace(PTRACE_POKEUSER, pid, kControl, 0) != 0) {
        return address == 0;  // this machine has none
    }
    return address == 0 || (ptrace(PTRACE_POKEUSER, pid, kAddress, address) == 0 &&
                            ptrace(PTRACE_POKEUSER, pid, kControl, 1) == 0);
}

std::uint64_t Tracer::address() const {
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, child_.pid(), nullptr, &registers);
    return registers.rip;
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

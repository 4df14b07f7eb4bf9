#include "tests/crash/step_victim.hpp"

#include "shm/base/step.hpp"

#include <gtest/gtest.h>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

// What the hook needs, in the victim only: a step hook has no argument.
struct Plan {
    StepVictim::Fate fate;
    std::uint32_t left;
    const char* name;
    std::atomic<const char*>* at;
    std::atomic<std::uint32_t>* steps;
};
thread_local Plan* t_plan = nullptr;  // of the thread that is to suffer
// The same, for a thread that does not know of it; its name.
std::atomic<Plan*> g_plan{nullptr};
char g_thread[16] = {};

bool is_named() {
    thread_local const bool named = [] {
        char name[16] = {};
        return pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
               std::strcmp(name, g_thread) == 0;
    }();
    return named;
}

void meet_fate(const char* step) {
    Plan* plan = t_plan;
    if (plan == nullptr && g_plan.load() != nullptr && is_named()) {
        plan = g_plan.load();
    }
    if (plan == nullptr) {
        return;
    }
    plan->steps->fetch_add(1);
    if ((plan->name != nullptr && std::strcmp(plan->name, step) != 0) || --plan->left != 0) {
        return;
    }
    t_plan = nullptr;
    g_plan.store(nullptr);
    plan->at->store(step);
    if (plan->fate == StepVictim::Fate::killed) {
        ::kill(getpid(), SIGKILL);
    } else {
        ::raise(SIGSTOP);  // to this thread: another one that sleeps would have to wake up first
    }
}

}  // namespace

void StepVictim::seed_bug(shm::Bug bug) { shm::seeded_bug = bug; }

StepVictim::End StepVictim::run(const VictimRole& role,
                                Fate fate,
                                std::uint32_t n,
                                const char* name) {
    child_.kill();
    log_->at.store(nullptr);
    log_->steps.store(0);
    log_->prepared.store(false);
    log_->finished.store(false);
    child_ = Child([&] {
        if (role.prepare && !role.prepare()) {
            return 1;
        }
        log_->prepared.store(true);
        Plan plan{fate, n, name, &log_->at, &log_->steps};
        shm::step_hook = meet_fate;
        if (role.thread != nullptr) {
            std::strncpy(g_thread, role.thread, sizeof g_thread - 1);
            g_plan.store(&plan);
        } else {
            t_plan = &plan;
        }
        role.act();
        t_plan = nullptr;
        g_plan.store(nullptr);
        log_->finished.store(true);
        // Dies without leaving: what it holds is for the reapers.
        ::kill(getpid(), SIGKILL);
        return 0;
    });
    if (fate == Fate::stopped && child_.wait_for_stop(20s)) {
        return End::met_fate;
    }
    if (child_) {
        static_cast<void>(child_.wait_for_end(20s));
    }
    if (log_->finished.load()) {
        return End::finished;
    }
    return log_->at.load() != nullptr && fate == Fate::killed ? End::met_fate : End::failed;
}

std::uint32_t StepVictim::kill_at_every_step(const char* what,
                                             const std::function<void()>& before,
                                             const VictimRole& role,
                                             const std::function<void(bool finished)>& after) {
    const std::uint64_t started = now_ns();
    std::uint32_t n = 1;
    for (;; ++n) {
        if (before) {
            before();
        }
        if (::testing::Test::HasFailure()) {
            ADD_FAILURE() << what << ": before step " << n;
            break;
        }
        const End end = run(role, Fate::killed, n);
        EXPECT_NE(end, End::failed) << what << ": the victim fails; " << where();
        after(end == End::finished);
        if (::testing::Test::HasFailure()) {
            ADD_FAILURE() << what << ": killed at step " << n << ", " << where();
            break;
        }
        if (end == End::finished) {
            break;
        }
    }
    std::printf("  %-40s %5u kill points, %.1f s\n",
                what,
                n - 1,
                static_cast<double>(now_ns() - started) / 1e9);
    std::fflush(stdout);
    return n - 1;
}

bool StepVictim::let_finish(std::chrono::milliseconds patience) {
    child_.go_on();
    static_cast<void>(child_.wait_for_end(patience));
    return log_->finished.load();
}

std::string StepVictim::where() const {
    const char* at = log_->at.load();
    return at != nullptr ? at
                         : (log_->finished.load() ? "after its end" : "in no step (not prepared?)");
}

}  // namespace telpher::crash

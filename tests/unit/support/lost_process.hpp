#pragma once
// A process that ends as by kill -9: nothing of it is given back.

#include "tests/unit/support/quiet_fork.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace telpher::test {

// Of `act`, where its handles still are: nothing is destroyed behind it.
[[noreturn]] inline void leave(bool done) { ::_exit(done ? 0 : 1); }

// Runs `act`, which leaves, in a process of its own; whether that had done all.
inline bool in_lost_process(const std::function<void()>& act) {
    const pid_t child = quiet_fork();
    if (child == 0) {
        act();
        leave(false);
    }
    int status = -1;
    return ::waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace telpher::test

#include "tools/telpher/children.hpp"

#include "tools/telpher/demo.hpp"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace telpher::cli {

namespace {

// Signals as a new program expects them: Interrupt has blocked some and ignores one.
void set_signals(posix_spawnattr_t& attributes) {
    sigset_t none;
    sigemptyset(&none);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &pipe);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

// Like waitpid, again after a signal.
pid_t wait_for_child(pid_t pid, int& status, int flags) {
    pid_t ended = 0;
    do {
        ended = ::waitpid(pid, &status, flags);
    } while (ended < 0 && errno == EINTR);
    return ended;
}

}  // namespace

Result<pid_t> Children::start(const std::string& name, const std::vector<std::string>& arguments) {
    std::vector<std::string> texts{"telpher"};
    texts.insert(texts.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (auto& text : texts) {
        argv.push_back(text.data());
    }
    argv.push_back(nullptr);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    set_signals(attributes);
    pid_t pid = 0;
    const int failure =
        ::posix_spawn(&pid, "/proc/self/exe", nullptr, &attributes, argv.data(), ::environ);
    ::posix_spawnattr_destroy(&attributes);
    if (failure != 0) {
        return Error{Status::server_error, failure, "cannot start the " + name + " of " + of_};
    }
    children_.push_back({pid, name});
    return pid;
}

void Children::kill(pid_t pid) {
    for (auto& child : children_) {
        if (child.pid == pid && child.running) {
            int status = 0;
            ::kill(pid, SIGKILL);
            wait_for_child(pid, status, 0);
            child.running = false;
        }
    }
}

Result<void> Children::ended(Child& child, int status) {
    child.running = false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == kExitOk) {
        return {};
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == kExitStopped) {
        stopped_ = true;
        return Status::cancelled;
    }
    const auto how = WIFSIGNALED(status)
                         ? "was killed by signal " + std::to_string(WTERMSIG(status))
                         : "failed with exit code " + std::to_string(WEXITSTATUS(status));
    return Error{
        Status::peer_died,
        0,
        "the " + child.name + " of " + of_ + " (pid " + std::to_string(child.pid) + ") " + how};
}

Result<void> Children::collect() {
    for (auto& child : children_) {
        int status = 0;
        if (child.running && wait_for_child(child.pid, status, WNOHANG) == child.pid) {
            if (auto result = ended(child, status); !result) {
                return result;
            }
        }
    }
    return {};
}

bool Children::running(pid_t pid) const {
    for (const auto& child : children_) {
        if (child.pid == pid) {
            return child.running;
        }
    }
    return false;
}

void Children::end_all() {
    for (const auto& child : children_) {
        if (child.running) {
            ::kill(child.pid, SIGTERM);
        }
    }
    constexpr int kLooks = 400;  // 2 s
    for (auto& child : children_) {
        int status = 0;
        for (int look = 0; child.running && look < kLooks; ++look) {
            if (wait_for_child(child.pid, status, WNOHANG) != 0) {
                child.running = false;
                break;
            }
            const timespec pause{0, 5'000'000};
            ::nanosleep(&pause, nullptr);
        }
        kill(child.pid);
    }
}

}  // namespace telpher::cli

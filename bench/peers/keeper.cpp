#include "bench/peers/keeper.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

namespace telpher::bench {

namespace {

constexpr int kSweepsMax = 500;  // of 10 ms: a killed process ends within some
constexpr std::size_t kOutputRead = 65536;
constexpr std::size_t kOutputShown = 300;

std::string end_of(const std::string& text) {
    return text.size() > kOutputShown ? text.substr(text.size() - kOutputShown) : text;
}

sigset_t keeper_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGALRM, SIGCHLD}) {
        sigaddset(&set, number);
    }
    return set;
}

// The parent of process `pid`, or -1.
int parent_of(const char* pid) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(
        std::fopen(("/proc/" + std::string(pid) + "/status").c_str(), "r"), std::fclose);
    char line[256];
    int parent = -1;
    while (file != nullptr && std::fgets(line, sizeof line, file.get()) != nullptr) {
        if (std::sscanf(line, "PPid: %d", &parent) == 1) {
            return parent;
        }
    }
    return -1;
}

void kill_own_children() {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc"), closedir);
    const dirent* entry = nullptr;
    while (folder != nullptr && (entry = readdir(folder.get())) != nullptr) {
        const int pid = std::atoi(entry->d_name);
        if (pid > 0 && parent_of(entry->d_name) == getpid()) {
            ::kill(pid,
                   SIGKILL);  // ours and not yet reaped: the number cannot have gone to another
        }
    }
}

// What a keeper does between its fork and its end.
class KeeperBody {
  public:
    KeeperBody(const KeeperPlan& plan, const MemoryFile& output) : plan_(plan), output_(output) {}

    void run(int parent) {
        const sigset_t signals = keeper_signals();
        sigprocmask(SIG_BLOCK, &signals, nullptr);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        alarm(plan_.life_s);
        if (getppid() == parent) {
            for (const auto& words : plan_.servers) {
                if (const int pid = start(words); pid > 0) {
                    pids_.push_back(pid);
                } else {
                    orderly_ = false;
                }
            }
            while (pids_.size() == plan_.servers.size() && wait_for_signal(nullptr)) {
                reap();
            }
        }
        end_all();
        if (plan_.clean) {
            plan_.clean(orderly_, output_.content());
        }
    }

  private:
    int start(const std::vector<std::string>& words) {
        const int keeper = getpid();
        const int pid = fork();
        if (pid != 0) {
            return pid;
        }
        prctl(PR_SET_PDEATHSIG, plan_.patience_s > 0 ? SIGTERM : SIGKILL);
        if (getppid() != keeper) {
            _exit(1);
        }
        const sigset_t signals = keeper_signals();
        sigprocmask(SIG_UNBLOCK, &signals, nullptr);
        dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
        dup2(output_.descriptor(), STDOUT_FILENO);
        dup2(output_.descriptor(), STDERR_FILENO);
        for (const auto& [name, value] : plan_.environment) {
            setenv(name.c_str(), value.c_str(), 1);
        }
        std::vector<char*> arguments;
        for (const std::string& word : words) {
            arguments.push_back(const_cast<char*>(word.c_str()));
        }
        arguments.push_back(nullptr);
        execvp(arguments[0], arguments.data());
        std::perror(arguments[0]);
        _exit(1);
    }

    // False: it is to end, or the time is over.
    static bool wait_for_signal(const timespec* time_max) {
        const sigset_t signals = keeper_signals();
        const int got = sigtimedwait(&signals, nullptr, time_max);
        return got == SIGCHLD || (got < 0 && errno == EINTR);
    }

    // False: there are no children any more.
    bool reap() {
        int status = 0;
        int pid = 0;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
            if (std::erase(pids_, pid) > 0) {
                orderly_ = orderly_ && WIFEXITED(status) && WEXITSTATUS(status) == 0;
            }
        }
        return pid == 0;
    }

    void end_all() {
        if (plan_.patience_s > 0) {
            for (const int pid : pids_) {
                ::kill(pid, SIGTERM);
            }
            const std::uint64_t limit =
                monotonic_now_ns() + static_cast<std::uint64_t>(plan_.patience_s) * 1'000'000'000U;
            const timespec step{0, 50'000'000};
            while (!pids_.empty() && monotonic_now_ns() < limit) {
                wait_for_signal(&step);  // told again to end: it is ending
                reap();
            }
        }
        // Children of a killed server become ours: once more, until there are none.
        for (int i = 0; i < kSweepsMax && reap(); ++i) {
            kill_own_children();
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }

    const KeeperPlan& plan_;
    const MemoryFile& output_;
    std::vector<int> pids_;  // of servers that have not ended
    bool orderly_ = true;
};

}  // namespace

// Inherited by whatever is started: servers read and write it.
MemoryFile::MemoryFile(const std::string& content) : descriptor_(memfd_create("telpher-bench", 0)) {
    if (descriptor_ < 0 || write(descriptor_, content.data(), content.size()) !=
                               static_cast<ssize_t>(content.size())) {
        std::perror("memfd_create");
    }
}

MemoryFile::~MemoryFile() { close(descriptor_); }

std::string MemoryFile::path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

std::string MemoryFile::content() const {
    struct stat now {};
    fstat(descriptor_, &now);
    std::string text(kOutputRead, '\0');
    // pread, as its position is the servers' place to write.
    const ssize_t got = pread(descriptor_,
                              text.data(),
                              text.size(),
                              std::max<off_t>(0, now.st_size - static_cast<off_t>(kOutputRead)));
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    return text;
}

Keeper::Keeper(const Context& context, const KeeperPlan& plan)
    : context_(context), patience_s_(plan.patience_s) {
    const int parent = getpid();
    auto child = Child::start(context, plan.cpu, [&] { KeeperBody(plan, output_).run(parent); });
    if (child) {
        child_.emplace(std::move(*child));
    }
}

Keeper::~Keeper() {
    if (child_ && child_->pid() > 0) {
        ::kill(child_->pid(), SIGTERM);
        Context calm = context_;  // cleaning up takes the time that it takes
        calm.patient = true;
        calm.deadline_ns = ~0ULL;
        calm.scale.child_seconds_max = static_cast<std::uint32_t>(patience_s_) + 8;
        static_cast<void>(child_->wait(calm));
    }
}

Result<void> Keeper::wait_until_said(const std::string& text, int seconds_max) {
    const std::uint64_t limit =
        std::min(context_.deadline_ns,
                 monotonic_now_ns() + static_cast<std::uint64_t>(seconds_max) * 1'000'000'000U);
    while (monotonic_now_ns() < limit && !interrupted()) {
        if (output_.content().find(text) != std::string::npos) {
            return {};
        }
        pollfd end{child_ ? child_->descriptor() : -1, POLLIN, 0};
        if (!child_ || ::poll(&end, 1, 10) > 0) {
            return Error{Status::server_error, 0, "it ended: " + end_of(output_.content())};
        }
    }
    return Error{interrupted() ? Status::cancelled : Status::timed_out,
                 0,
                 "it is not ready: " + end_of(output_.content())};
}

}  // namespace telpher::bench

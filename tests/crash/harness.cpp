#include "tests/crash/harness.hpp"

#include "shm/chunk_pool.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>

namespace telpher::crash {
namespace {

constexpr unsigned kChildSecondsMax = 120;
constexpr std::string_view kFolder = "/dev/shm/";

[[noreturn]] void give_up(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::fflush(nullptr);
    std::abort();
}

// Names of all files that belong to scratch domains whose name begins with `name`.
std::vector<std::string> files_of(const std::string& name, bool prefix) {
    std::vector<std::string> files;
    const std::string file = "telpher." + name;
    if (DIR* folder = opendir(kFolder.data())) {
        while (const dirent* item = readdir(folder)) {  // NOLINT(concurrency-mt-unsafe): ours alone
            const std::string_view found = item->d_name;
            if (found == file || found.starts_with(file + ".") ||
                (prefix && found.starts_with(file))) {
                files.push_back(std::string(kFolder) + item->d_name);
            }
        }
        closedir(folder);
    }
    return files;
}

std::string prefix_of_this_process() { return "crash-" + std::to_string(getpid()) + "-"; }

void on_alarm(int /*signal*/) {
    // Not safe in a handler, but the program is lost anyway; the second alarm ends it without us.
    std::signal(SIGALRM, SIG_DFL);
    alarm(3);
    for (const std::string& file : files_of(prefix_of_this_process(), true)) {
        unlink(file.c_str());
    }
    static constexpr char kText[] = "watchdog: the test hangs\n";
    static_cast<void>(!write(STDERR_FILENO, kText, sizeof kText - 1));
    _exit(124);
}

}  // namespace

bool soak() {
    const char* value =
        std::getenv("TELPHER_SOAK");  // NOLINT(concurrency-mt-unsafe): never changed
    return value != nullptr && std::strcmp(value, "0") != 0;
}

std::uint64_t seed() {
    static const std::uint64_t chosen = [] {
        const char* given = std::getenv("TELPHER_SEED");  // NOLINT(concurrency-mt-unsafe): as above
        const std::uint64_t value =
            given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
        std::printf("seed: TELPHER_SEED=%llu\n", static_cast<unsigned long long>(value));
        std::fflush(stdout);
        return value;
    }();
    return chosen;
}

std::uint64_t Random::next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
}

Watchdog::Watchdog(unsigned seconds) {
    std::signal(SIGALRM, on_alarm);
    alarm(soak() ? seconds * 20 : seconds);
}
Watchdog::~Watchdog() { alarm(0); }

ServerOptions small_options(Lifetime lifetime) {
    ServerOptions options;
    options.lifetime = lifetime;
    options.limits = DomainLimits{.processes = 16,
                                  .threads = 64,
                                  .destinations = 8,
                                  .message_bytes = std::size_t{64} << 10U,
                                  .ring_bytes = std::size_t{64} << 10U,
                                  .pool_bytes = std::size_t{1} << 20U,
                                  .segment_bytes = 0,
                                  .idempotency_entries = 64};
    return options;
}

ScratchDomain::ScratchDomain(std::string_view test)
    : name_(prefix_of_this_process() + std::string(test)), limits_(*small_options().limits) {}
ScratchDomain::~ScratchDomain() { remove_files(); }

Server ScratchDomain::open(Lifetime lifetime) const {
    ServerOptions options = small_options(lifetime);
    options.limits = limits_;
    auto server = Server::open(name_, options);
    if (!server) {
        give_up("opening " + name_ + ": " + to_string(server.error()));
    }
    return std::move(*server);
}

std::vector<std::string> ScratchDomain::files() const { return files_of(name_, false); }

void ScratchDomain::remove_files() const {
    for (const std::string& file : files()) {
        unlink(file.c_str());
    }
}

Child::Child(const std::function<int()>& role) {
    std::fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) {
        give_up("fork failed");
    }
    if (pid_ == 0) {
        std::signal(SIGALRM, SIG_DFL);
        alarm(kChildSecondsMax);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(125);
        }
        const int status = role();
        std::fflush(nullptr);
        _exit(status);
    }
}

Child& Child::operator=(Child&& other) noexcept {
    if (this != &other) {
        kill();
        pid_ = std::exchange(other.pid_, 0);
    }
    return *this;
}

void Child::stop() const { ::kill(pid_, SIGSTOP); }
void Child::go_on() const { ::kill(pid_, SIGCONT); }

void Child::kill() {
    if (pid_ != 0) {
        ::kill(pid_, SIGKILL);
        int status = 0;
        while (waitpid(pid_, &status, __WALL) == pid_ && WIFSTOPPED(status)) {
        }
        pid_ = 0;
    }
}

int Child::wait_for_end(std::chrono::milliseconds patience) {
    const std::uint64_t deadline =
        now_ns() + static_cast<std::uint64_t>(patience.count()) * 1'000'000U;
    for (useconds_t pause = 20;; pause = pause < 500 ? pause * 2 : pause) {
        int status = 0;
        const pid_t ended = waitpid(pid_, &status, WNOHANG);
        if (ended == pid_) {
            pid_ = 0;
            return status;
        }
        if (now_ns() > deadline) {
            return -1;
        }
        usleep(pause);
    }
}

bool Child::wait_for_stop(std::chrono::milliseconds patience) {
    const std::uint64_t deadline =
        now_ns() + static_cast<std::uint64_t>(patience.count()) * 1'000'000U;
    while (now_ns() < deadline) {
        int status = 0;
        if (waitpid(pid_, &status, WNOHANG | WUNTRACED) == pid_) {
            if (WIFSTOPPED(status)) {
                return true;
            }
            pid_ = 0;
            return false;
        }
        usleep(20);
    }
    return false;
}

std::string describe_end(int status) {
    if (status == -1) {
        return "did not end";
    }
    if (WIFSIGNALED(status)) {
        return "ended by signal " + std::to_string(WTERMSIG(status));
    }
    return "ended with " + std::to_string(WEXITSTATUS(status));
}

void fill_numbered(std::span<std::byte> payload, std::uint64_t number) {
    std::memcpy(payload.data(), &number, sizeof number);
    for (std::size_t i = sizeof number; i < payload.size(); ++i) {
        payload[i] = static_cast<std::byte>(number * 31 + i);
    }
}

Message numbered(std::uint64_t number, std::size_t payload_bytes) {
    std::vector<std::byte> payload(payload_bytes);
    fill_numbered(payload, number);
    return Message::bytes("crash", "application/octet-stream", payload);
}

std::uint64_t number_of(const MessageView& message) {
    const std::span<const std::byte> payload = message.payload();
    std::uint64_t number = 0;
    if (payload.size() < sizeof number) {
        return kTorn;
    }
    std::memcpy(&number, payload.data(), sizeof number);
    for (std::size_t i = sizeof number; i < payload.size(); ++i) {
        if (payload[i] != static_cast<std::byte>(number * 31 + i)) {
            return kTorn;
        }
    }
    return number;
}

std::string audit(const Server& server, std::uint64_t owned, std::uint64_t offered) {
    const auto report = server.verify();
    if (!report) {
        return "verify: " + to_string(report.error());
    }
    std::string text;
    for (const std::string& problem : report->problems) {
        text += problem + "; ";
    }
    const auto expect = [&text](const char* what, std::uint64_t is, std::uint64_t expected) {
        if (is != expected) {
            text += std::string(what) + " is " + std::to_string(is) + ", expected " +
                    std::to_string(expected) + "; ";
        }
    };
    expect("owned", report->chunks_owned, owned);
    expect("claimed", report->chunks_claimed, 0);
    expect("offered", report->chunks_offered, offered);
    // What a live publisher of a topic keeps for its next messages is bounded, and counted apart.
    expect("free", report->chunks_free, report->chunks - owned - offered - report->chunks_retired);
    return text;
}

std::uint64_t settle(Queue& queue) {
    constexpr std::size_t kBytes[] = {16, 150, 280, 400, 900, 3000};  // one of each class
    for (const std::size_t bytes : kBytes) {
        std::vector<Loan> loans;
        for (std::uint32_t i = 0; i < shm::kHotChunks; ++i) {
            if (auto loan = queue.loan("settle", bytes)) {
                loans.push_back(std::move(*loan));
            }
        }
    }
    return std::size(kBytes) * shm::kHotChunks;
}

std::vector<std::uint64_t> drain(Queue& queue) {
    std::vector<std::uint64_t> numbers;
    while (auto delivery = queue.poll()) {
        numbers.push_back(number_of(*delivery));
    }
    return numbers;
}

std::uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace telpher::crash

#include "tools/telpher/run_program.hpp"

#include "src/wire/utf8.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace telpher::cli {
namespace {

constexpr std::size_t kOutputMax = std::size_t{250} << 20U;

class Descriptor {
  public:
    explicit Descriptor(int descriptor = -1) : descriptor_(descriptor) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { close(); }
    void close() {
        if (descriptor_ >= 0) {
            ::close(descriptor_);
            descriptor_ = -1;
        }
    }
    void reset(int descriptor) {
        close();
        descriptor_ = descriptor;
    }
    [[nodiscard]] int get() const { return descriptor_; }

  private:
    int descriptor_;
};

Error spawn_failed(const char* what, int error) {
    return {Status::server_error, error, std::string(what) + ": " + std::string(strerror(error))};
}

// The payload as a file without a name: the program reads as much of it as it likes, when it likes.
bool write_input(int descriptor, std::span<const std::byte> payload) {
    while (!payload.empty()) {
        const ssize_t wrote = ::write(descriptor, payload.data(), payload.size());
        if (wrote < 0 && errno != EINTR) {
            return false;
        }
        payload = payload.subspan(wrote > 0 ? static_cast<std::size_t>(wrote) : 0);
    }
    return ::lseek(descriptor, 0, SEEK_SET) == 0;
}

std::vector<std::string> environment_of(const Message& request) {
    std::vector<std::string> all;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        if (!std::string_view(*entry).starts_with("TELPHER_")) {
            all.emplace_back(*entry);
        }
    }
    all.push_back("TELPHER_TOPIC=" + std::string(request.topic()));
    all.push_back("TELPHER_REQUEST_ID=" + std::string(request.request_id()));
    all.push_back("TELPHER_CORRELATION_ID=" + std::string(request.correlation_id()));
    return all;
}

// 0, or errno.
int start(const std::string& command, const Message& request, int input, int output, pid_t* pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    // Signals are blocked in our threads; and Ctrl-C is for us, who end when it has ended.
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> environment = environment_of(request);
    std::vector<char*> variables;
    for (std::string& variable : environment) {
        variables.push_back(variable.data());
    }
    variables.push_back(nullptr);
    std::string shell = "sh";
    std::string flag = "-c";
    std::string text = command;
    std::array<char*, 4> arguments{shell.data(), flag.data(), text.data(), nullptr};
    const int error =
        posix_spawn(pid, "/bin/sh", &files, &attributes, arguments.data(), variables.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

// Reads until the other end is closed: ok, timed_out, message_too_large.
Status read_output(int descriptor,
                   std::optional<std::chrono::steady_clock::time_point> deadline,
                   std::string& output) {
    std::array<char, 65'536> buffer;
    for (;;) {
        int wait_ms = -1;
        if (deadline) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(
                *deadline - std::chrono::steady_clock::now());
            if (left.count() <= 0) {
                return Status::timed_out;
            }
            wait_ms = static_cast<int>(std::min<std::int64_t>(left.count(), 60'000));
        }
        pollfd readable{descriptor, POLLIN, 0};
        if (::poll(&readable, 1, wait_ms) <= 0) {
            continue;
        }
        const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
        if (got == 0) {
            return Status::ok;
        }
        if (got > 0) {
            output.append(buffer.data(), static_cast<std::size_t>(got));
            if (output.size() > kOutputMax) {
                return Status::message_too_large;
            }
        } else if (errno != EINTR && errno != EAGAIN) {
            return Status::ok;
        }
    }
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t bytes = wire::utf8_character_bytes(text);
        if (bytes == 0) {
            return false;
        }
        text.remove_prefix(bytes);
    }
    return true;
}

}  // namespace

Result<Message> run_program(const std::string& command, const Message& request) {
    std::optional<std::chrono::steady_clock::time_point> deadline;
    if (const auto left = request.timeout()) {
        deadline = std::chrono::steady_clock::now() + *left;
    }
    const Descriptor input(::memfd_create("telpher-request", MFD_CLOEXEC));
    if (input.get() < 0 || !write_input(input.get(), request.payload())) {
        return spawn_failed("keeping the request for the program", errno);
    }
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return spawn_failed("making a pipe to the program", errno);
    }
    const Descriptor output(ends[0]);
    Descriptor its_output(ends[1]);
    pid_t pid = 0;
    if (const int error = start(command, request, input.get(), its_output.get(), &pid);
        error != 0) {
        return spawn_failed("starting /bin/sh", error);
    }
    its_output.close();
    std::string text;
    const Status status = read_output(output.get(), deadline, text);
    if (status != Status::ok) {
        ::kill(-pid, SIGKILL);  // it and what it started
    }
    int end = 0;
    while (::waitpid(pid, &end, 0) < 0 && errno == EINTR) {
    }
    if (status != Status::ok) {
        return Error{status,
                     0,
                     status == Status::timed_out
                         ? "the request's time was over: the program was killed"
                         : "the program wrote more than 250 MiB"};
    }
    if (!WIFEXITED(end) || WEXITSTATUS(end) != 0) {
        return Error{Status::handler_error,
                     0,
                     WIFEXITED(end)
                         ? "the program ended with status " + std::to_string(WEXITSTATUS(end))
                         : "the program ended by signal " + std::to_string(WTERMSIG(end))};
    }
    return is_utf8(text)
               ? Message::text(request.topic(), text)
               : Message::bytes(
                     request.topic(), "application/octet-stream", std::as_bytes(std::span(text)));
}

}  // namespace telpher::cli

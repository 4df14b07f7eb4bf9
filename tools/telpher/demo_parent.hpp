// The parent of the demo: it makes the domain, starts the others, kills one, and looks at what is
// left.
#pragma once

#include "tools/telpher/children.hpp"
#include "tools/telpher/demo.hpp"
#include "tools/telpher/demo_orders.hpp"
#include "tools/telpher/demo_report.hpp"

#include <poll.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace telpher::cli {

inline constexpr std::uint64_t kDemoMessagesDefault = 100'000;

struct DemoOptions {
    Common common;
    std::string input;
    std::uint64_t messages = kDemoMessagesDefault;
    bool no_progress = false;
    bool durable = false;
};

// The parent's part. Every member that holds something gives it back, in reverse order of making
// it: first the processes end, then the domain goes.
class Demo {
  public:
    Demo(const DemoOptions& options, Interrupt& interrupt)
        : options_(options),
          interrupt_(interrupt),
          progress_(!options.no_progress && !options.common.json) {}
    ~Demo() { clean_up(); }
    Demo(const Demo&) = delete;
    Demo& operator=(const Demo&) = delete;

    // The whole of it. Errors: what went wrong, with nothing left behind; cancelled when stopped.
    Result<std::unique_ptr<DemoReport>> run();

  private:
    Result<void> load_orders();
    Result<void> make_domain();
    Result<void> check_largest();
    Result<void> start_processes();
    Result<void> start_one(Role role);
    Result<void> watch();
    Result<void> look_at_domain();
    Result<void> end_others();
    Kill kill(Role role);
    void kill_when_due();
    void clean_up();

    // Waits for a millisecond or a signal. Errors: cancelled, and what became of the children.
    Result<void> pause() {
        pollfd fd{interrupt_.fd(), POLLIN, 0};
        ::poll(&fd, 1, 1);
        return interrupt_.stopped() ? Result<void>(Status::cancelled) : children_.collect();
    }
    [[nodiscard]] pid_t pid_of(Role role) const { return pids_.at(index_of(role)); }
    [[nodiscard]] std::string pids(std::initializer_list<Role> roles) const;
    [[nodiscard]] bool running(Role role) const { return children_.running(pid_of(role)); }
    [[nodiscard]] std::uint64_t handled() const {
        return (*account_)->workers[0].handled.get() + (*account_)->workers[1].handled.get();
    }
    void say(const std::string& text) {
        if (!options_.common.json) {
            progress_.clear();
            // A reader that has gone changes nothing: the proof still decides the exit code.
            [[maybe_unused]] const bool written = write_out(text + "\n");
        }
    }

    const DemoOptions& options_;
    Interrupt& interrupt_;
    ProgressBar progress_;
    const std::uint64_t start_ns_ = now_ns();
    DemoRun run_{};
    std::string content_{};
    std::vector<Order> orders_{};
    int orders_fd_ = -1;
    std::string keys_{};  // a folder
    std::optional<SharedAccount> account_{};
    std::optional<Server> server_{};
    Queue queue_{};
    Children children_{};
    std::array<pid_t, kRoleNames.size()> pids_{};
};

}  // namespace telpher::cli

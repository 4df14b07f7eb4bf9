// telpher demo: the main job, shown with real processes on real messages.
//
//   demo.cpp           options
//   demo_parent.cpp    the steps: make, start, measure, kill, look, clean up
//   demo_children.cpp  starting, killing and ending the other processes
//   demo_roles.cpp     what these do: one producer, two competing workers
//   demo_account.cpp   the memory in which all of them note what they did
//   demo_report.cpp    what is proved from the account, and printed
#pragma once

#include "telpher/queue.hpp"
#include "telpher/server.hpp"

#include "tools/telpher/demo_account.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::cli {

inline constexpr std::string_view kDemoQueue = "orders";
inline constexpr std::uint32_t kDemoCapacity = 1024;
inline constexpr std::size_t kDemoInputBytesMax = std::size_t{256} << 20;

// Of a process that was told to stop: not a failure of its own. Seen only by the parent.
inline constexpr auto kExitStopped = static_cast<ExitCode>(6);

// Arguments of the hidden processes.
struct RoleOptions {
    Common common;
    std::string domain;
    int parent_pid = 0;
    int account_fd = -1;
    int orders_fd = -1;
    std::size_t worker = 0;  // 1, 2; 0 = the producer
};
ExitCode run_demo_role(const RoleOptions& options, Interrupt& interrupt);

// What the parent saw; with the account, all that the report needs.
struct DemoRun {
    std::string domain;
    std::string source;  // of the orders
    std::size_t orders = 0;
    std::uint64_t handled_at_kill = 0;
    std::uint64_t kill_ns = 0;
    int killed_pid = 0;
    QueueStatus queue;
    std::uint64_t reaped = 0;
    VerifyReport verify;
    std::vector<std::string> left_behind;
    double seconds = 0;
};

// One thing that the demo proves, or not.
struct Proof {
    std::string name;  // of its JSON field
    bool holds = false;
    std::string text;
};

struct DemoReport {
    DemoReport(const SharedAccount& account, const DemoRun& run);

    [[nodiscard]] bool ok() const;
    [[nodiscard]] std::string to_text() const;
    [[nodiscard]] Json to_json() const;

    DemoRun run;
    std::uint64_t messages = 0;
    std::uint64_t handled[kWorkers] = {};  // NOLINT(modernize-avoid-c-arrays)
    std::uint64_t twice = 0;
    std::vector<std::uint64_t>
        unfinished;  // taken by no account: in the hands of the killed worker
    LatencyHistogram latency;
    double paced_rate = 0;
    double rate_two = 0;  // full speed, two workers, messages per second
    double rate_one = 0;  // after the kill
    std::uint64_t stall_before_ns = 0;
    std::uint64_t stall_after_ns = 0;
    std::int64_t total = 0;
    std::vector<Proof> proofs;

  private:
    void count(const SharedAccount& account);
    void measure(const SharedAccount& account);
    void prove(const SharedAccount& account);
};

// Names in /dev/shm that belong to the domain, and the domain itself while it is still listed.
[[nodiscard]] std::vector<std::string> leftovers_of(const std::string& domain);

}  // namespace telpher::cli

// What a domain shows at one moment, for the commands that follow it.
#pragma once

#include "telpher/admin.hpp"

#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace telpher::cli {

struct Snapshot {
    DomainStatus domain;
    std::vector<QueueStatus> queues;     // by name
    std::vector<TopicStatus> topics;     // by name
    std::vector<ProcessInfo> processes;  // without the one that looks, by slot
    std::chrono::steady_clock::time_point taken{};
};

// Errors: those of Admin's members; corrupt when a queue or topic cannot be looked at.
[[nodiscard]] Result<Snapshot> take_snapshot(const Admin& admin);

// Without the process that looks; through a bridge: all.
[[nodiscard]] Result<std::vector<ProcessInfo>> other_processes(const Admin& admin);

// Whether only we are left in a domain that lives as long as its processes: whoever follows it ends,
// so that the domain does.
[[nodiscard]] bool keeps_alive(const Snapshot& snapshot);

[[nodiscard]] Json to_json(const ProcessInfo& process);

// The two tables of a domain, less the one without rows; the first if neither has any.
[[nodiscard]] std::string joined(const std::string& queues,
                                 std::size_t queue_count,
                                 const std::string& topics,
                                 std::size_t topic_count);

// Sleeps until `when`, or until the interrupt. False = stopped, or nobody reads our stdout.
[[nodiscard]] bool sleep_until(const Interrupt& interrupt,
                               std::chrono::steady_clock::time_point when);

}  // namespace telpher::cli

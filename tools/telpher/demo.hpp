// telpher demo: the main job, shown with real processes on real messages.
//
//   demo.cpp           options
//   demo_parent.cpp    the steps: make, start, measure, kill, look, clean up
//   children.cpp  starting, killing and ending the other processes
//   demo_roles.hpp     what these do: one producer, two competing workers,
//                      two servers of a function that they call, two
//                      subscribers of the topic that they publish to, and
//                      a third one, encrypted, over a bridge
//   demo_account.cpp   the memory in which all of them note what they did
//   demo_proof.cpp     what is proved from the account
//   demo_report.cpp    what is printed
#pragma once

#include "tools/telpher/demo_account.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace telpher::cli {

inline constexpr std::string_view kDemoQueue = "orders";
inline constexpr std::uint32_t kDemoCapacity = 1024;
inline constexpr std::string_view kDemoTopic = "orders.done";
inline constexpr std::uint32_t kDemoTopicCapacity = 8192;
inline constexpr std::string_view kDemoFunction = "price";
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
    std::string role;  // of kRoleNames
    std::string keys;  // folder for the bridge's and the remote subscriber's
};
ExitCode run_demo_role(const RoleOptions& options, Interrupt& interrupt);

}  // namespace telpher::cli

#pragma once
// Keeps the servers that a row needs, and leaves nothing behind of them.
//
//   Why       some servers start processes of their own, or leave files when they are killed. They have to be
//             ended in order, also where the benchmark itself was killed. So a process stands between, which has
//             its parent's death told by SIGTERM and adopts what its servers leave alone.
//   Ends      by the destructor, by the parent's death, by its own alarm, or when one of its servers has ended
//   Then      SIGTERM to the servers where the plan has patience; SIGKILL to all that came of them; `clean`
//   Crash     of the keeper: its servers are sent the same first signal; `clean` is not called

#include "bench/e2e/harness.hpp"

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace telpher::bench {

// Bytes in memory that a server reads or writes as a file; no file is left.
class MemoryFile {
  public:
    explicit MemoryFile(const std::string& content = {});
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    ~MemoryFile();
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    // Its name in a process that inherited it.
    [[nodiscard]] std::string path() const;
    [[nodiscard]] std::string content() const;  // the end of it, up to 64 KiB

  private:
    int descriptor_;
};

struct KeeperPlan {
    std::vector<std::vector<std::string>> servers;  // the words of each command
    std::vector<std::pair<std::string, std::string>> environment;
    int cpu = -1;               // < 0: not pinned
    int patience_s = 0;         // from SIGTERM to SIGKILL; 0: SIGKILL at once
    std::uint32_t life_s = 60;  // the keeper's alarm
    // Called in the keeper when all have ended. `orderly`: all servers left by themselves, with 0.
    std::function<void(bool orderly, const std::string& output)> clean;
};

class Keeper {
  public:
    Keeper(const Context& context, const KeeperPlan& plan);
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    ~Keeper();

    // Waits until a server has written `text`. Errors: server_error with the end of what they wrote, timed_out.
    Result<void> wait_until_said(const std::string& text, int seconds_max);

  private:
    const Context& context_;
    const int patience_s_;
    MemoryFile output_;  // of all servers
    std::optional<Child> child_;
};

}  // namespace telpher::bench

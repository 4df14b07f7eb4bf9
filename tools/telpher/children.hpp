// The processes that a command starts and kills: of the demo, and of chaos.
#pragma once

#include "telpher/result.hpp"

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace telpher::cli {

// Threads: one. The destructor ends all that still run and waits for them: no zombies, no orphans.
class Children {
  public:
    // Whose they are, for errors.
    explicit Children(std::string of = "the demo") : of_(std::move(of)) {}
    ~Children() { end_all(); }
    Children(const Children&) = delete;
    Children& operator=(const Children&) = delete;

    // Runs this executable again with `arguments`.
    Result<pid_t> start(const std::string& name, const std::vector<std::string>& arguments);
    // Kills outright, and returns when the process is dead.
    void kill(pid_t pid);
    // Waits for those that have ended by now. An error for one that failed: "worker 2 (pid 7) ..."
    Result<void> collect();
    [[nodiscard]] bool running(pid_t pid) const;
    // One of them ended because it was told to stop: so shall the parent.
    [[nodiscard]] bool stopped() const { return stopped_; }
    // Asks all to end, kills those that do not within 2 s.
    void end_all();

  private:
    struct Child {
        pid_t pid = 0;
        std::string name;
        bool running = true;
    };
    Result<void> ended(Child& child, int status);

    const std::string of_;
    std::vector<Child> children_;
    bool stopped_ = false;
};

}  // namespace telpher::cli

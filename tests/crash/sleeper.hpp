#pragma once
// A process that sleeps at a queue, wakes up for each message (or each free place), and counts.

#include "tests/crash/harness.hpp"

#include <atomic>
#include <functional>
#include <optional>
#include <string>

namespace telpher::crash {

// The options of a process that sleeps at once instead of spinning.
ServerOptions sleepy_options();

class Sleeper {
  public:
    // `work` does one thing, waiting for it; false = it cannot.
    using Work = std::function<bool(Queue& queue)>;
    static bool consume(Queue& queue);  // a message that is not complete ends the process
    static bool produce(Queue& queue);

    Sleeper(const ScratchDomain& domain, std::string queue, const Work& work);

    void stop() const { child_.stop(); }
    // Things done so far.
    [[nodiscard]] std::uint64_t done() const { return done_->load(); }
    // Until it has done `count`, half of the time that bounds every sleep at most. The time it
    // took.
    [[nodiscard]] std::optional<std::uint64_t> wait_for(std::uint64_t count) const;
    // Until it sleeps in a system call. False: not within half a second.
    [[nodiscard]] bool wait_for_sleep() const;

  private:
    Shared<std::atomic<std::uint64_t>> done_;
    Child child_;
};

}  // namespace telpher::crash

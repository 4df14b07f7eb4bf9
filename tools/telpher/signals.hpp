// Ctrl-C, SIGTERM and a reader of stdout that has gone, as a std::stop_token and a descriptor.
#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace telpher::cli {

// Turns signals into a stop for everything that waits.
//
//   Make it   first thing in main: threads made later inherit the blocked signals, so that all of
//             them arrive at the thread of this class, and never in the middle of a library call.
//   Twice     a second Ctrl-C ends the process at once: for a command that does not listen.
class Interrupt {
  public:
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    // Stops also when whoever reads our stdout (`| head -1`) has gone.
    void watch_stdout();

    [[nodiscard]] std::stop_token token() const { return source_.get_token(); }
    [[nodiscard]] bool stopped() const { return source_.stop_requested(); }
    // From now on a SIGHUP that somebody sends is no stop: it is given to `take_hangup`, and rings hangup_fd(). That of
    // a terminal that is gone stays one.
    void watch_hangup();
    // Whether there was one since it was last asked.
    [[nodiscard]] bool take_hangup();
    // A signal came, as opposed to a reader that has gone.
    [[nodiscard]] bool interrupted() const { return signal() != 0; }
    // The first one; 0 = none.
    [[nodiscard]] int signal() const {
        return signal_.load(std::memory_order_relaxed);  // relaxed: nothing is read after it
    }
    // Readable from the stop on: for poll(2) beside other descriptors.
    [[nodiscard]] int fd() const { return stop_fd_; }
    // Readable while a hangup waits to be taken.
    [[nodiscard]] int hangup_fd() const { return hangup_fd_; }

  private:
    void watch();
    void take_signal();
    void stop();

    std::stop_source source_;
    std::atomic<int> signal_{0};
    std::atomic<bool> watch_stdout_{false};
    std::atomic<bool> watch_hangup_{false};
    std::atomic<bool> done_{false};
    int signal_fd_ = -1;
    int stop_fd_ = -1;
    int hangup_fd_ = -1;
    int wake_fd_ = -1;  // makes the thread look at watch_stdout_ and done_ again
    std::thread thread_;
};

// In a child made by fork, before exec: the signals that Interrupt blocked are let in again.
void unblock_signals();

// Whether nobody can read our stdout any more.
[[nodiscard]] bool stdout_is_gone();

}  // namespace telpher::cli

#pragma once
// How long things took, with bounds that hold on a busy machine.

#include <chrono>

namespace telpher::test {

using namespace std::chrono_literals;

class Stopwatch {
  public:
    [[nodiscard]] std::chrono::nanoseconds elapsed() const {
        return std::chrono::steady_clock::now() - start_;
    }

  private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// A wake-up takes well below a millisecond; with sanitizers and other tests beside it, up to this.
inline constexpr std::chrono::milliseconds kPromptly{500};
// Long enough for another thread to fall asleep.
inline constexpr std::chrono::milliseconds kAsleep{30};

}  // namespace telpher::test

#pragma once
// When to try again: exponential backoff with full jitter, so that a thousand clients of a bridge that
// starts again do not come at once.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

namespace telpher::bridge {

class Backoff {
  public:
    static constexpr std::uint64_t kFirstNs = 50'000'000;
    static constexpr std::uint64_t kMostNs = 5'000'000'000;

    explicit Backoff(std::function<std::uint64_t()> random) : random_(std::move(random)) {}
    // How long to wait before the next try.
    [[nodiscard]] std::uint64_t next_ns() {
        const std::uint64_t most = most_ns_;
        most_ns_ = std::min(2 * most_ns_, kMostNs);
        return random_() % (most + 1);
    }
    // It worked.
    void reset() noexcept { most_ns_ = kFirstNs; }

  private:
    std::function<std::uint64_t()> random_;
    std::uint64_t most_ns_ = kFirstNs;
};

}  // namespace telpher::bridge

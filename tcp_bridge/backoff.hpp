#pragma once
// When to try again: exponential backoff with full jitter, so that a thousand clients of a bridge that
// starts again do not come at once.

#include "src/client/backoff.hpp"

#include <cstdint>
#include <functional>
#include <utility>

namespace telpher::bridge {

class Backoff {
  public:
    static constexpr Duration kFirst = std::chrono::milliseconds(50);
    static constexpr Duration kMost = std::chrono::seconds(5);

    explicit Backoff(std::function<std::uint64_t()> random) : random_(std::move(random)) {}
    // How long to wait before the next try.
    [[nodiscard]] std::uint64_t next_ns() {
        return static_cast<std::uint64_t>(waits_.next(random_()).count());
    }
    // It worked.
    void reset() noexcept { waits_.reset(); }

  private:
    std::function<std::uint64_t()> random_;
    detail::Backoff waits_{kFirst, kMost};
};

}  // namespace telpher::bridge

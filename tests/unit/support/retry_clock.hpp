#pragma once
// Time that passes when somebody sleeps, and chance that a test chooses.

#include "telpher/retry.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace telpher::test {

class FakeClock final : public RetryClock {
  public:
    explicit FakeClock(std::function<void()> on_sleep = {}) : on_sleep_(std::move(on_sleep)) {}
    [[nodiscard]] Duration now() override {
        const std::lock_guard hold(mutex_);
        return now_;
    }
    void sleep(Duration time, const std::stop_token& /*stop*/) override {
        {
            const std::lock_guard hold(mutex_);
            now_ += time;
            waits_.push_back(time);
        }
        if (on_sleep_) {
            on_sleep_();
        }
    }
    // The upper end of every range.
    [[nodiscard]] std::uint64_t random() override { return ~std::uint64_t{0}; }
    void advance(Duration time) {
        const std::lock_guard hold(mutex_);
        now_ += time;
    }
    [[nodiscard]] std::vector<Duration> waits() const {
        const std::lock_guard hold(mutex_);
        return waits_;
    }

  private:
    mutable std::mutex mutex_;
    Duration now_ = std::chrono::hours(1);
    std::vector<Duration> waits_;
    std::function<void()> on_sleep_;
};

// Waits of 100 ms, then twice as long, to 10 s, without chance, budget or breaker, by a clock of its own.
inline RetryPolicy plain(std::function<void()> on_sleep = {}) {
    return {.base = std::chrono::milliseconds(100),
            .cap = std::chrono::seconds(10),
            .jitter = Jitter::none,
            .budget = {},
            .breaker = {},
            .clock = std::make_shared<FakeClock>(std::move(on_sleep))};
}

}  // namespace telpher::test

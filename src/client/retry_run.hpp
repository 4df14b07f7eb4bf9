#pragma once
// One operation with its retries, step by step: `admit`, attempt, `failed` or `succeeded`, and again. It
// neither waits nor reads a clock, so that a test can walk thousands of them through simulated time.
//
//   Threads   one at a time.

#include "telpher/retry.hpp"

#include "src/client/backoff.hpp"
#include "src/client/retry_rules.hpp"
#include "src/client/retry_state.hpp"

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string_view>

namespace telpher::detail {

// `now` + `later` (0 or more), at most the last instant.
[[nodiscard]] constexpr Duration after(Duration now, Duration later) noexcept {
    return now > Duration::max() - later ? Duration::max() : now + later;
}

struct RetryTask {
    RetryKind kind = RetryKind::call;
    std::string_view name{};  // of the destination
    Duration timeout{};       // of an attempt
    bool idempotent = false;
    RetryReport* report = nullptr;
    std::stop_token stop{};
};

class RetryRun {
  public:
    // `policy` was checked; it and `destination` (null: nothing is shared) outlive this. `chained`: somebody
    // further up retries.
    RetryRun(const RetryPolicy& policy,
             const RetryTask& task,
             RetryDestination* destination,
             Duration now,
             bool chained = false);
    RetryRun(const RetryRun&) = delete;
    RetryRun& operator=(const RetryRun&) = delete;
    ~RetryRun();

    // Whether the next attempt may be made; it is over if not.
    [[nodiscard]] bool admit(Duration now);
    // Which attempt it is: 1, 2, ... And how long it may take, at most what is left until the deadline.
    [[nodiscard]] std::uint32_t attempt() const noexcept { return attempt_; }
    [[nodiscard]] Duration timeout(Duration now) const noexcept;

    // How an attempt that was admitted ended. Failed: how long to wait before the next; nothing: it is over.
    void succeeded(Duration now);
    [[nodiscard]] std::optional<Duration> failed(Error error, Duration now, std::uint64_t random);
    // Its stop token was used while it waited.
    void cancelled(Duration now);

    [[nodiscard]] RetryEnd end() const noexcept { return end_; }
    // What to answer with when it is over and did not succeed.
    [[nodiscard]] Error error(Duration now) &&;

  private:
    void over(RetryEnd end, Duration now);
    void tell(Health health, Duration now);
    [[nodiscard]] RetryEnd obstacle(const Error& error) const noexcept;
    void keep(Error error);
    [[nodiscard]] std::string story(Duration now) const;

    const RetryPolicy& policy_;
    const RetryTask task_;
    RetryDestination* const destination_;
    const Duration began_;
    const Duration deadline_;
    const bool chained_;
    Backoff backoff_;
    std::uint32_t attempt_ = 0;
    Duration attempt_began_{};
    Duration waited_{};
    bool told_ = true;  // whether the destination knows how the attempt ended
    bool probe_ = false;
    Error error_{};                              // of those that failed, the one to answer with
    Outcome outcome_ = Outcome::did_not_happen;  // of all attempts together
    Status last_ = Status::ok;                   // of the last one that failed
    RetryEnd end_ = RetryEnd::succeeded;
};

}  // namespace telpher::detail

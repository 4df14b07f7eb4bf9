#pragma once
// What a Client or Server retries with: its policy, if it has one for all its operations, and what is
// known of the destinations. Its queues and topics share it.
//
//   Threads   any number at once. `close` ends every wait of the system's clock.
//   Bounds    kRetryDestinationsMax destinations; beyond it the one that was used longest ago is forgotten.
//   Fork      a child makes single attempts, and takes no lock that the parent's threads may have held.

#include "telpher/options.hpp"
#include "telpher/retry.hpp"

#include "src/broker/retry_chain.hpp"
#include "src/client/retry_run.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace telpher::shm {
class Attachment;
}

namespace telpher::detail {

inline constexpr std::size_t kRetryDestinationsMax = 1024;

// The real one.
class SystemClock final : public RetryClock {
  public:
    SystemClock();
    [[nodiscard]] Duration now() override;
    void sleep(Duration time, const std::stop_token& stop) override;
    [[nodiscard]] std::uint64_t random() override;
    // Whoever sleeps wakes, and nobody sleeps any more.
    void close() noexcept;

  private:
    std::atomic<std::uint64_t> random_;
    std::mutex mutex_;  // guards closed_
    std::condition_variable_any wake_;
    bool closed_ = false;
};

class Retrier {
  public:
    // `policy` was checked.
    explicit Retrier(std::optional<RetryPolicy> policy);
    Retrier(const Retrier&) = delete;
    Retrier& operator=(const Retrier&) = delete;
    ~Retrier() = default;

    // From here on the settings of that domain change the policy of all. Before it is shared.
    void follow(std::shared_ptr<shm::Attachment> domain) { domain_ = std::move(domain); }
    // The policy of one operation: its own, or that of all, which the domain's settings may change into
    // `changed`, or null.
    [[nodiscard]] const RetryPolicy* policy(const std::optional<RetryPolicy>& own,
                                            std::optional<RetryPolicy>& changed) const;
    [[nodiscard]] bool forked() const noexcept;
    void close() noexcept;
    // Whether a destination remembers requests, so that one with an id may be repeated. `ask()`: a Result of
    // that, asked for at most every few seconds; while it fails, nothing is known: no.
    template <typename Ask>
    [[nodiscard]] bool remembers(RetryKind kind, std::string_view name, Ask&& ask) {
        const auto known = destination(kind, name);
        const Duration now = std::chrono::steady_clock::now().time_since_epoch();
        if (const auto found = known->remembers(now)) {
            return *found;
        }
        const Result<bool> answer = ask();
        if (answer) {
            known->found_out(*answer, now);
        }
        return answer && *answer;
    }
    // What is shared by those who use it; null for `connect`, which has no connection to share it by.
    [[nodiscard]] std::shared_ptr<RetryDestination> destination(RetryKind kind,
                                                                std::string_view name);
    [[nodiscard]] RetryClock& clock(const RetryPolicy& policy) noexcept {
        return policy.clock != nullptr ? *policy.clock : system_;
    }

  private:
    struct Known {
        std::shared_ptr<RetryDestination> state{};
        std::uint64_t used = 0;
    };
    using Key = std::pair<char, std::string>;
    // Looks names up without making strings of them.
    struct Before {
        using is_transparent = void;  // NOLINT(readability-identifier-naming): std::map asks for it
        template <typename A, typename B>
        bool operator()(const A& a, const B& b) const noexcept {
            return a.first != b.first ? a.first < b.first
                                      : std::string_view(a.second) < std::string_view(b.second);
        }
    };

    const std::optional<RetryPolicy> policy_;
    std::shared_ptr<shm::Attachment> domain_;  // null: nothing is followed
    const int pid_;
    SystemClock system_;
    std::mutex mutex_;  // guards the next two
    std::map<Key, Known, Before> known_;
    std::uint64_t uses_ = 0;
};

// `attempt(number, timeout)` as often as the policy says; once without one.
template <typename T, typename Attempt>
Result<T> with_retries(Retrier* retrier,
                       const std::optional<RetryPolicy>& own,
                       const RetryTask& task,
                       Attempt&& attempt) {
    std::optional<RetryPolicy> changed;
    const RetryPolicy* const policy = retrier != nullptr ? retrier->policy(own, changed) : nullptr;
    if (policy == nullptr || retrier->forked()) {
        return attempt(1U, task.timeout);
    }
    if (auto sound = own ? own->check() : Result<void>(); !sound) {
        return sound.error();
    }
    const auto destination = retrier->destination(task.kind, task.name);
    RetryClock& clock = retrier->clock(*policy);
    RetryRun run(*policy, task, destination.get(), clock.now(), t_no_retry);
    while (run.admit(clock.now())) {
        Result<T> result = attempt(run.attempt(), run.timeout(clock.now()));
        if (result) {
            run.succeeded(clock.now());
            return result;
        }
        const auto wait = run.failed(std::move(result).error(), clock.now(), clock.random());
        if (!wait) {
            break;
        }
        clock.sleep(*wait, task.stop);
        if (task.stop.stop_requested()) {
            run.cancelled(clock.now());
            break;
        }
    }
    return std::move(run).error(clock.now());
}

[[nodiscard]] inline RetryTask task_of(RetryKind kind,
                                       std::string_view name,
                                       Duration timeout,
                                       const RetryOptions& options) {
    return {kind, name, timeout, options.idempotent, options.report, options.stop};
}

// Gives a handle what it retries with.
struct RetryAccess {
    template <typename Handle>
    static Result<Handle> give(Result<Handle> handle,
                               const std::shared_ptr<Retrier>& retrier,
                               bool retries) {
        if (handle) {
            handle->retrier_ = retrier;
            handle->retries_ = retries;
        }
        return handle;
    }
};

}  // namespace telpher::detail

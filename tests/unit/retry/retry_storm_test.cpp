// Goal:   a server that dies and comes back gets little more than its normal load from those who retry.
// Method: 1,000 simulated clients of 40 calls a second each, whose server is dead from second 2 to second
//         4 and can then take 1.3 times the normal load. Simulated time, a fixed seed, the library's own
//         RetryRun and RetryDestination; the load is the attempts of the busiest second.
// Bound:  1 + ratio + burst / (calls per client and second) = 1 + 0.1 + 3 / 40: each client spends its full
//         bucket at once, and then a tenth of its calls. Clients that call less often weigh less, and have
//         the same burst: of one call a second, the first second could be four times as busy.

#include "src/client/retry_run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <queue>
#include <random>
#include <vector>

namespace telpher::detail {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kClients = 1000;
constexpr Duration kInterval = 25ms;
constexpr Duration kDies = 2s;
constexpr Duration kReturns = 4s;
constexpr Duration kEnd = 7s;
constexpr Duration kSlot = 100ms;
constexpr std::size_t kSlots = kEnd / kSlot;
constexpr std::size_t kSlotsPerSecond = 1s / kSlot;
constexpr double kNormal = static_cast<double>(kClients) * (1s / kInterval);
constexpr double kCapacity = 1.3;

struct Outcomes {
    double busiest = 0;  // second, of the normal load
    double last = 0;     // second
    std::size_t calls = 0;
    std::size_t failed_in_last_second = 0;
};

class Storm {
  public:
    explicit Storm(const RetryPolicy& policy) : policy_(policy) {
        for (std::size_t i = 0; i < kClients; ++i) {
            clients_.push_back(std::make_unique<RetryDestination>("function 'f'"));
            at(Duration(static_cast<std::int64_t>(
                   uniform(0, static_cast<std::uint64_t>(kInterval.count()) - 1, random_()))),
               i,
               nullptr);
        }
    }
    Outcomes run() {
        while (!events_.empty() && events_.top().time < kEnd) {
            const Event event = events_.top();
            events_.pop();
            auto call = event.call;
            if (call == nullptr) {
                at(event.time + kInterval, event.client, nullptr);
                call = std::make_shared<RetryRun>(
                    policy_, RetryTask{}, clients_[event.client].get(), event.time);
                ++outcomes_.calls;
            }
            attempt(call, event.time, event.client);
        }
        for (std::size_t i = kSlotsPerSecond; i <= kSlots; ++i) {
            const double load = load_before(i);
            outcomes_.busiest = std::max(outcomes_.busiest, load);
            outcomes_.last = load;
        }
        return outcomes_;
    }

  private:
    struct Event {
        Duration time{};
        std::uint64_t number = 0;
        std::size_t client = 0;
        std::shared_ptr<RetryRun> call{};
        bool operator<(const Event& other) const {
            return time != other.time ? time > other.time : number > other.number;
        }
    };
    void at(Duration time, std::size_t client, std::shared_ptr<RetryRun> call) {
        events_.push({time, ++events_begun_, client, std::move(call)});
    }
    void attempt(const std::shared_ptr<RetryRun>& call, Duration time, std::size_t client) {
        if (!call->admit(time)) {
            note_failure(time);
            return;
        }
        const auto slot = static_cast<std::size_t>(time / kSlot);
        const double taken = static_cast<double>(++attempts_[slot]) * kSlotsPerSecond / kNormal;
        Error error{Status::overloaded, 0, {}};
        if (time >= kDies && time < kReturns) {
            error = {Status::disconnected, 0, {}, Outcome::did_not_happen};
        } else if (taken <= kCapacity) {
            call->succeeded(time);
            return;
        }
        if (const auto wait = call->failed(std::move(error), time, random_())) {
            at(time + *wait, client, call);
        } else {
            note_failure(time);
        }
    }
    void note_failure(Duration time) {
        outcomes_.failed_in_last_second += time >= kEnd - 1s ? 1U : 0U;
    }
    [[nodiscard]] double load_before(std::size_t end) const {
        std::size_t sum = 0;
        for (std::size_t i = end - kSlotsPerSecond; i < end; ++i) {
            sum += attempts_[i];
        }
        return static_cast<double>(sum) / kNormal;
    }

    const RetryPolicy& policy_;
    std::mt19937_64 random_{1972};
    std::vector<std::unique_ptr<RetryDestination>> clients_;
    std::priority_queue<Event> events_;
    std::uint64_t events_begun_ = 0;
    std::array<std::size_t, kSlots> attempts_{};
    Outcomes outcomes_;
};

TEST(RetryStorm, with_budget_and_jitter_the_load_stays_near_normal_and_without_it_does_not) {
    RetryPolicy naive{.base = 100ms, .jitter = Jitter::none, .budget = {}, .breaker = {}};
    RetryPolicy budget{.base = 100ms, .breaker = {}};
    const RetryPolicy defaults;
    const Outcomes without = Storm(naive).run();
    const Outcomes with = Storm(budget).run();
    const Outcomes with_breaker = Storm(defaults).run();
    std::printf(
        "[ FIGURES  ] busiest second: %.2f x the normal load without budget and jitter, "
        "%.2f x with both, %.2f x with the breaker, too\n",
        without.busiest,
        with.busiest,
        with_breaker.busiest);
    std::printf(
        "[ FIGURES  ] last second: %.2f x, %.2f x, %.2f x; %zu, %zu, %zu calls failed in it\n",
        without.last,
        with.last,
        with_breaker.last,
        without.failed_in_last_second,
        with.failed_in_last_second,
        with_breaker.failed_in_last_second);
    EXPECT_GT(without.busiest, 3);
    EXPECT_LE(with.busiest, 1.2);
    EXPECT_LE(with_breaker.busiest, 1.2);
    // Three seconds after it came back, all is as before.
    EXPECT_NEAR(with.last, 1, 0.01);
    EXPECT_EQ(with.failed_in_last_second, 0U);
    EXPECT_NEAR(with_breaker.last, 1, 0.01);
    EXPECT_EQ(with_breaker.failed_in_last_second, 0U);
}

}  // namespace
}  // namespace telpher::detail

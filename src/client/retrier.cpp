#include "src/client/retrier.hpp"

#include "shm/attachment.hpp"
#include "shm/base/os.hpp"
#include "src/broker/call_target.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace telpher::detail {
namespace {

// What of a destination's name stands for its family; the key in the table.
char family_of(RetryKind kind) noexcept {
    switch (kind) {
        case RetryKind::offer:
            return 'q';
        case RetryKind::publish:
            return 't';
        default:
            return 'f';
    }
}

// Nothing: none is set. Each is in its range; together they may need one more look.
std::optional<RetryPolicy> with_settings(const RetryPolicy& policy, const shm::Settings& settings) {
    using std::chrono::milliseconds;
    const auto attempts = settings.get(shm::Setting::attempts_max);
    const auto base = settings.get(shm::Setting::base_ms);
    const auto cap = settings.get(shm::Setting::cap_ms);
    const auto factor = settings.get(shm::Setting::factor);
    const auto jitter = settings.get(shm::Setting::jitter);
    const auto budget = settings.get(shm::Setting::budget);
    if (!attempts && !base && !cap && !factor && !jitter && !budget) [[likely]] {
        return std::nullopt;
    }
    RetryPolicy changed = policy;
    changed.attempts_max = attempts ? static_cast<std::uint32_t>(*attempts) : policy.attempts_max;
    changed.base = base ? milliseconds(*base) : policy.base;
    changed.cap = std::max(cap ? milliseconds(*cap) : policy.cap, changed.base);
    changed.factor = factor ? static_cast<double>(*factor) / 1000 : policy.factor;
    changed.jitter = jitter ? static_cast<Jitter>(*jitter) : policy.jitter;
    if (budget) {
        changed.budget = policy.budget.value_or(RetryBudget{});
        changed.budget->ratio = static_cast<double>(*budget) / 100;
    }
    return changed;
}

std::string label_of(char family, std::string_view name) {
    if (name == kDefaultFunction) {
        return "the function without a name";
    }
    return (family == 'q'   ? "queue '"
            : family == 't' ? "topic '"
                            : "function '") +
           std::string(name) + "'";
}

}  // namespace

// ---- the system's clock ------------------------------------------------------------------------

SystemClock::SystemClock() : random_(0) {
    std::uint64_t seed = 0;
    if (!shm::fill_random(&seed, sizeof seed)) {
        // Without a source of randomness, the retries of several clients may meet.
        seed = static_cast<std::uint64_t>(now().count());
    }
    random_.store(seed, std::memory_order_relaxed);  // relaxed: nobody else has it yet
}

Duration SystemClock::now() { return std::chrono::steady_clock::now().time_since_epoch(); }

void SystemClock::sleep(Duration time, const std::stop_token& stop) {
    std::unique_lock hold(mutex_);
    wake_.wait_for(hold, stop, time, [this] { return closed_; });
}

// SplitMix64: each number is a mixed count, so that threads share it without a lock.
std::uint64_t SystemClock::random() {
    constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15ULL;
    // relaxed: each thread needs another number, in any order
    std::uint64_t mixed = random_.fetch_add(kStep, std::memory_order_relaxed) + kStep;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBULL;
    return mixed ^ (mixed >> 31U);
}

void SystemClock::close() noexcept {
    {
        const std::lock_guard hold(mutex_);
        closed_ = true;
    }
    wake_.notify_all();
}

// ---- the destinations --------------------------------------------------------------------------

Retrier::Retrier(std::optional<RetryPolicy> policy)
    : policy_(std::move(policy)), pid_(static_cast<int>(getpid())) {}

const RetryPolicy* Retrier::policy(const std::optional<RetryPolicy>& own,
                                   std::optional<RetryPolicy>& changed) const {
    if (own) {
        return &*own;
    }
    if (!policy_) {
        return nullptr;
    }
    if (domain_ != nullptr && !domain_->forked()) {
        changed = with_settings(*policy_, domain_->settings());
    }
    return changed ? &*changed : &*policy_;
}

bool Retrier::forked() const noexcept { return static_cast<int>(getpid()) != pid_; }

void Retrier::close() noexcept {
    if (!forked()) {
        system_.close();
    }
}

std::shared_ptr<RetryDestination> Retrier::destination(RetryKind kind, std::string_view name) {
    if (kind == RetryKind::connect) {
        return nullptr;
    }
    const char family = family_of(kind);
    const std::lock_guard hold(mutex_);
    const std::uint64_t use = ++uses_;
    if (const auto found = known_.find(std::pair(family, name)); found != known_.end()) {
        found->second.used = use;
        return found->second.state;
    }
    if (known_.size() >= kRetryDestinationsMax) {
        known_.erase(std::ranges::min_element(
            known_, {}, [](const auto& entry) { return entry.second.used; }));
    }
    auto made = std::make_shared<RetryDestination>(label_of(family, name));
    known_.emplace(Key(family, name), Known{made, use});
    return made;
}

}  // namespace telpher::detail

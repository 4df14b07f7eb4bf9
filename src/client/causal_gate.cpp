#include "src/client/causal_gate.hpp"

#include "src/broker/waiter.hpp"
#include "src/client/parking_lot.hpp"

#include <unistd.h>

#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace telpher::detail {
namespace {

constexpr std::uint32_t kRememberMax = 16U << 20U;
constexpr std::uint32_t kParkedMax = 65'536;

Error refusal(std::string_view name, std::int64_t value, std::string_view allowed) {
    return {Status::bad_request,
            0,
            std::string(name) + " is " + std::to_string(value) + ", allowed are " +
                std::string(allowed)};
}

Result<void> check_gate(const CausalGateOptions& options) {
    if (options.wait.count() < 0 || options.wait > kForever) {
        return refusal("wait", options.wait.count(), "0 ns to 365 days");
    }
    if (options.remember_max == 0 || options.remember_max > kRememberMax) {
        return refusal("remember_max", options.remember_max, "1 to 16777216");
    }
    if (options.parked_max == 0 || options.parked_max > kParkedMax) {
        return refusal("parked_max", options.parked_max, "1 to 65536");
    }
    return {};
}

}  // namespace

CauseId cause_id(std::string_view name) noexcept {
    const XXH128_hash_t hash = XXH3_128bits(name.data(), name.size());
    return {hash.low64, hash.high64};
}

MessageNames::MessageNames(const MessageView& message)
    : ids_{cause_id(to_string(message.id()))}, count_(1) {
    if (const std::string_view request = message.request_id(); !request.empty()) {
        ids_[count_++] = cause_id(request);
    }
}

GateCore::GateCore(const CausalGateOptions& options) : options_(options), pid_(::getpid()) {}

bool GateCore::forked() const noexcept { return ::getpid() != pid_; }

void GateCore::remember(CauseId id) {
    if (ids_.contains(id)) {
        return;
    }
    if (ring_.size() < options_.remember_max) {
        ring_.push_back(id);
        ids_.insert(id);
        return;
    }
    // The oldest one's place in both: no memory is asked for.
    auto node = ids_.extract(ring_[oldest_]);
    node.value() = id;
    ids_.insert(std::move(node));
    ring_[oldest_] = id;
    oldest_ = (oldest_ + 1) % ring_.size();
    ++counts_.forgotten;
}

void GateCore::processed(std::span<const CauseId> ids) {
    if (forked()) {
        return;
    }
    std::vector<std::pair<std::shared_ptr<ParkingLot>, std::uint64_t>> called;
    {
        const std::lock_guard guard(mutex_);
        for (const CauseId id : ids) {
            remember(id);
            auto at = waiting_.lower_bound(Waiting{id, nullptr, 0});
            while (at != waiting_.end() && at->first.id == id) {
                called.emplace_back(std::move(at->second), at->first.ticket);
                at = waiting_.erase(at);
            }
        }
    }
    for (const auto& [lot, ticket] : called) {
        lot->open(ticket);
    }
}

bool GateCore::was_processed(CauseId id) const {
    if (forked()) {
        return false;
    }
    const std::lock_guard guard(mutex_);
    return ids_.contains(id);
}

bool GateCore::await(CauseId id, const std::shared_ptr<ParkingLot>& lot, std::uint64_t ticket) {
    const std::lock_guard guard(mutex_);
    ++counts_.parked;
    if (ids_.contains(id)) {
        return false;
    }
    waiting_.emplace(Waiting{id, lot.get(), ticket}, lot);
    return true;
}

void GateCore::leave(CauseId id, const ParkingLot* lot, std::uint64_t ticket, Leaving how) {
    std::shared_ptr<ParkingLot> kept;  // let go when the lock is given back
    const std::lock_guard guard(mutex_);
    if (const auto at = waiting_.find(Waiting{id, lot, ticket}); at != waiting_.end()) {
        kept = std::move(at->second);
        waiting_.erase(at);
    }
    --counts_.parked;
    counts_.passed += how == Leaving::cause ? 1U : 0U;
    counts_.timed_out += how == Leaving::time ? 1U : 0U;
}

CausalGateStatus GateCore::status() const {
    if (forked()) {
        return {};
    }
    const std::lock_guard guard(mutex_);
    CausalGateStatus status = counts_;
    status.remembered = ids_.size();
    return status;
}

}  // namespace telpher::detail

namespace telpher {

Result<CausalGate> CausalGate::make(const CausalGateOptions& options) {
    if (auto sound = detail::check_gate(options); !sound) {
        return sound.error();
    }
    return CausalGate(std::make_shared<detail::GateCore>(options));
}

void CausalGate::processed(std::string_view id) {
    if (core_ != nullptr) {
        const detail::CauseId name = detail::cause_id(id);
        core_->processed({&name, 1});
    }
}

bool CausalGate::was_processed(std::string_view id) const {
    return core_ != nullptr && core_->was_processed(detail::cause_id(id));
}

CausalGateStatus CausalGate::status() const {
    return core_ != nullptr ? core_->status() : CausalGateStatus{};
}

}  // namespace telpher

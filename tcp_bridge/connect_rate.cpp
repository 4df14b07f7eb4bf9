#include "tcp_bridge/connect_rate.hpp"

#include <algorithm>
#include <iterator>

namespace telpher::bridge {
namespace {

// A sweep looks at every bucket: not for each connection of a flood from ever new addresses.
constexpr auto kSweepPause = std::chrono::seconds(1);

}  // namespace

void ConnectRate::fill(Bucket& bucket, Clock::time_point now) const {
    const std::chrono::duration<double> passed = now - bucket.filled;
    bucket.tokens = std::min(burst_, bucket.tokens + passed.count() * per_second_);
    bucket.filled = now;
}

ConnectRate::Bucket& ConnectRate::bucket_of(const std::string& address, Clock::time_point now) {
    if (const auto known = buckets_.find(address); known != buckets_.end()) {
        return known->second;
    }
    if (buckets_.size() >= kAddressesMax && now - swept_ >= kSweepPause) {
        swept_ = now;
        // Full again: the same as one that was never seen.
        for (auto at = buckets_.begin(); at != buckets_.end();) {
            fill(at->second, now);
            at = at->second.tokens >= burst_ ? buckets_.erase(at) : std::next(at);
        }
    }
    return buckets_.size() >= kAddressesMax
               ? others_
               : buckets_.emplace(address, Bucket{burst_, now}).first->second;
}

bool ConnectRate::admit(const std::string& address, Clock::time_point now) {
    if (per_second_ == 0) {
        return true;
    }
    Bucket& bucket = bucket_of(address, now);
    fill(bucket, now);
    if (bucket.tokens < 1) {
        return false;
    }
    bucket.tokens -= 1;
    return true;
}

}  // namespace telpher::bridge

#pragma once
// How often each remote address may connect: a token bucket per address.
//
//   Memory   kAddressesMax buckets. Those that are full again are forgotten when there are that many; if all are in
//            use, addresses without a bucket share one.
//   Threads  one at a time

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace telpher::bridge {

class ConnectRate {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kAddressesMax = 4096;

    // Rate 0: no limit. A bucket begins with `burst` tokens.
    ConnectRate(std::uint32_t per_second, std::uint32_t burst)
        : per_second_(per_second), burst_(burst == 0 ? 1.0 : burst) {}

    // Whether who comes from `address` may connect now; takes a token if so.
    [[nodiscard]] bool admit(const std::string& address, Clock::time_point now);
    [[nodiscard]] std::size_t addresses() const noexcept { return buckets_.size(); }

  private:
    struct Bucket {
        double tokens = 0;
        Clock::time_point filled{};
    };
    void fill(Bucket& bucket, Clock::time_point now) const;
    [[nodiscard]] Bucket& bucket_of(const std::string& address, Clock::time_point now);

    const double per_second_;
    const double burst_;
    std::unordered_map<std::string, Bucket> buckets_;
    Bucket others_{};
    Clock::time_point swept_{};
};

}  // namespace telpher::bridge

#pragma once
// A log-bucket histogram of round trips: cheap enough to be filled inside the measured loop.
//
//   Shape      128 buckets per power of two, so that a value is known to 0.8 %; 30 KiB
//   Threads    one
//   Progress   record: a few instructions, no allocation

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace telpher::bench {

class Histogram {
  public:
    void record(std::uint64_t value) noexcept {
        ++buckets_[index_of(value)];
        sum_ += value;
        ++count_;
        max_ = std::max(max_, value);
    }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    [[nodiscard]] double mean() const noexcept {
        return count_ == 0 ? 0.0 : static_cast<double>(sum_) / static_cast<double>(count_);
    }
    // The value that `share` (0..1) of the records do not exceed. Linear between the middles of the
    // gaps to the neighbours that occur: a clock may tick in steps of 10 ns, and half of the
    // records that say 130 were below it.
    [[nodiscard]] double quantile(double share) const noexcept {
        const double rank = share * static_cast<double>(count_);
        double seen = 0;
        std::size_t before = kBuckets;
        for (std::size_t index = 0; index < kBuckets; ++index) {
            const auto here = static_cast<double>(buckets_[index]);
            if (here != 0 && seen + here >= rank) {
                const double value = middle_of(index);
                const double low = before == kBuckets ? value : (middle_of(before) + value) / 2;
                const std::size_t after = next_used(index);
                const double high = after == kBuckets ? value : (value + middle_of(after)) / 2;
                return low + (high - low) * (rank - seen) / here;
            }
            if (here != 0) {
                before = index;
            }
            seen += here;
        }
        return static_cast<double>(max_);
    }

    // Calls visit(value, count) for every bucket in use, ascending; the value is the bucket's middle.
    template <typename Visit>
    void visit(const Visit& visit) const {
        for (std::size_t index = 0; index < kBuckets; ++index) {
            if (buckets_[index] != 0) {
                visit(middle_of(index), buckets_[index]);
            }
        }
    }

  private:
    static constexpr int kSubBits = 7;
    static constexpr std::size_t kBuckets = (64 - kSubBits) * (1U << kSubBits) + (1U << kSubBits);

    // Values below 256 have a bucket each; above, the leading 8 bits choose it.
    static std::size_t index_of(std::uint64_t value) noexcept {
        const int width = static_cast<int>(std::bit_width(value));
        const int shift = width > kSubBits + 1 ? width - kSubBits - 1 : 0;
        return (static_cast<std::size_t>(shift) << kSubBits) +
               static_cast<std::size_t>(value >> shift);
    }
    static double middle_of(std::size_t index) noexcept {
        constexpr std::size_t kSub = std::size_t{1} << kSubBits;
        const std::size_t shift = index < 2 * kSub ? 0 : index / kSub - 1;
        const auto low = static_cast<double>(index - shift * kSub);
        const auto step = static_cast<double>(std::uint64_t{1} << shift);
        return low * step + (step - 1.0) / 2.0;
    }

    [[nodiscard]] std::size_t next_used(std::size_t index) const noexcept {
        do {
            ++index;
        } while (index < kBuckets && buckets_[index] == 0);
        return index;
    }

    std::array<std::uint32_t, kBuckets> buckets_{};
    std::uint64_t count_ = 0;
    std::uint64_t sum_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace telpher::bench

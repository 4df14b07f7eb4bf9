#pragma once
// Things by rising numbers of which most are gone soon: operations by their ticket, answers by their correlation.
//
//   Shape    a ring of pointers over the span of numbers in use; the few that stay while thousands come and go (a
//            long poll) move to a map, so that the span stays within four times their count
//   Threads  one at a time
//   Memory   a pointer for each number of the span; a thing that is erased is kept for the next one, up to
//            kKeptMax; all of it until `trim`
//   Cost     find, make and erase: constant, without an allocation once as many were there before (amortised)
//   Order    ascending by `first` and `next`; a pointer to a thing stays good until that is erased

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace telpher::bridge {

template <typename T>
class NumberMap {
  public:
    using Number = std::uint64_t;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] T* find(Number number) const noexcept {
        if (number - base_ < end_ - base_) {
            return ring_[index(number)].get();
        }
        const auto old = number < base_ ? old_.find(number) : old_.end();
        return old != old_.end() ? old->second.get() : nullptr;
    }
    // The thing of that number; a new one if there is none.
    T& make(Number number) {
        if (T* const known = find(number)) {
            return *known;
        }
        auto thing = take_spare();
        T& made = *thing;
        if (size_ == old_.size()) {  // nothing in the ring
            base_ = end_ = std::max(number, base_);
        }
        if (number < base_) {
            old_.emplace(number, std::move(thing));
        } else {
            make_room(number);
            ring_[index(number)] = std::move(thing);
            end_ = std::max(end_, number + 1);
        }
        ++size_;
        return made;
    }
    void erase(Number number) {
        if (number - base_ < end_ - base_) {
            keep_spare(std::move(ring_[index(number)]));
            advance();
        } else if (const auto old = old_.find(number); old != old_.end()) {
            keep_spare(std::move(old->second));
            old_.erase(old);
        }
    }
    // The lowest number; 0: it is empty.
    [[nodiscard]] Number first() const noexcept {
        return !old_.empty() ? old_.begin()->first : base_ != end_ ? base_ : 0;
    }
    // The lowest number above; 0: there is none.
    [[nodiscard]] Number next(Number number) const noexcept {
        if (number < base_) {
            const auto old = old_.upper_bound(number);
            return old != old_.end() ? old->first : base_ != end_ ? base_ : 0;
        }
        for (++number; number < end_; ++number) {
            if (ring_[index(number)] != nullptr) {
                return number;
            }
        }
        return 0;
    }
    void clear() noexcept {
        ring_.clear();
        old_.clear();
        spare_.clear();
        base_ = end_ = size_ = 0;
    }
    // Gives back what an empty one keeps.
    void trim() noexcept {
        if (empty() && !ring_.empty()) {
            const Number base = base_;
            clear();
            ring_.shrink_to_fit();
            spare_.shrink_to_fit();
            base_ = end_ = base;
        }
    }

  private:
    static constexpr std::size_t kRingMin = 16;
    static constexpr std::size_t kKeptMax = 1024;

    [[nodiscard]] std::size_t index(Number number) const noexcept {
        return static_cast<std::size_t>(number) & (ring_.size() - 1);
    }
    // So that the lowest number of the ring is one in use.
    void advance() noexcept {
        while (base_ != end_ && ring_[index(base_)] == nullptr) {
            ++base_;
        }
    }
    void make_room(Number number) {
        while (number - base_ >= ring_.size()) {
            if (ring_.size() >= kRingMin && (size_ - old_.size()) * 4 < ring_.size()) {
                // It spans much more than it holds: the oldest goes its own way.
                auto& oldest = ring_[index(base_)];
                old_.emplace(base_, std::move(oldest));
                advance();
                if (base_ == end_) {
                    base_ = end_ = number;
                }
            } else {
                grow();
            }
        }
    }
    void grow() {
        std::vector<std::unique_ptr<T>> larger(std::max(kRingMin, 2 * ring_.size()));
        for (Number number = base_; number != end_; ++number) {
            larger[static_cast<std::size_t>(number) & (larger.size() - 1)] =
                std::move(ring_[index(number)]);
        }
        ring_.swap(larger);
    }
    std::unique_ptr<T> take_spare() {
        if (spare_.empty()) {
            return std::make_unique<T>();
        }
        auto thing = std::move(spare_.back());
        spare_.pop_back();
        return thing;
    }
    void keep_spare(std::unique_ptr<T> thing) {
        if (thing == nullptr) {
            return;
        }
        --size_;
        if (spare_.size() < kKeptMax) {
            *thing = T{};
            spare_.push_back(std::move(thing));
        }
    }

    std::vector<std::unique_ptr<T>> ring_;  // its size is a power of two, or 0
    Number base_ = 0;                       // what is below is in old_
    Number end_ = 0;
    std::size_t size_ = 0;  // old ones included
    std::map<Number, std::unique_ptr<T>> old_;
    std::vector<std::unique_ptr<T>> spare_;
};

}  // namespace telpher::bridge

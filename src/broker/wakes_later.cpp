#include "src/broker/wakes_later.hpp"

#include "src/broker/operation.hpp"

namespace telpher::detail {
namespace {

thread_local WakesLater* t_wakes_later = nullptr;

}  // namespace

// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init,hicpp-member-init): sleepers_ up to count_
WakesLater::WakesLater() noexcept : outermost_(t_wakes_later == nullptr) {
    if (outermost_) {
        t_wakes_later = this;
    }
}

WakesLater::~WakesLater() {
    if (!outermost_) {
        return;
    }
    t_wakes_later = nullptr;
    for (std::size_t i = 0; i < count_; ++i) {
        sleepers_[i].operation->wake(sleepers_[i].flags);
    }
    for (std::size_t i = 0; i < count_; ++i) {  // what it holds may take its time to go
        sleepers_[i].operation->drop();
    }
}

bool WakesLater::put_off(Operation& operation, std::uint32_t flags) noexcept {
    WakesLater* const later = t_wakes_later;
    if (later == nullptr || later->count_ == kMost) {
        return false;
    }
    operation.hold();  // its sleeper may look, and be done with it
    later->sleepers_[later->count_++] = {&operation, flags};
    return true;
}

}  // namespace telpher::detail

#include "src/client/parking_lot.hpp"

#include <algorithm>
#include <utility>

namespace telpher::detail {

ParkingLot::ParkingLot(std::shared_ptr<GateCore> gate, std::uint32_t pollers)
    : gate_(std::move(gate)), handling_max_(pollers), pollers_(pollers) {}

void ParkingLot::wait_for_room() {
    std::unique_lock hold(mutex_);
    room_.wait(hold, [this] { return closed_ || !patient_ || !full(); });
}

void ParkingLot::park(Delivery delivery, CauseId cause, Clock::time_point due) {
    std::uint64_t ticket = 0;
    bool first = false;
    {
        const std::lock_guard guard(mutex_);
        first = parked_.empty();
        ticket = ++last_ticket_;
        Parked& parked = parked_[ticket];
        parked.delivery = std::move(delivery);
        parked.cause = cause;
        parked.until = Clock::now() + gate_->options().wait;
        parked.due = due;
    }
    if (first) {
        changed_.notify_all();  // who waits for a later one need not look again
    }
    if (!gate_->await(cause, shared_from_this(), ticket)) {
        open(ticket);
    }
}

void ParkingLot::leave(bool patient) noexcept {
    {
        const std::lock_guard guard(mutex_);
        --pollers_;
        patient_ = patient_ && patient;
    }
    room_.notify_all();
    changed_.notify_all();
}

std::optional<Leaving> ParkingLot::next() const noexcept {
    if (!open_.empty()) {
        return Leaving::cause;
    }
    if (parked_.empty()) {
        return std::nullopt;
    }
    if (parked_.begin()->second.until <= Clock::now()) {
        return Leaving::time;
    }
    return pollers_ == 0 && (closed_ || !patient_) ? std::optional(Leaving::end) : std::nullopt;
}

ParkingLot::Parking::node_type ParkingLot::extract(Leaving why) {
    if (why != Leaving::cause) {
        return parked_.extract(parked_.begin());
    }
    const std::uint64_t ticket = open_.front();
    open_.pop_front();
    return parked_.extract(ticket);
}

std::optional<ParkingLot::Parked> ParkingLot::take() {
    std::optional<Leaving> why;
    Parking::node_type taken;
    {
        std::unique_lock hold(mutex_);
        while (!(why = next()) || handling_ == handling_max_) {
            if (!why && !parked_.empty()) {
                const Clock::time_point until = parked_.begin()->second.until;
                changed_.wait_until(hold, until);
            } else if (why || pollers_ != 0) {
                changed_.wait(hold);  // for a turn, or for something to wait here
            } else {
                return std::nullopt;
            }
        }
        ++handling_;
        taken = extract(*why);
        if (parked_.empty() && pollers_ == 0) {
            changed_.notify_all();  // the other takers end
        }
    }
    free_.notify_all();
    room_.notify_all();
    Parked& parked = taken.mapped();
    {
        const std::lock_guard ours(extended_);
        parked.why = parked.lost ? Leaving::lost : *why;
    }
    gate_->leave(parked.cause, this, taken.key(), parked.why);
    return std::move(parked);
}

void ParkingLot::begin_handling() {
    std::unique_lock hold(mutex_);
    // Not for ever: while there is a turn, a taker is free and takes what may go on.
    free_.wait(hold, [this] { return handling_ != handling_max_ && !next(); });
    ++handling_;
}

void ParkingLot::end_handling() noexcept {
    bool waited = false;
    {
        const std::lock_guard guard(mutex_);
        --handling_;
        waited = next().has_value();
    }
    (waited ? changed_ : free_).notify_one();
}

void ParkingLot::close() noexcept {
    {
        const std::lock_guard guard(mutex_);
        closed_ = true;
    }
    room_.notify_all();
    changed_.notify_all();
}

void ParkingLot::open(std::uint64_t ticket) {
    {
        const std::lock_guard guard(mutex_);
        const auto at = parked_.find(ticket);
        if (at == parked_.end() || std::exchange(at->second.open, true)) {
            return;  // it has gone on meanwhile, or will
        }
        open_.push_back(ticket);
    }
    changed_.notify_one();
}

std::optional<ParkingLot::Clock::time_point> ParkingLot::extend_due(
    Duration every, const std::function<bool(Delivery& delivery)>& extend) {
    std::optional<Clock::time_point> next;
    const auto sooner = [&next](Clock::time_point due) {
        next = next ? std::min(*next, due) : due;
    };
    std::uint64_t ticket = 0;
    for (;;) {
        std::unique_lock ours(extended_);
        Parked* due = nullptr;
        {
            const std::lock_guard guard(mutex_);
            auto at = parked_.upper_bound(ticket);
            while (at != parked_.end() && (at->second.lost || at->second.due > Clock::now())) {
                if (!at->second.lost) {
                    sooner(at->second.due);
                }
                ++at;
            }
            if (at == parked_.end()) {
                return next;
            }
            ticket = at->first;
            due = &at->second;
        }
        due->due = Clock::now() + every;
        due->lost = !extend(due->delivery);
        if (!due->lost) {
            sooner(due->due);
            continue;
        }
        ours.unlock();
        open(ticket);
    }
}

}  // namespace telpher::detail

// What the threads of a consumer do with messages that wait for their causes.

#include "src/client/consuming.hpp"

#include <string>

namespace telpher::detail {
namespace {

// It names what comes before it, and not itself.
bool names_cause(const MessageView& message) {
    const std::string_view cause = message.causation_id();
    return !cause.empty() && cause != message.request_id() && cause != to_string(message.id());
}

}  // namespace

// The next one in hand, if it has to wait: then it is in our hands no more.
bool Consuming::parks(Batch& batch) {
    const Delivery& seen = batch.deliveries[batch.next];
    if (!names_cause(seen)) {
        return false;
    }
    const CauseId cause = cause_id(seen.causation_id());
    if (lot_->gate().was_processed(cause)) {
        return false;
    }
    Delivery parked;
    Clock::time_point due;
    {
        const std::lock_guard guard(batch.mutex);
        if (batch.lost[batch.next]) {
            return false;
        }
        parked = std::move(batch.deliveries[batch.next]);
        due = batch.due;
        ++batch.next;
    }
    lot_->park(std::move(parked), cause, due);
    call_extender(due);
    return true;
}

// Those that have waited, and need not any longer; at the end those that still wait.
void Consuming::run_parked(std::size_t thread) {
    while (auto parked = lot_->take()) {
        const bool last = deliveries_max_ != 0 && parked->delivery.deliveries() >= deliveries_max_;
        if (parked->lost) {
            let_go_lost(parked->delivery);
        } else if (parked->why == Leaving::end && lease_.count() != 0 && !last) {
            settle(parked->delivery, Handled::nack());
        } else {
            std::vector<Delivery> one;
            one.push_back(std::move(parked->delivery));
            hold(going_on_[thread], std::move(one), parked->due);
            handle(going_on_[thread]);
        }
        lot_->end_handling();
    }
    end({});
}

}  // namespace telpher::detail

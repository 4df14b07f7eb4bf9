#include "tcp_bridge/remote_events.hpp"

#include "src/broker/wakes_later.hpp"

#include <algorithm>

namespace telpher::bridge {

namespace {

// So many, and who waits is woken: what the others cost is less than a wake-up then.
constexpr std::size_t kTogether = 64;

void run(Event& event, bool last_of_sink) noexcept {
    if (event.waiter != nullptr) {
        if (event.claimed) {
            event.waiter->answer(std::move(event.answer));
        }
        event.waiter->let_go();
    } else if (event.sink == nullptr) {
        return;  // a bridge that goes on behind END, or says it twice, is heard by nobody
    } else if (event.ended) {
        event.sink->ended(event.answer.error);
    } else {
        event.sink->sample(std::move(event.answer), event.lost_before);
        if (last_of_sink) {
            event.sink->wake();
        }
    }
}

}  // namespace

void run(Events& events) noexcept {
    for (std::size_t begin = 0; begin < events.size(); begin += kTogether) {
        const std::size_t end = std::min(begin + kTogether, events.size());
        detail::WakesLater later;
        for (std::size_t i = begin; i < end; ++i) {
            run(events[i], i + 1 == end || events[i + 1].sink != events[i].sink);
        }
    }
    events.clear();
}

}  // namespace telpher::bridge

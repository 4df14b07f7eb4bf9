#include "tcp_bridge/remote_events.hpp"

namespace telpher::bridge {

void run(Events& events) noexcept {
    for (Event& event : events) {
        if (event.waiter != nullptr) {
            if (event.claimed) {
                event.waiter->answer(std::move(event.answer));
            }
            event.waiter->let_go();
        } else if (event.sink == nullptr) {
            continue;  // a bridge that goes on behind END, or says it twice, is heard by nobody
        } else if (event.ended) {
            event.sink->ended(event.answer.error);
        } else {
            event.sink->sample(std::move(event.answer), event.lost_before);
        }
    }
    events.clear();
}

}  // namespace telpher::bridge

#include "src/broker/causation.hpp"

namespace telpher::detail {

bool CauseScope::carries(const MessageView& message) noexcept {
    return !message.correlation_id().empty() || !message.causation_id().empty() ||
           !message.traceparent().empty();
}

void inherit(Message& message) {
    if (t_cause == nullptr) {
        return;
    }
    if (message.correlation_id().empty()) {
        message.with_correlation_id(t_cause->correlation_id());
    }
    if (message.causation_id().empty()) {
        message.with_causation_id(to_string(t_cause->id()));
    }
    if (message.traceparent().empty()) {
        message.with_traceparent(t_cause->traceparent());
    }
}

}  // namespace telpher::detail

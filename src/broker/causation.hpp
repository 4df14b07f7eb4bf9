#pragma once
// What this thread's handler was called for: what it sends meanwhile carries that on.
//
//   Carried    correlation id and traceparent of the message, each where what is sent has none; and as causation
//              id the message's own id. Only if the message carries one of the three: who wants to follow
//              a chain says so at its beginning.
//   Scope      the thread that runs the handler of a function, subscription or consumer, from its begin to its
//              end. Work that it gives to another thread is not marked; loans are not.

#include "telpher/message.hpp"

namespace telpher::detail {

inline constinit thread_local const MessageView* t_cause = nullptr;

// Whether what this thread sends is to carry something on.
[[nodiscard]] inline bool caused() noexcept { return t_cause != nullptr; }
// Carries it on.
void inherit(Message& message);

class CauseScope {
  public:
    // What `message`, which outlives this, causes; nothing: as if there were no handler.
    CauseScope() noexcept : before_(t_cause) { t_cause = nullptr; }
    explicit CauseScope(const MessageView& message) noexcept : before_(t_cause) {
        // Most messages have no extension, and are spared the look into it.
        t_cause = message.head().extension_bytes != 0 && carries(message) ? &message : nullptr;
    }
    CauseScope(const CauseScope&) = delete;
    CauseScope& operator=(const CauseScope&) = delete;
    ~CauseScope() { t_cause = before_; }

  private:
    [[nodiscard]] static bool carries(const MessageView& message) noexcept;
    const MessageView* before_;
};

// `send(message)` with what it inherits.
template <typename Send>
auto send_caused(const Message& message, Send&& send) {
    Message marked(message);
    inherit(marked);
    const CauseScope once;
    return send(marked);
}

}  // namespace telpher::detail

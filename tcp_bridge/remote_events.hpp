#pragma once
// What a remote session tells: answers to those who wait for them, samples to subscriptions.
//
//   Threads  the session only makes them, under its connection's lock; they are run without it, by one
//            thread at a time and in order.

#include "telpher/topic.hpp"

#include "src/client/remote.hpp"
#include "tcp_bridge/bodies.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace telpher::bridge {

// How an operation was answered.
struct Answer {
    Error error{};                   // ok: what follows
    std::uint64_t value = 0;         // a sequence number, a capacity
    std::uint32_t subscribers = 0;   // of a PUBLISH
    detail::RemoteMemory message{};  // of a DELIVERY or RESPONSE: checked, its view is sound
    MessageView view{};              // of it
    std::uint64_t correlation = 0;   // of a DELIVERY, with the session's number: to CONFIRM it
    std::uint64_t session_number = 0;
    std::optional<LeaseTold> lease{};  // of a DELIVERY that is leased
    std::uint64_t dropped_before = 0;  // of a DELIVERY: messages of its queue
};

// Who waits for an answer. The session holds it from `begin` until `let_go`.
class Waiter {
  public:
    // Under the lock: whether somebody still wants the answer. True: `answer` follows.
    [[nodiscard]] virtual bool claim() noexcept = 0;
    // Whether a DELIVERY is CONFIRMed as it arrives; otherwise when its result is read.
    [[nodiscard]] virtual bool confirms_at_once() const noexcept { return false; }
    virtual void answer(Answer answer) noexcept = 0;
    // The last call.
    virtual void let_go() noexcept = 0;

  protected:
    Waiter() = default;
    Waiter(const Waiter&) = default;
    Waiter(Waiter&&) = default;
    Waiter& operator=(const Waiter&) = default;
    Waiter& operator=(Waiter&&) = default;
    ~Waiter() = default;
};

// Where a subscription's samples go.
class SampleSink {
  public:
    SampleSink() = default;
    SampleSink(const SampleSink&) = delete;
    SampleSink& operator=(const SampleSink&) = delete;
    virtual ~SampleSink() = default;
    virtual void sample(Answer sample, std::uint64_t lost_before) noexcept = 0;
    // Behind one or more samples: wakes who waits for them.
    virtual void wake() noexcept = 0;
    // Nothing comes after it.
    virtual void ended(const Error& why) noexcept = 0;
};

struct Event {
    Waiter* waiter = nullptr;  // to be let go
    bool claimed = false;      // and answered before
    std::shared_ptr<SampleSink> sink{};
    bool ended = false;  // the sink's end; otherwise a sample
    Answer answer{};
    std::uint64_t lost_before = 0;
};
using Events = std::vector<Event>;

// Runs them, without any lock.
void run(Events& events) noexcept;

}  // namespace telpher::bridge

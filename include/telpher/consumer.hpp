#pragma once
// Consumers with a handler: Queue::consume.
//
//   auto consumer = queue.consume([](const telpher::Message& order) { prepare(order); }).value();

#include "telpher/causal_gate.hpp"
#include "telpher/loan.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace telpher {

namespace detail {
class Consuming;
}

// What a handler says about its message.
struct Handled {
    enum class Verdict : std::uint8_t { ack, nack, reject };
    Verdict verdict = Verdict::ack;
    Duration delay{};  // nack: before it is handed out again

    [[nodiscard]] static Handled ack() noexcept { return {}; }
    [[nodiscard]] static Handled nack(Duration delay = {}) noexcept {
        return {Verdict::nack, delay};
    }
    [[nodiscard]] static Handled reject() noexcept { return {Verdict::reject, {}}; }
};

// What a consumer is told when something went wrong.
struct ConsumeFailure {
    std::string queue;
    // handler_error: it threw. An error that it returned: that one's. lease_expired: the message was
    // handed to another while it was handled. Others: what the queue answered to what the handler said,
    // or to the next poll.
    Status status = Status::handler_error;
    std::string text;
    std::uint64_t sequence = 0;    // of the message; 0: it has none, or it is not about one
    std::uint32_t deliveries = 0;  // how often it has been handed out
};

struct ConsumeOptions {
    std::uint32_t threads = 1;  // 1..64: as many handlers run at once
    // Messages that a thread fetches at once and handles one after another, 1..256. Their leases are
    // extended while they wait for it, too; other consumers do not get them meanwhile.
    std::uint32_t prefetch = 1;
    Duration retry_after{};  // how long a message waits whose handler failed; at most 365 days
    // On the thread that ran the handler. For the log.
    std::function<void(const ConsumeFailure& failure)> on_error{};
    // Told why it ended by itself: queue_not_found (removed and drained), closed, domain_removed, corrupt.
    std::function<void(const Error& why)> on_end{};
    // Messages wait for those that they name as their causes (causal_gate.hpp). Costs as many threads again, which
    // sleep while nothing waits; no more handlers run at once than `threads`. Nothing: they do not wait.
    std::optional<CausalGate> gate{};
};

// A snapshot, of this consumer.
struct ConsumerStatus {
    std::uint64_t acknowledged = 0;
    // By their handlers' word, because those failed, and while they waited for their causes.
    std::uint64_t given_back = 0;
    std::uint64_t rejected = 0;
    std::uint64_t handler_errors = 0;
    std::uint64_t extended = 0;  // leases, each time counted
    std::uint64_t leases_lost =
        0;  // messages that were handed to others before their handlers ended
    bool running = false;
};

// A handler that runs for each message of a queue: from `consume` until it is stopped or destroyed. Move-only.
//
//   Destructor   as `stop`.
//   Threads      all members any number at once.
//   Leases       of an at_least_once queue are extended while their messages are handled, at a third of
//                their time: a handler may run for any time. A stopped process does not extend them.
//   Fork         in a child nothing happens.
//   Lifetime     keeps its queue's connection open; close() of the queue, its Server or Client ends it.
//   Crash        killed: what its handlers had in hand is handed out again (at_least_once), or gone and
//                counted as abandoned. Handled, and killed before it could say so: handled again.
class Consumer {
  public:
    Consumer() = default;
    Consumer(Consumer&& other) noexcept = default;
    Consumer& operator=(Consumer&& other) noexcept {
        if (this != &other) {
            stop();
            core_ = std::move(other.core_);
        }
        return *this;
    }
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;
    ~Consumer() { stop(); }

    // Polls no more, and returns when no handler of it is running: what was fetched is still handled, but for
    // messages that wait for their causes (CausalGate).
    // Called from a handler of it, it returns at once.
    void stop() noexcept;
    // Whether it polls.
    [[nodiscard]] bool running() const noexcept;
    [[nodiscard]] ConsumerStatus status() const noexcept;
    explicit operator bool() const noexcept { return core_ != nullptr; }

  private:
    friend class Queue;
    explicit Consumer(std::shared_ptr<detail::Consuming> core) : core_(std::move(core)) {}
    std::shared_ptr<detail::Consuming> core_;
};

namespace detail {

using ConsumeHandler = std::function<Result<Handled>(const Delivery& delivery)>;

// Of anything that can be called with a `const Delivery&` (in place, with its number) or a
// `const Message&` (a copy of its own), and returns nothing (acknowledged), a Handled, or a Result of either.
template <typename F>
ConsumeHandler make_consume_handler(F&& handler) {
    using Returned = std::invoke_result_t<std::decay_t<F>&, const Delivery&>;
    constexpr bool kPlain = std::is_void_v<Returned> || std::is_same_v<Returned, Result<void>>;
    static_assert(kPlain || std::is_convertible_v<Returned, Result<Handled>>,
                  "a handler returns nothing, a Handled, or a Result of either");
    // Shared: a handler need not be copyable.
    auto shared = std::make_shared<std::decay_t<F>>(std::forward<F>(handler));
    return [shared](const Delivery& delivery) -> Result<Handled> {
        if constexpr (std::is_void_v<Returned>) {
            (*shared)(delivery);
            return Handled::ack();
        } else if constexpr (kPlain) {
            const Result<void> done = (*shared)(delivery);
            return done ? Result<Handled>(Handled::ack()) : Result<Handled>(done.error());
        } else {
            return (*shared)(delivery);
        }
    };
}

}  // namespace detail
}  // namespace telpher

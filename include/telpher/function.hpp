#pragma once
// Functions: a request, and its response. Server::serve, Client::send.
//
//   auto echo = server.serve("echo", [](const Message& request) { return request; }).value();
//   auto reply = client.send("echo", Message::text("order", "hello"), 1s).value();

#include "telpher/latency.hpp"
#include "telpher/message.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace telpher {

namespace detail {
class Functions;
class Serving;
}  // namespace detail

// What a server is told about a handler that failed; its callers hear the status handler_error and the
// error id.
struct HandlerFailure {
    std::string function;
    std::uint64_t error_id = 0;             // unique; the caller has it, too
    Status status = Status::handler_error;  // of an error that the handler returned
    std::string text;  // of the exception, or of the error that the handler returned
};

struct ServeOptions {
    std::uint32_t threads = 1;  // of this call of `serve`, 1..64: as many handlers run at once
    // Requests that wait for a free thread, 1..16'777'215; the same for all who serve the name.
    std::uint32_t inflight_max = 1024;
    // A request may run twice: when the process that runs it dies, another one gets it. The same for all
    // who serve the name. Otherwise its caller hears peer_died.
    bool idempotent = false;
    // Requests that carry a request id are remembered: one that comes again gets the first one's response,
    // marked as replayed, and its handler does not run. The same for all who serve the name, but for the
    // fingerprint. Nothing: each request runs.
    std::optional<Idempotency> idempotency{};
    // The queue that one-way requests go to which nobody handles: their time had passed, their handler failed,
    // its process died, the function ended before their turn, or (idempotency) their id was refused. Made
    // with the function unless it exists: circular, so that the oldest dead letter goes when it is full
    // (counted as dropped), at_least_once, of inflight_max messages; one that exists must be at_least_once,
    // and drops the letters for which it has no room if it is bounded. The same for all who serve the name.
    // Empty: they are counted only.
    std::string dead_letter{};
    // A response whose caller has given up; on the thread that ran the handler.
    std::function<void(const Message& response)> on_late{};
    // A handler that threw or returned an error, or whose response could not be sent; on the thread that
    // ran it. For the log.
    std::function<void(const HandlerFailure& failure)> on_error{};
};

struct SendOptions {
    Duration
        wait_for_server{};   // how long to wait for somebody who serves the name; 0 = do not wait
    std::stop_token stop{};  // cancels: `cancelled`. Not for send_async: cancel its future
    std::optional<RetryPolicy> retry{};  // instead of the Client's or Server's; not for send_async
    // The function may run twice for this request: it is retried though it may have run. A request id makes
    // it so where the function remembers its requests (ServeOptions::idempotency); there a request that has
    // none and is retried gets one.
    bool idempotent = false;
    RetryReport* report = nullptr;  // filled if there is a policy
};

// A snapshot. Counts are of the function's present life, over all processes.
struct FunctionStatus {
    std::string name;  // empty: the function without a name
    std::uint32_t inflight_max = 0;
    bool idempotent = false;
    std::uint32_t servers = 0;      // processes that serve it
    std::uint64_t queued = 0;       // requests that wait for a free thread
    std::uint64_t calls = 0;        // requests ever accepted, one-way ones included
    std::uint64_t errors = 0;       // answered with something else than ok
    std::uint64_t late = 0;         // responses whose caller had given up
    std::uint64_t timed_out = 0;    // callers that gave up
    std::uint64_t expired = 0;      // not started: time had passed, or nobody waited any more
    std::uint64_t abandoned = 0;    // begun by a process that died
    std::uint64_t redelivered = 0;  // given to another process after that
    std::uint64_t dropped =
        0;  // one-way requests left over when the function ended; 0 with dead letters
    std::uint64_t dead_lettered = 0;  // one-way requests that went to the dead letters
    std::string dead_letter;          // the queue of its dead letters; empty: it has none
    IdempotencyFigures idempotency{};
    // From the call until its answer, or until the caller's patience ended; of sends and asynchronous ones
    // by all processes of the host, a bridge's included. Not of those that were refused, cancelled, or lost
    // their server. Each asynchronous call is measured, of others one in 16, which counts as 16.
    Latency latency{};
};

// Serving one name: from `serve` until it is stopped or destroyed. Move-only.
//
//   Destructor   as `stop`.
//   Threads      all members any number at once.
//   Fork         in a child nothing happens.
//   Lifetime     keeps its Server's connection open; close() of the Server ends the serving, too.
//   Crash        killed: a function ends with its last server. Callers of the dead hear peer_died within
//                milliseconds, or another server gets their requests (ServeOptions::idempotent).
class Function {
  public:
    Function() = default;
    Function(Function&& other) noexcept = default;
    Function& operator=(Function&& other) noexcept {
        if (this != &other) {
            stop();
            core_ = std::move(other.core_);
        }
        return *this;
    }
    Function(const Function&) = delete;
    Function& operator=(const Function&) = delete;
    ~Function() { stop(); }

    // Takes no request any more, and returns when no handler of this handle is running. Called from a
    // handler of it, it returns at once, and the handler's response is still sent. With the last server of
    // the name everywhere the function ends: requests that nobody has begun are answered with
    // function_not_found.
    void stop() noexcept;
    // Whether it takes requests.
    [[nodiscard]] bool running() const noexcept;
    [[nodiscard]] Result<FunctionStatus> status() const;
    [[nodiscard]] const std::string& name() const;
    explicit operator bool() const noexcept { return core_ != nullptr; }

  private:
    friend class detail::Functions;
    explicit Function(std::shared_ptr<detail::Serving> core) : core_(std::move(core)) {}
    std::shared_ptr<detail::Serving> core_;
};

namespace detail {

using Handler = std::function<Result<Message>(const Message& request)>;

// Of anything that can be called with a request: a response, a Result of one, or nothing, which answers
// with an empty text.
template <typename F>
Handler make_handler(F&& handler) {
    using Returned = std::invoke_result_t<std::decay_t<F>&, const Message&>;
    static_assert(std::is_void_v<Returned> || std::is_convertible_v<Returned, Result<Message>>,
                  "a handler returns a Message, a Result<Message>, or nothing");
    // Shared: a handler need not be copyable.
    auto shared = std::make_shared<std::decay_t<F>>(std::forward<F>(handler));
    if constexpr (std::is_void_v<Returned>) {
        return [shared](const Message& request) -> Result<Message> {
            (*shared)(request);
            return Message::text(request.topic(), "");
        };
    } else {
        return [shared](const Message& request) -> Result<Message> { return (*shared)(request); };
    }
}

template <typename F>
concept CanHandle = std::invocable < std::decay_t<F>
&, const Message& > ;

}  // namespace detail
}  // namespace telpher

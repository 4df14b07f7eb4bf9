#pragma once
// The result of an operation that completes later: Queue::poll_async, Queue::offer_async,
// Topic::publish_async, Client::send_async.
//
//   auto next = queue.poll_async(10s);          // nothing is there: it waits by itself
//   if (next.wait(1s)) use(next.get(0s));       // or, in a coroutine: auto order = co_await next;

#include "telpher/loan.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <coroutine>
#include <cstdint>
#include <utility>

namespace telpher {

namespace detail {
class Operation;
struct FutureAccess;

// What a Future does whatever its type.
class FutureBase {
  public:
    FutureBase() = default;
    FutureBase(FutureBase&& other) noexcept
        : operation_(std::exchange(other.operation_, nullptr)) {}
    FutureBase& operator=(FutureBase&& other) noexcept {
        if (this != &other) {
            abandon();
            operation_ = std::exchange(other.operation_, nullptr);
        }
        return *this;
    }
    FutureBase(const FutureBase&) = delete;
    FutureBase& operator=(const FutureBase&) = delete;
    ~FutureBase() { abandon(); }

    // False: default-constructed, moved from, or read by `get`.
    explicit operator bool() const noexcept;
    // Whether `get` would answer at once. An empty future is ready.
    [[nodiscard]] bool ready() const noexcept;
    // Waits until it is ready, at most `timeout`; returns `ready()`.
    bool wait(Duration timeout) const;
    // Withdraws the operation. True: it took nothing and sent nothing, `get` answers `cancelled`.
    // False: too late, what it took or sent this moment stands, and `get` answers soon; so in an
    // empty future and in a forked child.
    bool cancel() noexcept;

  protected:
    explicit FutureBase(Operation* operation) noexcept : operation_(operation) {}
    void abandon() noexcept;
    // False: it is ready, go on at once.
    bool suspend(std::coroutine_handle<> coroutine) noexcept;
    [[nodiscard]] Operation* operation() const noexcept { return operation_; }

  private:
    friend struct FutureAccess;
    Operation* operation_ = nullptr;
};
}  // namespace detail

// A Delivery, a sequence number, what a publish did, or a response, that comes later. Move-only.
//
//   Destructor   pending: the operation is withdrawn (an offer is not sent, nothing is published, a poll
//                takes nothing, a call is given up);
//                finished and unread: a polled message goes back into the queue. Never waits, unless
//                as many as the queue holds came back and nobody polled them: then up to 100 ms for
//                a place; without one, or beyond limits.threads, the message is lost, and counted as
//                abandoned.
//   Threads      one at a time; `ready` and `cancel` any number beside it.
//   Fork         in a child every call answers `forked`, and the destructor does nothing.
//   Crash        killed with it pending: an offer is not sent, a poll takes nothing; finished: sent,
//                or the message is gone with the process, counted as abandoned.
//   Lifetime     a pending future keeps its queue and connection open; close() completes it.
template <typename T>
class [[nodiscard]] Future : public detail::FutureBase {
  public:
    Future() = default;

    // The result; waits for it at most `timeout`. Once: the future is empty afterwards.
    //
    //   errors  those of the operation; timed_out also when `timeout` of this call has passed: then
    //           the operation stays pending and the future can be used again (`bool(future)` tells
    //           the two apart). bad_request: negative timeout, empty future. forked.
    //   cost    nothing when it is ready; otherwise a sleep until it is
    //   on the parker thread (in a resumed coroutine) it serves other operations while it waits
    Result<T> get(Duration timeout);

    struct Awaiter {
        Future& future;
        [[nodiscard]] bool await_ready() const noexcept { return future.ready(); }
        bool await_suspend(std::coroutine_handle<> coroutine) noexcept {
            return future.suspend(coroutine);
        }
        Result<T> await_resume() { return future.get({}); }
    };
    // co_await future -> Result<T>. Resumed on the library's parker thread (a remote client's has a thread
    // for that alone) unless it is ready already. While one coroutine runs there, the other operations of its connection wait: hand
    // long work to a thread of your own. A suspended coroutine may be destroyed.
    Awaiter operator co_await() & noexcept { return {*this}; }
    Awaiter operator co_await() && noexcept { return {*this}; }

  private:
    friend struct detail::FutureAccess;
    explicit Future(detail::Operation* operation) noexcept : FutureBase(operation) {}
};

template <>
Result<Delivery> Future<Delivery>::get(Duration timeout);
template <>
Result<std::uint64_t> Future<std::uint64_t>::get(Duration timeout);
template <>
Result<Message> Future<Message>::get(Duration timeout);

}  // namespace telpher

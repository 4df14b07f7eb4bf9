#pragma once
// An operation of a session that waits in the domain: a future that tells the session when it is ready.
//
//   Threads  made and cancelled on the I/O thread; the future's coroutine goes on wherever the library resumes it,
//            and does nothing there but push to the inbox.
//   Lifetime held by that coroutine until it has: the future is never destroyed under it.

#include "telpher/client.hpp"
#include "telpher/future.hpp"

#include "tcp_bridge/inbox.hpp"

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace telpher::bridge {

class ServerOperation {
  public:
    ServerOperation() = default;
    ServerOperation(const ServerOperation&) = delete;
    ServerOperation& operator=(const ServerOperation&) = delete;
    virtual ~ServerOperation() = default;
    // Answered as `cancelled`, or with what came about before.
    virtual void cancel() noexcept = 0;
    // It waits for a message, and loses nothing if it ends without one.
    [[nodiscard]] virtual bool is_poll() const noexcept { return false; }
    // It waits for room: if it is cancelled, nothing has happened.
    [[nodiscard]] virtual bool waits_for_room() const noexcept { return false; }
};

// A coroutine that frees itself at its end.
struct Detached {
    struct promise_type {  // NOLINT(readability-identifier-naming): the language looks for it
        Detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

template <typename T>
class FutureOperation : public ServerOperation {
  public:
    using Done = std::function<void(Result<T>)>;  // on the I/O thread, once
    explicit FutureOperation(Future<T> future) : future_(std::move(future)) {}
    void cancel() noexcept override { future_.cancel(); }
    [[nodiscard]] bool is_poll() const noexcept override { return std::is_same_v<T, Delivery>; }
    [[nodiscard]] bool waits_for_room() const noexcept override {
        return !std::is_same_v<T, Delivery> && !std::is_same_v<T, Message>;
    }
    // Calls `done` when the future is ready.
    static void await(std::shared_ptr<FutureOperation> self,
                      std::shared_ptr<Inbox> inbox,
                      Done done) {
        run(std::move(self), std::move(inbox), std::move(done));
    }

  private:
    static Detached run(std::shared_ptr<FutureOperation> self,
                        std::shared_ptr<Inbox> inbox,
                        Done done) {
        auto result = std::make_shared<Result<T>>(co_await self->future_);
        inbox->push([result, done = std::move(done)] { done(std::move(*result)); });
    }
    Future<T> future_;
};

}  // namespace telpher::bridge

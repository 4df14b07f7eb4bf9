#pragma once
// The operations of a remote client: what src's Futures refer to, completed by answers of the bridge.
//
//   Contents   as src/broker/operation.hpp, with the connection in the parker's place.
//   Poll       CONFIRMed when its result is read, put back when nobody reads it; a call that waits in
//              place says at once that it will take what comes.

#include "src/broker/call_operation.hpp"
#include "src/broker/publish_operation.hpp"
#include "tcp_bridge/remote_connection.hpp"
#include "tcp_bridge/remote_latency.hpp"
#include "tcp_bridge/remote_lease.hpp"
#include "tcp_bridge/remote_watch.hpp"

#include <memory>
#include <stop_token>
#include <utility>

namespace telpher::bridge {

template <typename Base>
class RemoteOperation : public Base, public Waiter {
  public:
    // Never called: it is answered, not attempted.
    Status run() override { return Status::queue_empty; }
    [[nodiscard]] Status usable() const noexcept override { return Status::ok; }

    // ---- Waiter ----
    [[nodiscard]] bool claim() noexcept override { return detail::Operation::claim(); }
    void answer(Answer answer) noexcept override {
        take(std::move(answer));
        if (this->finish()) {
            this->hold();
            this->host()->resume(*this);
        }
    }
    void let_go() noexcept override { this->drop(); }

  protected:
    using Base::Base;
    ~RemoteOperation() override = default;
    virtual void take(Answer&& answer) noexcept = 0;
    void forget_input() noexcept override {}
    void put_back() noexcept override {}
    void account() noexcept override {}
};

class RemotePoll final : public RemoteOperation<detail::PollOperation> {
  public:
    RemotePoll(std::shared_ptr<void> owner,
               const std::shared_ptr<RemoteConnection>& connection,
               std::weak_ptr<RemoteHandle> client,
               bool at_once)
        : RemoteOperation(std::move(owner), connection, detail::OperationKind::poll),
          connection_(*connection),
          client_(std::move(client)),
          at_once_(at_once) {}
    [[nodiscard]] bool confirms_at_once() const noexcept override { return at_once_; }
    void before_read() noexcept override {
        if (!settle(true)) {
            result.emplace(
                Error{Status::disconnected,
                      0,
                      "the connection was cut before the message was taken: it went back"});
        }
    }

  protected:
    void take(Answer&& answer) noexcept override {
        if (answer.error.status != Status::ok) {
            result.emplace(std::move(answer.error));
            return;
        }
        session_number_ = answer.session_number;
        correlation_ = answer.correlation;
        result.emplace(
            detail::RemoteAccess::delivery(std::move(answer.message), answer.view, answer.value));
        detail::RemoteAccess::tell_dropped(**result, answer.dropped_before);
        if (answer.lease) {
            lend(**result, client_.lock(), answer);
        }
    }
    void put_back() noexcept override { static_cast<void>(settle(false)); }

  private:
    // False: it was delivered, and is the bridge's again.
    [[nodiscard]] bool settle(bool taken) noexcept {
        return at_once_ || !result || !result->has_value() ||
               connection_.settle(session_number_, correlation_, taken);
    }
    RemoteConnection& connection_;              // our host, which we keep
    const std::weak_ptr<RemoteHandle> client_;  // its owner keeps it
    const bool at_once_;
    std::uint64_t session_number_ = 0;
    std::uint64_t correlation_ = 0;
};

// Also of other operations whose answer is a number, or only that they happened.
class RemoteOffer : public RemoteOperation<detail::OfferOperation> {
  public:
    RemoteOffer(std::shared_ptr<void> owner,
                const std::shared_ptr<RemoteConnection>& connection,
                detail::OperationKind kind = detail::OperationKind::offer)
        : RemoteOperation(std::move(owner), connection, kind) {}

  protected:
    void take(Answer&& answer) noexcept override {
        if (answer.error.status != Status::ok) {
            result.emplace(std::move(answer.error));
        } else {
            result.emplace(answer.value);
        }
    }
};

// A WATCH; `watch`, if there is one, is raised by whatever answers it. Of the kind of a poll: it may be withdrawn.
class RemoteReady final : public RemoteOffer {
  public:
    RemoteReady(std::shared_ptr<void> owner,
                const std::shared_ptr<RemoteConnection>& connection,
                std::shared_ptr<RemoteWatch> watch)
        : RemoteOffer(std::move(owner), connection, detail::OperationKind::poll),
          watch_(std::move(watch)) {}
    void answer(Answer answer) noexcept override {
        const auto watch = watch_;  // answered, we may be gone
        RemoteOffer::answer(std::move(answer));
        if (watch != nullptr) {
            watch->raise();
        }
    }

  private:
    const std::shared_ptr<RemoteWatch> watch_;
};

class RemotePublish final : public RemoteOperation<detail::PublishOperation> {
  public:
    RemotePublish(std::shared_ptr<void> owner, const std::shared_ptr<RemoteConnection>& connection)
        : RemoteOperation(std::move(owner), connection) {}

  protected:
    void take(Answer&& answer) noexcept override {
        if (answer.error.status != Status::ok) {
            result.emplace(std::move(answer.error));
        } else {
            result.emplace(Published{answer.value, answer.subscribers});
        }
    }
};

class RemoteCallOperation final : public RemoteOperation<detail::CallOperation> {
  public:
    // `latency`: where it is measured, or null.
    RemoteCallOperation(std::shared_ptr<void> owner,
                        const std::shared_ptr<RemoteConnection>& connection,
                        std::shared_ptr<RemoteLatency> latency = nullptr)
        : RemoteOperation(std::move(owner), connection),
          latency_(std::move(latency)),
          began_ns_(latency_ != nullptr ? shm::monotonic_ns() : 0) {}
    [[nodiscard]] bool ready() const noexcept override { return true; }
    void fail(Status status) override { result.emplace(status); }

  protected:
    void take(Answer&& answer) noexcept override {
        if (latency_ != nullptr) {
            latency_->measure.ended(began_ns_, 1, answer.error.status);
        }
        if (answer.error.status != Status::ok) {
            result.emplace(std::move(answer.error));
        } else {
            result.emplace(Message(answer.view));
        }
    }

  private:
    const std::shared_ptr<RemoteLatency> latency_;
    const std::uint64_t began_ns_;
};

// Begins what `request` says, completed in the future.
// NOLINTBEGIN(performance-unnecessary-value-param): moved, which the check does not see in templates
template <typename T, typename Kind>
Future<T> start(RemoteConnection& connection,
                Kind* operation,
                Request request,
                const std::stop_token& stop,
                Leave how = Leave::now) {
    auto future = detail::FutureAccess::make<T>(operation);
    connection.begin(std::move(request), *operation, operation->ticket, stop, how);
    if (stop.stop_possible()) {
        operation->cancel_by(stop);
    }
    return future;
}
// NOLINTEND(performance-unnecessary-value-param)

}  // namespace telpher::bridge

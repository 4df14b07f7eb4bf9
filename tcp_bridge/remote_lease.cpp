#include "tcp_bridge/remote_lease.hpp"

#include "tcp_bridge/commands.hpp"
#include "tcp_bridge/lease_verb.hpp"
#include "tcp_bridge/remote_client.hpp"

#include <utility>

namespace telpher::bridge {
namespace {

class SessionLease final : public detail::RemoteLease {
  public:
    SessionLease(std::shared_ptr<RemoteHandle> client,
                 const MessageId& id,
                 std::uint64_t session_number,
                 std::uint64_t correlation,
                 DeadLetter dead)
        : client_(std::move(client)),
          id_(id),
          session_number_(session_number),
          correlation_(correlation),
          dead_(std::move(dead)) {}

    Result<void> ack() override { return settle(LeaseVerb::ack, {}); }
    Result<void> nack(Duration delay) override { return settle(LeaseVerb::nack, delay); }
    Result<void> extend(Duration duration) override { return settle(LeaseVerb::extend, duration); }
    Result<void> reject() override { return settle(LeaseVerb::reject, {}); }
    [[nodiscard]] std::optional<DeadLetter> dead_letter() const override {
        return dead_.reason == ReturnReason::none ? std::nullopt : std::optional(dead_);
    }
    void let_go() noexcept override {
        const auto& connection = client_->connection();
        if (!connection->forked()) {
            static_cast<void>(connection->settle(session_number_, correlation_, false));
        }
    }

  private:
    // The message's id goes along: in another session the number may be another message's.
    Result<void> settle(LeaseVerb verb, Duration duration) {
        FieldWriter arguments;
        arguments(correlation_, id_.prefix, id_.counter, static_cast<std::uint8_t>(verb), duration);
        const auto reply = client_->command(commands::kSettle, arguments);
        return reply ? Result<void>() : Result<void>(reply.error());
    }

    const std::shared_ptr<RemoteHandle> client_;
    const MessageId id_;
    const std::uint64_t session_number_;
    const std::uint64_t correlation_;
    const DeadLetter dead_;
};

}  // namespace

void lend(Delivery& delivery, std::shared_ptr<RemoteHandle> client, const Answer& answer) {
    if (client == nullptr) {
        return;  // closed meanwhile: its session gives the message back
    }
    detail::RemoteAccess::lend(delivery,
                               std::make_unique<SessionLease>(std::move(client),
                                                              delivery.id(),
                                                              answer.session_number,
                                                              answer.correlation,
                                                              answer.lease->dead),
                               answer.lease->deliveries,
                               answer.lease->reason);
}

}  // namespace telpher::bridge

#include "tcp_bridge/remote_lease.hpp"

#include "tcp_bridge/commands.hpp"
#include "tcp_bridge/lease_verb.hpp"
#include "tcp_bridge/remote_client.hpp"

#include <algorithm>
#include <utility>
#include <vector>

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
    Result<std::vector<Status>> ack_with(std::span<RemoteLease* const> leases) override;
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
    [[nodiscard]] LeaseName name() const { return {correlation_, id_}; }
    Result<void> settle(LeaseVerb verb, Duration duration) {
        FieldWriter arguments;
        const LeaseName which = name();
        fields(arguments, which);
        arguments(verb, duration);
        const auto reply = client_->command(commands::kSettle, arguments);
        return reply ? Result<void>() : Result<void>(reply.error());
    }

    const std::shared_ptr<RemoteHandle> client_;
    const MessageId id_;
    const std::uint64_t session_number_;
    const std::uint64_t correlation_;
    const DeadLetter dead_;
};

// All leases that come from bridges are of this class.
Result<std::vector<Status>> SessionLease::ack_with(std::span<RemoteLease* const> leases) {
    std::vector<Status> told(leases.size(), Status::none);
    std::vector<std::size_t> ours;
    for (std::size_t i = 0; i < leases.size(); ++i) {
        if (static_cast<const SessionLease*>(leases[i])->client_ == client_) {
            ours.push_back(i);
        }
    }
    for (std::size_t from = 0; from < ours.size(); from += kLeasesAtOnce) {
        const std::size_t count = std::min(ours.size() - from, kLeasesAtOnce);
        std::vector<LeaseName> names;
        names.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            names.push_back(static_cast<const SessionLease*>(leases[ours[from + i]])->name());
        }
        FieldWriter arguments;
        arguments(LeaseVerb::ack, Duration{}, names);
        const auto reply = client_->command(commands::kSettleMany, arguments);
        if (!reply) {
            return reply.error();
        }
        FieldReader in(reply->payload());
        std::uint32_t answers = 0;
        in(answers);
        for (std::size_t i = 0; i < count && answers == count; ++i) {
            in(told[ours[from + i]]);
        }
        if (answers != count || !in.ok()) {
            return Error{Status::corrupt, 0, "the bridge's answer to settle_many ends too soon"};
        }
    }
    return told;
}

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

// What a client says about messages that it has leased.

#include "tcp_bridge/commands.hpp"
#include "tcp_bridge/lease_verb.hpp"
#include "tcp_bridge/server_session.hpp"

namespace telpher::bridge {
namespace {

Result<void> settle_as(Delivery& delivery, LeaseVerb verb, Duration duration) {
    switch (verb) {
        case LeaseVerb::ack:
            return delivery.ack();
        case LeaseVerb::nack:
            return delivery.nack(duration);
        case LeaseVerb::extend:
            return delivery.extend(duration);
        case LeaseVerb::reject:
            return delivery.reject();
    }
    return Error{Status::bad_request,
                 0,
                 "settle: the verb is " + std::to_string(static_cast<unsigned>(verb)) +
                     ", allowed are 1 to 4"};
}

}  // namespace

// By number and message: the number alone may be another session's.
Delivery* ServerSession::leased(std::uint64_t correlation, const MessageId& id) {
    if (const auto known = leases_.find(correlation); known != leases_.end()) {
        return known->second.id() == id ? &known->second : nullptr;
    }
    Kept* const kept = kept_.find(correlation);  // its CONFIRM was lost with a connection
    return kept != nullptr && !kept->lease.empty() && kept->delivery.id() == id ? &kept->delivery
                                                                                : nullptr;
}

Result<void> ServerSession::settle_one(const LeaseName& name, LeaseVerb verb, Duration duration) {
    Delivery* const delivery = leased(name.poll, name.id);
    if (delivery == nullptr) {
        return Error{Status::lease_expired,
                     0,
                     "this session holds no such lease: it ended with an earlier session, or was "
                     "settled before"};
    }
    auto done = settle_as(*delivery, verb, duration);
    if (!*delivery) {
        leases_.erase(name.poll);
        kept_.erase(name.poll);
    }
    return done;
}

// None of it waits: it is done here.
void ServerSession::settle(std::uint64_t correlation, const MessageView& command) {
    FieldReader in(command.payload());
    LeaseName name;
    std::uint8_t verb = 0;
    Duration duration{};
    fields(in, name);
    in(verb, duration);
    if (!in.ok()) {
        answer(correlation, Error{Status::bad_request, 0, "the arguments of settle end too soon"});
        return;
    }
    const auto done = settle_one(name, static_cast<LeaseVerb>(verb), duration);
    answer_command(correlation, done ? Result<Message>(reply_message({})) : done.error());
}

// The same of many: each by itself, and told so.
void ServerSession::settle_many(std::uint64_t correlation, const MessageView& command) {
    FieldReader in(command.payload());
    std::uint8_t verb = 0;
    Duration duration{};
    std::vector<LeaseName> names;
    in(verb, duration, names);
    if (!in.ok() || names.size() > kLeasesAtOnce) {
        answer(correlation,
               Error{Status::bad_request,
                     0,
                     in.ok() ? "settle_many: " + std::to_string(names.size()) +
                                   " leases, allowed are " + std::to_string(kLeasesAtOnce)
                             : std::string("the arguments of settle_many end too soon")});
        return;
    }
    FieldWriter out;
    out(static_cast<std::uint32_t>(names.size()));
    for (const LeaseName& name : names) {
        out(settle_one(name, static_cast<LeaseVerb>(verb), duration).status());
    }
    answer_command(correlation, reply_message(out));
}

}  // namespace telpher::bridge

#include "telpher/status.hpp"

#include "telpher/result.hpp"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

namespace telpher {

namespace {

using enum Outcome;

// In the order of the numbers (checked below). Sentences without their full stop.
constexpr std::array kStatuses{
    StatusInfo{Status::ok, "ok", happened, "the operation succeeded", "nothing to do"},
    StatusInfo{Status::none,
               "none",
               may_have_happened,
               "the message is not a response, so it has no response status yet",
               "look at the status of the response, not of the request"},

    StatusInfo{Status::queue_empty,
               "queue_empty",
               did_not_happen,
               "the queue held no message and the call was not to wait",
               "poll again later, or give poll a timeout"},
    StatusInfo{Status::queue_full,
               "queue_full",
               did_not_happen,
               "the queue holds as many messages as its capacity and the call was not to wait",
               "offer again later or with a timeout, add consumers, or create the queue larger"},
    StatusInfo{Status::timed_out,
               "timed_out",
               may_have_happened,
               "the time given to the operation passed before it was done",
               "for offer and poll, call again; for calls, retry with the same request id"},
    StatusInfo{Status::duplicate,
               "duplicate",
               happened,
               "an earlier operation with the same request id was already accepted",
               "treat it as done, or use a new request id for a new operation"},
    StatusInfo{Status::closed,
               "closed",
               may_have_happened,
               "the handle was closed, by close() or because its owner is being destroyed",
               "open a new handle if there is still something to do"},
    StatusInfo{
        Status::gap,
        "gap",
        happened,
        "the subscriber was slower than the topic's history, and messages were dropped for it",
        "fetch the lost state another way, read faster, or give the topic a longer history"},
    StatusInfo{Status::lease_expired,
               "lease_expired",
               may_have_happened,
               "the lease ended before the message was acknowledged, and it was handed out again",
               "drop the work, or make the lease longer or extend it while working"},
    StatusInfo{Status::cancelled,
               "cancelled",
               may_have_happened,
               "the waiting caller withdrew the operation",
               "nothing to do; a cancelled poll took no message, a cancelled call may have run"},
    StatusInfo{Status::expired,
               "expired",
               did_not_happen,
               "the message's life span (expires_in) ended before it was delivered",
               "give it a longer life span, or consume faster"},

    StatusInfo{Status::bad_request,
               "bad_request",
               did_not_happen,
               "an argument or a field of the message is not allowed",
               "correct the field that the text names"},
    StatusInfo{Status::queue_not_found,
               "queue_not_found",
               did_not_happen,
               "the domain has no queue of this name, or it was removed meanwhile",
               "check the name, create the queue, or wait for it with the option wait"},
    StatusInfo{Status::topic_not_found,
               "topic_not_found",
               did_not_happen,
               "the domain has no topic of this name",
               "check the name, or create the topic by publishing or subscribing to it"},
    StatusInfo{Status::function_not_found,
               "function_not_found",
               did_not_happen,
               "no live server serves a function of this name",
               "start the server, check the name, or wait for it with the option wait_for_server"},
    StatusInfo{Status::domain_not_found,
               "domain_not_found",
               did_not_happen,
               "there is no domain of this name on this host",
               "start the server that opens it, check the name, or wait with the option wait"},
    StatusInfo{Status::domain_removed,
               "domain_removed",
               may_have_happened,
               "the domain was removed while this process was attached to it",
               "close the handles and connect to the new domain, if there is one"},
    StatusInfo{Status::already_exists,
               "already_exists",
               did_not_happen,
               "something of this name exists and the call was to create it",
               "use the existing one (open_or_create), remove it, or choose another name"},
    StatusInfo{Status::mismatch,
               "mismatch",
               did_not_happen,
               "what exists is of another kind, type or size than the call expects",
               "use the options or the type it was made with, or remove it first"},
    StatusInfo{Status::not_permitted,
               "not_permitted",
               did_not_happen,
               "the caller lacks the right for this operation",
               "run as a user with the right, or have it granted"},
    StatusInfo{Status::message_too_large,
               "message_too_large",
               did_not_happen,
               "the message is larger than the limit that the text names",
               "send less, split the message, or create the domain with a larger limit"},
    StatusInfo{Status::limit_reached,
               "limit_reached",
               did_not_happen,
               "a limit of the domain is used up; the text names it",
               "release what is no longer needed, or create the domain with a larger limit"},
    StatusInfo{Status::idempotency_conflict,
               "idempotency_conflict",
               did_not_happen,
               "the request id was used before for another request",
               "make a new request id for each new operation"},
    StatusInfo{
        Status::forked,
        "forked",
        did_not_happen,
        "the handle was inherited through fork(), and the child is not attached to the domain",
        "connect again in the child"},

    StatusInfo{Status::handler_error,
               "handler_error",
               may_have_happened,
               "the function's handler failed or threw",
               "look into the server's log for the error id; correct the request or the handler"},
    StatusInfo{Status::server_error,
               "server_error",
               may_have_happened,
               "the serving side failed outside the handler",
               "look into the server's log; retry if the operation may run twice"},
    StatusInfo{Status::peer_died,
               "peer_died",
               may_have_happened,
               "the process on the other side died before it answered",
               "retry with the same request id once a server is there again"},
    StatusInfo{Status::disconnected,
               "disconnected",
               may_have_happened,
               "the connection to the domain was lost",
               "retry with the same request id; the client reconnects by itself"},
    StatusInfo{Status::out_of_memory,
               "out_of_memory",
               did_not_happen,
               "no memory is left for the operation, in the domain's segment or on the host",
               "consume what is queued, release loans, or create the domain with a larger segment"},
    StatusInfo{
        Status::storage_failed,
        "storage_failed",
        may_have_happened,
        "the disk refused to write or to confirm",
        "make room or replace the disk, then look at what the log holds before sending again"},
    StatusInfo{Status::overloaded,
               "overloaded",
               did_not_happen,
               "the other side refuses work to protect itself",
               "wait as long as it says, then retry at a lower rate"},

    StatusInfo{Status::corrupt,
               "corrupt",
               may_have_happened,
               "bytes from memory, disk or a connection are not what the format says",
               "keep them for examination, and run `telpher verify` on the domain, or `telpher log "
               "verify` "
               "on the log's folder"},
    StatusInfo{Status::version_mismatch,
               "version_mismatch",
               did_not_happen,
               "the two sides were built from versions that do not understand one another",
               "use the same version on both sides, or recreate the domain after an update"},
};
static_assert(std::ranges::is_sorted(kStatuses, std::ranges::less_equal{}, &StatusInfo::status) &&
              std::ranges::adjacent_find(kStatuses, {}, &StatusInfo::status) == kStatuses.end());

constexpr StatusInfo kUnknown{Status{255},
                              "unknown",
                              may_have_happened,
                              "a newer version sent a status that this version does not know",
                              "update this side"};

// Index + 1 by number, so that a look-up is one load; 0 = unknown.
constexpr auto kIndexes = [] {
    std::array<std::uint8_t, 256> indexes{};
    for (std::size_t i = 0; i < kStatuses.size(); ++i) {
        indexes[static_cast<std::size_t>(kStatuses[i].status)] = static_cast<std::uint8_t>(i + 1);
    }
    return indexes;
}();

}  // namespace

const StatusInfo& describe(Status status) noexcept {
    const std::size_t index = kIndexes[static_cast<std::size_t>(status)];
    return index == 0 ? kUnknown : kStatuses[index - 1];
}

Outcome Error::outcome() const noexcept { return effect.value_or(describe(status).outcome); }

std::string_view to_string(Status status) noexcept { return describe(status).name; }

std::span<const StatusInfo> all_statuses() noexcept { return kStatuses; }

std::optional<Status> parse_status(std::string_view name) noexcept {
    const auto found = std::ranges::find(kStatuses, name, &StatusInfo::name);
    return found == kStatuses.end() ? std::nullopt : std::optional{found->status};
}

std::string_view to_string(Outcome outcome) noexcept {
    switch (outcome) {
        case did_not_happen:
            return "did_not_happen";
        case may_have_happened:
            return "may_have_happened";
        case happened:
            return "happened";
    }
    return "unknown";
}

std::string to_string(const Error& error) {
    const StatusInfo& info = describe(error.status);
    std::string text{info.name};
    if (&info == &kUnknown) {
        text += '(' + std::to_string(static_cast<int>(error.status)) + ')';
    }
    text += ": ";
    if (!error.detail.empty()) {
        text += error.detail;
    }
    if (error.os_error != 0) {
        text += error.detail.empty() ? "(os error " : " (os error ";
        text += std::to_string(error.os_error) + ": " +
                std::system_category().message(error.os_error) + ')';
    }
    if (!error.detail.empty() || error.os_error != 0) {
        text += "; ";
    }
    text += info.cause;
    text += "; ";
    text += info.fix;
    return text;
}

BadResult::BadResult(Error error) : error_(std::move(error)), text_(to_string(error_)) {}

namespace detail {

void throw_bad_result(Error error) { throw BadResult(std::move(error)); }

Error error_not_ok(Error error) {
    error.status = Status::server_error;
    error.detail.insert(0, "an error was made from Status::ok: a mistake in the code; ");
    return error;
}

const Error& no_error() noexcept {
    static const Error none;
    return none;
}

}  // namespace detail
}  // namespace telpher

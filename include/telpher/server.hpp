#pragma once
// A Server makes a domain and its destinations. Any number of Servers may open one domain; none
// leads.

#include "telpher/function.hpp"
#include "telpher/future.hpp"
#include "telpher/options.hpp"
#include "telpher/queue.hpp"
#include "telpher/result.hpp"
#include "telpher/timeout.hpp"
#include "telpher/topic.hpp"

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace telpher {

namespace detail {
class DomainCore;
class Retrier;
}  // namespace detail

// One attached process, as `Server::processes` lists it.
struct ProcessInfo {
    std::uint32_t slot = 0;
    std::uint32_t pid = 0;
    std::string command;
    std::string state;  // joining, live, dead, swept
    std::chrono::milliseconds attached_for{};
};

// What `Server::verify` found: empty = every invariant holds.
struct VerifyReport {
    std::vector<std::string> problems;
    std::uint64_t chunks = 0;  // looked at
    std::uint64_t chunks_free = 0;
    std::uint64_t chunks_owned = 0;      // loans, and chunks kept for reuse
    std::uint64_t chunks_offered = 0;    // committed in a queue
    std::uint64_t chunks_claimed = 0;    // deliveries, and requests that are being handled
    std::uint64_t chunks_answered = 0;   // calls that have ended, and were not given back yet
    std::uint64_t chunks_retired = 0;    // taken out of topics, and perhaps still read
    std::uint64_t chunks_parked = 0;     // leased before, to be handed out again
    std::uint64_t chunks_kept = 0;       // responses that are remembered (idempotency.hpp)
    std::uint64_t chunks_lingering = 0;  // done with, and read under leases that expired
    std::uint32_t queues = 0;
    std::uint32_t processes = 0;
};

struct DomainStatus {
    std::string name;
    std::string uuid;
    Lifetime lifetime = Lifetime::persistent;
    std::size_t segment_bytes = 0;
    std::uint32_t processes = 0;
    std::uint32_t destinations = 0;
    std::uint64_t reaped = 0;  // processes that died without leaving
};

// What can be changed in a running domain, for all its processes (Server::set):
//
//   retry.attempts_max  retry.base_ms  retry.cap_ms  retry.factor  retry.jitter  retry.budget (per cent)
//                     stand in the place of those fields of the RetryPolicy that a Client or Server was
//                     opened with, from its next operation on. A policy that one operation is given stays as
//                     it is, and who has none does not retry. A cap below the base is the base
//   call.timeout_ms   the longest timeout of a `send` or `send_async`, of each attempt; also where it is given
//
// A bridge's clients have the second by the bridge; their retries they make by themselves, by their own policy.
struct DomainSetting {
    std::string name;
    std::string value;    // empty: not set
    std::string allowed;  // for people: "1..1000"
};

// Threads: all members any number at once. Fork: in a child every call answers `forked`.
class Server {
  public:
    Server() = default;

    // Opens the domain `name` (1..100 of [A-Za-z0-9._-]), by default creating it if it does not
    // exist.
    //
    //   errors   bad_request (name, an option out of range: field, limit, value), already_exists
    //            (mode create), domain_not_found (mode attach), mismatch (given options differ from
    //            the domain's), out_of_memory (/dev/shm is full: how much is needed, how much is
    //            free), not_permitted (owner or mode of the file), version_mismatch, corrupt
    //            (foreign, truncated, damaged file), limit_reached (processes), timed_out, forked
    //   log      with log_directory also: bad_request (a path of more than 1024 bytes, segment size,
    //            log_compress_from_bytes), not_permitted
    //            (another process uses the log), mismatch (the log of another domain; the domain exists with
    //            another log_directory), version_mismatch, corrupt (damage: what, and that `telpher log salvage`
    //            helps), storage_failed (the folder's parent is missing, the folder cannot be read and written, the
    //            disk is full, or failed), out_of_memory (the domain is smaller than what its log holds), timed_out
    //            (somebody builds the domain from its log for more than 2 minutes)
    //   cost     create: about 10 ms per 64 MiB (memory is reserved, so that a full /dev/shm is an
    //            error now and never a signal later); attach: below 1 ms
    //   crash    killed anywhere: the domain exists completely or not at all; leftovers go with
    //            `gc`
    static Result<Server> open(std::string_view name, const ServerOptions& options = {});

    // Makes the queue, or finds it.
    //   errors   bad_request, mismatch (exists with another capacity, kind or byte_budget),
    //            limit_reached (destinations, ring memory), out_of_memory (/dev/shm), timed_out (another process
    //            holds the directory lock), domain_removed, forked. Of kind durable: storage_failed (its definition
    //            did not reach the log: there is no such queue)
    Result<Queue> create_queue(std::string_view name, const QueueOptions& options = {});
    // A queue for replies, with a name that nobody can guess: `temporary.` and 32 hexadecimal digits.
    // Anybody may offer to it who is told the name; only this process polls it. It is removed with the
    // last copy of the handle, with `close`, and when this process ends, however it ends.
    //
    //   errors   limit_reached (temporary_queues, destinations, ring memory), bad_request (capacity),
    //            timed_out (another process holds the directory lock), out_of_memory, domain_removed,
    //            forked, closed
    //   crash    killed anywhere: the queue ends within milliseconds, its memory comes back
    Result<Queue> create_temporary_queue(const TemporaryQueueOptions& options = {});
    // Offers `message` to the queue that `request` names as its reply-to queue, with the request's
    // ids (request, correlation, causation, traceparent) where `message` has none of its own.
    //
    //   errors   bad_request (no reply-to queue), queue_not_found (it is gone), and as Queue::offer
    Result<std::uint64_t> reply(const MessageView& request, Message message, Duration timeout = {});
    Result<std::uint64_t> reply(const Message& request, Message message, Duration timeout = {}) {
        return reply(request.view(), std::move(message), timeout);
    }
    // Answers requests to the function `name` by calling `handler(const Message&)` on threads of its own,
    // until the handle ends. Any number of processes may serve one name: a request goes to whichever is
    // free. Without a name: requests that name no function.
    //
    //   handler  returns a Message, a Result<Message>, or nothing (an empty text); may call anything, and
    //            stop its own handle. What it throws or returns as an error is told to
    //            ServeOptions::on_error and counted; the caller gets handler_error and an error id; of an
    //            error `overloaded`, which says that it did nothing, this status and its retry_after (whole
    //            milliseconds, at most 24 h). Request, correlation and causation id and traceparent are
    //            copied to a response that has none. The request's timeout() is what was left when its
    //            handler began.
    //   errors   bad_request (name, an option out of range), mismatch (others serve it with another
    //            inflight_max, idempotent, idempotency or dead_letter, or dead_letter names a queue that
    //            is not at_least_once), limit_reached (destinations, ring memory, threads),
    //            timed_out (another process holds the directory lock), domain_removed, forked, closed
    template <detail::CanHandle F>
    Result<Function> serve(std::string_view name, F&& handler, const ServeOptions& options = {}) {
        return serve_function(name, detail::make_handler(std::forward<F>(handler)), options);
    }
    template <detail::CanHandle F>
    Result<Function> serve(F&& handler, const ServeOptions& options = {}) {
        return serve_default(detail::make_handler(std::forward<F>(handler)), options);
    }
    // Functions are called as through a Client (client.hpp).
    Result<Message> send(std::string_view function,
                         const Message& request,
                         const Timeout& timeout,
                         const SendOptions& options = {});
    Result<Message> send(const Message& request,
                         const Timeout& timeout,
                         const SendOptions& options = {});
    Future<Message> send_async(std::string_view function,
                               const Message& request,
                               const Timeout& timeout,
                               const SendOptions& options = {});
    Future<Message> send_async(const Message& request,
                               const Timeout& timeout,
                               const SendOptions& options = {});
    Result<void> send_oneway(std::string_view function,
                             const Message& request,
                             Duration timeout = {},
                             const SendOptions& options = {});
    Result<void> send_oneway(const Message& request,
                             Duration timeout = {},
                             const SendOptions& options = {});
    [[nodiscard]] Result<FunctionStatus> function_status(std::string_view function) const;

    // Errors: queue_not_found, bad_request, domain_removed, forked.
    Result<Queue> queue(std::string_view name, const FindOptions& options = {});
    // Wakes waiters on both ends with queue_not_found. Nothing is accepted any more; what was
    // committed can be polled by handles that are open, and is counted as dropped when the last of
    // them closes. Errors: queue_not_found, bad_request, timed_out, domain_removed, forked, storage_failed (of
    // a durable queue: it is removed, but that did not reach the log, so that it is there again when the domain is
    // built from it).
    Result<void> remove_queue(std::string_view name);
    [[nodiscard]] Result<bool> exists(std::string_view name) const;
    [[nodiscard]] Result<std::vector<std::string>> queues() const;

    // ---- topics ----
    // Publishes to the topic that the message names, which comes into being at its first use. As
    // Topic::publish; a handle (`topic`) saves looking its name up.
    Result<Published> publish(const Message& message,
                              Duration timeout = {},
                              std::stop_token stop = {});
    Result<Published> publish(const Message& message,
                              Duration timeout,
                              const RetryOptions& options);
    // The same without waiting: as Topic::publish_async.
    Future<Published> publish_async(Message message,
                                    Duration timeout = {},
                                    std::stop_token stop = {});
    // A handle to a topic, made with default options if there is none.
    //   errors   bad_request (name), limit_reached (destinations, ring memory), out_of_memory,
    //            timed_out (another process holds the directory lock), domain_removed, closed, forked
    Result<Topic> topic(std::string_view name);
    // Subscribes to a topic, or to all that match a pattern of '.'-separated levels: `*` is any one
    // level, `>` (the last) one or more; topics made later are followed from their first message on.
    // Without a handler, `Subscription::next` is asked for messages.
    //
    //   handler  takes a `const Message&` or a `const Sample&`; runs on a thread of the subscription's
    //            own or its executor, one call after another, so that it may call anything. One that
    //            throws is counted, and told to `on_error`; the subscription lives on.
    //   errors   bad_request (pattern), limit_reached (subscribers of a topic, threads), not_permitted
    //            (slow = block where the topic does not say so), and as `topic`
    Result<Subscription> subscribe(std::string_view pattern, SubscribeOptions options = {}) {
        return subscribe_to({std::string(pattern)}, {}, std::move(options));
    }
    Result<Subscription> subscribe(std::vector<std::string> patterns,
                                   SubscribeOptions options = {}) {
        return subscribe_to(std::move(patterns), {}, std::move(options));
    }
    // NOLINTBEGIN(performance-unnecessary-value-param): moved, which the check does not see in templates
    template <typename Handler>
    requires std::is_invocable_v<Handler&, const Message&> ||
        std::is_invocable_v<Handler&, const Sample&>
            Result<Subscription> subscribe(std::string_view pattern,
                                           Handler&& handler,
                                           SubscribeOptions options = {}) {
        return subscribe_to({std::string(pattern)},
                            detail::make_sample_handler(std::forward<Handler>(handler)),
                            std::move(options));
    }
    template <typename Handler>
    requires std::is_invocable_v<Handler&, const Message&> ||
        std::is_invocable_v<Handler&, const Sample&>
            Result<Subscription> subscribe(std::vector<std::string> patterns,
                                           Handler&& handler,
                                           SubscribeOptions options = {}) {
        return subscribe_to(std::move(patterns),
                            detail::make_sample_handler(std::forward<Handler>(handler)),
                            std::move(options));
    }
    // NOLINTEND(performance-unnecessary-value-param)
    // Makes the topic, or finds it.
    //   errors   bad_request, mismatch (exists with other options), and as `topic`
    Result<Topic> create_topic(std::string_view name, const TopicOptions& options = {});
    // Ends the topic: subscribers read what it still has, then are told topic_not_found. Errors:
    // topic_not_found, bad_request, timed_out, domain_removed, forked.
    Result<void> remove_topic(std::string_view name);
    [[nodiscard]] Result<std::vector<std::string>> topics() const;
    // As Topic::status, but of a topic that exists: makes none, and keeps nothing of it.
    // Errors: topic_not_found, bad_request (name), domain_removed, closed, forked, corrupt.
    [[nodiscard]] Result<TopicStatus> topic_status(std::string_view name) const;

    [[nodiscard]] Result<DomainStatus> status() const;
    [[nodiscard]] Result<std::vector<ProcessInfo>> processes() const;
    // Checks every invariant of the segment. Exact when the domain is idle; on a busy one it looks
    // twice at what seems wrong.
    [[nodiscard]] Result<VerifyReport> verify() const;
    // Changes a setting of the domain (DomainSetting); an empty value takes it back. Every process reads it at
    // its next operation.
    //   errors   bad_request (no such setting, naming those that there are; a value out of range, naming
    //            field, limits and value), domain_removed, closed, forked
    //   crash    killed in it: the old value or the new one
    Result<void> set(std::string_view name, std::string_view value);
    // All of them, those that are not set as well. Errors: domain_removed, closed, forked.
    [[nodiscard]] Result<std::vector<DomainSetting>> settings() const;
    // Removes the domain: wakes everyone in it with domain_removed and takes its name away.
    Result<void> remove_domain();

    // Whether this call of open made the domain.
    [[nodiscard]] bool created() const;
    [[nodiscard]] bool running() const;
    [[nodiscard]] const std::string& name() const;
    // Wakes every waiter of this process' handles in the domain with `closed`. Never loses a
    // committed message. Also by the destructor of the last Server or Client. Takes < 100 ms.
    void close();

  private:
    Result<Subscription> subscribe_to(std::vector<std::string> patterns,
                                      detail::SampleHandler handler,
                                      SubscribeOptions options);
    Result<Function> serve_function(std::string_view name,
                                    detail::Handler handler,
                                    const ServeOptions& options);
    Result<Function> serve_default(detail::Handler handler, const ServeOptions& options);
    friend class Admin;
    explicit Server(std::shared_ptr<detail::DomainCore> core) : core_(std::move(core)) {}
    std::shared_ptr<detail::DomainCore> core_;
    std::shared_ptr<detail::Retrier> retrier_;  // of opened ones
    bool retries_ = false;                      // whether it has a policy for all operations
};

// ---- without a domain --------------------------------------------------------------------------

// Names of the domains of this machine that this user may see.
Result<std::vector<std::string>> list_domains();

struct Garbage {
    std::string file;    // path
    std::string reason;  // why it may go
};
// Leftovers of processes that were killed while they made or removed a domain, and ephemeral
// domains all of whose processes are dead. Removes them unless `dry_run`. Never touches a domain
// that is in use.
Result<std::vector<Garbage>> collect_garbage(bool dry_run);

// Removes the domain `name` even if it cannot be attached (damaged, other version). Of several at
// once, one succeeds.
//   errors   domain_not_found, bad_request, not_permitted (live processes are attached and `force`
//            is not set; another user's file), timed_out (a stopped process holds its directory
//            lock)
Result<void> remove_domain(std::string_view name, bool force = false);

}  // namespace telpher

#pragma once
// A Client uses a domain: local (`shm:NAME`) or, with the TCP component, remote.

#include "telpher/function.hpp"
#include "telpher/future.hpp"
#include "telpher/options.hpp"
#include "telpher/outbox.hpp"
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
class RemoteClient;
class Retrier;
}  // namespace detail

// Threads: all members any number at once. Fork: in a child every call answers `forked`.
class Client {
  public:
    Client() = default;

    // Errors: queue_not_found (after `wait`), bad_request, domain_removed, forked.
    Result<Queue> queue(std::string_view name, const FindOptions& options = {});
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

    // Asks the function of that name, and waits for its response. Without a name: the one that is served
    // without.
    //
    //   timeout  of the whole call; it travels with the request, and work is not begun after it. With a
    //            RetryPolicy: of each attempt. A duration, or one from the latest calls (timeout.hpp). At most
    //            the domain's setting call.timeout_ms, if that is set (server.hpp)
    //   errors   did not happen: function_not_found (nobody serves it, after options.wait_for_server),
    //            overloaded (inflight_max requests wait, for the whole timeout; or the handler says so, and
    //            Error::retry_after how long to wait before it is tried again), bad_request (the name, the
    //            message's first violated limit), message_too_large, out_of_memory, limit_reached
    //            (threads), closed, domain_removed, forked; timed_out where the text says that nobody had
    //            begun (Error::outcome tells, too). May have happened: timed_out, cancelled, closed while it ran; peer_died (the process
    //            that ran it died); handler_error (with the error id); message_too_large or out_of_memory for
    //            the response
    //   retry    the last error's text says how many attempts were made; if any attempt may have happened,
    //            so says the error
    //   nested   a handler may call anything; one that calls its own function needs another thread or
    //            process that serves it: it waits until its own timeout otherwise
    //   cost     two contended atomic operations and no system call while both sides are awake
    //   crash    killed anywhere: nobody waits for it, its memory comes back
    Result<Message> send(std::string_view function,
                         const Message& request,
                         const Timeout& timeout,
                         const SendOptions& options = {});
    Result<Message> send(const Message& request,
                         const Timeout& timeout,
                         const SendOptions& options = {});
    // The same without waiting here; thousands may be outstanding.
    //
    //   errors   in the future, as `send`; overloaded at once when inflight_max requests wait; bad_request
    //            (options.retry: it is not retried)
    //   cancel   gives the call up: a handler that has begun runs to its end
    Future<Message> send_async(std::string_view function,
                               const Message& request,
                               const Timeout& timeout,
                               const SendOptions& options = {});
    Future<Message> send_async(const Message& request,
                               const Timeout& timeout,
                               const SendOptions& options = {});
    // A request without a response. What was accepted and never handled is counted in the function's
    // status: expired (its life span), abandoned, dropped.
    //
    //   timeout  how long to wait for room
    //   errors   as the first kind of `send`: did not happen
    Result<void> send_oneway(std::string_view function,
                             const Message& request,
                             Duration timeout = {},
                             const SendOptions& options = {});
    Result<void> send_oneway(const Message& request,
                             Duration timeout = {},
                             const SendOptions& options = {});
    // Of the function of that name; empty: the one without. Error: function_not_found.
    [[nodiscard]] Result<FunctionStatus> function_status(std::string_view function) const;
    [[nodiscard]] Result<bool> exists(std::string_view name) const;
    // Messages that outlive this client: ConnectOptions::outbox. Without it an empty handle.
    [[nodiscard]] Outbox outbox() const { return Outbox(outbox_); }
    [[nodiscard]] bool running() const;
    // As Server::close; temporary queues end. Nothing is sent out of the outbox any more, and its folder is free.
    void close();

  private:
    Result<Subscription> subscribe_to(std::vector<std::string> patterns,
                                      detail::SampleHandler handler,
                                      SubscribeOptions options);
    friend Result<Client> connect(std::string_view uri, const ConnectOptions& options);
    friend struct detail::RemoteAccess;
    friend class detail::DomainCore;
    friend class Admin;
    static Result<Client> connect_once(std::string_view uri, const ConnectOptions& options);
    static Result<Client> connect_without_outbox(std::string_view uri,
                                                 const ConnectOptions& options);
    explicit Client(std::shared_ptr<detail::DomainCore> core) : core_(std::move(core)) {}
    std::shared_ptr<detail::DomainCore> core_;
    std::shared_ptr<detail::RemoteClient> remote_;  // instead of the core
    std::shared_ptr<detail::Retrier> retrier_;      // of connected ones
    std::shared_ptr<detail::OutboxCore> outbox_;  // if it has one; perhaps without core and remote
    bool retries_ = false;                        // whether it has a policy for all operations
};

// Connects to `uri`: "shm:NAME", or through a bridge "tcp://HOST:PORT" or "unix:/PATH". Never creates.
//
//   errors   domain_not_found (after `options.wait`), bad_request (URI, or a scheme this program
//            was built without; options.retry), and as Server::open. Through a bridge: disconnected (nobody listens,
//            after `options.wait`; no bridge), timed_out (no answer within 5 s), and what it refuses with
//
// With `options.outbox`:
//
//   errors   besides, before anything else: not_permitted (another client uses the folder), corrupt (what lies in it is
//            damaged, and stays as it is: the text says where, and `telpher log salvage` saves what can be read),
//            storage_failed (a missing parent, a folder that cannot be written, a full disk, with the path),
//            version_mismatch, limit_reached (threads)
//   absent   if the domain is not there (after `options.wait`), or no bridge, the Client is returned all the same, with
//            its outbox alone: what is put there goes out when the domain is there, `running` is false, and every
//            other call answers `closed`. Who wants those connects again, without the outbox.
//   left     what an earlier client left in the folder is sent first
//
// Through a bridge the same calls have the same outcomes, and besides:
//
//   cut      the client connects again by itself. Operations wait for that as long as their timeouts
//            allow; those that were under way go on if the bridge kept the session, once.
//   bridge ended  in order (SIGTERM, `Bridge::stop`): it tells which operations it has not begun, which
//            go to the next one. Killed, or the session expired: polls go on, having taken nothing; others
//            answer `disconnected`: whether they happened is not known, unless the text says `not sent`.
//            Subscriptions go on in any case, and tell by numbers what they lost.
//   timeout  0 is still one round trip, at most the heartbeat (5 s). Beyond its timeout an operation
//            waits as long for a bridge that does not answer.
//   cancel   an offer or publish that was sent cannot be called back at once: `cancel` is false, and the
//            future tells what became of it
//   errors   overloaded: too much is unanswered (64 MiB, 65'536 operations), for the whole timeout
//   threads  one for each connection; one more when a coroutine waits, which resumes them
//   cost     a system call for each operation that finds nobody else sending; a round trip with 64
//            bytes on one host 1.5 to 2.3 times as fast as a plain epoll loop's (bench/README.md)
//   temporary queues  go with the client's session: a bridge that starts anew, or a cut of more than its
//            grace time, ends them (queue_not_found)
//   readiness  Queue::fd and WaitSet ask the bridge once for each time that they become quiet
Result<Client> connect(std::string_view uri, const ConnectOptions& options = {});

}  // namespace telpher

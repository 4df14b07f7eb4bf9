#pragma once
// A Client uses a domain: local (`shm:NAME`) or, with the TCP component, remote.

#include "telpher/options.hpp"
#include "telpher/queue.hpp"
#include "telpher/result.hpp"
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
}

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

    [[nodiscard]] Result<bool> exists(std::string_view name) const;
    [[nodiscard]] bool running() const;
    // As Server::close; temporary queues end.
    void close();

  private:
    Result<Subscription> subscribe_to(std::vector<std::string> patterns,
                                      detail::SampleHandler handler,
                                      SubscribeOptions options);
    friend Result<Client> connect(std::string_view uri, const ConnectOptions& options);
    explicit Client(std::shared_ptr<detail::DomainCore> core) : core_(std::move(core)) {}
    std::shared_ptr<detail::DomainCore> core_;
};

// Connects to `uri`: "shm:NAME". Never creates.
//
//   errors   domain_not_found (after `options.wait`), bad_request (URI, or a scheme this program
//            was built without), and as Server::open
Result<Client> connect(std::string_view uri, const ConnectOptions& options = {});

}  // namespace telpher

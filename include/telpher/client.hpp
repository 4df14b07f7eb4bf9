#pragma once
// A Client uses a domain: local (`shm:NAME`) or, with the TCP component, remote.

#include "telpher/options.hpp"
#include "telpher/queue.hpp"
#include "telpher/result.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

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
    [[nodiscard]] Result<bool> exists(std::string_view name) const;
    [[nodiscard]] bool running() const;
    // As Server::close; temporary queues end.
    void close();

  private:
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

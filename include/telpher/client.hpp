#pragma once
// A Client uses a domain: local (`shm:NAME`) or, with the TCP component, remote.

#include "telpher/options.hpp"
#include "telpher/queue.hpp"
#include "telpher/result.hpp"

#include <memory>
#include <string>
#include <string_view>

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
    [[nodiscard]] Result<bool> exists(std::string_view name) const;
    [[nodiscard]] bool running() const;
    // As Server::close.
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

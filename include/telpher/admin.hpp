#pragma once
// Looks after a domain from outside: makes and removes its queues and topics, and shows what is in it. Local
// (`shm:NAME`) or through a bridge, as a Client is.
//
//   auto admin = Admin::connect("tcp://127.0.0.1:33333", {.encrypt = true}).value();
//   admin.create_queue("orders", {.capacity = 100}).value();

#include "telpher/client.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"
#include "telpher/server.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace telpher {

namespace detail {
class RemoteAdmin;
}

// Copies share it.
//
//   Threads   all members any number at once.
//   Fork      in a child every call answers `forked`.
//   Errors    of every member: closed, forked, domain_removed; through a bridge besides: disconnected (whether
//             it happened is not known), timed_out (the bridge does not answer within 10 s), not_permitted,
//             overloaded, message_too_large (what is to be shown is larger than the domain's messages)
//   Cost      local: as the members of Server; through a bridge a round trip besides
//   Crash     as the members of Server
class Admin {
  public:
    Admin() = default;
    // As telpher::connect. Never creates a domain.
    static Result<Admin> connect(std::string_view uri, const ConnectOptions& options = {});
    // Of the domain of `client`, over its connection. Error: closed (no domain).
    static Result<Admin> of(const Client& client);
    static Result<Admin> of(const Server& server);

    // Whether it was made now; false: there is one with the same options. Errors: as Server::create_queue.
    Result<bool> create_queue(std::string_view name, const QueueOptions& options = {});
    // Errors: as Server::remove_queue.
    Result<void> remove_queue(std::string_view name);
    // As create_queue. Errors: as Server::create_topic.
    Result<bool> create_topic(std::string_view name, const TopicOptions& options = {});
    // Errors: as Server::remove_topic.
    Result<void> remove_topic(std::string_view name);

    // Of all, by name; one that is removed meanwhile is not there. Error: corrupt.
    [[nodiscard]] Result<std::vector<QueueStatus>> queues() const;
    [[nodiscard]] Result<std::vector<TopicStatus>> topics() const;
    // Errors: queue_not_found, bad_request (name), corrupt.
    [[nodiscard]] Result<QueueStatus> queue_status(std::string_view name) const;
    // Errors: topic_not_found, bad_request (name), corrupt.
    [[nodiscard]] Result<TopicStatus> topic_status(std::string_view name) const;

    [[nodiscard]] Result<DomainStatus> status() const;
    // By slot. Through a bridge: the processes of its host, the bridge among them.
    [[nodiscard]] Result<std::vector<ProcessInfo>> processes() const;
    // As the members of Server.
    Result<void> set(std::string_view name, std::string_view value);
    [[nodiscard]] Result<std::vector<DomainSetting>> settings() const;
    // As Server::verify.
    [[nodiscard]] Result<VerifyReport> verify() const;

    // The domain's name.
    [[nodiscard]] const std::string& domain() const;
    // Whether it goes through a bridge.
    [[nodiscard]] bool remote() const noexcept { return remote_ != nullptr; }
    // The connection, for messages.
    [[nodiscard]] const Client& client() const noexcept { return client_; }

  private:
    Client client_;
    Server server_;                                // of a local one
    std::shared_ptr<detail::RemoteAdmin> remote_;  // instead
};

}  // namespace telpher

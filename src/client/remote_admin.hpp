#pragma once
// What Admin, and the handles' questions about a domain, ask of a bridge. tcp_bridge implements it.
//
//   Threads   all members any number at once.
//   Errors    as the public members that call them (Admin).

#include "telpher/admin.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::detail {

class RemoteAdmin {
  public:
    RemoteAdmin() = default;
    RemoteAdmin(const RemoteAdmin&) = delete;
    RemoteAdmin& operator=(const RemoteAdmin&) = delete;
    virtual ~RemoteAdmin() = default;

    virtual Result<bool> create_queue(std::string_view name, const QueueOptions& options) = 0;
    virtual Result<void> remove_queue(std::string_view name) = 0;
    virtual Result<bool> create_topic(std::string_view name, const TopicOptions& options) = 0;
    virtual Result<void> remove_topic(std::string_view name) = 0;
    virtual Result<std::vector<QueueStatus>> queues() = 0;
    virtual Result<std::vector<TopicStatus>> topics() = 0;
    virtual Result<void> flush(std::string_view queue, Duration timeout) = 0;
    virtual Result<QueueStatus> queue_status(std::string_view name) = 0;
    virtual Result<TopicStatus> topic_status(std::string_view name) = 0;
    virtual Result<FunctionStatus> function_status(std::string_view name) = 0;
    virtual Result<DomainStatus> status() = 0;
    virtual Result<std::vector<ProcessInfo>> processes() = 0;
    virtual Result<VerifyReport> verify() = 0;
    virtual Result<void> set(std::string_view name, std::string_view value) = 0;
    virtual Result<std::vector<DomainSetting>> settings() = 0;
    virtual Result<bool> exists(std::string_view name) = 0;
    virtual Result<std::uint64_t> purge(std::string_view queue) = 0;
    virtual Result<Message> peek(std::string_view queue) = 0;
    [[nodiscard]] virtual const std::string& domain() const noexcept = 0;
};

}  // namespace telpher::detail

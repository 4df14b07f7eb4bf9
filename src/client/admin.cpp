#include "telpher/admin.hpp"

#include "src/client/domain_core.hpp"
#include "src/client/remote.hpp"
#include "src/client/remote_admin.hpp"

namespace telpher {

Result<Admin> Admin::connect(std::string_view uri, const ConnectOptions& options) {
    auto client = telpher::connect(uri, options);
    return client ? of(*client) : Result<Admin>(client.error());
}

Result<Admin> Admin::of(const Client& client) {
    Admin admin;
    admin.client_ = client;
    if (client.core_ != nullptr) {
        admin.server_ = Server(client.core_);
    } else if (client.remote_ != nullptr) {
        admin.remote_ = client.remote_->admin();
    } else {
        return Status::closed;
    }
    return admin;
}

Result<Admin> Admin::of(const Server& server) {
    if (server.core_ == nullptr) {
        return Status::closed;
    }
    Admin admin;
    admin.client_ = Client(server.core_);
    admin.server_ = server;
    return admin;
}

Result<bool> Admin::create_queue(std::string_view name, const QueueOptions& options) {
    if (remote_ != nullptr) {
        return remote_->create_queue(name, options);
    }
    const auto queue = server_.create_queue(name, options);
    return queue ? Result<bool>(queue->created()) : Result<bool>(queue.error());
}
Result<void> Admin::remove_queue(std::string_view name) {
    return remote_ != nullptr ? remote_->remove_queue(name) : server_.remove_queue(name);
}
Result<bool> Admin::create_topic(std::string_view name, const TopicOptions& options) {
    if (remote_ != nullptr) {
        return remote_->create_topic(name, options);
    }
    const auto topic = server_.create_topic(name, options);
    return topic ? Result<bool>(topic->created()) : Result<bool>(topic.error());
}
Result<void> Admin::remove_topic(std::string_view name) {
    return remote_ != nullptr ? remote_->remove_topic(name) : server_.remove_topic(name);
}

Result<std::vector<QueueStatus>> Admin::queues() const {
    if (remote_ != nullptr) {
        return remote_->queues();
    }
    const auto names = server_.queues();
    if (!names) {
        return names.error();
    }
    std::vector<QueueStatus> all;
    for (const std::string& name : *names) {
        auto status = queue_status(name);
        if (status) {
            all.push_back(std::move(*status));
        } else if (status.status() != Status::queue_not_found) {
            return status.error();
        }
    }
    return all;
}

Result<std::vector<TopicStatus>> Admin::topics() const {
    if (remote_ != nullptr) {
        return remote_->topics();
    }
    const auto names = server_.topics();
    if (!names) {
        return names.error();
    }
    std::vector<TopicStatus> all;
    for (const std::string& name : *names) {
        auto status = server_.topic_status(name);
        if (status && !status->removed) {
            all.push_back(std::move(*status));
        } else if (!status && status.status() != Status::topic_not_found) {
            return status.error();
        }
    }
    return all;
}

Result<QueueStatus> Admin::queue_status(std::string_view name) const {
    if (remote_ != nullptr) {
        return remote_->queue_status(name);
    }
    Server server = server_;  // looking a queue up is not const
    const auto queue = server.queue(name);
    return queue ? queue->status() : Result<QueueStatus>(queue.error());
}
Result<TopicStatus> Admin::topic_status(std::string_view name) const {
    return remote_ != nullptr ? remote_->topic_status(name) : server_.topic_status(name);
}
Result<DomainStatus> Admin::status() const {
    return remote_ != nullptr ? remote_->status() : server_.status();
}
Result<std::vector<ProcessInfo>> Admin::processes() const {
    return remote_ != nullptr ? remote_->processes() : server_.processes();
}
Result<VerifyReport> Admin::verify() const {
    return remote_ != nullptr ? remote_->verify() : server_.verify();
}
const std::string& Admin::domain() const {
    return remote_ != nullptr ? remote_->domain() : server_.name();
}

}  // namespace telpher

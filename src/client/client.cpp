#include "telpher/client.hpp"

#include "src/broker/causation.hpp"
#include "src/broker/publish_operation.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/outbox_core.hpp"
#include "src/client/remote.hpp"
#include "src/client/remote_admin.hpp"
#include "src/client/retrier.hpp"
#include "src/client/transport.hpp"

#include <array>

namespace telpher {
namespace detail {
namespace {

struct Scheme {
    std::string_view name;
    SchemeFactory factory = nullptr;
};
// Filled before main by registrations; read only afterwards.
std::array<Scheme, 8>& schemes() {
    static std::array<Scheme, 8> table{};
    return table;
}

// That will be there later, perhaps: an outbox waits for it.
bool is_absent(Status status) noexcept {
    return status == Status::domain_not_found || status == Status::domain_removed ||
           status == Status::disconnected || status == Status::timed_out;
}

}  // namespace

SchemeRegistration::SchemeRegistration(std::string_view scheme, SchemeFactory factory) {
    for (Scheme& place : schemes()) {
        if (place.factory == nullptr) {
            place = {scheme, factory};
            return;
        }
    }
}

}  // namespace detail

Result<Client> connect(std::string_view uri, const ConnectOptions& options) {
    if (options.outbox.empty()) {
        return Client::connect_without_outbox(uri, options);
    }
    auto outbox = detail::OutboxCore::open(options);
    if (!outbox) {
        return outbox.error();
    }
    auto client = Client::connect_without_outbox(uri, options);
    std::optional<Client> way;
    if (client) {
        way = *client;
        way->retries_ = false;  // its own retries wait for less, and never end
    } else if (detail::is_absent(client.status())) {
        client = Client();
    } else {
        return client;
    }
    auto started = (*outbox)->start({std::string(uri), options, std::move(way)});
    if (!started) {
        return started.error();
    }
    client->outbox_ = std::move(*outbox);
    return client;
}

Result<Client> Client::connect_without_outbox(std::string_view uri, const ConnectOptions& options) {
    if (auto sound = options.retry ? options.retry->check() : Result<void>(); !sound) {
        return sound.error();
    }
    const auto retrier = std::make_shared<detail::Retrier>(options.retry);
    auto client = detail::with_retries<Client>(retrier.get(),
                                               {},
                                               {.kind = detail::RetryKind::connect,
                                                .timeout = options.wait,
                                                .report = options.retry_report},
                                               [&](std::uint32_t /*attempt*/, Duration left) {
                                                   if (left == options.wait) {
                                                       return Client::connect_once(uri, options);
                                                   }
                                                   ConnectOptions last = options;
                                                   last.wait = left;
                                                   return Client::connect_once(uri, last);
                                               });
    if (client) {
        if (client->core_ != nullptr) {
            retrier->follow(client->core_->attachment().shared_from_this());
        }
        client->retrier_ = retrier;
        client->retries_ = options.retry.has_value();
    }
    return client;
}

Result<Client> Client::connect_once(std::string_view uri, const ConnectOptions& options) {
    if (options.wait.count() < 0) {
        return Error{Status::bad_request, 0, "wait is negative, allowed are 0 and more"};
    }
    const std::size_t colon = uri.find(':');
    const std::string_view scheme = uri.substr(0, colon == std::string_view::npos ? 0 : colon);
    if (scheme == "shm") {
        auto opened = detail::open_attachment(
            {uri.substr(colon + 1), OpenMode::attach, nullptr, options.wait});
        if (!opened) {
            return opened.error();
        }
        return Client(std::make_shared<detail::DomainCore>(
            std::move(opened->attachment), options.wait_strategy, false));
    }
    for (const detail::Scheme& known : detail::schemes()) {
        if (known.factory != nullptr && known.name == scheme) {
            return known.factory(uri, options);
        }
    }
    if (scheme == "tcp" || scheme == "unix") {
        return Error{
            Status::bad_request,
            0,
            "'" + std::string(scheme) +
                ":' addresses need the TCP component, and this program was built without TCP"};
    }
    return Error{Status::bad_request,
                 0,
                 "'" + std::string(uri.substr(0, 100)) + "' is no address: write shm:NAME"};
}

Result<Queue> Client::queue(std::string_view name, const FindOptions& options) {
    auto found = core_ != nullptr     ? core_->find_queue(name, options)
                 : remote_ != nullptr ? remote_->queue(name, options)
                                      : Result<Queue>(Status::closed);
    return detail::RetryAccess::give(std::move(found), retrier_, retries_);
}
Result<Queue> Client::create_temporary_queue(const TemporaryQueueOptions& options) {
    auto made = core_ != nullptr     ? core_->create_temporary_queue(options)
                : remote_ != nullptr ? remote_->create_temporary_queue(options)
                                     : Result<Queue>(Status::closed);
    return detail::RetryAccess::give(std::move(made), retrier_, retries_);
}
Result<std::uint64_t> Client::reply(const MessageView& request, Message message, Duration timeout) {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->reply(request, std::move(message), timeout)
                                  : Result<std::uint64_t>(Status::closed);
    }
    return core_->reply(request, std::move(message), timeout);
}
Result<Published> Client::publish(const Message& message,
                                  Duration timeout,
                                  const RetryOptions& options) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(
            message, [&](const Message& marked) { return publish(marked, timeout, options); });
    }
    return detail::with_retries<Published>(
        retrier_.get(),
        options.retry,
        detail::task_of(detail::RetryKind::publish, message.topic(), timeout, options),
        [&](std::uint32_t /*attempt*/, Duration left) {
            if (core_ != nullptr) {
                return core_->publish(message, left, options.stop);
            }
            return remote_ != nullptr ? remote_->publish(message, left, options.stop)
                                      : Result<Published>(Status::closed);
        });
}
Result<Published> Client::publish(const Message& message, Duration timeout, std::stop_token stop) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(message, [&](const Message& marked) {
            return publish(marked, timeout, std::move(stop));
        });
    }
    if (retries_) [[unlikely]] {
        return publish(message, timeout, RetryOptions{.stop = std::move(stop)});
    }
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->publish(message, timeout, stop)
                                  : Result<Published>(Status::closed);
    }
    return core_->publish(message, timeout, stop);
}
Future<Published> Client::publish_async(Message message, Duration timeout, std::stop_token stop) {
    detail::inherit(message);
    if (core_ != nullptr) {
        return core_->publish_async(std::move(message), timeout, stop);
    }
    return remote_ != nullptr ? remote_->publish_async(std::move(message), timeout, stop)
                              : detail::ready_future(Result<Published>(Status::closed));
}
Result<Topic> Client::topic(std::string_view name) {
    auto found = core_ != nullptr     ? core_->find_topic(name)
                 : remote_ != nullptr ? remote_->topic(name)
                                      : Result<Topic>(Status::closed);
    return detail::RetryAccess::give(std::move(found), retrier_, retries_);
}
Result<Subscription> Client::subscribe_to(std::vector<std::string> patterns,
                                          detail::SampleHandler handler,
                                          SubscribeOptions options) {
    if (core_ == nullptr) {
        return remote_ != nullptr
                   ? remote_->subscribe(std::move(patterns), std::move(handler), std::move(options))
                   : Result<Subscription>(Status::closed);
    }
    return core_->subscribe(std::move(patterns), std::move(handler), std::move(options));
}
Result<bool> Client::exists(std::string_view name) const {
    if (core_ == nullptr) {
        return remote_ != nullptr ? remote_->admin()->exists(name) : Result<bool>(Status::closed);
    }
    return core_->exists(name);
}
bool Client::running() const {
    return core_ != nullptr ? core_->usable() == Status::ok
                            : remote_ != nullptr && remote_->running();
}
void Client::close() {
    // First: the end of the connection is no reason to make another one.
    if (outbox_ != nullptr) {
        outbox_->stop();
    }
    if (core_ != nullptr) {
        core_->close();
    } else if (remote_ != nullptr) {
        remote_->close();
    }
    // Last: who wakes here tries again, and is to find it closed.
    if (retrier_ != nullptr) {
        retrier_->close();
    }
    if (outbox_ != nullptr) {
        outbox_->close();
    }
}

}  // namespace telpher

#include "tcp_bridge/remote_client.hpp"

#include "shm/base/os.hpp"
#include "src/client/transport.hpp"
#include "src/wire/message_check.hpp"
#include "src/wire/names.hpp"
#include "tcp_bridge/tls_client_channel.hpp"

#include <algorithm>
#include <cerrno>
#include <string>

namespace telpher::bridge {
namespace {

// Names of topics and functions that keep a channel. Beyond it the first one goes.
constexpr std::size_t kNamesMax = 512;

const detail::SchemeRegistration kTcp("tcp", &connect_remote);
const detail::SchemeRegistration kUnix("unix", &connect_remote);

std::uint64_t random_number() {
    std::uint64_t number = 0;
    // Without a source of randomness, the retries of several clients meet.
    static_cast<void>(shm::fill_random(&number, sizeof number));
    return number;
}

Error no_channel() {
    return {Status::limit_reached, 0, "a connection has at most 65535 queues and subscriptions"};
}

Result<void> check_request_size(std::size_t bytes, std::size_t most) {
    if (bytes <= most) {
        return {};
    }
    return Error{Status::message_too_large,
                 0,
                 "the message has " + std::to_string(bytes) + " bytes, at most " +
                     std::to_string(most) + " are allowed"};
}

using ChannelMaker = std::function<std::unique_ptr<Channel>()>;

// What was asked to be encrypted never goes out in the clear.
Result<ChannelMaker> channel_maker(const Address& address, const ConnectOptions& options) {
    if (!options.encrypt && !options.tls) {
        return ChannelMaker([] { return std::make_unique<PlainChannel>(); });
    }
    if (address.is_unix) {
        return Error{Status::bad_request, 0, "encrypt and tls are for tcp: only"};
    }
    auto context = TlsContext::client(options.tls.value_or(Tls{}));
    if (!context) {
        return context.error();
    }
    return ChannelMaker([context = *context, peer = to_string(address)] {
        return std::make_unique<TlsClientChannel>(context, peer);
    });
}

}  // namespace

std::uint64_t ns_of(Duration timeout) noexcept {
    return static_cast<std::uint64_t>(timeout.count());
}

Result<Client> connect_remote(std::string_view uri, const ConnectOptions& options) {
    auto address = parse_address(uri);
    if (!address) {
        return address.error();
    }
    RemoteOptions remote;
    remote.address = std::move(*address);
    remote.wait_ns = ns_of(options.wait);
    remote.name = program_invocation_short_name;
    remote.random = random_number;
    if (options.compress_from_bytes < -1) {
        return Error{Status::bad_request,
                     0,
                     "compress_from_bytes is " + std::to_string(options.compress_from_bytes) +
                         ", allowed are -1 and more"};
    }
    remote.limits.compress_from = options.compress_from_bytes;
    auto channel = channel_maker(remote.address, options);
    if (!channel) {
        return channel.error();
    }
    remote.make_channel = std::move(*channel);
    auto connection = RemoteConnection::start(std::move(remote));
    if (!connection) {
        return connection.error();
    }
    return detail::RemoteAccess::client(std::make_shared<RemoteHandle>(std::move(*connection)));
}

// ---- what all share ----------------------------------------------------------------------------

Result<void> RemoteHandle::check(Duration timeout) const {
    if (connection_->forked()) {
        return Status::forked;
    }
    if (timeout.count() < 0) {
        return Error{
            Status::bad_request,
            0,
            "timeout is " + std::to_string(timeout.count()) + " ns, allowed are 0 and more"};
    }
    return {};
}

Result<Bytes> RemoteHandle::encode(const Message& message, MessageType type) {
    if (auto sound = message.check(); !sound) {
        return sound.error();
    }
    if (type != MessageType::offer && message.delay()) {
        return wire::delay_refused(type == MessageType::publish ? "a publish" : "a call");
    }
    const std::size_t size = wire::encoded_bytes(message);
    if (auto fits = check_request_size(size, message_bytes_max_); !fits) {
        return fits.error();
    }
    Bytes bytes(size);
    wire::encode(message, connection_->stamp(type), bytes);
    return bytes;
}

Result<Bytes> RemoteHandle::encode(Loan& loan, MessageType type) {
    const auto message = detail::RemoteAccess::stamp(loan, connection_->stamp(type));
    if (!message) {
        return message.error();
    }
    if (auto fits = check_request_size(message->size(), message_bytes_max_); !fits) {
        return fits.error();
    }
    return Bytes(message->begin(), message->end());
}

// Its value; the channel is closed again if it failed.
Result<std::uint64_t> RemoteHandle::open(std::uint16_t* channel, Open what, Duration wait) {
    auto* operation = new RemoteOffer(shared_from_this(), connection_);
    auto future = detail::FutureAccess::make<std::uint64_t>(operation);
    *channel = connection_->with([&](RemoteSession& session, std::uint64_t now) {
        return session.open(std::move(what), ns_of(wait), operation, now);
    });
    if (*channel == 0) {
        operation->drop();  // nobody will answer
        return no_channel();
    }
    auto opened = future.get(kUntilAnswered);
    if (!opened) {
        connection_->with(
            [&](RemoteSession& session, std::uint64_t /*now*/) { session.close(*channel); });
    }
    return opened;
}

Result<std::uint16_t> RemoteHandle::channel_of(Kind kind, std::string_view name) {
    const std::lock_guard hold(names_mutex_);
    auto known = names_.find({kind, std::string(name)});
    return connection_->with(
        [&](RemoteSession& session, std::uint64_t now) -> Result<std::uint16_t> {
            if (known != names_.end()) {
                if (!session.failure(known->second)) {
                    return known->second;
                }
                session.close(known->second);
                names_.erase(known);
            } else if (names_.size() >= kNamesMax) {
                session.close(names_.begin()->second);
                names_.erase(names_.begin());
            }
            const std::uint16_t channel = session.open({kind, std::string(name)}, 0, nullptr, now);
            if (channel == 0) {
                return no_channel();
            }
            names_.emplace(std::pair{kind, std::string(name)}, channel);
            return channel;
        },
        Leave::gathered);
}

bool RemoteHandle::running() const noexcept {
    return !connection_->forked() && connection_->running();
}

// ---- queues ------------------------------------------------------------------------------------

Result<Queue> RemoteHandle::queue(std::string_view name, const FindOptions& options) {
    if (auto named = wire::check_name("queue name", name); !named) {
        return named.error();
    }
    if (auto sound = check(options.wait); !sound) {
        return sound.error();
    }
    std::uint16_t channel = 0;
    const auto opened = open(&channel, {Kind::queue, std::string(name)}, options.wait);
    if (!opened) {
        return opened.error();
    }
    return detail::RemoteAccess::queue(
        make_remote_queue(shared_from_this(),
                          std::string(name),
                          channel,
                          static_cast<std::uint32_t>(std::min<std::uint64_t>(*opened, ~0U))));
}

// OPEN and OFFER travel together: one round trip.
Result<std::uint64_t> RemoteHandle::reply(const MessageView& request,
                                          Message message,
                                          Duration timeout) {
    const std::string name(request.reply_to());
    if (name.empty()) {
        return Error{Status::bad_request, 0, "the request names no reply-to queue"};
    }
    if (auto named = wire::check_name("queue name", name); !named) {
        return named.error();
    }
    if (auto sound = check(timeout); !sound) {
        return sound.error();
    }
    message.answering(request);
    const std::uint16_t channel = connection_->with([&](RemoteSession& session, std::uint64_t now) {
        return session.open({Kind::queue, name}, 0, nullptr, now);
    });
    if (channel == 0) {
        return no_channel();
    }
    const auto queue = make_remote_queue(shared_from_this(), name, channel, 0);
    return queue->offer(message, timeout, {});
}

// ---- topics ------------------------------------------------------------------------------------

Result<Topic> RemoteHandle::topic(std::string_view name) {
    if (auto named = wire::check_name("topic", name); !named) {
        return named.error();
    }
    if (auto sound = check({}); !sound) {
        return sound.error();
    }
    std::uint16_t channel = 0;
    const auto opened = open(&channel, {Kind::topic, std::string(name)}, {});
    if (!opened) {
        return opened.error();
    }
    const std::lock_guard hold(names_mutex_);
    const auto [known, is_new] = names_.emplace(std::pair{Kind::topic, std::string(name)}, channel);
    if (!is_new) {
        connection_->with(
            [&](RemoteSession& session, std::uint64_t /*now*/) { session.close(channel); });
    }
    return detail::RemoteAccess::topic(make_remote_topic(shared_from_this(), std::string(name)));
}

Future<Published> RemoteHandle::publish_bytes(
    std::string_view topic, Bytes bytes, Duration timeout, const std::stop_token& stop, Leave how) {
    if (auto sound = check(timeout); !sound) {
        return detail::ready_future(Result<Published>(sound.error()));
    }
    const auto channel = channel_of(Kind::topic, topic);
    if (!channel) {
        return detail::ready_future(Result<Published>(channel.error()));
    }
    Request request;
    request.head.type = FrameType::publish;
    request.head.channel = *channel;
    request.body = std::move(bytes);
    request.timeout_ns = ns_of(timeout);
    return start<Published>(*connection_,
                            new RemotePublish(shared_from_this(), connection_),
                            std::move(request),
                            stop,
                            how);
}

Future<Published> RemoteHandle::publish_async(Message message,
                                              Duration timeout,
                                              const std::stop_token& stop) {
    auto bytes = encode(message, MessageType::publish);
    return bytes ? publish_bytes(message.topic(), std::move(*bytes), timeout, stop, Leave::gathered)
                 : detail::ready_future(Result<Published>(bytes.error()));
}

Result<Published> RemoteHandle::publish(const Message& message,
                                        Duration timeout,
                                        const std::stop_token& stop) {
    auto bytes = encode(message, MessageType::publish);
    if (!bytes) {
        return bytes.error();
    }
    return publish_bytes(message.topic(), std::move(*bytes), timeout, stop, Leave::read_by_caller)
        .get(kUntilAnswered);
}

Result<Subscription> RemoteHandle::subscribe(std::vector<std::string> patterns,
                                             detail::SampleHandler handler,
                                             SubscribeOptions options) {
    if (auto sound = check({}); !sound) {
        return sound.error();
    }
    if (patterns.empty() || patterns.size() > kPatternsMax) {
        return Error{Status::bad_request,
                     0,
                     "there are " + std::to_string(patterns.size()) + " patterns, allowed are 1.." +
                         std::to_string(kPatternsMax)};
    }
    for (const std::string& pattern : patterns) {
        if (auto sound = wire::check_topic_pattern(pattern); !sound) {
            return sound.error();
        }
    }
    Subscribe what{options.from, options.slow, std::move(patterns)};
    auto made = make_remote_subscription(
        shared_from_this(), std::move(what), std::move(handler), std::move(options));
    if (!made) {
        return made.error();
    }
    return detail::RemoteAccess::subscription(std::move(*made));
}

// ---- functions ---------------------------------------------------------------------------------

Result<Request> RemoteHandle::call_request(const detail::RemoteCall& call, const Message& request) {
    if (auto sound = check(call.timeout); !sound) {
        return sound.error();
    }
    if (call.wait_for_server.count() < 0) {
        return Error{Status::bad_request, 0, "wait_for_server is negative, allowed are 0 and more"};
    }
    Request made;
    made.head.type = FrameType::call;
    made.timeout_ns = ns_of(call.timeout);
    if (!call.function.empty()) {
        if (auto named = wire::check_name("function name", call.function); !named) {
            return named.error();
        }
        const auto channel = channel_of(Kind::function, call.function);
        if (!channel) {
            return channel.error();
        }
        made.head.channel = *channel;
    }
    auto bytes = encode(request, MessageType::request);
    if (!bytes) {
        return bytes.error();
    }
    made.body = std::move(*bytes);
    return made;
}

Future<Message> RemoteHandle::begin_call(const detail::RemoteCall& call,
                                         const Message& request,
                                         Leave how) {
    auto made = call_request(call, request);
    if (!made) {
        return detail::ready_future(Result<Message>(made.error()));
    }
    return start<Message>(
        *connection_,
        new RemoteCallOperation(shared_from_this(), connection_, latencies_.of(call.function)),
        std::move(*made),
        call.stop,
        how);
}

Future<Message> RemoteHandle::send_async(const detail::RemoteCall& call, const Message& request) {
    return begin_call(call, request, Leave::gathered);
}

Result<Message> RemoteHandle::send(const detail::RemoteCall& call, const Message& request) {
    return begin_call(call, request, Leave::read_by_caller).get(kUntilAnswered);
}

Result<void> RemoteHandle::send_oneway(const detail::RemoteCall& call, const Message& request) {
    auto made = call_request(call, request);
    if (!made) {
        return made.error();
    }
    made->head.flags = kFlagOneway;
    const auto sent = start<std::uint64_t>(*connection_,
                                           new RemoteOffer(shared_from_this(), connection_),
                                           std::move(*made),
                                           call.stop)
                          .get(kUntilAnswered);
    return sent ? Result<void>() : sent.error();
}

}  // namespace telpher::bridge

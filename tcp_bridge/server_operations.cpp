// What a session does in the domain, operation by operation.

#include "src/broker/queue_core.hpp"
#include "src/wire/codec.hpp"
#include "tcp_bridge/byte_cursor.hpp"
#include "tcp_bridge/message_bytes.hpp"
#include "tcp_bridge/server_session.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

Duration duration_of(std::uint64_t ns) {
    constexpr auto kMost = static_cast<std::uint64_t>(Duration::max().count());
    return Duration(static_cast<std::int64_t>(std::min(ns, kMost)));
}

FrameHead result_head(std::uint64_t argument) {
    FrameHead head;
    head.type = FrameType::result;
    head.argument = argument;
    return head;
}

// Whether an operation that could not be done at once is to wait.
bool waits_for(Status status, const FrameHead& head) {
    return head.argument != 0 && (status == Status::queue_empty || status == Status::queue_full ||
                                  status == Status::out_of_memory);
}

// What a WATCH waits for: room, or else a message.
bool watches_room(FrameType type, std::span<const std::byte> body) {
    return type == FrameType::watch && !body.empty() && body[0] != std::byte{0};
}

std::string_view verb_of(FrameType type, bool room) {
    switch (type) {
        case FrameType::offer:
            return "produce";
        case FrameType::poll:
            return "consume";
        case FrameType::watch:
            return room ? "produce" : "consume";
        case FrameType::publish:
            return "publish";
        default:
            return "call";
    }
}

}  // namespace

// ---- OPEN --------------------------------------------------------------------------------------

Result<void> ServerSession::open(const FrameHead& head, std::span<const std::byte> body) {
    auto what = decode_open(body);
    if (!what) {
        return what.error();
    }
    if (head.channel == 0 || channels_.contains(head.channel) ||
        subscriptions_.contains(head.channel)) {
        return Error{Status::bad_request,
                     0,
                     "OPEN of channel " + std::to_string(head.channel) + ", which is in use"};
    }
    if (channels_.size() >= limits_.channels_max) {
        answer(
            head.correlation,
            Error{Status::limit_reached,
                  0,
                  "a session has at most " + std::to_string(limits_.channels_max) + " channels"});
        return {};
    }
    Channel& channel = channels_[head.channel];
    channel.open = std::move(*what);
    channel.opening = true;
    channel.correlation = head.correlation;
    const auto now = Clock::now();
    const auto wait = std::min<Duration>(duration_of(head.argument), std::chrono::hours(24));
    channel.until = now + wait;
    ++opening_;
    try_open(head.channel, channel, now);
    return {};
}

void ServerSession::try_open(std::uint16_t number, Channel& channel, Clock::time_point now) {
    Error error;
    std::uint32_t capacity = 0;
    switch (channel.open.kind) {
        case Kind::queue:
            if (auto queue = client_.queue(channel.open.name); queue) {
                channel.queue = std::move(*queue);
                capacity = channel.queue.capacity();
                opened_temporary(channel.open.name, number);
            } else {
                error = queue.error();
            }
            break;
        case Kind::topic:
            if (!allowed("publish", channel.open.name)) {
                error = {Status::not_permitted,
                         0,
                         principal_ + " may not publish '" + channel.open.name + "'"};
            } else if (auto topic = client_.topic(channel.open.name); topic) {
                channel.topic = std::move(*topic);
            } else {
                error = topic.error();
            }
            break;
        case Kind::function:
            break;  // looked for by each call
    }
    if (error.status == Status::queue_not_found && now < channel.until) {
        return;
    }
    channel.opening = false;
    --opening_;
    FrameHead head = result_head(capacity);
    const auto waiting = take_waiting(channel);
    answer(channel.correlation, head, error.status == Status::ok ? Bytes{} : encode(Ending{error}));
    for (const auto& [operation, body] : waiting) {
        if (error.status == Status::ok) {
            run(operation, &channel, body);
        } else {
            answer(operation.correlation, error);
        }
    }
    if (error.status != Status::ok) {
        channels_.erase(number);
    }
}

void ServerSession::on_tick(Clock::time_point now) {
    if (opening_ == 0) {
        return;
    }
    std::vector<std::uint16_t> numbers;
    for (const auto& [number, channel] : channels_) {
        if (channel.opening) {
            numbers.push_back(number);
        }
    }
    for (const std::uint16_t number : numbers) {
        try_open(number, channels_[number], now);
    }
}

// ---- data --------------------------------------------------------------------------------------

// What came about, as the client hears it.
template <typename T>
void ServerSession::tell(const FrameHead& head, const Result<T>& result) {
    if (!result) {
        answer(head.correlation, result.error());
        // NOLINTNEXTLINE(bugprone-branch-clone): two of these are empty in each instance
    } else if constexpr (std::is_same_v<T, Message>) {
        FrameHead response;
        response.type = FrameType::response;
        response.channel = head.channel;
        answer(head.correlation, response, bytes_of(*result));
    } else if constexpr (std::is_same_v<T, Published>) {
        ByteWriter body;
        body.put(result->subscribers);
        body.zeros(4);
        answer(head.correlation, result_head(result->sequence), body.take());
    } else {
        answer(head.correlation, result_head(*result), {});
    }
}

// Most are over when they begin: those are answered in this turn, with all that came with them.
template <typename T>
void ServerSession::start(const FrameHead& head, Future<T> future) {
    if (future.ready()) {
        tell(head, future.get({}));
        return;
    }
    auto operation = std::make_shared<FutureOperation<T>>(std::move(future));
    operations_[head.correlation] = operation;
    FutureOperation<T>::await(operation, inbox_, [weak = weak_from_this(), head](Result<T> result) {
        if (const auto self = weak.lock()) {
            self->tell(head, result);
        }
    });
}

void ServerSession::run(const FrameHead& head, Channel* channel, std::span<const std::byte> body) {
    const std::string_view name = channel != nullptr ? std::string_view(channel->open.name) : "";
    const Kind kind = channel != nullptr ? channel->open.kind : Kind::function;
    const Kind wanted = head.type == FrameType::publish ? Kind::topic
                        : head.type == FrameType::call  ? Kind::function
                                                        : Kind::queue;
    if (kind != wanted) {
        answer(head.correlation,
               Error{Status::bad_request,
                     0,
                     std::string(to_string(head.type)) + " on a channel of another kind"});
        return;
    }
    const bool room = watches_room(head.type, body);
    const std::string_view verb = verb_of(head.type, room);
    if (!allowed(verb, name)) {
        answer(
            head.correlation,
            Error{Status::not_permitted,
                  0,
                  principal_ + " may not " + std::string(verb) + " '" + std::string(name) + "'"});
        return;
    }
    if (verb == "consume" && !may_poll(channel->open.name)) {
        answer(head.correlation,
               Error{Status::not_permitted,
                     0,
                     "only the client that made temporary queue '" + channel->open.name +
                         "' polls it"});
        return;
    }
    if (head.type == FrameType::poll) {
        return run_poll(head, *channel);
    }
    if (head.type == FrameType::watch) {
        return run_watch(head, *channel, room);
    }
    const auto view = wire::decode(body);
    if (!view) {
        answer(head.correlation, Error{Status::bad_request, 0, view.error().detail});
        return;
    }
    switch (head.type) {
        case FrameType::offer:
            return run_offer(head, *channel, *view);
        case FrameType::publish:
            return run_publish(head, *channel, view->to_message());
        default:
            return run_call(head, channel, view->to_message());
    }
}

void ServerSession::run_offer(const FrameHead& head, Channel& channel, const MessageView& message) {
    const detail::OriginScope scope(origin_);
    detail::QueueCore& core = detail::QueueCore::of(channel.queue);
    // relaxed: our own operations are counted before this call. Those that wait already go first.
    if (core.pending(detail::OperationKind::offer).load(std::memory_order_relaxed) == 0) {
        const auto offered = core.offer(message, {}, {});
        if (offered || !waits_for(offered.status(), head)) {
            tell(head, offered);
            return;
        }
    }
    Message copy = message.to_message();
    if (const auto delay = message.delay()) {
        copy.deliver_after(*delay);  // which a copy of what was sent leaves out
    }
    start(head, channel.queue.offer_async(std::move(copy), duration_of(head.argument)));
}

void ServerSession::run_poll(const FrameHead& head, Channel& channel) {
    if (leases_.size() >= limits_.leases_max) {
        answer(head.correlation,
               Error{Status::limit_reached,
                     0,
                     "leases_max of a session is " + std::to_string(limits_.leases_max) +
                         ", as many messages are leased and not acknowledged"});
        return;
    }
    detail::QueueCore& core = detail::QueueCore::of(channel.queue);
    // relaxed: as above
    if (core.pending(detail::OperationKind::poll).load(std::memory_order_relaxed) == 0) {
        auto polled = core.poll({}, {});
        if (polled || !waits_for(polled.status(), head)) {
            deliver(head, channel.queue, std::move(polled));
            return;
        }
    }
    auto operation = std::make_shared<FutureOperation<Delivery>>(
        channel.queue.poll_async(duration_of(head.argument)));
    operations_[head.correlation] = operation;
    FutureOperation<Delivery>::await(
        operation,
        inbox_,
        [weak = weak_from_this(), host = host_, head, queue = channel.queue](
            Result<Delivery> polled) {
            const auto self = weak.lock();
            if (self != nullptr && !self->ended()) {
                self->deliver(head, queue, std::move(polled));
            } else if (polled) {
                host->returns.add(queue, std::move(*polled));  // too late to be cancelled
            }
        });
}

void ServerSession::run_watch(const FrameHead& head, Channel& channel, bool room) {
    start(head,
          detail::QueueCore::of(channel.queue)
              .ready_async(room ? detail::OperationKind::offer : detail::OperationKind::poll,
                           duration_of(head.argument)));
}

void ServerSession::run_publish(const FrameHead& head, Channel& channel, Message message) {
    start(head, channel.topic.publish_async(std::move(message), duration_of(head.argument)));
}

void ServerSession::run_call(const FrameHead& head, Channel* channel, const Message& message) {
    const detail::OriginScope scope(origin_);
    const Duration timeout = duration_of(head.argument);
    if ((head.flags & kFlagOneway) != 0) {
        // Without waiting for room: the I/O thread has others to serve.
        const auto sent = channel != nullptr ? client_.send_oneway(channel->open.name, message)
                                             : client_.send_oneway(message);
        answer(head.correlation, sent ? Error{} : sent.error());
        return;
    }
    start(head,
          channel != nullptr ? client_.send_async(channel->open.name, message, timeout)
                             : client_.send_async(message, timeout));
}

// The message stays ours until the client confirms it.
void ServerSession::deliver(const FrameHead& poll, const Queue& queue, Result<Delivery> polled) {
    if (!polled) {
        answer(poll.correlation, polled.error());
        return;
    }
    FrameHead head;
    head.type = FrameType::delivery;
    head.channel = poll.channel;
    head.argument = polled->sequence();
    Bytes body = bytes_of(*polled);
    // `answer` keeps what is here.
    Kept& kept = kept_.make(poll.correlation);
    if (polled->deliveries() != 0) {
        head.flags |= kFlagLeased;
        kept.lease = encode(LeaseTold{
            polled->deliveries(), polled->reason(), polled->dead_letter().value_or(DeadLetter{})});
    }
    kept.dropped = polled->dropped_before();
    kept.queue = queue;
    kept.delivery = std::move(*polled);
    answer(poll.correlation, head, std::move(body));
}

// ---- SUBSCRIBE ---------------------------------------------------------------------------------

Result<void> ServerSession::subscribe(const FrameHead& head, std::span<const std::byte> body) {
    const auto what = decode_subscribe(body);
    if (!what) {
        return what.error();
    }
    const std::uint16_t number = head.channel;
    if (number == 0 || channels_.contains(number) || subscriptions_.contains(number)) {
        return Error{Status::bad_request,
                     0,
                     "SUBSCRIBE of channel " + std::to_string(number) + ", which is in use"};
    }
    if (subscriptions_.size() >= limits_.subscriptions_max) {
        answer(head.correlation,
               Error{Status::limit_reached,
                     0,
                     "a session has at most " + std::to_string(limits_.subscriptions_max) +
                         " subscriptions"});
        return {};
    }
    for (const std::string& pattern : what->patterns) {
        if (!allowed("subscribe", pattern)) {
            answer(head.correlation,
                   Error{Status::not_permitted,
                         0,
                         principal_ + " may not subscribe to '" + pattern + "'"});
            return {};
        }
    }
    const auto weak = weak_from_this();
    auto subscription = std::make_shared<ServerSubscription>(
        inbox_,
        number,
        ServerSubscription::Tell{[weak, number](Samples samples) {
                                     if (const auto self = weak.lock()) {
                                         self->send_samples(number, std::move(samples));
                                     }
                                 },
                                 [weak, number](const Error& why) {
                                     if (const auto self = weak.lock()) {
                                         self->subscription_ended(number, why);
                                     }
                                 }});
    subscriptions_[number] = subscription;
    if (auto started = subscription->start(client_, *what, head.argument); !started) {
        subscriptions_.erase(number);
        answer(head.correlation, started.error());
        return {};
    }
    answer(head.correlation, Error{});
    return {};
}

}  // namespace telpher::bridge

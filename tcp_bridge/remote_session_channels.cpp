// Channels of a remote session: destinations and subscriptions.

#include "tcp_bridge/remote_session.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

constexpr std::size_t kChannelsMax = 65'535;

}  // namespace

// Numbers are used again as late as possible: what is under way for the old use has arrived then.
std::uint16_t RemoteSession::free_channel() noexcept {
    if (channels_.size() >= kChannelsMax) {
        return 0;
    }
    do {
        ++last_channel_;
    } while (last_channel_ == 0 || channels_.contains(last_channel_));
    return last_channel_;
}

// Sends OPEN or SUBSCRIBE.
Ticket RemoteSession::begin_channel(std::uint16_t number,
                                    Waiter* waiter,
                                    std::uint64_t wait_ns,
                                    std::uint64_t now) {
    Channel& channel = channels_[number];
    Request request;
    request.head.channel = number;
    request.timeout_ns = wait_ns;
    if (channel.subscription) {
        request.head.type = FrameType::subscribe;
        request.head.argument =
            limits_.window - std::min<std::uint64_t>(limits_.window, channel.buffered);
        request.travels = false;
        request.body = encode(channel.what);
        channel.granted = request.head.argument;
    } else {
        request.head.type = FrameType::open;
        request.body = encode(channel.open);
    }
    // Known before it begins: an end of the session answers at once.
    channel.opening = last_ticket_ + 1;
    return begin(std::move(request), waiter, now);
}

std::uint16_t RemoteSession::open(Open what,
                                  std::uint64_t wait_ns,
                                  Waiter* waiter,
                                  std::uint64_t now) {
    const std::uint16_t number = free_channel();
    if (number != 0) {
        channels_[number].open = std::move(what);
        begin_channel(number, waiter, wait_ns, now);
    }
    return number;
}

std::uint16_t RemoteSession::subscribe(Subscribe what,
                                       std::shared_ptr<SampleSink> sink,
                                       Waiter* waiter,
                                       std::uint64_t now) {
    const std::uint16_t number = free_channel();
    if (number != 0) {
        Channel& channel = channels_[number];
        channel.what = std::move(what);
        channel.subscription = subscribed_ = true;
        channel.sink = std::move(sink);
        begin_channel(number, waiter, limits_.handshake_ns, now);
    }
    return number;
}

void RemoteSession::close(std::uint16_t number) {
    const auto known = channels_.find(number);
    if (known == channels_.end() || known->second.closing) {
        return;
    }
    Channel& channel = known->second;
    for (Ticket ticket = operations_.first(); ticket != 0; ticket = operations_.next(ticket)) {
        Operation& operation = *operations_.find(ticket);
        if (operation.head.channel != number || operation.waiter == nullptr) {
            continue;
        }
        forget_waiter(operation, {Status::closed, 0, {}});
        if (operation.correlation == 0 && ticket != channel.opening) {
            erase(ticket);
        } else {
            set_expiry(ticket, operation, ~0ULL);
            cancel(operation);
        }
    }
    channel.sink.reset();  // it keeps the client, and END may never come
    FrameHead head;
    head.channel = number;
    head.type = channel.subscription ? FrameType::unsubscribe : FrameType::close;
    if (channel.opening != 0) {
        channel.closing = true;  // when that is answered
    } else if (!channel.subscription) {
        push_unproven(head);
        channels_.erase(known);
    } else if (channel.failed || session_lost_) {
        channels_.erase(known);
    } else {
        channel.closing = true;  // until END
        push_unproven(head);
    }
}

void RemoteSession::grant(std::uint16_t number, std::uint32_t count) {
    const auto known = channels_.find(number);
    if (known == channels_.end() || known->second.closing) {
        return;
    }
    Channel& channel = known->second;
    channel.buffered -= std::min<std::uint64_t>(channel.buffered, count);
    const std::uint64_t open = channel.granted + channel.buffered;
    // Not for each one: half a window at a time.
    if (channel.opening == 0 && state_ == State::up && open <= limits_.window / 2) {
        FrameHead head;
        head.type = FrameType::credit;
        head.channel = number;
        head.argument = limits_.window - open;
        channel.granted += head.argument;
        push(head);
    }
}

std::optional<Error> RemoteSession::failure(std::uint16_t number) const {
    const auto known = channels_.find(number);
    return known != channels_.end() ? known->second.failed : std::nullopt;
}

}  // namespace telpher::bridge

// What a remote session's subscriptions receive.

#include "tcp_bridge/remote_session.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

// Of a subscription whose numbers are remembered: as many as a domain can have.
constexpr std::size_t kTopicsMax = 4096;
// A window that was granted anew after a cut may come on top of the old one.
constexpr std::uint64_t kWindowsMax = 4;

}  // namespace

Result<void> RemoteSession::on_sample(const Frame& frame) {
    const auto known = channels_.find(frame.head.channel);
    if (known == channels_.end() || !known->second.subscription || known->second.failed) {
        return refuse("SAMPLE on channel " + std::to_string(frame.head.channel) +
                      ", which is no subscription");
    }
    Answer answer;
    bool complete = true;
    if (auto taken = on_message(frame, answer, &complete); !taken || !complete) {
        return taken;
    }
    Channel& channel = known->second;
    if (channel.granted == 0 && channel.buffered >= kWindowsMax * limits_.window) {
        return refuse("more SAMPLEs than were granted");
    }
    channel.granted -= channel.granted > 0 ? 1U : 0U;
    ++channel.buffered;
    // Where a new session would go on; with several topics, each has numbers of its own.
    if (channel.what.patterns.size() == 1 && channel.what.patterns[0] == answer.view.topic()) {
        channel.what.from = From::sequence(answer.value + 1);
    } else {
        channel.what.from = From::latest();
    }
    if (!channel.closing) {
        Event event;
        event.sink = channel.sink;
        event.lost_before = lost_before(channel, frame, answer.view.topic());
        event.answer = std::move(answer);
        events_.push_back(std::move(event));
    }
    return {};
}

// What was sent and not received in a cut, the bridge cannot know: the numbers tell.
std::uint64_t RemoteSession::lost_before(Channel& channel,
                                         const Frame& frame,
                                         std::string_view topic) {
    const std::uint64_t number = frame.head.argument;
    auto known = channel.last.find(topic);
    if (known == channel.last.end()) {
        if (channel.last.size() < kTopicsMax) {
            channel.last.emplace(topic, Channel::Last{number, connection_number_});
        }
        return frame.head.correlation;
    }
    Channel::Last& last = known->second;
    const bool cut = last.connection != connection_number_;
    const std::uint64_t gap = number > last.number ? number - last.number - 1 : 0;
    last = {number, connection_number_};
    return cut ? std::max(gap, frame.head.correlation) : frame.head.correlation;
}

Result<void> RemoteSession::on_end(const Frame& frame) {
    const auto known = channels_.find(frame.head.channel);
    auto ending = decode_ending(frame.body);
    if (!ending) {
        return refuse("END: " + ending.error().detail);
    }
    if (known == channels_.end() || !known->second.subscription) {
        return {};  // of an UNSUBSCRIBE that was sent twice
    }
    if (ending->error.status == Status::ok) {
        ending->error.status = Status::closed;
    }
    Channel& channel = known->second;
    if (channel.closing) {
        channels_.erase(known);
        return {};
    }
    Event event;
    event.sink = std::move(channel.sink);
    event.ended = true;
    event.answer.error = ending->error;
    channel.failed = std::move(ending->error);
    events_.push_back(std::move(event));
    return {};
}

}  // namespace telpher::bridge

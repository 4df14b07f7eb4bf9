// What a remote session has received, and how it goes on behind a cut: the old one, or a new one in its place.

#include "tcp_bridge/byte_cursor.hpp"
#include "tcp_bridge/remote_session.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

// Without anything else that it could leave with.
constexpr std::uint32_t kAnswersPerAckMost = 1024;

bool opens_channel(FrameType type) {
    return type == FrameType::open || type == FrameType::subscribe;
}

// Whether nothing has happened if no answer came: the message of a poll that did not arrive went back.
bool takes_nothing(FrameType type) { return type == FrameType::poll || type == FrameType::watch; }

}  // namespace

std::uint64_t RemoteSession::all_answered_to() const noexcept {
    return unanswered_.empty() ? last_correlation_ : unanswered_.first() - 1;
}

// A poll that waits long holds the one number back; the answers behind it are told as ranges.
void RemoteSession::acknowledge(bool now) {
    answers_unacknowledged_ += now ? 0U : 1U;
    const std::uint32_t often = std::min(kAnswersPerAckMost, welcome_.outstanding_max / 4 + 1);
    if (answers_unacknowledged_ == 0 || (!now && answers_unacknowledged_ < often)) {
        return;
    }
    answers_unacknowledged_ = 0;
    FrameHead head;
    head.type = FrameType::ack;
    head.argument = all_answered_to();
    ByteWriter ranges;
    std::size_t count = 0;
    for (std::uint64_t at = unanswered_.first(); at != 0 && count < kAckRangesMax;) {
        const std::uint64_t next = unanswered_.next(at);
        const std::uint64_t end = next != 0 ? next : last_correlation_ + 1;
        if (end > at + 1) {
            ranges.put(at + 1);
            ranges.put(end - 1);
            ++count;
        }
        at = next;
    }
    push(head, ranges.take());
}

// What may not have arrived is sent again, in the order in which it was sent. Frames without an answer go
// first: the bridge passes over those that it has had.
void RemoteSession::resume(std::uint64_t received) {
    for (const Unproven& unproven : unproven_) {
        if (unproven.head.type != FrameType::cancel) {
            push(unproven.head);
        }
    }
    std::deque<Ticket> waiting;
    waiting.swap(waiting_);
    each_unanswered([&](Ticket ticket, Operation& operation) {
        operation.sent = operation.correlation <= received;
        if (!operation.sent) {
            waiting_.push_back(ticket);  // with its CANCEL behind it, if there is one
        } else if (operation.cancelled) {
            FrameHead head;
            head.type = FrameType::cancel;
            head.correlation = operation.correlation;
            push(head);
        }
    });
    for (const Ticket ticket : waiting) {
        const Operation* const operation = operations_.find(ticket);
        if (operation != nullptr && operation->correlation == 0) {
            waiting_.push_back(ticket);
        }
    }
    // What was granted before counts no longer.
    for (auto& [number, channel] : channels_) {
        // One whose SUBSCRIBE is sent again grants with it.
        const Operation* const opening = operations_.find(channel.opening);
        const bool begun = opening == nullptr || opening->sent;
        if (channel.subscription && !channel.failed && !channel.closing && begun) {
            FrameHead head;
            head.type = FrameType::credit;
            head.channel = number;
            head.argument =
                limits_.window - std::min<std::uint64_t>(limits_.window, channel.buffered);
            channel.granted = head.argument;
            if (head.argument > 0) {
                push(head);
            }
        }
    }
}

// The session is gone, and with it what the bridge had of it: nobody knows what became of it.
void RemoteSession::fail_unanswered(const Error& why) {
    Error error = why;
    error.status = Status::disconnected;
    each_unanswered([&](Ticket ticket, Operation& operation) {
        const FrameType type = operation.head.type;
        const bool again =
            takes_nothing(type) || operation.given_back || operation.correlation >= not_begun_from_;
        if (opens_channel(type) || (again && operation.waiter != nullptr)) {
            return;  // begun again below
        }
        forget_waiter(operation, error);
        erase(ticket);
    });
}

// Channels and subscriptions are made again; correlations begin with 1.
void RemoteSession::begin_anew(std::uint64_t now) {
    unproven_.clear();
    last_correlation_ = 0;
    answers_unacknowledged_ = 0;
    std::deque<Ticket> waiting;
    waiting.swap(waiting_);
    std::deque<Ticket> again;  // the old session did not begin them; behind their channels
    each_unanswered([&](Ticket ticket, Operation& operation) {
        const bool opens = opens_channel(operation.head.type);
        operation.correlation = 0;
        operation.sent = false;
        operation.given_back = false;
        operation.cancelled = operation.cancelled && !opens;
        (opens ? waiting_ : again).push_back(ticket);
    });
    unanswered_.clear();
    not_begun_from_ = ~0ULL;
    for (auto at = channels_.begin(); at != channels_.end();) {
        const std::uint16_t number = at->first;
        Channel& channel = at->second;
        ++at;
        Operation* const opening = operations_.find(channel.opening);
        if (channel.closing) {
            if (opening != nullptr) {
                erase(channel.opening);
            }
            channels_.erase(number);
        } else if (opening != nullptr) {
            if (channel.subscription) {
                opening->body = encode(channel.what);
            }
        } else if (!channel.failed) {
            begin_channel(number, nullptr, limits_.handshake_ns, now);
        }
    }
    // What was put in front has been sent, or its place in here is the second one, which counts no more.
    waiting_.insert(waiting_.end(), again.begin(), again.end());
    waiting_.insert(waiting_.end(), waiting.begin(), waiting.end());
    send_waiting(now);
}

}  // namespace telpher::bridge

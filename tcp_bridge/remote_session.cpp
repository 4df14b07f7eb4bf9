#include "tcp_bridge/remote_session.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

// An operation takes about as much besides its message.
constexpr std::size_t kOperationBytes = 256;
constexpr std::uint32_t kAnswersPerAck = 64;
// Gathered into one write.
constexpr std::size_t kTakeBytes = std::size_t{256} << 10U;

}  // namespace

RemoteSession::RemoteSession(std::string name, RemoteLimits limits)
    : name_(std::move(name)),
      limits_(limits),
      grace_ns_(std::uint64_t{limits.heartbeat_ms} * 1'000'000) {}

// ---- the stream --------------------------------------------------------------------------------

void RemoteSession::connected(std::uint64_t now) {
    if (state_ == State::ended) {
        return;
    }
    state_ = State::greeting;
    refused_ = false;
    reader_ = FrameReader();
    parts_.reset();
    out_.clear();
    heard_ = now;
    greeting_until_ = after(now, limits_.handshake_ns);
    Hello hello;
    hello.heartbeat_ms = limits_.heartbeat_ms;
    hello.name = name_;
    hello.codecs = codecs_offered();
    hello.compress_from = limits_.compress_from;
    if (!session_lost_) {
        hello.session = welcome_.session;
        hello.received = all_answered_to();
    }
    const std::span preface{kPreface};
    out_.push_raw(std::as_bytes(preface));
    FrameHead head;
    head.type = FrameType::hello;
    out_.push(head, encode(hello));
}

void RemoteSession::cut(const Error& why) {
    out_.clear();
    leases_.clear();  // told again with what they belong to
    gaps_.clear();
    if (state_ == State::ended) {
        return;
    }
    state_ = State::down;
    why_down_ = why;
    why_down_.status = why.status == Status::ok ? Status::disconnected : why.status;
    if (session_lost_) {
        fail_unanswered(why_down_);
    }
}

void RemoteSession::push(FrameHead head, std::span<const std::byte> body) {
    if (state_ == State::up) {
        out_.push(head, body);
    }
}

void RemoteSession::push_unproven(FrameHead head) {
    unproven_.push_back({head, last_correlation_ + 1});
    push(head);
}

void RemoteSession::take(Bytes& out, std::uint64_t now) {
    if (out_.empty()) {
        return;
    }
    if (answers_unacknowledged_ >= kAnswersPerAck && state_ == State::up) {
        acknowledge(true);  // one that leaves alone costs both sides a turn
    }
    out_.take(out, kTakeBytes);
    said_ = now;
    if (!out_.has_unbegun()) {
        send_waiting(now);
    }
}

std::uint64_t RemoteSession::heartbeat_ns() const noexcept {
    return std::uint64_t{welcome_.heartbeat_ms} * 1'000'000;
}

// ---- operations --------------------------------------------------------------------------------

bool RemoteSession::admits(std::size_t bytes) const noexcept {
    return operations_.size() < limits_.operations_max &&
           (bytes_ == 0 || bytes_ + bytes + kOperationBytes <= limits_.bytes_max);
}

Ticket RemoteSession::begin(Request request, Waiter* waiter, std::uint64_t now) {
    const Ticket ticket = ++last_ticket_;
    Operation& operation = operations_.make(ticket);
    operation.head = request.head;
    if (request.body.size() > kBodyBytesMax) {
        operation.large = std::make_shared<const Bytes>(std::move(request.body));
    } else {
        operation.body = std::move(request.body);
    }
    operation.waiter = waiter;
    operation.travels = request.travels;
    operation.waits = request.travels && request.timeout_ns != 0;
    operation.deadline = after(now, request.timeout_ns);
    bytes_ += operation.bytes() + kOperationBytes;
    if (state_ == State::ended) {
        forget_waiter(operation, why_down_);
        erase(ticket);
        return ticket;
    }
    const auto channel = channels_.find(request.head.channel);
    const bool known = channel != channels_.end() && !channel->second.closing;
    if (request.head.channel != 0 && (!known || channel->second.failed)) {
        forget_waiter(operation, known ? *channel->second.failed : Error{Status::closed, 0, {}});
        erase(ticket);
        return ticket;
    }
    waiting_.push_back(ticket);
    send_waiting(now);
    if (!operation.sent) {
        set_expiry(ticket, operation, operation.deadline);
    }
    return ticket;
}

// Operations begin in the order of their numbers: none may overtake the first part of another. The bridge
// counts answers that it has not heard to be received, too.
bool RemoteSession::holds() noexcept {
    if (state_ != State::up || out_.has_unbegun()) {
        return true;
    }
    if (unanswered_.size() + answers_unacknowledged_ >= welcome_.outstanding_max) {
        acknowledge(true);
    }
    return unanswered_.size() >= welcome_.outstanding_max;
}

void RemoteSession::send_waiting(std::uint64_t now) {
    while (!waiting_.empty()) {
        const Ticket ticket = waiting_.front();
        Operation* const operation = operations_.find(ticket);
        if (operation != nullptr && !operation->sent) {
            // One that is sent again has its place among the unanswered.
            if (state_ != State::up || out_.has_unbegun() ||
                (operation->correlation == 0 && holds())) {
                return;
            }
            send(ticket, *operation, now);
        }
        waiting_.pop_front();
    }
}

void RemoteSession::send(Ticket ticket, Operation& operation, std::uint64_t now) {
    if (operation.correlation == 0) {
        operation.correlation = ++last_correlation_;
        unanswered_.make(operation.correlation) = ticket;
        operation.head.correlation = operation.correlation;
    }
    if (operation.travels) {
        const bool wanted = !operation.cancelled && operation.deadline > now;
        operation.head.argument = wanted ? operation.deadline - now : 0;
        if (operation.deadline == ~0ULL && wanted) {
            operation.head.argument = ~0ULL;
        }
    }
    operation.sent = true;
    FrameHead head = operation.head;  // kept as it is: what is sent again may go another way
    const Bytes& body = operation.large != nullptr ? *operation.large : operation.body;
    if (const auto shrunk = codec_.shrink(head, body)) {
        push(head, *shrunk);
    } else if (operation.large == nullptr) {
        push(head, body);
    } else if (state_ == State::up) {
        out_.push(head, operation.large);
    }
    if (operation.cancelled) {  // while it could not be sent
        FrameHead behind;
        behind.type = FrameType::cancel;
        behind.correlation = operation.correlation;
        push(behind);
    }
    set_expiry(ticket, operation, after(operation.deadline, grace_ns_));
}

// Asks the bridge to; OPEN and SUBSCRIBE end with their channels.
void RemoteSession::cancel(Operation& operation) {
    if (operation.cancelled || operation.head.type == FrameType::subscribe) {
        return;
    }
    operation.cancelled = true;
    if (operation.sent) {
        FrameHead head;
        head.type = FrameType::cancel;
        head.correlation = operation.correlation;
        push_unproven(head);
    }
}

// As much room as is usual at once: events are large, and growing moves them.
Event& RemoteSession::add_event() {
    if (events_.capacity() == 0) {
        events_.reserve(events_usual_);
    }
    return events_.emplace_back();
}

// Its waiter hears of it, and is let go.
void RemoteSession::answer(Operation& operation, Answer answer) {
    if (operation.waiter != nullptr) {
        Event& event = add_event();
        event.waiter = std::exchange(operation.waiter, nullptr);
        event.claimed = event.waiter->claim();
        event.answer = std::move(answer);
    }
}

void RemoteSession::forget_waiter(Operation& operation, Error error) {
    Answer failed;
    failed.error = std::move(error);
    answer(operation, std::move(failed));
}

void RemoteSession::erase(Ticket ticket) {
    Operation& operation = *operations_.find(ticket);
    if (operation.correlation != 0) {
        unanswered_.erase(operation.correlation);
    }
    bytes_ -= operation.bytes() + kOperationBytes;
    operations_.erase(ticket);
}

void RemoteSession::abandon(Ticket ticket) {
    Operation* const known = operations_.find(ticket);
    if (known == nullptr) {
        return;  // answered this moment: whoever runs the event lets go
    }
    Operation& operation = *known;
    if (operation.waiter != nullptr) {
        Event event;
        event.waiter = std::exchange(operation.waiter, nullptr);
        events_.push_back(std::move(event));
    }
    if (not_begun(operation)) {
        erase(ticket);
    } else {
        set_expiry(ticket, operation, ~0ULL);
        cancel(operation);
    }
}

bool RemoteSession::take_back(Ticket ticket) {
    Operation* const operation = operations_.find(ticket);
    if (operation == nullptr) {
        return false;
    }
    if (not_begun(*operation)) {
        abandon(ticket);
        return true;
    }
    cancel(*operation);
    return false;
}

// It has not happened, and cannot before there is another bridge.
bool RemoteSession::not_begun(const Operation& operation) const noexcept {
    return operation.correlation == 0 || operation.given_back ||
           (session_lost_ && operation.correlation >= not_begun_from_);
}

bool RemoteSession::settle(std::uint64_t session_number, std::uint64_t correlation, bool taken) {
    if (session_number != session_number_ || state_ == State::ended || session_lost_) {
        return false;
    }
    FrameHead head;
    head.type = taken ? FrameType::confirm : FrameType::put_back;
    head.correlation = correlation;
    push_unproven(head);
    return true;
}

void RemoteSession::end(const Error& why) {
    if (state_ == State::ended) {
        return;
    }
    FrameHead head;
    head.type = FrameType::goodbye;
    push(head);
    state_ = State::ended;
    why_down_ = why;
    for (Ticket ticket = operations_.first(); ticket != 0; ticket = operations_.next(ticket)) {
        forget_waiter(*operations_.find(ticket), why);
        erase(ticket);
    }
    waiting_.clear();
    unproven_.clear();
    for (auto& [number, channel] : channels_) {
        if (channel.subscription && !channel.failed && !channel.closing) {
            Event event;
            event.sink = std::move(channel.sink);
            event.ended = true;
            event.answer.error = why;
            events_.push_back(std::move(event));
        }
    }
    channels_.clear();
}

}  // namespace telpher::bridge

#include "tcp_bridge/remote_session.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

// An operation takes about as much besides its message.
constexpr std::size_t kOperationBytes = 256;
// Gathered into one write.
constexpr std::size_t kTakeBytes = std::size_t{256} << 10U;

std::uint64_t after(std::uint64_t time, std::uint64_t more) {
    return more > ~0ULL - time ? ~0ULL : time + more;
}

Error too_late(const FrameHead& head) {
    switch (head.type) {
        case FrameType::poll:
        case FrameType::call:
            return {Status::timed_out, 0, {}};
        default:
            // `timed_out` of an offer would say that it did not happen.
            return {Status::disconnected, 0, "the bridge did not answer in time"};
    }
}

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
    out_.take(out, kTakeBytes);
    said_ = now;
    if (!out_.has_unbegun()) {
        send_waiting(now);
    }
}

std::uint64_t RemoteSession::heartbeat_ns() const noexcept {
    return std::uint64_t{welcome_.heartbeat_ms} * 1'000'000;
}

Result<void> RemoteSession::tick(std::uint64_t now) {
    while (!expiries_.empty() && expiries_.begin()->first <= now) {
        const Ticket ticket = expiries_.begin()->second;
        expiries_.erase(expiries_.begin());
        const auto at = operations_.find(ticket);
        if (at == operations_.end()) {
            continue;
        }
        Operation& operation = at->second;
        operation.expires = ~0ULL;
        if (operation.correlation != 0) {
            const bool connected = state_ == State::up;
            forget_waiter(operation, connected ? too_late(operation.head) : why_down_);
            cancel(operation);
        } else {
            Error error = why_down_;
            if (state_ == State::up) {
                error = {Status::overloaded, 0, "too many operations are unanswered; not sent"};
            } else {
                error.status = Status::disconnected;
                error.detail += "; not sent";
            }
            forget_waiter(operation, std::move(error));
            erase(at);
        }
    }
    if (state_ == State::greeting && now >= greeting_until_) {
        return Error{Status::timed_out, 0, "the bridge did not answer HELLO in time"};
    }
    if (state_ == State::up) {
        if (now >= after(heard_, 3 * heartbeat_ns())) {
            return Error{Status::disconnected,
                         0,
                         "nothing was heard from the bridge for " +
                             std::to_string(3 * welcome_.heartbeat_ms) + " ms"};
        }
        if (now >= after(said_, heartbeat_ns())) {
            said_ = now;
            FrameHead head;
            head.type = FrameType::heartbeat;
            head.argument = all_answered_to();
            push(head);
        }
    }
    return {};
}

std::uint64_t RemoteSession::next_tick() const noexcept {
    std::uint64_t next = expiries_.empty() ? ~0ULL : expiries_.begin()->first;
    if (state_ == State::greeting) {
        next = std::min(next, greeting_until_);
    } else if (state_ == State::up) {
        next = std::min({next, after(heard_, 3 * heartbeat_ns()), after(said_, heartbeat_ns())});
    }
    return next;
}

// ---- operations --------------------------------------------------------------------------------

bool RemoteSession::admits(std::size_t bytes) const noexcept {
    return operations_.size() < limits_.operations_max &&
           (bytes_ == 0 || bytes_ + bytes + kOperationBytes <= limits_.bytes_max);
}

Ticket RemoteSession::begin(Request request, Waiter* waiter, std::uint64_t now) {
    const Ticket ticket = ++last_ticket_;
    Operation& operation = operations_[ticket];
    operation.head = request.head;
    operation.body = std::move(request.body);
    operation.waiter = waiter;
    operation.travels = request.travels;
    operation.deadline = after(now, request.timeout_ns);
    bytes_ += operation.body.size() + kOperationBytes;
    if (state_ == State::ended) {
        forget_waiter(operation, why_down_);
        erase(operations_.find(ticket));
        return ticket;
    }
    const auto channel = channels_.find(request.head.channel);
    const bool known = channel != channels_.end() && !channel->second.closing;
    if (request.head.channel != 0 && (!known || channel->second.failed)) {
        forget_waiter(operation, known ? *channel->second.failed : Error{Status::closed, 0, {}});
        erase(operations_.find(ticket));
        return ticket;
    }
    set_expiry(ticket, operation, operation.deadline);
    waiting_.push_back(ticket);
    send_waiting(now);
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
        const auto at = operations_.find(ticket);
        if (at != operations_.end() && !at->second.sent) {
            // One that is sent again has its place among the unanswered.
            if (state_ != State::up || out_.has_unbegun() ||
                (at->second.correlation == 0 && holds())) {
                return;
            }
            send(ticket, at->second, now);
        }
        waiting_.pop_front();
    }
}

void RemoteSession::send(Ticket ticket, Operation& operation, std::uint64_t now) {
    if (operation.correlation == 0) {
        operation.correlation = ++last_correlation_;
        unanswered_.emplace(operation.correlation, ticket);
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
    const auto shrunk = codec_.shrink(head, operation.body);
    push(head, shrunk ? *shrunk : std::span<const std::byte>(operation.body));
    if (operation.cancelled) {  // while it could not be sent
        FrameHead behind;
        behind.type = FrameType::cancel;
        behind.correlation = operation.correlation;
        push(behind);
    }
    set_expiry(ticket, operation, after(operation.deadline, grace_ns_));
}

void RemoteSession::set_expiry(Ticket ticket, Operation& operation, std::uint64_t at) {
    if (operation.expires != 0 && operation.expires != ~0ULL) {
        expiries_.erase({operation.expires, ticket});
    }
    operation.expires = operation.waiter != nullptr ? at : ~0ULL;
    if (operation.expires != ~0ULL) {
        expiries_.emplace(operation.expires, ticket);
    }
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

// Its waiter hears of it, and is let go.
void RemoteSession::answer(Operation& operation, Answer answer) {
    if (operation.waiter != nullptr) {
        events_.emplace_back();
        Event& event = events_.back();
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

void RemoteSession::erase(Operations::iterator at) {
    Operation& operation = at->second;
    if (operation.expires != 0 && operation.expires != ~0ULL) {
        expiries_.erase({operation.expires, at->first});
    }
    if (operation.correlation != 0) {
        unanswered_.erase(operation.correlation);
    }
    bytes_ -= operation.body.size() + kOperationBytes;
    operations_.erase(at);
}

void RemoteSession::abandon(Ticket ticket) {
    const auto at = operations_.find(ticket);
    if (at == operations_.end()) {
        return;  // answered this moment: whoever runs the event lets go
    }
    Operation& operation = at->second;
    if (operation.waiter != nullptr) {
        Event event;
        event.waiter = std::exchange(operation.waiter, nullptr);
        events_.push_back(std::move(event));
    }
    if (operation.correlation == 0) {
        erase(at);
    } else {
        set_expiry(ticket, operation, ~0ULL);
        cancel(operation);
    }
}

bool RemoteSession::take_back(Ticket ticket) {
    const auto at = operations_.find(ticket);
    if (at == operations_.end()) {
        return false;
    }
    if (at->second.correlation == 0) {
        abandon(ticket);
        return true;
    }
    cancel(at->second);
    return false;
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
    std::vector<Ticket> tickets;
    for (const auto& [ticket, operation] : operations_) {
        tickets.push_back(ticket);
    }
    std::sort(tickets.begin(), tickets.end());
    for (const Ticket ticket : tickets) {
        const auto at = operations_.find(ticket);
        forget_waiter(at->second, why);
        erase(at);
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

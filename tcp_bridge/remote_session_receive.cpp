// Frames that a remote session receives. All of it is hostile until it was checked.

#include "telpher/limits.hpp"

#include "src/wire/codec.hpp"
#include "tcp_bridge/byte_cursor.hpp"
#include "tcp_bridge/remote_session.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace telpher::bridge {
namespace {

constexpr std::uint32_t kHeartbeatMsMin = 100;
// What may answer it besides an error.
FrameType answer_of(const FrameHead& operation) {
    switch (operation.type) {
        case FrameType::poll:
            return FrameType::delivery;
        case FrameType::command:
            return FrameType::response;
        case FrameType::call:
            return (operation.flags & kFlagOneway) != 0 ? FrameType::result : FrameType::response;
        default:
            return FrameType::result;
    }
}

bool waits_for_room(FrameType type) {
    return type == FrameType::offer || type == FrameType::publish || type == FrameType::watch;
}

std::string name_of(const FrameHead& head) {
    return std::string(to_string(head.type)) + " of operation " + std::to_string(head.correlation);
}

}  // namespace

Result<void> RemoteSession::received(std::uint64_t now) {
    heard_ = now;
    try {
        for (;;) {
            const auto frame = reader_.next();
            if (!frame) {
                return refuse(frame.error().detail);
            }
            if (!*frame) {
                return {};
            }
            if (auto good = on_frame(**frame, now); !good) {
                return good;
            }
        }
    } catch (const std::bad_alloc&) {
        return Error{Status::out_of_memory, 0, "no memory for what the bridge sent"};
    }
}

// The bridge broke the protocol: it hears of it, and the session is over.
Result<void> RemoteSession::refuse(std::string what) {
    const std::string detail = "the bridge broke the protocol: " + what;
    FrameHead head;
    head.type = FrameType::goodbye;
    push(head, encode(Ending{{Status::bad_request, 0, std::move(what)}}));
    session_lost_ = true;
    return Error{Status::disconnected, 0, detail};
}

Result<void> RemoteSession::on_frame(const Frame& frame, std::uint64_t now) {
    const FrameHead& head = frame.head;
    if (state_ == State::ended) {
        return {};
    }
    if ((head.flags & kFlagCompressed) != 0 && (!codec_.agreed() || !carries_message(head.type))) {
        return refuse("a compressed " + std::string(to_string(head.type)) +
                      ", which was not agreed on");
    }
    if ((head.flags & kFlagMore) != 0 && !carries_message(head.type)) {
        return refuse(std::string(to_string(head.type)) + " in parts");
    }
    if (state_ == State::greeting) {
        return on_greeting(frame, now);
    }
    switch (head.type) {
        case FrameType::heartbeat:
        case FrameType::ack:
            return {};
        case FrameType::goodbye: {
            session_lost_ = true;
            not_begun_from_ = head.argument != 0 ? head.argument : ~0ULL;
            each_unanswered([this](Ticket ticket, Operation& operation) {
                if (not_begun(operation)) {
                    set_expiry(ticket, operation, operation.deadline);
                }
            });
            const auto ending = decode_ending(frame.body);
            std::string detail = "the bridge said GOODBYE";
            if (ending && !ending->error.detail.empty()) {
                detail += ": " + ending->error.detail;
            }
            return Error{Status::disconnected, 0, std::move(detail)};
        }
        case FrameType::lease:
            return on_lease(frame);
        case FrameType::gap:
            on_gap(frame.head);
            return {};
        case FrameType::result:
        case FrameType::delivery:
        case FrameType::response: {
            auto answered = on_answer(frame);
            if (answered) {
                send_waiting(now);  // there is room
            }
            return answered;
        }
        case FrameType::sample:
            return on_sample(frame);
        case FrameType::end:
            return on_end(frame);
        default:
            return refuse(std::string(to_string(head.type)) + ", which no bridge sends now");
    }
}

Result<void> RemoteSession::on_greeting(const Frame& frame, std::uint64_t now) {
    if (frame.head.type == FrameType::welcome) {
        const auto welcome = decode_welcome(frame.body);
        return welcome ? on_welcome(*welcome, now) : refuse(welcome.error().detail);
    }
    if (frame.head.type == FrameType::refused || frame.head.type == FrameType::goodbye) {
        const auto ending = decode_ending(frame.body);
        if (!ending) {
            return refuse(ending.error().detail);
        }
        refused_ = frame.head.type == FrameType::refused;
        const bool told = ending->error.status != Status::ok;
        return Error{told ? ending->error.status : Status::disconnected,
                     0,
                     "the bridge refused the connection: " + ending->error.detail};
    }
    return refuse(std::string(to_string(frame.head.type)) + " instead of WELCOME");
}

Result<void> RemoteSession::on_welcome(const Welcome& welcome, std::uint64_t now) {
    if (welcome.version != kVersion || !was_offered(welcome.codec)) {
        return refuse("WELCOME: version " + std::to_string(welcome.version) + " and codec " +
                      std::to_string(welcome.codec) + " were not offered");
    }
    if (welcome.session == SessionId{} || welcome.outstanding_max == 0 ||
        welcome.message_bytes_max < limits::kMessageBytesMaxLowest) {
        return refuse("WELCOME: no session, or no room for operations or messages");
    }
    if (welcome.resumed && (session_lost_ || welcome.session != welcome_.session ||
                            welcome.received > last_correlation_)) {
        return refuse("WELCOME: resumes what is not there");
    }
    const bool resumed = welcome.resumed;
    welcome_ = welcome;
    welcome_.heartbeat_ms =
        std::max(kHeartbeatMsMin, std::min(limits_.heartbeat_ms, welcome.heartbeat_ms));
    welcome_.message_bytes_max =
        std::min<std::uint64_t>(welcome.message_bytes_max, limits::kMessageBytesMaxHighest);
    grace_ns_ = heartbeat_ns();
    reader_.welcome();
    codec_.agree(welcome.codec, welcome.compress_from);
    parts_.emplace(welcome_.message_bytes_max, kPartsMax * welcome_.message_bytes_max);
    state_ = State::up;
    ++connection_number_;
    said_ = now;
    answers_unacknowledged_ = 0;
    if (resumed) {
        resume(welcome.received);
    } else {
        session_lost_ = true;
        fail_unanswered({Status::disconnected,
                         0,
                         "the connection was cut, and the bridge did not keep the session"});
        begin_anew(now);
        session_lost_ = false;
        ++session_number_;
    }
    send_waiting(now);
    return {};
}

// ---- answers -----------------------------------------------------------------------------------

Result<void> RemoteSession::on_answer(const Frame& frame) {
    const FrameHead& head = frame.head;
    if (head.correlation == 0 || head.correlation > last_correlation_) {
        return refuse(name_of(head) + ", the last one was " + std::to_string(last_correlation_));
    }
    const Ticket* const known = unanswered_.find(head.correlation);
    const Ticket ticket = known != nullptr ? *known : 0;
    Operation* const asked = operations_.find(ticket);
    Answer outcome;
    bool complete = true;
    if (head.type == FrameType::result) {
        auto ending = decode_ending({});
        const bool published = asked != nullptr && head.argument != 0 &&
                               asked->head.type == FrameType::publish && frame.body.size() == 8;
        if (published) {
            ByteReader in(frame.body);
            outcome.subscribers = in.get<std::uint32_t>();
        } else {
            ending = decode_ending(frame.body);
        }
        if (!ending) {
            return refuse(name_of(head) + ": " + ending.error().detail);
        }
        outcome.error = std::move(ending->error);
        outcome.value = head.argument;
        if (outcome.error.status == Status::overloaded) {
            constexpr auto kMost =
                static_cast<std::uint64_t>(Duration(limits::kRetryAfterMax).count());
            outcome.error.retry_after =
                Duration(static_cast<std::int64_t>(std::min(head.argument, kMost)));
        }
    } else if (auto taken = on_message(frame, outcome, &complete); !taken || !complete) {
        return taken;
    }
    if (asked == nullptr) {
        return {};  // answered before the cut, and again after it
    }
    Operation& operation = *asked;
    // Sent again behind a cut, when its time was over: to the bridge it is one that does not wait.
    if (operation.waits && operation.head.argument == 0 &&
        (outcome.error.status == Status::queue_empty ||
         outcome.error.status == Status::queue_full)) {
        outcome.error.status = Status::timed_out;
    }
    if (outcome.error.status == Status::ok && answer_of(operation.head) != head.type) {
        return refuse(name_of(head) + ", which is a " +
                      std::string(to_string(operation.head.type)));
    }
    if (outcome.error.status == Status::disconnected && waits_for_room(operation.head.type) &&
        !operation.cancelled) {
        operation.given_back = true;  // GOODBYE follows, or a cut
        set_expiry(ticket, operation, operation.deadline);
        prove(head.correlation);
        return {};
    }
    if (operation.head.type == FrameType::open || operation.head.type == FrameType::subscribe) {
        on_opened(operation, outcome.error);
    } else if (outcome.error.status == Status::bad_request) {
        // Sent before we knew that its channel could not be opened.
        if (const auto why = failure(operation.head.channel)) {
            outcome.error = *why;
        }
    }
    if (head.type == FrameType::delivery) {
        outcome.correlation = head.correlation;
        outcome.session_number = session_number_;
        if ((head.flags & kFlagLeased) != 0) {
            const auto told = leases_.find(head.correlation);
            if (told == leases_.end()) {
                return refuse("a leased DELIVERY without a LEASE");
            }
            outcome.lease = std::move(told->second);
            leases_.erase(told);
        }
        if (const auto gap = gaps_.extract(head.correlation)) {
            outcome.dropped_before = gap.mapped();
        }
        on_delivery(operation, std::move(outcome));
    } else {
        answer(operation, std::move(outcome));
    }
    // Told of what was answered otherwise: nobody else takes them.
    leases_.erase(head.correlation);
    gaps_.erase(head.correlation);
    erase(ticket);
    prove(head.correlation);
    acknowledge(false);
    return {};
}

// Only of polls that are unanswered: as many as there are.
Result<void> RemoteSession::on_lease(const Frame& frame) {
    auto lease = decode_lease(frame.body);
    if (!lease) {
        return refuse(lease.error().detail);
    }
    if (unanswered_.find(frame.head.correlation) != nullptr) {
        leases_[frame.head.correlation] = std::move(*lease);
    }
    return {};
}

// The same.
void RemoteSession::on_gap(const FrameHead& head) {
    if (unanswered_.find(head.correlation) != nullptr) {
        gaps_[head.correlation] = head.argument;
    }
}

// The message of a DELIVERY, RESPONSE or SAMPLE, when all of it is there.
Result<void> RemoteSession::on_message(const Frame& frame, Answer& answer, bool* complete) {
    Bytes storage;
    const auto whole = parts_->add(frame, storage);
    if (!whole) {
        return refuse(whole.error().detail);
    }
    *complete = whole->has_value();
    if (!*complete) {
        return {};
    }
    const std::span<const std::byte> bytes = **whole;
    // A copy in memory of its own, aligned as in a chunk.
    if ((frame.head.flags & kFlagCompressed) != 0) {
        const auto packed = codec_.look(bytes, welcome_.message_bytes_max);
        if (!packed) {
            return refuse(packed.error().detail);
        }
        answer.message = detail::RemoteMemory(packed->raw_bytes);
        if (auto opened = codec_.open(*packed, answer.message.message()); !opened) {
            return opened.error().status == Status::out_of_memory ? opened
                                                                  : refuse(opened.error().detail);
        }
    } else if (bytes.size() > welcome_.message_bytes_max) {
        return refuse("a message of " + std::to_string(bytes.size()) + " bytes");
    } else {
        answer.message = detail::RemoteMemory(bytes.size());
        if (!bytes.empty()) {
            std::memcpy(answer.message.message().data(), bytes.data(), bytes.size());
        }
    }
    const auto memory = answer.message.message();
    const auto view = wire::decode(memory);
    if (!view || wire::encoded_bytes(*view) != memory.size()) {
        return refuse(std::string(to_string(frame.head.type)) + ": " +
                      (view ? "there is something behind the message" : view.error().detail));
    }
    answer.view = *view;
    answer.value = frame.head.argument;
    return {};
}

// Whoever polled has it, or it goes back.
void RemoteSession::on_delivery(Operation& operation, Answer outcome) {
    const std::uint64_t correlation = outcome.correlation;
    const bool at_once = operation.waiter == nullptr || operation.waiter->confirms_at_once();
    const std::size_t events = events_.size();
    answer(operation, std::move(outcome));
    const bool claimed = events_.size() > events && events_.back().claimed;
    if (!claimed || at_once) {
        FrameHead head;
        head.type = claimed ? FrameType::confirm : FrameType::put_back;
        head.correlation = correlation;
        push_unproven(head);
    }
}

void RemoteSession::on_opened(const Operation& operation, const Error& error) {
    const auto known = channels_.find(operation.head.channel);
    if (known == channels_.end()) {
        return;
    }
    Channel& channel = known->second;
    channel.opening = 0;
    if (error.status != Status::ok) {
        if (channel.closing) {
            channels_.erase(known);
            return;
        }
        channel.failed = error;
        if (channel.subscription && operation.waiter == nullptr) {
            Event event;  // it had begun once, and cannot after a cut
            event.sink = channel.sink;
            event.ended = true;
            event.answer.error = error;
            events_.push_back(std::move(event));
        }
        return;
    }
    if (channel.closing) {
        FrameHead head;
        head.channel = operation.head.channel;
        const bool subscription = channel.subscription;
        head.type = subscription ? FrameType::unsubscribe : FrameType::close;
        push_unproven(head);
        if (!subscription) {
            channels_.erase(known);
        }
    }
}

// Whatever was sent before this operation has arrived.
void RemoteSession::prove(std::uint64_t correlation) {
    while (!unproven_.empty() && unproven_.front().proof <= correlation) {
        unproven_.pop_front();
    }
}

}  // namespace telpher::bridge

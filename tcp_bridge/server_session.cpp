#include "tcp_bridge/server_session.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/os.hpp"
#include "src/broker/queue_core.hpp"
#include "src/wire/codec.hpp"
#include "tcp_bridge/byte_cursor.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::bridge {
namespace {

// What operations may hold that wait for an OPEN, and one message more: as much as a client has under way.
constexpr std::size_t kWaitingBytesMax = 64U << 20U;

Error broken(std::string what) { return {Status::bad_request, 0, std::move(what)}; }

bool is_operation(FrameType type) {
    switch (type) {
        case FrameType::open:
        case FrameType::offer:
        case FrameType::poll:
        case FrameType::watch:
        case FrameType::publish:
        case FrameType::subscribe:
        case FrameType::call:
        case FrameType::command:
            return true;
        default:
            return false;
    }
}

// To the idempotency store a session is a client, and its peer's name its principal; who has proved none is
// the bridge's own user.
detail::Origin origin_of(std::string_view principal) {
    std::uint64_t client = 0;
    if (!shm::fill_random(&client, sizeof client)) {
        client = shm::monotonic_ns();  // unique enough among the sessions of one bridge
    }
    return {client | 1U, principal == kAnonymous ? 0 : shm::name_hash(principal) | 1ULL << 63U};
}

}  // namespace

ServerSession::ServerSession(Client client,
                             std::shared_ptr<SessionHost> host,
                             std::shared_ptr<Inbox> inbox,
                             SessionLimits limits,
                             Authorize authorize,
                             std::string principal)
    : client_(std::move(client)),
      host_(std::move(host)),
      inbox_(std::move(inbox)),
      limits_(limits),
      authorize_(std::move(authorize)),
      principal_(std::move(principal)),
      origin_(origin_of(principal_)),
      parts_(limits_.message_bytes_max, 2 * limits_.message_bytes_max + (1U << 20U)) {}

ServerSession::~ServerSession() { end(); }

bool ServerSession::allowed(std::string_view verb, std::string_view destination) const {
    return !authorize_ || authorize_(principal_, verb, destination);
}

// ---- frames ------------------------------------------------------------------------------------

Result<void> ServerSession::on_frame(const Frame& frame) {
    const FrameHead& head = frame.head;
    if ((head.flags & kFlagCompressed) != 0 && (!codec_.agreed() || !carries_message(head.type))) {
        return broken("a compressed " + std::string(to_string(head.type)) +
                      ", which was not agreed on");
    }
    if ((head.flags & kFlagMore) != 0 && !carries_message(head.type)) {
        return broken(std::string(to_string(head.type)) + " in parts");
    }
    switch (head.type) {
        case FrameType::heartbeat:
        case FrameType::ack:
            acknowledge(head.argument);
            return head.type == FrameType::ack ? acknowledge_ranges(frame.body) : Result<void>();
        case FrameType::goodbye:
            return Error{Status::closed, 0, "the client said GOODBYE"};
        case FrameType::cancel:
            cancel(head.correlation);
            return {};
        case FrameType::confirm:
            confirm(head.correlation);
            return {};
        case FrameType::put_back:
            put_back(head.correlation);
            return {};
        case FrameType::close:
            if (const auto known = channels_.find(head.channel); known != channels_.end()) {
                opening_ -= known->second.opening ? 1U : 0U;
                for (const auto& [operation, body] : take_waiting(known->second)) {
                    answer(operation.correlation, Error{Status::closed, 0, {}});
                }
                closed_temporary(known->second.open.name, head.channel);
                channels_.erase(known);
            }
            return {};
        case FrameType::credit:
            if (const auto known = subscriptions_.find(head.channel);
                known != subscriptions_.end()) {
                known->second->grant(head.argument);
            }
            return {};
        case FrameType::unsubscribe:
            if (const auto known = subscriptions_.find(head.channel);
                known != subscriptions_.end()) {
                // No sample is told behind this one.
                known->second->end();
                subscription_ended(head.channel, {Status::closed, 0, {}});
            }
            return {};
        default:
            break;
    }
    if (!is_operation(head.type)) {
        return broken(std::string(to_string(head.type)) + " is not a client's");
    }
    if (auto in_order = announce(head); !in_order) {
        return in_order;
    }
    return carries_message(head.type) ? on_data(frame) : operate(head, frame.body);
}

Result<void> ServerSession::on_data(const Frame& frame) {
    Bytes storage;
    const auto whole = parts_.add(frame, storage);
    if (!whole) {
        return whole.error();
    }
    if (!*whole || (frame.head.flags & kFlagCompressed) == 0) {
        return *whole ? operate(frame.head, **whole) : Result<void>();
    }
    const auto packed = codec_.look(**whole, limits_.message_bytes_max);
    if (!packed) {
        return packed.error();
    }
    Bytes raw(packed->raw_bytes);
    if (auto opened = codec_.open(*packed, raw); !opened) {
        return opened;
    }
    return operate(frame.head, raw);
}

// First frames come in order; a large one may be whole after others that came later.
Result<void> ServerSession::announce(const FrameHead& head) {
    if (head.correlation == 0 || head.correlation > announced_ + 1) {
        return broken("operation " + std::to_string(head.correlation) + " comes after " +
                      std::to_string(announced_));
    }
    announced_ = std::max(announced_, head.correlation);
    return {};
}

// An operation that is whole.
Result<void> ServerSession::operate(const FrameHead& head, std::span<const std::byte> body) {
    if (draining_) {
        return {};  // GOODBYE tells
    }
    const bool next = head.correlation == received_ + 1;
    if (head.correlation <= received_ || (!next && !ahead_.insert(head.correlation).second)) {
        return {};  // sent again after a resume: it was begun, its answer is kept or was acknowledged
    }
    received_ += next ? 1U : 0U;
    while (!ahead_.empty() && ahead_.erase(received_ + 1) != 0) {
        ++received_;
    }
    if (head.type == FrameType::watch && body.size() != 1) {
        return broken("WATCH: " + std::to_string(body.size()) + " bytes, not 1");
    }
    if (!has_room(head, body.size())) {
        return {};
    }
    switch (head.type) {
        case FrameType::open:
            return open(head, body);
        case FrameType::subscribe:
            return subscribe(head, body);
        case FrameType::command:
            run_command(head, body);
            return {};
        default:
            break;
    }
    const bool default_function = head.type == FrameType::call && head.channel == 0;
    const auto known = channels_.find(head.channel);
    if (known == channels_.end() && !default_function) {
        answer(head.correlation,
               broken("channel " + std::to_string(head.channel) + " is not open"));
        return {};
    }
    Channel* channel = default_function ? nullptr : &known->second;
    if (channel != nullptr && channel->opening) {
        channel->waiting.emplace_back(head, Bytes(body.begin(), body.end()));
        ++waiting_;
        waiting_bytes_ += body.size();
        return {};
    }
    run(head, channel, body);
    return {};
}

// False: it was answered.
bool ServerSession::has_room(const FrameHead& head, std::size_t bytes) {
    const std::size_t bytes_max = kWaitingBytesMax + limits_.message_bytes_max;
    if (operations_.size() + kept_.size() + opening_ + waiting_ >= limits_.outstanding_max) {
        answer(head.correlation,
               Error{Status::overloaded,
                     0,
                     "outstanding_max is " + std::to_string(limits_.outstanding_max) +
                         ", as many operations have no acknowledged answer"});
        return false;
    }
    if (waiting_ > 0 && waiting_bytes_ + bytes > bytes_max) {
        answer(head.correlation,
               Error{Status::overloaded,
                     0,
                     "operations that wait for an OPEN have more than " +
                         std::to_string(bytes_max) + " bytes"});
        return false;
    }
    return true;
}

ServerSession::Waiting ServerSession::take_waiting(Channel& channel) {
    Waiting waiting = std::exchange(channel.waiting, {});
    waiting_ -= waiting.size();
    for (const auto& [head, body] : waiting) {
        waiting_bytes_ -= body.size();
    }
    return waiting;
}

// ---- answers -----------------------------------------------------------------------------------

void ServerSession::answer(std::uint64_t correlation, FrameHead head, Bytes body) {
    operations_.erase(correlation);
    if (ended_) {
        return;
    }
    head.correlation = correlation;
    if (const auto shrunk = codec_.shrink(head, body)) {
        body.assign(shrunk->begin(), shrunk->end());
    }
    Kept& kept = kept_.make(correlation);
    kept.head = head;
    kept.body = std::move(body);
    if (wake_) {
        const bool first = out_.empty();  // a write is due otherwise
        push(kept);
        if (first) {
            wake_();
        }
    }
}

void ServerSession::answer(std::uint64_t correlation, const Error& error) {
    FrameHead head;
    head.type = FrameType::result;
    if (error.status == Status::cancelled && given_back_.contains(correlation)) {
        answer(correlation, head, encode(Ending{{Status::disconnected, 0, "the bridge ends"}}));
        return;
    }
    head.argument = static_cast<std::uint64_t>(error.retry_after.count());
    answer(correlation, head, error.status == Status::ok ? Bytes{} : encode(Ending{error}));
}

void ServerSession::acknowledge(std::uint64_t up_to) {
    acknowledged_ = std::max(acknowledged_, std::min(up_to, announced_));
    acknowledge(0, acknowledged_);
}

void ServerSession::acknowledge(std::uint64_t first, std::uint64_t last) {
    for (auto at = first > 0 ? kept_.next(first - 1) : kept_.first(); at != 0 && at <= last;
         at = kept_.next(at)) {
        Kept& kept = *kept_.find(at);
        kept.acknowledged = true;
        kept.body = {};
        if (!kept.delivery) {  // one of those is kept until it is confirmed
            kept_.erase(at);
        }
    }
}

// Answers that a long poll in front of them holds back from the one number.
Result<void> ServerSession::acknowledge_ranges(std::span<const std::byte> body) {
    ByteReader in(body);
    if (body.size() % 16 != 0 || body.size() / 16 > kAckRangesMax) {
        return broken("ACK: " + std::to_string(body.size()) + " bytes are no ranges");
    }
    while (in.left() > 0) {
        const auto first = in.get<std::uint64_t>();
        const auto last = in.get<std::uint64_t>();
        acknowledge(first, last);
    }
    return {};
}

void ServerSession::push(const Kept& kept) {
    FrameHead head = kept.head;
    head.flags = 0;
    if (head.argument = kept.dropped; kept.dropped != 0) {
        head.type = FrameType::gap;
        out_.push(head, Bytes{});
    }
    if (head.argument = 0; !kept.lease.empty()) {
        head.type = FrameType::lease;
        out_.push(head, kept.lease);
    }
    out_.push(kept.head, kept.body);
}

void ServerSession::confirm(std::uint64_t correlation) {
    Kept* const kept = kept_.find(correlation);
    if (kept != nullptr && kept->delivery) {
        if (!kept->lease.empty()) {
            leases_.emplace(correlation, std::move(kept->delivery));
        } else {
            kept->delivery.release();
        }
        kept_.erase(correlation);  // it was received, whatever ACK says
    }
}

void ServerSession::put_back(std::uint64_t correlation) {
    Kept* const kept = kept_.find(correlation);
    if (kept != nullptr && kept->delivery) {
        host_->returns.add(kept->queue, std::move(kept->delivery));
        kept_.erase(correlation);
    } else {
        leases_.erase(correlation);  // given back
    }
}

void ServerSession::cancel(std::uint64_t correlation) {
    if (const auto known = operations_.find(correlation); known != operations_.end()) {
        const auto operation = known->second;  // answering erases it
        given_back_.erase(correlation);        // its client does not want it any more
        operation->cancel();
        return;
    }
    for (auto& [number, channel] : channels_) {
        if (channel.opening && channel.correlation == correlation) {
            channel.until = {};  // its next look is its last
        }
    }
}

void ServerSession::send_samples(std::uint16_t channel, Samples samples) {
    if (!wake_ || !subscriptions_.contains(channel)) {
        return;  // cut: the client counts what it did not get
    }
    if (!codec_.agreed()) {
        out_.push_frames(channel, samples.frames);
    } else {
        send_shrunk(samples.frames);
    }
    if (!samples.large.empty()) {
        if (const auto shrunk = codec_.shrink(samples.head, samples.large)) {
            out_.push(samples.head, *shrunk);
        } else {
            out_.push(samples.head, std::move(samples.large));
        }
    }
    wake_();
}

// Frame by frame, where the client wants them compressed.
void ServerSession::send_shrunk(std::span<const std::byte> frames) {
    while (frames.size() >= kHeadBytes) {
        FrameHead head;
        std::memcpy(&head, frames.data(), sizeof head);
        const auto body = frames.subspan(kHeadBytes, head.length);
        frames = frames.subspan(kHeadBytes + head.length);
        const auto shrunk = codec_.shrink(head, body);
        out_.push(head, shrunk ? *shrunk : body);
    }
}

void ServerSession::subscription_ended(std::uint16_t channel, const Error& why) {
    if (subscriptions_.erase(channel) == 0 || !wake_) {
        return;
    }
    FrameHead head;
    head.type = FrameType::end;
    head.channel = channel;
    out_.push(head, encode(Ending{why}));
    wake_();
}

}  // namespace telpher::bridge

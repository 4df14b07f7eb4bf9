#pragma once
// One client's session as the bridge sees it (PROTOCOL.md, Session): frames in, frames out, operations in the
// domain between. It outlives its connection by the grace time.
//
//   I/O      none: bytes are the connection's. Operations complete on other threads, which tell through the
//            inbox; everything else runs on the I/O thread.
//   Memory   answers that the client has not acknowledged and messages that it has not confirmed, at most
//            `outstanding_max` of them; messages in parts; what `out` holds, which the connection bounds by
//            reading no more while it is long
//   Crash    the bridge is a process of the domain as any other: what it held when killed is reaped, polled
//            messages it had not handed over are counted as abandoned

#include "telpher/client.hpp"

#include "src/broker/request_origin.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/body_codec.hpp"
#include "tcp_bridge/inbox.hpp"
#include "tcp_bridge/lease_verb.hpp"
#include "tcp_bridge/number_map.hpp"
#include "tcp_bridge/part_assembler.hpp"
#include "tcp_bridge/send_queue.hpp"
#include "tcp_bridge/server_operation.hpp"
#include "tcp_bridge/server_subscription.hpp"
#include "tcp_bridge/session_host.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

namespace telpher::bridge {

struct SessionLimits {
    std::size_t message_bytes_max = 20U << 20U;
    std::uint32_t outstanding_max = 4096;
    std::uint32_t subscriptions_max = 64;
    std::uint32_t channels_max = 1024;
    std::uint32_t leases_max = 65'536;
};

// May `principal` do `verb` to `destination`? In front of every operation.
using Authorize = std::function<bool(
    std::string_view principal, std::string_view verb, std::string_view destination)>;

// Who has proved no name.
inline constexpr std::string_view kAnonymous = "anonymous";

class ServerSession : public std::enable_shared_from_this<ServerSession> {
  public:
    using Clock = std::chrono::steady_clock;

    ServerSession(Client client,
                  std::shared_ptr<SessionHost> host,
                  std::shared_ptr<Inbox> inbox,
                  SessionLimits limits,
                  Authorize authorize,
                  std::string principal);
    ServerSession(const ServerSession&) = delete;
    ServerSession& operator=(const ServerSession&) = delete;
    ~ServerSession();

    // One frame behind HELLO. Error: the client broke the protocol, or said GOODBYE (closed); the session
    // has ended.
    Result<void> on_frame(const Frame& frame);
    // OPENs that wait for their destination look again.
    void on_tick(Clock::time_point now);
    // A connection came (back): what is kept and not acknowledged is sent again.
    void attach(std::uint64_t received, std::function<void()> wake);
    // Messages may be compressed from now on, in both directions.
    void compress(std::shared_ptr<CodecTools> tools, std::uint8_t codec, std::int64_t from) {
        codec_ = BodyCodec(std::move(tools));
        codec_.agree(codec, from);
    }
    [[nodiscard]] const BodyCodec& codec() const noexcept { return codec_; }
    // It was cut.
    void detach();
    // From now on nothing begins, and what waits for room is given back to the client, for the next bridge.
    void drain();
    // Of the operations that have come: none from this one on has begun.
    [[nodiscard]] std::uint64_t not_begun_from() const noexcept {
        return (ahead_.empty() ? received_ : *ahead_.rbegin()) + 1;
    }
    // Everything is answered but polls, and every delivery confirmed.
    [[nodiscard]] bool settled() const;
    // Gives back the memory that nothing is in: for a client that is quiet.
    void trim() noexcept { kept_.trim(); }
    // For good. Unanswered operations are cancelled, unconfirmed messages put back.
    void end();

    [[nodiscard]] SendQueue& out() noexcept { return out_; }
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    // All operations up to this one have come, whole.
    [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
    [[nodiscard]] bool waits_for_destination() const noexcept { return opening_ != 0; }
    [[nodiscard]] const std::string& principal() const noexcept { return principal_; }

    // ---- from operations and subscriptions, on the I/O thread ----
    void answer(std::uint64_t correlation, FrameHead head, Bytes body);
    void answer(std::uint64_t correlation, const Error& error);
    void deliver(const FrameHead& poll, const Queue& queue, Result<Delivery> polled);
    void send_samples(std::uint16_t channel, Samples samples);
    void subscription_ended(std::uint16_t channel, const Error& why);

  private:
    using Waiting = std::vector<std::pair<FrameHead, Bytes>>;
    struct Channel {
        Open open{};
        bool opening = false;
        std::uint64_t correlation = 0;  // of the OPEN that waits
        Clock::time_point until{};
        Waiting waiting{};  // for the OPEN
        Queue queue{};
        Topic topic{};
    };
    // An answer that was not acknowledged; a delivery also until it is confirmed.
    struct Kept {
        FrameHead head{};
        Bytes body{};
        Delivery delivery{};
        Queue queue{};
        Bytes lease{};              // of a delivery that is leased: what is told before it
        std::uint64_t dropped = 0;  // messages of its queue that were, before it: told before it
        bool acknowledged = false;
    };

    [[nodiscard]] bool has_room(const FrameHead& head, std::size_t bytes);
    [[nodiscard]] Waiting take_waiting(Channel& channel);
    void send_shrunk(std::span<const std::byte> frames);
    void acknowledge(std::uint64_t first, std::uint64_t last);
    [[nodiscard]] Result<void> announce(const FrameHead& head);
    Result<void> operate(const FrameHead& head, std::span<const std::byte> body);
    Result<void> on_data(const Frame& frame);
    void run(const FrameHead& head, Channel* channel, std::span<const std::byte> body);
    void run_offer(const FrameHead& head, Channel& channel, const MessageView& message);
    void run_poll(const FrameHead& head, Channel& channel);
    void run_watch(const FrameHead& head, Channel& channel, bool room);
    void run_publish(const FrameHead& head, Channel& channel, Message message);
    void run_call(const FrameHead& head, Channel* channel, const Message& message);
    Result<void> open(const FrameHead& head, std::span<const std::byte> body);
    void try_open(std::uint16_t number, Channel& channel, Clock::time_point now);
    Result<void> subscribe(const FrameHead& head, std::span<const std::byte> body);
    void cancel(std::uint64_t correlation);
    void confirm(std::uint64_t correlation);
    void put_back(std::uint64_t correlation);
    void push(const Kept& kept);
    // The lease of that number, confirmed or not; null: there is none of that message.
    [[nodiscard]] Delivery* leased(std::uint64_t correlation, const MessageId& id);
    void settle(std::uint64_t correlation, const MessageView& command);
    void settle_many(std::uint64_t correlation, const MessageView& command);
    // Says it, and forgets a lease that has ended.
    [[nodiscard]] Result<void> settle_one(const LeaseName& name, LeaseVerb verb, Duration duration);
    void acknowledge(std::uint64_t up_to);
    Result<void> acknowledge_ranges(std::span<const std::byte> body);
    [[nodiscard]] bool allowed(std::string_view verb, std::string_view destination) const;
    template <typename T>
    void tell(const FrameHead& head, const Result<T>& result);
    template <typename T>
    void start(const FrameHead& head, Future<T> future);

    // server_commands.cpp
    void run_command(const FrameHead& head, std::span<const std::byte> body);
    template <typename Work, typename Outcome>
    void begin_command(std::uint64_t correlation,
                       Work work,
                       void (ServerSession::*done)(std::uint64_t, Outcome));
    void answer_command(std::uint64_t correlation, Result<Message> reply);
    void make_temporary(std::uint64_t correlation, const MessageView& command);
    void answer_temporary(std::uint64_t correlation, Result<Queue> made);
    void opened_temporary(const std::string& name, std::uint16_t channel);
    void closed_temporary(const std::string& name, std::uint16_t channel);
    [[nodiscard]] bool may_poll(const std::string& name) const;

    Client client_;
    const std::shared_ptr<SessionHost> host_;
    const std::shared_ptr<Inbox> inbox_;
    const SessionLimits limits_;
    const Authorize authorize_;
    const std::string principal_;
    const detail::Origin origin_;  // of its requests, to the idempotency store
    SendQueue out_;
    PartAssembler parts_;
    BodyCodec codec_{nullptr};
    std::function<void()> wake_;  // the connection writes `out`
    bool ended_ = false;
    bool draining_ = false;
    std::uint64_t announced_ = 0;  // the last operation whose first frame came
    std::uint64_t received_ = 0;
    std::set<std::uint64_t>
        given_back_;                 // cancelled by `drain`: of those, who hears that is told so
    std::set<std::uint64_t> ahead_;  // came whole although one before them has not
    std::uint64_t acknowledged_ = 0;
    std::uint32_t opening_ = 0;
    std::size_t waiting_ = 0;  // operations, for an OPEN
    std::size_t waiting_bytes_ = 0;
    std::unordered_map<std::uint16_t, Channel> channels_;
    std::unordered_map<std::uint16_t, std::shared_ptr<ServerSubscription>> subscriptions_;
    std::unordered_map<std::uint64_t, std::shared_ptr<ServerOperation>> operations_;  // unanswered
    NumberMap<Kept> kept_;  // by correlation
    // Messages that the client has, and has not said what became of, by their polls' correlations.
    std::unordered_map<std::uint64_t, Delivery> leases_;
    struct Temporary {
        Queue owner{};
        std::uint16_t channel = 0;  // of its handle; 0: none yet
    };
    std::optional<Client> temporary_client_;
    std::map<std::string, Temporary> temporaries_;
};

}  // namespace telpher::bridge

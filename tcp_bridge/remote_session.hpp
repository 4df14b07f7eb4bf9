#pragma once
// A remote client's session (PROTOCOL.md, Session): frames in, frames out, time passed in; no socket, no
// thread.
//
//   Life        connected() -> WELCOME -> up, until cut(); then connected() again resumes it, or begins a new
//               one. Operations may begin at any time: they wait for a connection and for room.
//   Operations  by their ticket, in whose order they are sent. Answered exactly once: by the bridge, by time,
//               by the loss of the session, or by end(). One that nobody waits for any more is kept until the
//               bridge has answered it: a message that it delivers is put back.
//   Order       operations begin in the order of their numbers: one in parts holds those behind it until its
//               first part has left.
//   Memory      what `admits` lets in, twice (kept for a resume, and on its way); messages in parts; a window
//               of samples for each subscription
//   Threads     one at a time (the connection's lock); `events` are run without it
//   Hostile     whatever the bridge sends: an error of received(), after which the connection is cut

#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/body_codec.hpp"
#include "tcp_bridge/frame_reader.hpp"
#include "tcp_bridge/number_map.hpp"
#include "tcp_bridge/part_assembler.hpp"
#include "tcp_bridge/remote_events.hpp"
#include "tcp_bridge/send_queue.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace telpher::bridge {

using Ticket = std::uint64_t;

// The time so much later; ~0: never.
[[nodiscard]] constexpr std::uint64_t after(std::uint64_t time, std::uint64_t more) noexcept {
    return more > ~0ULL - time ? ~0ULL : time + more;
}

struct RemoteLimits {
    std::uint32_t heartbeat_ms = 5000;           // wished for
    std::int64_t compress_from = -1;             // wished for: ConnectOptions::compress_from_bytes
    std::uint64_t handshake_ns = 5'000'000'000;  // until WELCOME
    std::size_t operations_max = 65'536;         // unanswered or waiting to be sent
    std::size_t bytes_max = std::size_t{64}
                            << 20U;  // of their messages; one message is always let in
    std::uint32_t window = 256;      // samples on their way, for each subscription
};

// An operation to be begun.
struct Request {
    FrameHead head{};  // type, channel, flags
    Bytes body{};
    std::uint64_t timeout_ns = 0;
    bool travels = true;  // the timeout is the frame's argument
};

class RemoteSession {
  public:
    explicit RemoteSession(std::string name, RemoteLimits limits = {});
    RemoteSession(const RemoteSession&) = delete;
    RemoteSession& operator=(const RemoteSession&) = delete;
    ~RemoteSession() = default;

    // ---- the stream ----
    // A new one: preface and HELLO are to be sent.
    void connected(std::uint64_t now);
    // Where its bytes go; then `received`. Error: the stream is of no use any more; send what is to be sent
    // (GOODBYE), then `cut`.
    [[nodiscard]] FrameReader& reader() noexcept { return reader_; }
    Result<void> received(std::uint64_t now);
    void cut(const Error& why);
    [[nodiscard]] bool has_output() const noexcept { return !out_.empty(); }
    [[nodiscard]] std::size_t output_bytes() const noexcept { return out_.bytes(); }
    // Ever: samples come at any time.
    [[nodiscard]] bool has_subscriptions() const noexcept { return subscribed_; }
    [[nodiscard]] std::size_t unanswered() const noexcept { return unanswered_.size(); }
    // Appends what is to be sent next.
    void take(Bytes& out, std::uint64_t now);
    // Something is late. Error: as received.
    Result<void> tick(std::uint64_t now);
    // When to call it, at the latest.
    [[nodiscard]] std::uint64_t next_tick() const noexcept;
    // As agreed with the bridge.
    [[nodiscard]] std::uint64_t heartbeat_ns() const noexcept;

    // ---- operations ----
    // Whether one with so many bytes may begin now.
    [[nodiscard]] bool admits(std::size_t bytes) const noexcept;
    // `waiter` is held until it is let go; null: nobody waits.
    Ticket begin(Request request, Waiter* waiter, std::uint64_t now);
    // Nobody waits for it any more: CANCEL is sent, if it was sent. The waiter is let go.
    void abandon(Ticket ticket);
    // True: it was not sent, and will not be. False: CANCEL is sent, and its answer will tell.
    [[nodiscard]] bool take_back(Ticket ticket);
    // A delivery was taken, or is not wanted. False: its session has ended, and the message went back.
    bool settle(std::uint64_t session_number, std::uint64_t correlation, bool taken);

    // ---- channels ----
    // A destination's, from now on; 0: there are none left. Its OPEN is answered to `waiter`, which may be null.
    std::uint16_t open(Open what, std::uint64_t wait_ns, Waiter* waiter, std::uint64_t now);
    std::uint16_t subscribe(Subscribe what,
                            std::shared_ptr<SampleSink> sink,
                            Waiter* waiter,
                            std::uint64_t now);
    // Its operations end with `closed`; a subscription's END follows.
    void close(std::uint16_t channel);
    // So many samples were taken out of the window.
    void grant(std::uint16_t channel, std::uint32_t count);
    // Why its OPEN failed.
    [[nodiscard]] std::optional<Error> failure(std::uint16_t channel) const;

    // GOODBYE; everything ends with `why`, now and later.
    void end(const Error& why);

    [[nodiscard]] bool up() const noexcept { return state_ == State::up; }
    [[nodiscard]] bool ended() const noexcept { return state_ == State::ended; }
    [[nodiscard]] const Welcome& welcome() const noexcept { return welcome_; }
    [[nodiscard]] const Error& why_down() const noexcept { return why_down_; }
    // REFUSED was the last word.
    [[nodiscard]] bool refused() const noexcept { return refused_; }
    [[nodiscard]] Events take_events() noexcept {
        if (events_.empty()) {
            return {};  // begun, and not answered: says nothing about what answers come together
        }
        events_usual_ = std::min(std::max(events_.size(), events_usual_ / 2), kEventsUsualMax);
        return std::exchange(events_, {});
    }
    [[nodiscard]] bool has_events() const noexcept { return !events_.empty(); }

  private:
    enum class State : std::uint8_t { down, greeting, up, ended };
    struct Operation {
        FrameHead head{};
        Bytes body{};
        std::shared_ptr<const Bytes> large{};  // instead of it: sent without a copy
        Waiter* waiter = nullptr;
        bool travels = true;
        bool waits = false;             // it was given time, which travels with it
        bool sent = false;              // on this connection, or on an earlier one and received
        bool cancelled = false;         // CANCEL was sent, or goes with it
        bool given_back = false;        // answered: it did not happen, the next bridge may have it
        std::uint64_t deadline = 0;     // of the timeout
        std::uint64_t expires = 0;      // when we do not wait for the bridge any longer
        std::uint64_t correlation = 0;  // 0: never sent
        [[nodiscard]] std::size_t bytes() const noexcept {
            return large != nullptr ? large->size() : body.size();
        }
    };
    struct Channel {
        Open open{};
        std::optional<Error> failed{};
        Ticket opening = 0;  // of the OPEN or SUBSCRIBE; 0: it was answered
        // Of a subscription.
        bool subscription = false;
        std::shared_ptr<SampleSink> sink{};  // until it is closed or has ended
        Subscribe what{};
        std::uint64_t granted = 0;   // and not used
        std::uint64_t buffered = 0;  // came, and was not taken out
        bool closing = false;
        // The last number of each topic, and in which connection: behind a cut, only it tells what was lost.
        struct Last {
            std::uint64_t number = 0;
            std::uint64_t connection = 0;
        };
        std::map<std::string, Last, std::less<>> last{};
    };
    // Frames without an answer, kept until an answer proves that they came.
    struct Unproven {
        FrameHead head{};
        std::uint64_t proof = 0;  // the first operation that was sent after it
    };
    // Lazy: one whose operation is gone, or expires at another time, counts for nothing.
    struct Expiry {
        std::uint64_t at = 0;
        Ticket ticket = 0;
        friend bool operator<(const Expiry& a, const Expiry& b) {
            return a.at > b.at;
        }  // earliest first
    };

    // remote_session.cpp
    void push(FrameHead head, std::span<const std::byte> body = {});
    void push_unproven(FrameHead head);
    void send(Ticket ticket, Operation& operation, std::uint64_t now);
    void send_waiting(std::uint64_t now);
    void set_expiry(Ticket ticket, Operation& operation, std::uint64_t at);
    void cancel(Operation& operation);
    void answer(Operation& operation, Answer answer);
    Event& add_event();
    void erase(Ticket ticket);
    void push_expiry(Expiry expiry);
    void forget_waiter(Operation& operation, Error error);
    [[nodiscard]] std::uint16_t free_channel() noexcept;
    Ticket begin_channel(std::uint16_t number,
                         Waiter* waiter,
                         std::uint64_t wait_ns,
                         std::uint64_t now);
    void fail_unanswered(const Error& why);
    [[nodiscard]] bool holds() noexcept;
    [[nodiscard]] std::uint64_t all_answered_to() const noexcept;

    // remote_session_receive.cpp and remote_session_samples.cpp
    Result<void> on_frame(const Frame& frame, std::uint64_t now);
    Result<void> on_greeting(const Frame& frame, std::uint64_t now);
    Result<void> on_welcome(const Welcome& welcome, std::uint64_t now);
    Result<void> on_answer(const Frame& frame);
    Result<void> on_lease(const Frame& frame);
    void on_gap(const FrameHead& head);
    Result<void> on_message(const Frame& frame, Answer& answer, bool* complete);
    Result<void> on_sample(const Frame& frame);
    Result<void> on_end(const Frame& frame);
    std::uint64_t lost_before(Channel& channel, const Frame& frame, std::string_view topic);
    void on_delivery(Operation& operation, Answer answer);
    void on_opened(const Operation& operation, const Error& error);
    void prove(std::uint64_t correlation);
    void acknowledge(bool now);
    Result<void> refuse(std::string what);

    // remote_session_resume.cpp
    // `action(ticket, operation)` for all of them, in the order in which they were sent; it may erase them.
    [[nodiscard]] bool not_begun(const Operation& operation) const noexcept;
    template <typename Action>
    void each_unanswered(Action&& action) {
        for (auto at = unanswered_.first(); at != 0; at = unanswered_.next(at)) {
            const Ticket ticket = *unanswered_.find(at);
            action(ticket, *operations_.find(ticket));
        }
    }
    void resume(std::uint64_t received);
    void begin_anew(std::uint64_t now);

    const std::string name_;
    const RemoteLimits limits_;
    State state_ = State::down;
    bool refused_ = false;
    bool session_lost_ = true;  // the next one is new
    Error why_down_{Status::disconnected, 0, "not connected yet"};
    Welcome welcome_{};
    std::uint64_t not_begun_from_ = ~0ULL;  // of the session that is lost: GOODBYE told
    std::uint64_t session_number_ = 0;      // counts new sessions
    std::uint64_t connection_number_ = 0;   // counts WELCOMEs
    std::uint64_t grace_ns_ = 0;

    FrameReader reader_;
    std::optional<PartAssembler> parts_;
    BodyCodec codec_{std::make_shared<CodecTools>()};
    SendQueue out_;
    std::uint64_t heard_ = 0;  // when
    std::uint64_t said_ = 0;
    std::uint64_t greeting_until_ = 0;

    NumberMap<Operation> operations_;
    std::deque<Ticket> waiting_;    // not sent, in order; some may be gone
    NumberMap<Ticket> unanswered_;  // by correlation
    std::vector<Expiry> expiries_;  // a heap
    std::deque<Unproven> unproven_;
    std::size_t bytes_ = 0;
    Ticket last_ticket_ = 0;
    std::uint64_t last_correlation_ = 0;
    std::uint32_t answers_unacknowledged_ = 0;

    std::map<std::uint64_t, LeaseTold> leases_;    // by correlation, of DELIVERYs to come
    std::map<std::uint64_t, std::uint64_t> gaps_;  // the same
    std::map<std::uint16_t, Channel> channels_;
    std::uint16_t last_channel_ = 0;
    bool subscribed_ = false;
    Events events_;
    static constexpr std::size_t kEventsUsualMax = 1024;
    std::size_t events_usual_ = 0;
};

}  // namespace telpher::bridge

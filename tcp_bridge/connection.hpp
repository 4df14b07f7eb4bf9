#pragma once
// One accepted connection: bytes between a socket and a session.
//
//   States    greeting (nothing but preface and HELLO is taken, for kHelloPatience at most), serving, ending (what
//             is left to be sent is sent, and what still comes is thrown away, for a second at most: closing a
//             socket that has unread bytes would take what was sent last away from the peer).
//   Memory    between its turns what it holds of a frame that was cut (greeting: of kReadBytesEarly), a TLS channel, and
//             what the socket has not taken; while the session's queue has more than kOutMax bytes nothing is read
//   Threads   one I/O thread of the bridge's, and another one from HELLO on if that has the session it resumes

#include "tcp_bridge/asio.hpp"
#include "tcp_bridge/bridge_core.hpp"
#include "tcp_bridge/frame_reader.hpp"
#include "tcp_bridge/tls_channel.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <variant>

namespace telpher::bridge {

inline constexpr std::size_t kOutMax = 4U << 20U;
inline constexpr std::size_t kReadBytes = 256U << 10U;
inline constexpr int kReadsPerTurn = 4;
inline constexpr std::size_t kReadBytesEarly = 2U << 10U;  // HELLO and its preface are shorter
inline constexpr std::size_t kWriteBytes = 256U << 10U;
inline constexpr auto kHelloPatience = std::chrono::seconds(5);

class Connection : public std::enable_shared_from_this<Connection> {
  public:
    using Clock = std::chrono::steady_clock;

    Connection(std::shared_ptr<BridgeCore> bridge,
               IoLoop& loop,
               Socket socket,
               std::string peer,
               std::string address);
    void start();
    // GOODBYE with that reason, then the end.
    void end(const Error& why);
    // Another connection resumes its session, or the bridge ends.
    void drop();
    // Of one that greets: REFUSED if it is sure to read plain frames, then the end.
    void turn_out(const Error& why);
    // Heartbeats and deadlines.
    void tick(Clock::time_point now);
    // Of the peer's host, or network; empty: a Unix socket.
    [[nodiscard]] const std::string& address() const noexcept { return address_; }

  private:
    enum class State : std::uint8_t { greeting, serving, ending };
    void read();
    void turn(Result<void> (Connection::*input)());
    [[nodiscard]] Result<void> take_from_socket();
    [[nodiscard]] std::size_t read_some(std::span<std::byte> room, asio::error_code& error);
    [[nodiscard]] Result<void> on_wire(std::span<const std::byte> wire);
    [[nodiscard]] Result<void> choose(std::byte first);
    [[nodiscard]] Result<void> open_records(std::span<const std::byte> wire);
    [[nodiscard]] Result<void> take();
    [[nodiscard]] Result<void> take_preface();
    [[nodiscard]] Result<void> take_frames();
    [[nodiscard]] Result<void> greet(const Frame& frame);
    [[nodiscard]] Result<void> greet();
    // connection_move.cpp
    void move();
    void arrive();
    [[nodiscard]] Result<void> greet_again();
    void flush();
    void write();
    [[nodiscard]] std::size_t write_some();
    void again();
    void give_back();
    void seal();
    void fail(const Error& why);
    [[nodiscard]] bool speaks_plain() const;
    [[nodiscard]] std::size_t read_bytes() const noexcept {
        return state_ == State::greeting ? kReadBytesEarly : kReadBytes;
    }
    void cut();
    void say_no_more();
    void close_socket();

    const std::shared_ptr<BridgeCore> bridge_;
    IoLoop* loop_;  // one of the bridge's
    IoLoop* moves_to_ = nullptr;
    Socket socket_;
    const std::string peer_;
    const std::string address_;
    std::string principal_{kAnonymous};
    State state_ = State::greeting;
    bool chosen_ = false;  // plain or not: the first byte told
    bool prefaced_ = false;
    bool reading_ = false;
    bool writing_ = false;
    bool flushing_ = false;  // a flush is on its way
    bool lingers_ = false;   // was served: its end is told from a cut
    bool tampered_ = false;  // a record of a session's was not what the client sealed
    bool silenced_ = false;  // everything was sent
    bool cut_ = false;       // the socket says so
    bool trimmed_ = false;   // quiet, and without memory that it could do without
    bool in_turn_ = false;   // what was read is worked on
    Hello hello_{};
    std::unique_ptr<TlsChannel> tls_;
    FrameReader reader_;
    SendQueue early_;  // before and after there is a session
    std::shared_ptr<ServerSession> session_;
    Bytes sending_;
    Clock::time_point heard_;
    Clock::time_point said_;
    Clock::time_point deadline_;  // of greeting, or of the end
    std::chrono::milliseconds heartbeat_{5000};
};

}  // namespace telpher::bridge

#pragma once
// The bridge's thread: listeners, connections, and the sessions behind them.
//
//   Threads   everything runs on one thread, but `drain`, `reload`, `running` and `status`.
//   Lifetime  the thread keeps it.
//   Bounds    connections_max sessions, those of cut connections included; greeting_max connections that have not
//             said HELLO, of which the oldest of the address with the most goes first: a good client needs
//             milliseconds to say it, and whoever holds many open pushes out its own.

#include "telpher/bridge.hpp"

#include "tcp_bridge/asio.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/connect_rate.hpp"
#include "tcp_bridge/inbox.hpp"
#include "tcp_bridge/log_limit.hpp"
#include "tcp_bridge/server_session.hpp"
#include "tcp_bridge/tls_context.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace telpher::bridge {

class Connection;

class BridgeCore : public std::enable_shared_from_this<BridgeCore> {
  public:
    static Result<std::shared_ptr<BridgeCore>> start(Client client, BridgeOptions options);
    BridgeCore(Client client,
               BridgeOptions options,
               std::string domain,
               std::size_t message_bytes_max);
    BridgeCore(const BridgeCore&) = delete;
    BridgeCore& operator=(const BridgeCore&) = delete;
    ~BridgeCore();

    // Accepts nobody any more, lets operations end for so long, and ends.
    void drain(Duration patience) noexcept;
    // Keys and authorities as the files have them now, for connections to come. What was read.
    Result<std::string> reload();
    [[nodiscard]] bool running() const { return running_ && client_.running(); }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] BridgeStatus status() const;

    // ---- for connections, on the thread ----
    struct Greeted {
        std::shared_ptr<ServerSession> session;
        Welcome welcome;
    };
    // A session for who said `hello`. Errors: version_mismatch, bad_request, limit_reached.
    Result<Greeted> greet(const Hello& hello, const std::string& principal, Connection& connection);
    // The session's connection is gone: kept for the grace time, unless it has ended.
    void left(const std::shared_ptr<ServerSession>& session);
    void closed(const std::shared_ptr<Connection>& connection);
    // It has said HELLO, or ends.
    void greeted(const Connection& connection);
    void refused() noexcept {
        refused_.fetch_add(1, std::memory_order_relaxed);
    }  // relaxed: a statistic
    void log(LogKind kind, const std::string& line);
    [[nodiscard]] asio::io_context& context() noexcept { return context_; }
    // Memory that the connections take turns with, one turn of the loop each.
    struct Spare {
        Bytes wire;     // as it came from a socket
        Bytes frames;   // of a FrameReader
        Bytes queued;   // of a SendQueue
        Bytes sending;  // what is on its way into a socket
    };
    [[nodiscard]] Spare& spare() noexcept { return spare_; }
    [[nodiscard]] const BridgeOptions& options() const noexcept { return options_; }
    // Null: nothing is encrypted.
    [[nodiscard]] const std::shared_ptr<const TlsContext>& tls() const noexcept { return tls_; }

  private:
    struct Known {
        std::shared_ptr<ServerSession> session;
        std::weak_ptr<Connection> connection;
        std::chrono::steady_clock::time_point cut{};  // when, if it has no connection
        bool is_cut = false;
    };
    using Socket = std::variant<asio::ip::tcp::socket, asio::local::stream_protocol::socket>;
    [[nodiscard]] Result<std::shared_ptr<const TlsContext>> make_tls() const;
    [[nodiscard]] Result<void> have_identity() const;
    Result<void> prepare_tls();
    Result<void> listen_tcp();
    Result<void> listen_unix();
    // bridge_accept.cpp
    template <typename Acceptor>
    void accept(Acceptor& acceptor, asio::steady_timer& retry, const char* kind);
    void admit(Socket socket, const std::string& peer);
    void make_room_for_greeting();
    void begin_shortage(int listener, bool local, const asio::error_code& error);
    void end_shortage();
    void turn_away(int descriptor, bool local, const Error& why);
    void stop_accepting();

    [[nodiscard]] bool make_room_for_session();
    void count_sessions() noexcept;
    void watch_inbox();
    void tick();
    void look_after(std::chrono::steady_clock::time_point now);
    [[nodiscard]] bool drained() const;
    void run();
    void begin_drain(Duration patience);
    void end();

    Client client_;
    const BridgeOptions options_;
    const std::string domain_;
    const SessionLimits limits_;
    const SessionId id_;
    std::shared_ptr<const TlsContext> tls_;
    asio::io_context context_{1};
    Spare spare_;
    std::shared_ptr<SessionHost> host_;
    std::shared_ptr<CodecTools> codec_tools_ = std::make_shared<CodecTools>();
    std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
    asio::posix::stream_descriptor wakes_{context_};
    asio::ip::tcp::acceptor tcp_{context_};
    asio::local::stream_protocol::acceptor local_{context_};
    asio::steady_timer timer_{context_};
    asio::steady_timer retry_tcp_{context_};
    asio::steady_timer retry_local_{context_};
    ConnectRate connect_rate_;
    LogLimit log_limit_;
    int reserve_ =
        -1;  // a descriptor to be given up when there are no others, so that who waits can be told
    bool shortage_ = false;
    std::uint64_t turned_away_ = 0;  // in this shortage
    std::set<std::shared_ptr<Connection>> connections_;
    std::vector<std::shared_ptr<Connection>> greeting_;  // the oldest first
    std::map<SessionId, Known> sessions_;
    std::uint16_t port_ = 0;
    bool unix_made_ = false;
    bool draining_ = false;
    bool ended_ = false;
    std::chrono::steady_clock::time_point drain_until_{};
    std::mutex end_mutex_;  // guards the end of the thread
    std::atomic<bool> running_{true};
    std::atomic<std::uint32_t> connection_count_{0};
    std::atomic<std::uint32_t> session_count_{0};
    std::atomic<std::uint64_t> accepted_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::thread thread_;
};

}  // namespace telpher::bridge

#pragma once
// The bridge's thread: listeners, connections, and the sessions behind them.
//
//   Threads   everything runs on one thread, but `stop`, `running` and `status`.
//   Lifetime  the thread keeps it.

#include "telpher/bridge.hpp"

#include "tcp_bridge/asio.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/inbox.hpp"
#include "tcp_bridge/server_session.hpp"
#include "tcp_bridge/tls_context.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

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

    void stop() noexcept;
    [[nodiscard]] bool running() const noexcept { return running_; }
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
    void log(const std::string& line);
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
        std::uint8_t codec = 0;
        std::int64_t compress_from = -1;
    };
    Result<void> prepare_tls();
    Result<void> listen_tcp();
    Result<void> listen_unix();
    template <typename Acceptor>
    void accept(Acceptor& acceptor, const char* kind);
    void watch_inbox();
    void tick();
    void run();
    void end();

    Client client_;
    const BridgeOptions options_;
    const std::string domain_;
    const SessionLimits limits_;
    const SessionId id_;
    std::shared_ptr<const TlsContext> tls_;
    asio::io_context context_{1};
    Spare spare_;
    std::shared_ptr<CommandHost> host_;
    std::shared_ptr<CodecTools> codec_tools_ = std::make_shared<CodecTools>();
    std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
    asio::posix::stream_descriptor wakes_{context_};
    asio::ip::tcp::acceptor tcp_{context_};
    asio::local::stream_protocol::acceptor local_{context_};
    asio::steady_timer timer_{context_};
    asio::steady_timer retry_{context_};
    std::set<std::shared_ptr<Connection>> connections_;
    std::map<SessionId, Known> sessions_;
    std::uint16_t port_ = 0;
    bool unix_made_ = false;
    std::atomic<bool> running_{true};
    std::atomic<std::uint32_t> connection_count_{0};
    std::atomic<std::uint32_t> session_count_{0};
    std::atomic<std::uint64_t> accepted_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::thread thread_;
};

}  // namespace telpher::bridge

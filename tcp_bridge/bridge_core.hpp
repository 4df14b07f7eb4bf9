#pragma once
// A bridge: its listeners, its I/O threads, and what they share.
//
//   Threads   `accept` and what it calls on the first I/O thread; what is said to be for I/O threads on any of them;
//             the rest on any thread.
//   Lifetime  its threads keep it.
//   Bounds    connections_max sessions, those of cut connections included

#include "telpher/bridge.hpp"

#include "tcp_bridge/asio.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/connect_rate.hpp"
#include "tcp_bridge/io_loop.hpp"
#include "tcp_bridge/log_limit.hpp"
#include "tcp_bridge/server_session.hpp"
#include "tcp_bridge/session_directory.hpp"
#include "tcp_bridge/tls_context.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace telpher::bridge {

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

    // ---- for I/O threads ----
    void refused() noexcept {
        refused_.fetch_add(1, std::memory_order_relaxed);
    }  // relaxed: a statistic
    void log(LogKind kind, const std::string& line);
    void log_left_out(std::chrono::steady_clock::time_point now);
    [[nodiscard]] const BridgeOptions& options() const noexcept { return options_; }
    // Null: nothing is encrypted.
    [[nodiscard]] std::shared_ptr<const TlsContext> tls() const;
    // Connections that have not said HELLO, of all threads.
    [[nodiscard]] std::atomic<std::uint32_t>& greeting() noexcept { return greeting_; }
    [[nodiscard]] SessionDirectory& sessions() noexcept { return sessions_; }
    [[nodiscard]] IoLoop& loop(std::size_t index) noexcept { return *loops_[index]; }
    [[nodiscard]] const Admin& admin() const noexcept { return admin_; }
    [[nodiscard]] const std::shared_ptr<CommandThread>& command_thread() const noexcept {
        return command_thread_;
    }
    // What is the same for every client.
    [[nodiscard]] Welcome welcome() const;
    [[nodiscard]] std::shared_ptr<ServerSession> make_session(std::shared_ptr<SessionHost> host,
                                                              std::shared_ptr<Inbox> inbox,
                                                              std::string principal) const;

  private:
    [[nodiscard]] Result<std::shared_ptr<const TlsContext>> make_tls() const;
    [[nodiscard]] Result<void> have_identity() const;
    Result<void> prepare_loops();
    Result<void> prepare_tls();
    Result<void> listen_tcp();
    Result<void> listen_unix();
    Result<void> start_loops();
    void end(Duration patience);
    // bridge_accept.cpp
    void start_accepting();
    template <typename Acceptor>
    void accept(Acceptor& acceptor, asio::steady_timer& retry, const char* kind);
    void admit(IoLoop& loop, Socket socket, std::string peer, std::function<void()> next);
    void begin_shortage(int listener, bool local, const asio::error_code& error);
    void end_shortage();
    void turn_away(int descriptor, bool local, const Error& why);
    void stop_accepting();
    [[nodiscard]] IoLoop& idlest_loop() noexcept;

    Client client_;
    const BridgeOptions options_;
    const std::string domain_;
    const SessionLimits limits_;
    const SessionId id_;
    Admin admin_;
    std::shared_ptr<CommandThread> command_thread_ = std::make_shared<CommandThread>();
    SessionDirectory sessions_;
    mutable std::mutex tls_mutex_;  // guards tls_
    std::shared_ptr<const TlsContext> tls_;
    std::mutex log_mutex_;  // guards log_limit_, and makes lines come one at a time
    LogLimit log_limit_;
    std::vector<std::unique_ptr<IoLoop>> loops_;
    asio::io_context& context_;  // of the first loop, which accepts for all
    asio::ip::tcp::acceptor tcp_{context_};
    asio::local::stream_protocol::acceptor local_{context_};
    asio::steady_timer retry_tcp_{context_};
    asio::steady_timer retry_local_{context_};
    ConnectRate connect_rate_;
    // A descriptor to be given up when there are no others, so that who waits can be told.
    int reserve_ = -1;
    bool shortage_ = false;
    std::uint64_t turned_away_ = 0;  // in this shortage
    std::uint16_t port_ = 0;
    bool unix_made_ = false;
    std::mutex end_mutex_;  // guards the end of the threads
    std::atomic<bool> running_{true};
    std::atomic<std::uint32_t> greeting_{0};
    std::atomic<std::uint64_t> accepted_{0};
    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace telpher::bridge

#pragma once
// One I/O thread of a bridge: its connections, and the sessions behind them.
//
//   Threads   everything on its own, but what is said to be for others. A session stays on the
//             thread that made it, because what completes in the domain is told there; the connection that resumes it
//             comes to it (`Connection::move`).
//   Lifetime  the bridge's, which its thread keeps
//   Bounds    of greeting_max connections that have not said HELLO, on all threads, the oldest of the address that has
//             the most here goes first: a good client needs milliseconds to say it, and whoever holds many open
//             pushes out its own. A thread that has none itself admits one more.

#include "tcp_bridge/asio.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/inbox.hpp"
#include "tcp_bridge/server_session.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace telpher::bridge {

class BridgeCore;
class Connection;

using Socket = std::variant<asio::ip::tcp::socket, asio::local::stream_protocol::socket>;

class IoLoop {
  public:
    using Clock = std::chrono::steady_clock;

    IoLoop(BridgeCore& bridge, std::size_t index);
    IoLoop(const IoLoop&) = delete;
    IoLoop& operator=(const IoLoop&) = delete;
    ~IoLoop();

    // ---- on any thread ----
    // Before `start`. Errors: limit_reached (descriptors), server_error.
    Result<void> prepare();
    // `keep` lives as long as the thread. Error: limit_reached (threads).
    Result<void> start(std::shared_ptr<BridgeCore> keep);
    [[nodiscard]] bool started() const noexcept { return thread_.joinable(); }
    // Lets operations end for so long, and ends: `join` waits for that. Nothing, if it was not started.
    void drain(Duration patience);
    void join();
    // When all have ended. What was not put back finds room in its queues, or `until` passes.
    void finish(Clock::time_point until);
    // Runs on the thread; what comes behind its end, by `finish`.
    void post(Inbox::Task task) { inbox_->push(std::move(task)); }
    // A connection is on its way to `admit` or `arrives`.
    void expect() noexcept;
    // Those on their way included.
    [[nodiscard]] std::size_t connections() const noexcept {
        return connection_count_.load(std::memory_order_relaxed);  // relaxed: a statistic
    }
    [[nodiscard]] asio::io_context& context() noexcept { return context_; }

    // ---- on the thread ----
    void admit(Socket socket, std::string peer, std::string address);
    // One that another thread's session does not want to be served by: from here to `to`.
    void leaves(const std::shared_ptr<Connection>& connection, IoLoop& to);
    // False: it is about to end.
    [[nodiscard]] bool arrives(const std::shared_ptr<Connection>& connection);
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    // Who said `hello` has a session, or has to go where it is. Errors: version_mismatch, bad_request, limit_reached.
    struct Greeted {
        std::shared_ptr<ServerSession> session{};
        Welcome welcome{};
        IoLoop* elsewhere = nullptr;
    };
    Result<Greeted> greet(const Hello& hello, const std::string& principal, Connection& connection);
    // The session's connection is gone: kept for the grace time, unless it has ended.
    void left(const std::shared_ptr<ServerSession>& session);
    void closed(const std::shared_ptr<Connection>& connection);
    // It has said HELLO, or ends.
    void greeted(const Connection& connection);
    void end_session(const SessionId& id);
    // Memory that the connections take turns with, one turn of the loop each.
    struct Spare {
        Bytes wire;     // as it came from a socket
        Bytes frames;   // of a FrameReader
        Bytes queued;   // of a SendQueue
        Bytes sending;  // what is on its way into a socket
    };
    [[nodiscard]] Spare& spare() noexcept { return spare_; }

  private:
    struct Known {
        std::shared_ptr<ServerSession> session;
        std::weak_ptr<Connection> connection;
        Clock::time_point cut{};  // when, if it has no connection
        bool is_cut = false;
    };
    using Sessions = std::map<SessionId, Known>;
    [[nodiscard]] Greeted resume(Sessions::iterator known, Welcome welcome, Connection& connection);
    void greets(const std::shared_ptr<Connection>& connection);
    void make_room_for_greeting();
    void watch_inbox();
    void tick();
    void look_after(Clock::time_point now);
    [[nodiscard]] bool drained() const;
    void run();
    void begin_drain(Duration patience);
    void end();

    BridgeCore& bridge_;
    const std::size_t index_;
    asio::io_context context_{1};
    Spare spare_;
    std::shared_ptr<SessionHost> host_;
    std::shared_ptr<CodecTools> codec_tools_ = std::make_shared<CodecTools>();
    std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
    asio::posix::stream_descriptor wakes_{context_};
    asio::steady_timer timer_{context_};
    std::set<std::shared_ptr<Connection>> connections_;
    std::vector<std::shared_ptr<Connection>> greeting_;  // the oldest first
    Sessions sessions_;
    bool draining_ = false;
    bool ended_ = false;
    Clock::time_point drain_until_{};
    std::atomic<std::size_t> connection_count_{0};
    std::thread thread_;
};

}  // namespace telpher::bridge

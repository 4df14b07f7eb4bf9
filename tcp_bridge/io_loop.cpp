#include "tcp_bridge/io_loop.hpp"

#include "tcp_bridge/bridge_core.hpp"
#include "tcp_bridge/connection.hpp"
#include "tcp_bridge/quiet_thread.hpp"

#include <algorithm>
#include <cerrno>

namespace telpher::bridge {
namespace {

constexpr auto kTick = std::chrono::milliseconds(20);
// What is to be said at the end is said at once, or not at all.
constexpr auto kLastWords = std::chrono::milliseconds(200);

std::uint32_t milliseconds(Duration duration) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

IoLoop::IoLoop(BridgeCore& bridge, std::size_t index)
    : bridge_(bridge), index_(index), host_(std::make_shared<SessionHost>()) {}

IoLoop::~IoLoop() {
    if (wakes_.is_open()) {
        static_cast<void>(wakes_.release());  // the descriptor is the inbox's
    }
}

// ---- its life ----------------------------------------------------------------------------------

Result<void> IoLoop::prepare() {
    host_->admin = bridge_.admin();
    host_->thread = bridge_.command_thread();
    if (inbox_->descriptor() < 0) {
        return Error{Status::limit_reached, errno, "eventfd"};
    }
    asio::error_code error;
    static_cast<void>(wakes_.assign(inbox_->descriptor(), error));
    return error ? Result<void>(Error{Status::server_error, error.value(), "watching an eventfd"})
                 : Result<void>();
}

Result<void> IoLoop::start(std::shared_ptr<BridgeCore> keep) {
    auto thread = quiet_thread("telpher-bridge", [this, keep = std::move(keep)] { run(); });
    if (!thread) {
        return thread.error();
    }
    thread_ = std::move(*thread);
    return {};
}

void IoLoop::run() {
    watch_inbox();
    tick();
    context_.run();
}

void IoLoop::drain(Duration patience) {
    if (started()) {
        asio::post(context_, [this, patience] { begin_drain(patience); });
    }
}

void IoLoop::join() {
    if (started()) {
        thread_.join();
    }
}

void IoLoop::finish(Clock::time_point until) {
    // A poll that was cancelled too late has brought a message.
    for (Inbox::Task& task : inbox_->take()) {
        task();
    }
    host_->returns.finish(std::max(until - Clock::now(), Clock::duration::zero()));
}

void IoLoop::watch_inbox() {
    wakes_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [this](const asio::error_code& error) {
                          if (error) {
                              return;
                          }
                          for (Inbox::Task& task : inbox_->take()) {
                              task();
                          }
                          watch_inbox();
                      });
}

void IoLoop::tick() {
    timer_.expires_after(kTick);
    timer_.async_wait([this](const asio::error_code& error) {
        if (error || ended_) {
            return;  // a tick that was due when `end` cancelled it comes all the same
        }
        const auto now = Clock::now();
        look_after(now);
        if (draining_ && (now >= drain_until_ || drained())) {
            end();
            return;
        }
        tick();
    });
}

void IoLoop::look_after(Clock::time_point now) {
    const auto connections = connections_;  // ending one changes the set
    for (const auto& connection : connections) {
        connection->tick(now);
    }
    for (auto at = sessions_.begin(); at != sessions_.end();) {
        if (at->second.is_cut && now - at->second.cut >= bridge_.options().grace) {
            at->second.session->end();
            bridge_.sessions().erase(at->first);
            at = sessions_.erase(at);
        } else {
            ++at;
        }
    }
    host_->returns.retry();
    bridge_.log_left_out(now);
}

// ---- connections -------------------------------------------------------------------------------

void IoLoop::admit(Socket socket, std::string peer, std::string address) {
    if (draining_) {
        connection_count_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a statistic
        return;  // too late to be told: it is closed as those in the listener's queue are
    }
    // relaxed: a limit that two threads may pass by one
    if (bridge_.greeting().load(std::memory_order_relaxed) >= bridge_.options().greeting_max) {
        make_room_for_greeting();
    }
    auto connection = std::make_shared<Connection>(
        bridge_.shared_from_this(), *this, std::move(socket), std::move(peer), std::move(address));
    greets(connection);
    connection->start();
}

void IoLoop::expect() noexcept {
    connection_count_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a statistic
}

void IoLoop::greets(const std::shared_ptr<Connection>& connection) {
    connections_.insert(connection);
    greeting_.push_back(connection);
    bridge_.greeting().fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
}

// The oldest of the address that has the most.
void IoLoop::make_room_for_greeting() {
    if (greeting_.empty()) {
        return;
    }
    std::map<std::string, std::size_t> counts;
    for (const auto& connection : greeting_) {
        ++counts[connection->address()];
    }
    const auto most = std::max_element(counts.begin(), counts.end(), [](auto& one, auto& other) {
        return one.second < other.second;
    });
    const auto victim = *std::find_if(greeting_.begin(), greeting_.end(), [&](const auto& one) {
        return one->address() == most->first;
    });
    victim->turn_out({Status::limit_reached,
                      0,
                      "greeting_max of the bridge is " +
                          std::to_string(bridge_.options().greeting_max) +
                          ": too many connections have not said HELLO"});
}

void IoLoop::greeted(const Connection& connection) {
    const auto count =
        std::erase_if(greeting_, [&](const auto& one) { return one.get() == &connection; });
    // relaxed: as above
    bridge_.greeting().fetch_sub(static_cast<std::uint32_t>(count), std::memory_order_relaxed);
}

void IoLoop::closed(const std::shared_ptr<Connection>& connection) {
    greeted(*connection);
    if (connections_.erase(connection) != 0) {
        connection_count_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a statistic
    }
}

void IoLoop::leaves(const std::shared_ptr<Connection>& connection, IoLoop& to) {
    closed(connection);
    to.expect();
}

bool IoLoop::arrives(const std::shared_ptr<Connection>& connection) {
    greets(connection);
    return !draining_;
}

// ---- sessions ----------------------------------------------------------------------------------

Result<IoLoop::Greeted> IoLoop::greet(const Hello& hello,
                                      const std::string& principal,
                                      Connection& connection) {
    if (hello.version_min > kVersion || hello.version_max < kVersion) {
        return Error{Status::version_mismatch,
                     0,
                     "the client speaks versions " + std::to_string(hello.version_min) + " to " +
                         std::to_string(hello.version_max) + ", the bridge " +
                         std::to_string(kVersion)};
    }
    if (hello.mandatory != 0) {
        return Error{
            Status::version_mismatch, 0, "the client needs what this bridge does not have"};
    }
    SessionDirectory& directory = bridge_.sessions();
    if (const auto where = directory.find(hello.session); where && *where != index_) {
        return Greeted{.elsewhere = &bridge_.loop(*where)};
    }
    Welcome welcome = bridge_.welcome();
    const auto ours = milliseconds(bridge_.options().heartbeat);
    welcome.heartbeat_ms =
        std::clamp<std::uint32_t>(std::min(hello.heartbeat_ms, ours), 100, 600'000);
    welcome.grace_ms = milliseconds(bridge_.options().grace);
    const auto known = sessions_.find(hello.session);
    if (known != sessions_.end() && known->second.session->principal() == principal) {
        // Its old connection may not have noticed that it was cut.
        if (const auto old = known->second.connection.lock()) {
            old->drop();
        }
        // Unless a new client was given its place a moment ago.
        if (directory.resume(hello.session)) {
            return resume(known, std::move(welcome), connection);
        }
    }
    welcome.session = random_id();
    const auto admitted = directory.admit(welcome.session, index_);
    if (!admitted.admitted) {
        return Error{Status::limit_reached,
                     0,
                     "connections_max of the bridge is " +
                         std::to_string(bridge_.options().connections_max)};
    }
    if (admitted.victim) {
        bridge_.log(LogKind::resource,
                    "the session of a cut connection ends: a new client needs its place");
        IoLoop& loop = bridge_.loop(admitted.victim->loop);
        loop.post([&loop, id = admitted.victim->id] { loop.end_session(id); });
    }
    auto session = bridge_.make_session(host_, inbox_, principal);
    // The client's wish, or else the bridge's.
    const std::int64_t from =
        hello.compress_from >= 0 ? hello.compress_from : bridge_.options().compress_from_bytes;
    if (const auto codec = choose_codec(hello.codecs); codec && from >= 0) {
        session->compress(codec_tools_, static_cast<std::uint8_t>(*codec), from);
    }
    welcome.codec = session->codec().codec();
    welcome.compress_from = session->codec().compress_from();
    sessions_[welcome.session] = {session, connection.weak_from_this(), {}, false};
    return Greeted{.session = std::move(session), .welcome = std::move(welcome)};
}

IoLoop::Greeted IoLoop::resume(Sessions::iterator known, Welcome welcome, Connection& connection) {
    const auto& session = known->second.session;
    welcome.resumed = true;
    welcome.session = known->first;
    welcome.received = session->received();
    welcome.codec = session->codec().codec();
    welcome.compress_from = session->codec().compress_from();
    known->second.is_cut = false;
    known->second.connection = connection.weak_from_this();
    return Greeted{.session = session, .welcome = std::move(welcome)};
}

void IoLoop::left(const std::shared_ptr<ServerSession>& session) {
    for (auto at = sessions_.begin(); at != sessions_.end(); ++at) {
        if (at->second.session == session) {
            if (session->ended()) {
                bridge_.sessions().erase(at->first);
                sessions_.erase(at);
            } else {
                at->second.is_cut = true;
                at->second.cut = Clock::now();
                bridge_.sessions().cut(at->first, session->received() == 0, at->second.cut);
            }
            return;
        }
    }
}

void IoLoop::end_session(const SessionId& id) {
    if (const auto known = sessions_.find(id); known != sessions_.end()) {
        known->second.session->end();
        sessions_.erase(known);
    }
}

// ---- the end -----------------------------------------------------------------------------------

// Cut connections cannot come back any more: nobody waits for them.
bool IoLoop::drained() const {
    return std::all_of(sessions_.begin(), sessions_.end(), [](const auto& entry) {
        return entry.second.is_cut || entry.second.session->settled();
    });
}

void IoLoop::begin_drain(Duration patience) {
    draining_ = true;
    drain_until_ = Clock::now() + patience;
    const auto greeting = greeting_;
    for (const auto& connection : greeting) {
        connection->turn_out({Status::closed, 0, "the bridge ends"});
    }
    for (auto& [id, known] : sessions_) {
        known.session->drain();
    }
    if (patience <= Duration{} || drained()) {
        end();
    }
}

// GOODBYE to everybody, then the loop runs out of work.
void IoLoop::end() {
    ended_ = true;
    timer_.cancel();
    const auto connections = connections_;
    for (const auto& connection : connections) {
        connection->end({Status::closed, 0, "the bridge ends"});
    }
    for (auto& [id, known] : sessions_) {
        known.session->end();
        bridge_.sessions().erase(id);
    }
    sessions_.clear();
    timer_.expires_after(kLastWords);
    timer_.async_wait([this](const asio::error_code&) {
        const auto left = connections_;
        for (const auto& connection : left) {
            connection->drop();
        }
        static_cast<void>(wakes_.release());  // the descriptor is the inbox's
    });
}

}  // namespace telpher::bridge

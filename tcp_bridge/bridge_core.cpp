#include "tcp_bridge/bridge_core.hpp"

#include "shm/base/os.hpp"
#include "tcp_bridge/connection.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace telpher::bridge {
namespace {

// For messages that were not confirmed to find room in their queues.
constexpr auto kReturnPatience = std::chrono::milliseconds(500);
constexpr auto kTick = std::chrono::milliseconds(20);

SessionId random_id() {
    SessionId id{};
    static_cast<void>(shm::fill_random(id.data(), id.size()));
    return id;
}

}  // namespace

BridgeCore::BridgeCore(Client client,
                       BridgeOptions options,
                       std::string domain,
                       std::size_t message_bytes_max)
    : client_(std::move(client)),
      options_(std::move(options)),
      domain_(std::move(domain)),
      limits_{.message_bytes_max = message_bytes_max, .outstanding_max = options_.outstanding_max},
      id_(random_id()),
      host_(std::make_shared<SessionHost>()),
      connect_rate_(options_.connects_per_second, options_.connects_burst) {}

BridgeCore::~BridgeCore() {
    if (reserve_ >= 0) {
        ::close(reserve_);
    }
}

void BridgeCore::log(LogKind kind, const std::string& line) {
    if (options_.on_log && log_limit_.admit(kind, std::chrono::steady_clock::now())) {
        options_.on_log(log_text(line));
    }
}

BridgeStatus BridgeCore::status() const {
    // relaxed, all: statistics
    return {connection_count_.load(std::memory_order_relaxed),
            session_count_.load(std::memory_order_relaxed),
            accepted_.load(std::memory_order_relaxed),  // relaxed: as above
            refused_.load(std::memory_order_relaxed)};  // relaxed: as above
}

// ---- sessions ----------------------------------------------------------------------------------

Result<BridgeCore::Greeted> BridgeCore::greet(const Hello& hello,
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
    Welcome welcome;
    welcome.bridge = id_;
    welcome.domain = domain_;
    welcome.message_bytes_max = limits_.message_bytes_max;
    welcome.outstanding_max = limits_.outstanding_max;
    const auto ours =
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.heartbeat).count();
    welcome.heartbeat_ms = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(std::min<std::int64_t>(hello.heartbeat_ms, ours), 100, 600'000));
    welcome.grace_ms = static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.grace).count());
    const auto known = sessions_.find(hello.session);
    if (hello.session != SessionId{} && known != sessions_.end() &&
        known->second.session->principal() == principal) {
        // Its old connection may not have noticed that it was cut.
        if (const auto old = known->second.connection.lock()) {
            old->drop();
        }
        welcome.resumed = true;
        welcome.session = hello.session;
        welcome.received = known->second.session->received();
        welcome.codec = known->second.session->codec().codec();
        welcome.compress_from = known->second.session->codec().compress_from();
        known->second.is_cut = false;
        known->second.connection = connection.weak_from_this();
        return Greeted{known->second.session, welcome};
    }
    if (!make_room_for_session()) {
        return Error{
            Status::limit_reached,
            0,
            "connections_max of the bridge is " + std::to_string(options_.connections_max)};
    }
    welcome.session = random_id();
    auto session =
        std::make_shared<ServerSession>(client_, host_, inbox_, limits_, Authorize{}, principal);
    // The client's wish, or else the bridge's.
    const std::int64_t from =
        hello.compress_from >= 0 ? hello.compress_from : options_.compress_from_bytes;
    if (const auto codec = choose_codec(hello.codecs); codec && from >= 0) {
        session->compress(codec_tools_, static_cast<std::uint8_t>(*codec), from);
    }
    welcome.codec = session->codec().codec();
    welcome.compress_from = session->codec().compress_from();
    sessions_[welcome.session] = {session, connection.weak_from_this(), {}, false};
    count_sessions();
    return Greeted{std::move(session), welcome};
}

void BridgeCore::count_sessions() noexcept {
    session_count_.store(static_cast<std::uint32_t>(sessions_.size()),
                         std::memory_order_relaxed);  // relaxed: a statistic
}

// A new client goes before one that is away: of those, first who never began anything, then the one that was cut first.
bool BridgeCore::make_room_for_session() {
    if (sessions_.size() < options_.connections_max) {
        return true;
    }
    auto victim = sessions_.end();
    const auto goes_before = [](const Known& one, const Known& other) {
        const bool idle = one.session->received() == 0;
        return idle != (other.session->received() == 0) ? idle : one.cut < other.cut;
    };
    for (auto at = sessions_.begin(); at != sessions_.end(); ++at) {
        if (at->second.is_cut &&
            (victim == sessions_.end() || goes_before(at->second, victim->second))) {
            victim = at;
        }
    }
    if (victim == sessions_.end()) {
        return false;
    }
    log(LogKind::resource, "the session of a cut connection ends: a new client needs its place");
    victim->second.session->end();
    sessions_.erase(victim);
    return true;
}

void BridgeCore::left(const std::shared_ptr<ServerSession>& session) {
    for (auto at = sessions_.begin(); at != sessions_.end(); ++at) {
        if (at->second.session == session) {
            if (session->ended()) {
                sessions_.erase(at);
            } else {
                at->second.is_cut = true;
                at->second.cut = std::chrono::steady_clock::now();
            }
            break;
        }
    }
    count_sessions();
}

void BridgeCore::closed(const std::shared_ptr<Connection>& connection) {
    greeted(*connection);
    if (connections_.erase(connection) != 0) {
        connection_count_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a statistic
    }
}

// ---- the thread --------------------------------------------------------------------------------

void BridgeCore::watch_inbox() {
    wakes_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](const asio::error_code& error) {
                          if (error) {
                              return;
                          }
                          for (Inbox::Task& task : self->inbox_->take()) {
                              task();
                          }
                          self->watch_inbox();
                      });
}

void BridgeCore::tick() {
    timer_.expires_after(kTick);
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
        if (error || self->ended_) {
            return;  // a tick that was due when `end` cancelled it comes all the same
        }
        const auto now = std::chrono::steady_clock::now();
        self->look_after(now);
        if (self->draining_ && (now >= self->drain_until_ || self->drained())) {
            self->end();
            return;
        }
        self->tick();
    });
}

void BridgeCore::look_after(std::chrono::steady_clock::time_point now) {
    const auto connections = connections_;  // ending one changes the set
    for (const auto& connection : connections) {
        connection->tick(now);
    }
    for (auto at = sessions_.begin(); at != sessions_.end();) {
        if (at->second.is_cut && now - at->second.cut >= options_.grace) {
            at->second.session->end();
            at = sessions_.erase(at);
        } else {
            ++at;
        }
    }
    count_sessions();
    host_->returns.retry();
    for (;;) {
        const std::string line = log_limit_.left_out(now);
        if (line.empty() || !options_.on_log) {
            return;
        }
        options_.on_log(line);
    }
}

void BridgeCore::run() {
    watch_inbox();
    tick();
    reserve_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (tcp_.is_open()) {
        accept(tcp_, retry_tcp_, "tcp client ");
    }
    if (local_.is_open()) {
        accept(local_, retry_local_, "unix client ");
    }
    context_.run();
}

// ---- the end -----------------------------------------------------------------------------------

// Cut connections cannot come back any more: nobody waits for them.
bool BridgeCore::drained() const {
    return std::all_of(sessions_.begin(), sessions_.end(), [](const auto& entry) {
        return entry.second.is_cut || entry.second.session->settled();
    });
}

void BridgeCore::begin_drain(Duration patience) {
    stop_accepting();
    draining_ = true;
    drain_until_ = std::chrono::steady_clock::now() + patience;
    for (auto& [id, known] : sessions_) {
        known.session->drain();
    }
    if (patience <= Duration{} || drained()) {
        end();
    }
}

// On the thread: GOODBYE to everybody, then the loop runs out of work.
void BridgeCore::end() {
    ended_ = true;
    timer_.cancel();
    const auto connections = connections_;
    for (const auto& connection : connections) {
        connection->end({Status::closed, 0, "the bridge ends"});
    }
    for (auto& [id, known] : sessions_) {
        known.session->end();
    }
    sessions_.clear();
    // What is to be said is said at once, or not at all.
    timer_.expires_after(std::chrono::milliseconds(200));
    timer_.async_wait([self = shared_from_this()](const asio::error_code&) {
        const auto left = self->connections_;
        for (const auto& connection : left) {
            connection->drop();
        }
        // The descriptor is the inbox's.
        static_cast<void>(self->wakes_.release());
    });
}

void BridgeCore::drain(Duration patience) noexcept {
    const bool first = running_.exchange(false);
    const std::lock_guard hold(end_mutex_);  // who comes second waits for the first
    if (!first) {
        return;
    }
    asio::post(context_, [self = shared_from_this(), patience] { self->begin_drain(patience); });
    if (thread_.joinable()) {
        thread_.join();
    }
    host_->thread.stop();
    host_->returns.finish(kReturnPatience);
    if (unix_made_) {
        ::unlink(options_.unix_path.c_str());
    }
    client_.close();
}

}  // namespace telpher::bridge

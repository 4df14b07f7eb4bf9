#include "tcp_bridge/bridge_core.hpp"

#include "shm/base/os.hpp"
#include "tcp_bridge/connection.hpp"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

namespace telpher::bridge {
namespace {

constexpr auto kTick = std::chrono::milliseconds(20);
constexpr auto kRetryAccept = std::chrono::milliseconds(100);

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
      host_(std::make_shared<CommandHost>()) {}

BridgeCore::~BridgeCore() = default;

void BridgeCore::log(const std::string& line) {
    if (options_.on_log) {
        options_.on_log(line);
    }
}

BridgeStatus BridgeCore::status() const {
    // relaxed, all: statistics
    return {connection_count_.load(std::memory_order_relaxed),
            session_count_.load(std::memory_order_relaxed),
            accepted_.load(std::memory_order_relaxed),  // relaxed: as above
            refused_.load(std::memory_order_relaxed)};  // relaxed: as above
}

// ---- connections -------------------------------------------------------------------------------

template <typename Acceptor>
void BridgeCore::accept(Acceptor& acceptor, const char* kind) {
    acceptor.async_accept([self = shared_from_this(), &acceptor, kind](
                              const asio::error_code& error, auto socket) {
        if (!self->running_ || error == asio::error::operation_aborted) {
            return;
        }
        if (error) {
            // No descriptors are left, perhaps: those who wait are accepted when there are some again.
            self->log(std::string("accepting: ") + error.message());
            self->retry_.expires_after(kRetryAccept);
            self->retry_.async_wait([self, &acceptor, kind](const asio::error_code& stopped) {
                if (!stopped) {
                    self->accept(acceptor, kind);
                }
            });
            return;
        }
        // relaxed, both: statistics
        const std::uint64_t number = self->accepted_.fetch_add(1, std::memory_order_relaxed) + 1;
        auto connection = std::make_shared<Connection>(self,
                                                       Connection::Socket(std::move(socket)),
                                                       kind + std::to_string(number),
                                                       "anonymous");
        self->connections_.insert(connection);
        self->connection_count_.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
        connection->start();
        if (self->connections_.size() > self->options_.connections_max) {
            self->refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
            connection->end({Status::limit_reached,
                             0,
                             "connections_max of the bridge is " +
                                 std::to_string(self->options_.connections_max)});
        }
        self->accept(acceptor, kind);
    });
}

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
        welcome.codec = known->second.codec;
        welcome.compress_from = known->second.compress_from;
        known->second.is_cut = false;
        known->second.connection = connection.weak_from_this();
        return Greeted{known->second.session, welcome};
    }
    welcome.session = random_id();
    auto session =
        std::make_shared<ServerSession>(client_, host_, inbox_, limits_, Authorize{}, principal);
    // The client's wish, or else the bridge's.
    const std::int64_t from =
        hello.compress_from >= 0 ? hello.compress_from : options_.compress_from_bytes;
    if (const auto codec = choose_codec(hello.codecs); codec && from >= 0) {
        welcome.codec = static_cast<std::uint8_t>(*codec);
        welcome.compress_from = from;
        session->compress(codec_tools_, welcome.codec, from);
    }
    sessions_[welcome.session] = {
        session, connection.weak_from_this(), {}, false, welcome.codec, welcome.compress_from};
    session_count_.store(static_cast<std::uint32_t>(sessions_.size()),
                         std::memory_order_relaxed);  // relaxed: a statistic
    return Greeted{std::move(session), welcome};
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
    session_count_.store(static_cast<std::uint32_t>(sessions_.size()),
                         std::memory_order_relaxed);  // relaxed: a statistic
}

void BridgeCore::closed(const std::shared_ptr<Connection>& connection) {
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
        if (error || !self->running_) {
            return;  // a tick that was due when `end` cancelled it comes all the same
        }
        const auto now = std::chrono::steady_clock::now();
        const auto connections = self->connections_;  // ending one changes the set
        for (const auto& connection : connections) {
            connection->tick(now);
        }
        for (auto at = self->sessions_.begin(); at != self->sessions_.end();) {
            if (at->second.is_cut && now - at->second.cut >= self->options_.grace) {
                at->second.session->end();
                at = self->sessions_.erase(at);
            } else {
                ++at;
            }
        }
        self->session_count_.store(static_cast<std::uint32_t>(self->sessions_.size()),
                                   std::memory_order_relaxed);  // relaxed: a statistic
        self->tick();
    });
}

void BridgeCore::run() {
    watch_inbox();
    tick();
    if (tcp_.is_open()) {
        accept(tcp_, "tcp client ");
    }
    if (local_.is_open()) {
        accept(local_, "unix client ");
    }
    context_.run();
}

// On the thread: GOODBYE to everybody, then the loop runs out of work.
void BridgeCore::end() {
    asio::error_code ignored;
    tcp_.close(ignored);
    local_.close(ignored);
    timer_.cancel();
    retry_.cancel();
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
        asio::error_code closing;
        // The descriptor is the inbox's.
        static_cast<void>(self->wakes_.release());
        static_cast<void>(closing);
    });
}

void BridgeCore::stop() noexcept {
    if (!running_.exchange(false)) {
        return;
    }
    asio::post(context_, [self = shared_from_this()] { self->end(); });
    if (thread_.joinable()) {
        thread_.join();
    }
    host_->thread.stop();
    if (unix_made_) {
        ::unlink(options_.unix_path.c_str());
    }
    client_.close();
}

}  // namespace telpher::bridge

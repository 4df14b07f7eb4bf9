#include "tcp_bridge/bridge_core.hpp"

#include <unistd.h>

#include <algorithm>

namespace telpher::bridge {
namespace {

// For messages that were not confirmed to find room in their queues.
constexpr auto kReturnPatience = std::chrono::milliseconds(500);

std::vector<std::unique_ptr<IoLoop>> make_loops(BridgeCore& bridge, const BridgeOptions& options) {
    std::vector<std::unique_ptr<IoLoop>> loops;
    for (std::size_t index = 0; index < options.threads; ++index) {
        loops.push_back(std::make_unique<IoLoop>(bridge, index));
    }
    return loops;
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
      sessions_(options_.connections_max),
      loops_(make_loops(*this, options_)),
      context_(loops_.front()->context()),
      connect_rate_(options_.connects_per_second, options_.connects_burst) {}

BridgeCore::~BridgeCore() {
    if (reserve_ >= 0) {
        ::close(reserve_);
    }
}

void BridgeCore::log(LogKind kind, const std::string& line) {
    const std::lock_guard hold(log_mutex_);
    if (options_.on_log && log_limit_.admit(kind, std::chrono::steady_clock::now())) {
        options_.on_log(log_text(line));
    }
}

void BridgeCore::log_left_out(std::chrono::steady_clock::time_point now) {
    const std::lock_guard hold(log_mutex_);
    for (;;) {
        const std::string line = log_limit_.left_out(now);
        if (line.empty() || !options_.on_log) {
            return;
        }
        options_.on_log(line);
    }
}

BridgeStatus BridgeCore::status() const {
    std::size_t connections = 0;
    for (const auto& loop : loops_) {
        connections += loop->connections();
    }
    // relaxed, both: statistics
    return {static_cast<std::uint32_t>(connections),
            static_cast<std::uint32_t>(sessions_.size()),
            accepted_.load(std::memory_order_relaxed),  // relaxed: as above
            refused_.load(std::memory_order_relaxed)};  // relaxed: as above
}

std::shared_ptr<const TlsContext> BridgeCore::tls() const {
    const std::lock_guard hold(tls_mutex_);
    return tls_;
}

Welcome BridgeCore::welcome() const {
    Welcome welcome;
    welcome.bridge = id_;
    welcome.domain = domain_;
    welcome.message_bytes_max = limits_.message_bytes_max;
    welcome.outstanding_max = limits_.outstanding_max;
    return welcome;
}

std::shared_ptr<ServerSession> BridgeCore::make_session(std::shared_ptr<SessionHost> host,
                                                        std::shared_ptr<Inbox> inbox,
                                                        std::string principal) const {
    return std::make_shared<ServerSession>(
        client_, std::move(host), std::move(inbox), limits_, Authorize{}, std::move(principal));
}

// The one with the fewest connections; the first, if there are several.
IoLoop& BridgeCore::idlest_loop() noexcept {
    return **std::min_element(loops_.begin(), loops_.end(), [](const auto& one, const auto& other) {
        return one->connections() < other->connections();
    });
}

void BridgeCore::end(Duration patience) {
    if (loops_.front()->started()) {
        asio::post(context_, [this] { stop_accepting(); });
    }
    for (const auto& loop : loops_) {
        loop->drain(patience);
    }
    for (const auto& loop : loops_) {
        loop->join();
    }
    command_thread_->stop();
    const auto until = std::chrono::steady_clock::now() + kReturnPatience;
    for (const auto& loop : loops_) {
        loop->finish(until);
    }
    if (unix_made_) {
        ::unlink(options_.unix_path.c_str());
    }
}

void BridgeCore::drain(Duration patience) noexcept {
    const bool first = running_.exchange(false);
    const std::lock_guard hold(end_mutex_);  // who comes second waits for the first
    if (!first) {
        return;
    }
    end(patience);
    client_.close();
}

}  // namespace telpher::bridge

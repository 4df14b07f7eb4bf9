// How a bridge begins: addresses, listeners, its threads.

#include "telpher/bridge.hpp"

#include "src/client/domain_core.hpp"
#include "tcp_bridge/bridge_core.hpp"
#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/connection.hpp"
#include "tcp_bridge/identity.hpp"
#include "tcp_bridge/known_peers.hpp"
#include "tcp_bridge/quiet_thread.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace telpher {
namespace bridge {
namespace {

constexpr std::uint32_t kThreadsMax = 64;

struct ListenAt {
    std::string host;
    std::uint16_t port = 0;
};

Result<ListenAt> parse_listen(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    ListenAt address;
    const char* const end = text.data() + text.size();
    if (colon != std::string::npos) {
        address.host = text.substr(0, colon);
        const auto parsed = std::from_chars(text.data() + colon + 1, end, address.port);
        if (parsed.ec == std::errc{} && parsed.ptr == end && colon + 1 < text.size()) {
            if (address.host.size() > 2 && address.host.front() == '[' &&
                address.host.back() == ']') {
                address.host = address.host.substr(1, address.host.size() - 2);
            }
            return address;
        }
    }
    return Error{
        Status::bad_request, 0, "listen is '" + text + "', it should be like 127.0.0.1:33333"};
}

Error failed(const std::string& what, const asio::error_code& error) {
    const bool in_use = error == asio::error::address_in_use;
    return {in_use ? Status::already_exists : Status::server_error, error.value(), what};
}

}  // namespace

// Null: nothing is encrypted.
Result<std::shared_ptr<const TlsContext>> BridgeCore::make_tls() const {
    const BridgeTls& tls = options_.tls;
    if (options_.encryption == Encryption::off) {
        return std::shared_ptr<const TlsContext>{};
    }
    TlsServer server;
    server.peers = tls.peers == Peers::authorized  ? PeerTrust::authorized
                   : tls.peers == Peers::authority ? PeerTrust::authority
                   : tls.peers == Peers::psk       ? PeerTrust::psk
                                                   : PeerTrust::anyone;
    server.ca = tls.ca;
    server.certificate = tls.certificate;
    server.key = tls.key;
    server.psk = tls.psk;
    server.psk_identity = tls.psk_identity;
    server.config_dir = tls.config_dir;
    return TlsContext::server(server);
}

Result<void> BridgeCore::prepare_tls() {
    if (options_.tls.peers != Peers::anyone && options_.encryption != Encryption::required) {
        return Error{Status::bad_request,
                     0,
                     "tls.peers asks who a client is, which needs Encryption::required"};
    }
    if (auto identity = have_identity(); !identity) {
        return identity;
    }
    auto context = make_tls();
    if (!context) {
        return context.error();
    }
    tls_ = std::move(*context);
    return {};
}

// A bridge that may encrypt has an identity: it is made at its first start.
Result<void> BridgeCore::have_identity() const {
    const BridgeTls& tls = options_.tls;
    if (options_.encryption == Encryption::off || !tls.certificate.empty() ||
        tls.peers == Peers::psk) {
        return {};
    }
    const auto dir = config_dir(tls.config_dir);
    if (!dir) {
        return dir.error();
    }
    const auto made = make_identity(*dir, "telpher-bridge");
    return made || made.status() == Status::already_exists ? Result<void>() : made.error();
}

Result<std::string> BridgeCore::reload() {
    if (!running_) {
        return Error{Status::closed, 0, "the bridge has ended"};
    }
    auto context = make_tls();
    if (!context) {
        return context.error();
    }
    if (*context == nullptr) {
        return std::string("nothing: this bridge does not encrypt");
    }
    std::string what =
        (*context)->own_pin() ? "identity " + (*context)->own_pin()->text() : "the pre-shared key";
    if (options_.tls.peers == Peers::authority) {
        what += ", authorities of " + options_.tls.ca;
    }
    if (options_.tls.peers == Peers::authorized) {
        // Handshakes read it themselves; whoever reloads wants to know whether they can.
        const std::string path = authorized_peers_path((*context)->config_dir());
        const auto peers = load_peers(path);
        if (!peers) {
            return peers.error();
        }
        what += ", " + std::to_string(peers->size()) + " keys of " + path;
    }
    const std::lock_guard hold(tls_mutex_);
    tls_ = std::move(*context);
    return what;
}

Result<void> BridgeCore::listen_tcp() {
    if (options_.listen.empty()) {
        return {};
    }
    auto parsed = parse_listen(options_.listen);
    if (!parsed) {
        return parsed.error();
    }
    asio::error_code error;
    const auto host = parsed->host == "localhost" ? asio::ip::make_address("127.0.0.1", error)
                                                  : asio::ip::make_address(parsed->host, error);
    if (error) {
        return Error{Status::bad_request,
                     0,
                     "listen is '" + options_.listen + "': '" + parsed->host + "' is no address"};
    }
    const bool guarded =
        options_.encryption == Encryption::required && options_.tls.peers != Peers::anyone;
    if (!host.is_loopback() && !guarded && !options_.insecure) {
        return Error{
            Status::not_permitted,
            0,
            options_.listen +
                " can be reached from other hosts: ask for encryption and for who a client is, "
                "listen on 127.0.0.1, or say that it is meant to be insecure"};
    }
    const asio::ip::tcp::endpoint endpoint(host, parsed->port);
    static_cast<void>(tcp_.open(endpoint.protocol(), error));
    if (!error) {
        static_cast<void>(tcp_.set_option(asio::socket_base::reuse_address(true), error));
    }
    if (!error) {
        static_cast<void>(tcp_.bind(endpoint, error));
    }
    if (!error) {
        static_cast<void>(tcp_.listen(asio::socket_base::max_listen_connections, error));
    }
    if (error) {
        return failed("listening on " + options_.listen, error);
    }
    port_ = tcp_.local_endpoint(error).port();
    return {};
}

Result<void> BridgeCore::listen_unix() {
    const std::string& path = options_.unix_path;
    if (path.empty()) {
        return {};
    }
    if (path.size() > 100) {
        return Error{Status::bad_request, 0, "unix_path has more than 100 bytes: " + path};
    }
    asio::error_code error;
    const asio::local::stream_protocol::endpoint endpoint(path);
    // What a killed bridge left is taken away; one that answers, or is no socket, is not.
    struct stat file {};
    if (::lstat(path.c_str(), &file) == 0) {
        asio::local::stream_protocol::socket probe(context_);
        static_cast<void>(probe.connect(endpoint, error));
        if (!S_ISSOCK(file.st_mode) || error != asio::error::connection_refused) {
            return Error{Status::already_exists, 0, path + " is there already"};
        }
        ::unlink(path.c_str());
        error.clear();
    }
    static_cast<void>(local_.open(endpoint.protocol(), error));
    if (!error) {
        // Before it has a name: at no moment may others connect.
        ::fchmod(local_.native_handle(), 0600);
        static_cast<void>(local_.bind(endpoint, error));
    }
    if (!error) {
        unix_made_ = true;
        static_cast<void>(local_.listen(asio::socket_base::max_listen_connections, error));
    }
    return error ? Result<void>(failed("listening on " + path, error)) : Result<void>();
}

Result<std::shared_ptr<BridgeCore>> BridgeCore::start(Client client, BridgeOptions options) {
    if (options.listen.empty() && options.unix_path.empty()) {
        return Error{Status::bad_request, 0, "neither listen nor unix_path is given"};
    }
    if (options.connections_max == 0 || options.greeting_max == 0 || options.outstanding_max == 0 ||
        options.heartbeat < std::chrono::milliseconds(100) || options.grace.count() < 0 ||
        options.compress_from_bytes < -1) {
        return Error{Status::bad_request,
                     0,
                     "connections_max, greeting_max and outstanding_max are 1 and more, heartbeat "
                     "100 ms and more, grace 0 and more, compress_from_bytes -1 and more"};
    }
    if (options.threads == 0 || options.threads > kThreadsMax) {
        return Error{Status::bad_request,
                     0,
                     "threads is " + std::to_string(options.threads) + ", it should be 1 to " +
                         std::to_string(kThreadsMax)};
    }
    detail::DomainCore* const domain = detail::DomainCore::of(client);
    if (domain == nullptr) {
        return Error{Status::closed, 0, "the client is not connected to a domain of this host"};
    }
    if (const Status status = domain->usable(); status != Status::ok) {
        return status;
    }
    const std::string name = domain->name();
    const std::size_t bytes_max = domain->attachment().segment().message_bytes_max();
    auto core =
        std::make_shared<BridgeCore>(std::move(client), std::move(options), name, bytes_max);
    core->admin_ = Admin::of(core->client_).value();
    for (auto step : {&BridgeCore::prepare_loops,
                      &BridgeCore::prepare_tls,
                      &BridgeCore::listen_tcp,
                      &BridgeCore::listen_unix,
                      &BridgeCore::start_loops}) {
        if (auto done = ((*core).*step)(); !done) {
            core->end({});
            return done.error();
        }
    }
    return core;
}

Result<void> BridgeCore::prepare_loops() {
    for (const auto& loop : loops_) {
        if (auto prepared = loop->prepare(); !prepared) {
            return prepared;
        }
    }
    return {};
}

Result<void> BridgeCore::start_loops() {
    for (const auto& loop : loops_) {
        if (auto started = loop->start(shared_from_this()); !started) {
            return started;
        }
    }
    asio::post(context_, [this] { start_accepting(); });
    return {};
}

}  // namespace bridge

Result<Bridge> Bridge::start(Client client, BridgeOptions options) {
    auto core = bridge::BridgeCore::start(std::move(client), std::move(options));
    return core ? Result<Bridge>(Bridge(std::move(*core))) : Result<Bridge>(core.error());
}

Bridge& Bridge::operator=(Bridge&& other) noexcept {
    if (this != &other) {
        stop();
        core_ = std::move(other.core_);
    }
    return *this;
}

Bridge::~Bridge() { stop(); }

void Bridge::stop() noexcept { drain({}); }
void Bridge::drain(Duration patience) noexcept {
    if (core_ != nullptr) {
        core_->drain(patience);
    }
}
Result<std::string> Bridge::reload() {
    return core_ != nullptr ? core_->reload() : Result<std::string>(Error{Status::closed, 0, {}});
}
bool Bridge::running() const noexcept { return core_ != nullptr && core_->running(); }
std::uint16_t Bridge::port() const noexcept { return core_ != nullptr ? core_->port() : 0; }
BridgeStatus Bridge::status() const { return core_ != nullptr ? core_->status() : BridgeStatus{}; }

}  // namespace telpher

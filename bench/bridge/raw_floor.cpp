#include "bench/bridge/raw_floor.hpp"

#include "tcp_bridge/identity.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <map>

namespace telpher::bench {

namespace {

constexpr std::size_t kReadBytes = std::size_t{256} << 10U;

std::string why(const char* what) { return std::string(what) + ": " + strerrordesc_np(errno); }

void do_not_wait(int socket) {
    const int yes = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

}  // namespace

KeyFolder::KeyFolder(const Context& context)
    : path_((std::filesystem::temp_directory_path() / ("telpher-" + context.new_name())).string()) {
}
KeyFolder::~KeyFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

void make_keys(Side& side, const std::string& folder) {
    side.must(bridge::make_identity(folder, "bench"), "make_identity");
}

int listen_on_loopback(Side& side, std::uint16_t* port) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    if (listener < 0 || ::bind(listener, plain, size) != 0 || ::listen(listener, SOMAXCONN) != 0 ||
        ::getsockname(listener, plain, &size) != 0) {
        side.fail(why("listen"));
    }
    *port = ntohs(address.sin_port);
    return listener;
}

int connect_to(Side& side, std::uint16_t port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(port);
    if (socket < 0 ||
        ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        side.fail(why("connect"));
    }
    do_not_wait(socket);
    return socket;
}

namespace {

SslContext make_context(Side& side, const SSL_METHOD* method) {
    SslContext context(SSL_CTX_new(method));
    if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_256_GCM_SHA384") != 1 ||
        SSL_CTX_set1_groups_list(context.get(), "X25519") != 1) {
        side.fail("a TLS context could not be made");
    }
    SSL_CTX_set_mode(context.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    return context;
}

}  // namespace

SslContext server_context(Side& side, const std::string& folder) {
    SslContext context = make_context(side, TLS_server_method());
    const std::string certificate = bridge::identity_certificate_path(folder);
    const std::string key = bridge::identity_key_path(folder);
    if (SSL_CTX_use_certificate_file(context.get(), certificate.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) {
        side.fail("the keys cannot be used");
    }
    SSL_CTX_set_num_tickets(context.get(), 0);
    return context;
}

SslContext client_context(Side& side) { return make_context(side, TLS_client_method()); }

std::unique_ptr<SSL, SslFree> handshake(Side& side, SSL_CTX* context, int socket, bool client) {
    std::unique_ptr<SSL, SslFree> ssl(SSL_new(context));
    if (ssl == nullptr || SSL_set_fd(ssl.get(), socket) != 1 ||
        (client ? SSL_connect(ssl.get()) : SSL_accept(ssl.get())) != 1) {
        side.fail("a TLS handshake failed");
    }
    return ssl;
}

// ---- the server --------------------------------------------------------------------------------

namespace {

class RawServer {
  public:
    RawServer(Side& side, const std::string& folder)
        : side_(side), epoll_(::epoll_create1(EPOLL_CLOEXEC)), buffer_(kReadBytes) {
        if (!folder.empty()) {
            make_keys(side, folder);
            context_ = server_context(side, folder);
        }
        std::uint16_t port = 0;
        listener_ = listen_on_loopback(side, &port);
        watch(listener_);
        side.board().words[kPort].store(port, std::memory_order_relaxed);  // relaxed: a meeting
    }
    RawServer(const RawServer&) = delete;
    RawServer& operator=(const RawServer&) = delete;
    ~RawServer() {
        for (const auto& [socket, peer] : peers_) {
            ::close(socket);
        }
        ::close(listener_);
        ::close(epoll_);
    }

    void serve() {
        auto& words = side_.board().words;
        std::array<epoll_event, 64> events{};
        while (!over(side_)) {
            const int ready = ::epoll_wait(epoll_, events.data(), events.size(), 5);
            for (int i = 0; i < ready; ++i) {
                const int socket = events[static_cast<std::size_t>(i)].data.fd;
                if (socket == listener_) {
                    accept();
                } else {
                    turn(socket);
                }
            }
            // relaxed: pacing
            words[kTaken].store(taken_, std::memory_order_relaxed);
        }
        if (seen_ == 0) {
            side_.fail("nothing was read");
        }
    }

  private:
    struct Peer {
        std::unique_ptr<SSL, SslFree> ssl{};
        bool greeted = true;
        std::uint32_t head_bytes = 0;  // of the length, when a read cut it
        std::uint32_t length = 0;
        std::uint32_t left = 0;  // of the payload
        std::uint64_t number = 0;
        std::vector<std::uint64_t> answers{};
    };

    void watch(int socket) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = socket;
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
    }
    void accept() {
        const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0) {
            return;
        }
        do_not_wait(socket);
        Peer& peer = peers_[socket];
        if (context_ != nullptr) {
            peer.ssl.reset(SSL_new(context_.get()));
            SSL_set_fd(peer.ssl.get(), socket);
            SSL_set_accept_state(peer.ssl.get());
            peer.greeted = false;
        }
        watch(socket);
    }
    void turn(int socket) {
        Peer& peer = peers_.at(socket);
        if (peer.ssl == nullptr) {
            const ssize_t got = ::read(socket, buffer_.data(), buffer_.size());
            if (got <= 0) {
                drop(socket);
                return;
            }
            take(peer, std::span(buffer_).first(static_cast<std::size_t>(got)));
        } else if (!open_records(peer)) {
            drop(socket);
            return;
        }
        const auto bytes = std::as_bytes(std::span(peer.answers));
        for (std::size_t sent = 0; sent < bytes.size();) {
            const ssize_t now =
                peer.ssl == nullptr
                    ? ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL)
                    : SSL_write(peer.ssl.get(),
                                bytes.data() + sent,
                                static_cast<int>(bytes.size() - sent));
            sent += now > 0 ? static_cast<std::size_t>(now) : 0;  // few bytes: room comes at once
        }
        peer.answers.clear();
    }
    bool open_records(Peer& peer) {
        for (;;) {
            const int got =
                SSL_read(peer.ssl.get(), buffer_.data(), static_cast<int>(buffer_.size()));
            if (got <= 0) {
                return SSL_get_error(peer.ssl.get(), got) == SSL_ERROR_WANT_READ;
            }
            take(peer, std::span(buffer_).first(static_cast<std::size_t>(got)));
        }
    }
    void take(Peer& peer, std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            if (peer.left == 0) {
                const std::size_t part =
                    std::min(sizeof peer.length - peer.head_bytes, bytes.size());
                std::memcpy(reinterpret_cast<std::byte*>(&peer.length) + peer.head_bytes,
                            bytes.data(),
                            part);
                bytes = bytes.subspan(part);
                peer.head_bytes += static_cast<std::uint32_t>(part);
                if (peer.head_bytes == sizeof peer.length) {
                    peer.left = peer.length;
                    peer.head_bytes = 0;
                }
                continue;
            }
            const std::size_t part = std::min<std::size_t>(peer.left, bytes.size());
            for (std::size_t at = 0; at + sizeof peer.number <= part; at += kLineBytes) {
                std::memcpy(&peer.number, bytes.data() + at, sizeof peer.number);
                seen_ += peer.number;
            }
            bytes = bytes.subspan(part);
            peer.left -= static_cast<std::uint32_t>(part);
            if (peer.left == 0) {
                peer.answers.push_back(++taken_);
            }
        }
    }
    void drop(int socket) {
        peers_.erase(socket);
        ::close(socket);
    }

    Side& side_;
    SslContext context_;
    int epoll_;
    int listener_ = -1;
    std::vector<std::byte> buffer_;
    std::map<int, Peer> peers_;
    std::uint64_t taken_ = 0;
    std::uint64_t seen_ = 0;  // the sum, so that payloads are read
};

}  // namespace

void serve_raw(Side& side, const std::string& folder) {
    RawServer server(side, folder);
    side.sync();
    server.serve();
    side.sync();
}

// ---- the client --------------------------------------------------------------------------------

RawPort::RawPort(Side& side, const RequestPlan& plan)
    : side_(side),
      // relaxed: it was told before a meeting
      socket_(connect_to(
          side,
          static_cast<std::uint16_t>(side.board().words[kPort].load(std::memory_order_relaxed)))),
      payload_(plan.payload_bytes),
      in_(std::size_t{64} << 10U) {
    if (plan.encrypted) {
        context_ = client_context(side);
        ssl_ = handshake(side, context_.get(), socket_, true);
    }
}

RawPort::~RawPort() {
    ssl_.reset();
    ::close(socket_);
}

void RawPort::request(std::uint64_t number) {
    payload_.number(number);
    const auto length = static_cast<std::uint32_t>(payload_.bytes().size());
    const auto* const head = reinterpret_cast<const std::byte*>(&length);
    out_.insert(out_.end(), head, head + sizeof length);
    out_.insert(out_.end(), payload_.bytes().begin(), payload_.bytes().end());
}

std::size_t RawPort::read(void* to, std::size_t bytes) {
    const ssize_t got = ssl_ == nullptr ? ::read(socket_, to, bytes)
                                        : SSL_read(ssl_.get(), to, static_cast<int>(bytes));
    if (got <= 0) {
        side_.fail("the connection was cut");
    }
    return static_cast<std::size_t>(got);
}

std::size_t RawPort::settle() {
    for (std::size_t sent = 0; sent < out_.size();) {
        const ssize_t now =
            ssl_ == nullptr
                ? ::send(socket_, out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL)
                : SSL_write(ssl_.get(), out_.data() + sent, static_cast<int>(out_.size() - sent));
        if (now <= 0) {
            side_.fail(why("send"));
        }
        sent += static_cast<std::size_t>(now);
    }
    out_.clear();
    held_ += read(in_.data() + held_, in_.size() - held_);
    const std::size_t whole = held_ / sizeof answered_;
    for (std::size_t i = 0; i < whole; ++i) {
        std::uint64_t number = 0;
        std::memcpy(&number, in_.data() + i * sizeof number, sizeof number);
        if (number <= answered_) {
            side_.fail("acknowledgement " + std::to_string(number) + " after " +
                       std::to_string(answered_));
        }
        answered_ = number;
    }
    held_ -= whole * sizeof answered_;
    std::memmove(in_.data(), in_.data() + whole * sizeof answered_, held_);
    return whole;
}

}  // namespace telpher::bench

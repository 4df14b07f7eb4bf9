// Who comes in at a bridge's door: how many at once, how often, and what becomes of them when there are no descriptors.

#include "tcp_bridge/bridge_core.hpp"
#include "tcp_bridge/connection.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace telpher::bridge {
namespace {

constexpr auto kRetryAccept = std::chrono::milliseconds(100);
constexpr int kTurnedAwayAtOnce = 256;  // in a shortage: others are to be served between

// Who has an IPv6 address has 2^64 of them.
std::string address_of(const asio::ip::tcp::socket& socket) {
    asio::error_code error;
    const auto address = socket.remote_endpoint(error).address();
    if (!address.is_v6() || address.to_v6().is_v4_mapped()) {
        return address.to_string();
    }
    auto bytes = address.to_v6().to_bytes();
    std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
    return asio::ip::address_v6(bytes).to_string() + "/64";
}

}  // namespace

void BridgeCore::start_accepting() {
    reserve_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (tcp_.is_open()) {
        accept(tcp_, retry_tcp_, "tcp client ");
    }
    if (local_.is_open()) {
        accept(local_, retry_local_, "unix client ");
    }
}

// Handlers keep nothing alive: they run while a thread does, which keeps us, or are destroyed with us.
template <typename Acceptor>
void BridgeCore::accept(Acceptor& acceptor, asio::steady_timer& retry, const char* kind) {
    IoLoop& loop = idlest_loop();
    acceptor.async_accept(
        asio::any_io_executor(loop.context().get_executor()),
        [this, &loop, &acceptor, &retry, kind](const asio::error_code& error, auto socket) {
            if (!running_ || error == asio::error::operation_aborted) {
                return;
            }
            if (!error) {
                if (shortage_) {
                    end_shortage();
                }
                // relaxed: a statistic
                const auto number = accepted_.fetch_add(1, std::memory_order_relaxed) + 1;
                admit(loop,
                      Socket(std::move(socket)),
                      kind + std::to_string(number),
                      [this, &acceptor, &retry, kind] { accept(acceptor, retry, kind); });
                return;
            }
            constexpr bool kLocal =
                std::is_same_v<Acceptor, asio::local::stream_protocol::acceptor>;
            begin_shortage(acceptor.native_handle(), kLocal, error);
            retry.expires_after(kRetryAccept);
            retry.async_wait([this, &acceptor, &retry, kind](const asio::error_code& stopped) {
                if (!stopped && running_) {
                    accept(acceptor, retry, kind);
                }
            });
        });
}

// `next` when its thread has it: whoever accepts faster than HELLO is read would turn good clients away.
void BridgeCore::admit(IoLoop& loop, Socket socket, std::string peer, std::function<void()> next) {
    std::string address;  // of a Unix socket: its owner's alone
    if (const auto* const tcp = std::get_if<asio::ip::tcp::socket>(&socket)) {
        address = address_of(*tcp);
        if (!connect_rate_.admit(address, std::chrono::steady_clock::now())) {
            const Error why{Status::limit_reached,
                            0,
                            "more than " + std::to_string(options_.connects_per_second) +
                                " connections a second from " + address};
            const int descriptor = std::get<asio::ip::tcp::socket>(socket).native_handle();
            turn_away(descriptor, false, why);
            log(LogKind::refused, peer + ": " + why.detail);
            next();
            return;
        }
    }
    loop.expect();
    asio::dispatch(loop.context(),
                   [this,
                    &loop,
                    socket = std::move(socket),
                    peer = std::move(peer),
                    address = std::move(address),
                    next = std::move(next)]() mutable {
                       loop.admit(std::move(socket), std::move(peer), std::move(address));
                       asio::dispatch(context_, std::move(next));
                   });
}

// ---- turned away -------------------------------------------------------------------------------

// Without a connection of its own. It is told why where it is sure to read plain frames.
void BridgeCore::turn_away(int descriptor, bool local, const Error& why) {
    refused();
    std::byte first{};
    const bool plain = local || options_.encryption == Encryption::off ||
                       (options_.encryption == Encryption::allowed &&
                        ::recv(descriptor, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 &&
                        first == static_cast<std::byte>(kPreface[0]));
    if (!plain) {
        return;
    }
    FrameHead head;
    head.type = FrameType::refused;
    SendQueue queue;
    queue.push(head, encode(Ending{why}));
    Bytes bytes;
    queue.take(bytes, kWriteBytes);
    static_cast<void>(::send(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

// Those who wait to be accepted would wait for ever: the reserve takes them in, one by one, and out again.
void BridgeCore::begin_shortage(int listener, bool local, const asio::error_code& error) {
    if (!shortage_) {
        shortage_ = true;
        turned_away_ = 0;
        log(LogKind::resource,
            "accepting: " + error.message() + "; new connections are refused until this is over");
    }
    if ((error.value() != EMFILE && error.value() != ENFILE) || reserve_ < 0) {
        return;
    }
    ::close(std::exchange(reserve_, -1));
    for (int count = 0; count < kTurnedAwayAtOnce; ++count) {
        const int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (descriptor < 0) {
            break;
        }
        accepted_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a statistic
        turn_away(descriptor, local, {Status::limit_reached, 0, "the bridge has no descriptors"});
        ::close(descriptor);
        ++turned_away_;
    }
    reserve_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void BridgeCore::end_shortage() {
    if (reserve_ < 0) {
        reserve_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    if (reserve_ < 0) {
        return;  // not over: this was the last one
    }
    shortage_ = false;
    log(LogKind::resource,
        "accepting again; " + std::to_string(turned_away_) + " connections were refused meanwhile");
}

void BridgeCore::stop_accepting() {
    asio::error_code ignored;
    tcp_.close(ignored);
    local_.close(ignored);
    retry_tcp_.cancel();
    retry_local_.cancel();
}

}  // namespace telpher::bridge

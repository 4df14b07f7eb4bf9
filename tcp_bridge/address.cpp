#include "tcp_bridge/address.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/os.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace telpher::bridge {
namespace {

using GoOn = std::function<bool()>;

constexpr int kAskMs = 10;
constexpr std::string_view kTcpPrefix = "tcp:";
constexpr std::string_view kUnixPrefix = "unix:";

Error wrong_address(std::string_view uri, const std::string& what) {
    return {Status::bad_request, 0, "'" + std::string(uri.substr(0, 200)) + "': " + what};
}

Result<Address> parse_tcp(std::string_view uri) {
    std::string_view rest = uri.substr(kTcpPrefix.size());
    if (!rest.starts_with("//")) {
        return wrong_address(uri, "write tcp://HOST:PORT");
    }
    rest.remove_prefix(2);
    if (rest.ends_with('/')) {
        rest.remove_suffix(1);
    }
    const std::size_t colon = rest.rfind(':');
    if (colon == std::string_view::npos || rest.ends_with(']')) {
        return wrong_address(uri, "there is no port: write tcp://HOST:PORT");
    }
    std::string_view host = rest.substr(0, colon);
    const std::string_view port = rest.substr(colon + 1);
    if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        return wrong_address(uri, "an IPv6 address is written in brackets: tcp://[::1]:33333");
    }
    if (host.empty()) {
        return wrong_address(uri, "there is no host: write tcp://HOST:PORT");
    }
    Address address{false, std::string(host), 0};
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (error != std::errc() || end != port.data() + port.size() || address.port == 0) {
        return wrong_address(uri, "the port is '" + std::string(port) + "', allowed are 1..65535");
    }
    return address;
}

// Waits until the socket is connected. The errno that it failed with; 0 = it is.
int await_connected(int socket, std::uint64_t until, const GoOn& go_on) {
    for (;;) {
        if (!go_on()) {
            return ECANCELED;
        }
        if (shm::monotonic_ns() >= until) {
            return ETIMEDOUT;
        }
        pollfd watched{socket, POLLOUT, 0};
        const int ready = ::poll(&watched, 1, kAskMs);
        if (ready < 0 && errno != EINTR) {
            return errno;
        }
        if (ready > 0) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
            return error;
        }
    }
}

struct Place {
    int family = 0;
    sockaddr_storage address{};
    socklen_t bytes = 0;
};

Result<int> dial_place(const Place& place,
                       const Address& to,
                       std::uint64_t until,
                       const GoOn& go_on) {
    const int socket = ::socket(place.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket < 0) {
        return Error{Status::limit_reached, errno, shm::errno_text("socket", errno)};
    }
    int error = 0;
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&place.address), place.bytes) != 0) {
        // A Unix socket whose backlog is full says EAGAIN, and is not on its way.
        error = errno == EINPROGRESS ? await_connected(socket, until, go_on) : errno;
    }
    if (error != 0) {
        ::close(socket);
        return Error{error == ECANCELED ? Status::closed : Status::disconnected,
                     error,
                     shm::errno_text(to_string(to).c_str(), error)};
    }
    if (place.family != AF_UNIX) {
        const int on = 1;  // frames are gathered before they are written
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return socket;
}

}  // namespace

Result<Address> parse_address(std::string_view uri) {
    if (uri.starts_with(kTcpPrefix)) {
        return parse_tcp(uri);
    }
    if (!uri.starts_with(kUnixPrefix)) {
        return wrong_address(uri, "write tcp://HOST:PORT or unix:/PATH");
    }
    std::string_view path = uri.substr(kUnixPrefix.size());
    if (path.starts_with("//")) {
        path.remove_prefix(2);
    }
    if (!path.starts_with('/')) {
        return wrong_address(uri, "the path of a socket begins with '/': write unix:/PATH");
    }
    if (path.size() >= sizeof(sockaddr_un::sun_path) || path.find('\0') != std::string_view::npos) {
        return wrong_address(uri,
                             "the path of a socket has at most " +
                                 std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
    }
    return Address{true, std::string(path), 0};
}

std::string to_string(const Address& address) {
    if (address.is_unix) {
        return address.host;
    }
    const bool v6 = address.host.find(':') != std::string::npos;
    return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

Result<int> dial(const Address& address,
                 std::uint64_t timeout_ns,
                 const std::function<bool()>& go_on) {
    const std::uint64_t until = shm::monotonic_ns() + timeout_ns;
    if (address.is_unix) {
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        std::memcpy(name.sun_path, address.host.data(), address.host.size());
        Place place{AF_UNIX, {}, sizeof name};
        std::memcpy(&place.address, &name, sizeof name);
        return dial_place(place, address, until, go_on);
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* list = nullptr;
    const std::string port = std::to_string(address.port);
    if (const int failed = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &list);
        failed != 0) {
        return Error{Status::disconnected, 0, to_string(address) + ": " + gai_strerror(failed)};
    }
    Result<int> dialled = Error{Status::disconnected, 0, to_string(address) + ": no address"};
    for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
        Place place{at->ai_family, {}, at->ai_addrlen};
        std::memcpy(&place.address, at->ai_addr, at->ai_addrlen);
        dialled = dial_place(place, address, until, go_on);
        if (dialled || dialled.status() == Status::closed) {
            break;
        }
    }
    freeaddrinfo(list);
    return dialled;
}

}  // namespace telpher::bridge

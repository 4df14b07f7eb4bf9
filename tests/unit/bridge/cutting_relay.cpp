#include "tests/unit/bridge/cutting_relay.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace telpher::test {
namespace {

constexpr int kLookMs = 5;

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

// At most `bytes_max` from one to the other. How many; -1: the end.
ssize_t move(int from, int to, std::size_t bytes_max) {
    std::array<std::byte, 16384> buffer;
    const ssize_t got = recv(from, buffer.data(), std::min(buffer.size(), bytes_max), 0);
    if (got <= 0) {
        return -1;
    }
    for (ssize_t sent = 0; sent < got;) {
        const ssize_t now =
            send(to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
        if (now <= 0) {
            return -1;
        }
        sent += now;
    }
    return got;
}

}  // namespace

CuttingRelay::CuttingRelay(std::uint16_t port) : target_(port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    static_cast<void>(bind(listener_, reinterpret_cast<sockaddr*>(&address), size));
    static_cast<void>(listen(listener_, 8));
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
}

CuttingRelay::~CuttingRelay() {
    stop_ = true;
    thread_.join();
    close(listener_);
}

void CuttingRelay::run() {
    while (!stop_) {
        pollfd watched{listener_, POLLIN, 0};
        if (poll(&watched, 1, kLookMs) <= 0) {
            continue;
        }
        const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (client >= 0) {
            if (!blocked_) {
                relay(client);
            }
            close(client);
        }
    }
}

void CuttingRelay::relay(int client) {
    const int bridge = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(target_);
    const int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(bridge, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(bridge, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        ++connections_;
        const std::uint64_t cuts = cuts_wanted_;
        std::array<std::uint64_t, 2> bytes{};
        bool open = true;
        while (open && !stop_ && cuts == cuts_wanted_) {
            std::array<pollfd, 2> watched{pollfd{client, POLLIN, 0}, pollfd{bridge, POLLIN, 0}};
            poll(watched.data(), watched.size(), kLookMs);
            for (std::size_t i = 0; i < 2 && open; ++i) {
                if (watched[i].revents == 0) {
                    continue;
                }
                const std::uint64_t most = bytes_max_;
                const std::uint64_t left = most == 0 ? ~0ULL : most - std::min(most, bytes[i]);
                const ssize_t moved = left == 0 ? -1 : move(watched[i].fd, watched[1 - i].fd, left);
                open = moved > 0;
                bytes[i] += open ? static_cast<std::uint64_t>(moved) : 0;
            }
        }
    }
    close(bridge);
}

}  // namespace telpher::test

#include "tests/unit/bridge/cutting_relay.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace telpher::test {
namespace {

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

CuttingRelay::CuttingRelay(std::uint16_t port) : target_(port), thread_([this] { run(); }) {}

CuttingRelay::~CuttingRelay() {
    stop_ = true;
    thread_.join();
}

void CuttingRelay::run() {
    listener_.serve(stop_, [this](int client) {
        if (!blocked_) {
            relay(client);
        }
    });
}

void CuttingRelay::relay(int client) {
    const int bridge = connect_to(target_);
    if (bridge >= 0) {
        ++connections_;
        const std::uint64_t cuts = cuts_wanted_;
        std::array<std::uint64_t, 2> bytes{};
        bool open = true;
        while (open && !stop_ && cuts == cuts_wanted_) {
            std::array<pollfd, 2> watched{pollfd{client, POLLIN, 0}, pollfd{bridge, POLLIN, 0}};
            poll(watched.data(), watched.size(), LoopbackListener::kLookMs);
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
        close(bridge);
    }
}

}  // namespace telpher::test

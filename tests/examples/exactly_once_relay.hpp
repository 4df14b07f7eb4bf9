// A relay between clients and the bridge, which cuts every connection when it is told to (SIGUSR1).
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>
#include <vector>

namespace example {

inline volatile std::sig_atomic_t cut_now = 0;

inline int loopback(std::uint16_t port, bool listens) {
    const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    const bool good = listens ? bind(made, raw, sizeof address) == 0 && listen(made, 64) == 0
                              : connect(made, raw, sizeof address) == 0;
    if (!good) {
        close(made);
        return -1;
    }
    return made;
}

// Everything that is there, from one socket to the other. False: the connection is over.
inline bool pass_on(int from, int to) {
    std::array<char, 16384> bytes{};
    const ssize_t got = read(from, bytes.data(), bytes.size());
    for (ssize_t sent = 0; sent < got;) {
        const ssize_t more =
            send(to, bytes.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
        if (more <= 0) {
            return false;
        }
        sent += more;
    }
    return got > 0;
}

// Runs until it is killed.
inline int run_relay(std::uint16_t bridge_port, std::atomic<std::uint16_t>& port) {
    struct sigaction action {};
    action.sa_handler = [](int) { cut_now = 1; };
    sigaction(SIGUSR1, &action, nullptr);
    const int door = loopback(0, true);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(door, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    std::vector<std::pair<int, int>> pairs;
    const auto drop = [&pairs](std::size_t i) {
        close(pairs[i].first);
        close(pairs[i].second);
        pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(i));
    };
    for (;;) {
        std::vector<pollfd> waits{{door, POLLIN, 0}};
        for (const auto& [client, bridge] : pairs) {
            waits.push_back({client, POLLIN, 0});
            waits.push_back({bridge, POLLIN, 0});
        }
        const int ready = poll(waits.data(), waits.size(), 100);
        if (cut_now != 0) {
            cut_now = 0;
            while (!pairs.empty()) {
                drop(0);
            }
            continue;
        }
        if (ready <= 0) {
            continue;
        }
        for (std::size_t i = pairs.size(); i-- > 0;) {
            const bool up =
                waits[1 + 2 * i].revents == 0 || pass_on(pairs[i].first, pairs[i].second);
            const bool down =
                waits[2 + 2 * i].revents == 0 || (up && pass_on(pairs[i].second, pairs[i].first));
            if (!up || !down) {
                drop(i);
            }
        }
        if (waits[0].revents != 0) {
            const int client = accept4(door, nullptr, nullptr, SOCK_CLOEXEC);
            const int bridge = client >= 0 ? loopback(bridge_port, false) : -1;
            if (bridge >= 0) {
                pairs.emplace_back(client, bridge);
            } else if (client >= 0) {
                close(client);
            }
        }
    }
}

}  // namespace example

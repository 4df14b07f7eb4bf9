#pragma once
// Sockets of the loopback, as the tests' own peers need them.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace telpher::test {

inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

inline void send_at_once(int descriptor) {
    const int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Listens on a free port while it exists.
class LoopbackListener {
  public:
    LoopbackListener() : descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address = loopback(0);
        socklen_t size = sizeof address;
        const bool listens =
            bind(descriptor_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
            listen(descriptor_, 8) == 0 &&
            getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) == 0;
        port_ = listens ? ntohs(address.sin_port) : std::uint16_t{0};
    }
    LoopbackListener(const LoopbackListener&) = delete;
    LoopbackListener& operator=(const LoopbackListener&) = delete;
    ~LoopbackListener() { close(descriptor_); }

    [[nodiscard]] int descriptor() const { return descriptor_; }
    // 0: it could not listen.
    [[nodiscard]] std::uint16_t port() const { return port_; }
    // -1: nobody came.
    [[nodiscard]] int accept() const {
        return accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC);
    }
    // `handle(client)` for one after another, until `stop`.
    template <typename Handle>
    void serve(const std::atomic<bool>& stop, Handle handle) const {
        while (!stop) {
            pollfd watched{descriptor_, POLLIN, 0};
            if (poll(&watched, 1, kLookMs) > 0) {
                const int client = accept();
                if (client >= 0) {
                    send_at_once(client);
                    handle(client);
                    close(client);
                }
            }
        }
    }
    static constexpr int kLookMs = 5;

  private:
    int descriptor_;
    std::uint16_t port_ = 0;
};

// A connection to that port; -1: there is none to be had.
inline int connect_to(std::uint16_t port) {
    const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(port);
    send_at_once(descriptor);
    if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return descriptor;
    }
    close(descriptor);
    return -1;
}

}  // namespace telpher::test

#include "tools/telpher/tcp_socket.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

namespace telpher::cli {
namespace {

struct FreeAddresses {
    void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

Error socket_failed(const std::string& what, int error) {
    return {Status::disconnected, error, what};
}

// Until the socket is ready for `events`.
Result<void> wait_for(int fd,
                      short events,
                      TcpSocket::Deadline deadline,
                      const Interrupt& interrupt) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) {
            return Error{Status::timed_out, 0, "the peer did not answer in time"};
        }
        std::array<pollfd, 2> waited{pollfd{fd, events, 0}, pollfd{interrupt.fd(), POLLIN, 0}};
        const auto ms = std::min<std::int64_t>(left.count(), 60'000);
        if (::poll(waited.data(), waited.size(), static_cast<int>(ms)) < 0 && errno != EINTR) {
            return socket_failed("waiting for the peer", errno);
        }
        if (interrupt.stopped()) {
            return Error{Status::cancelled, 0, {}};
        }
        if (waited[0].revents != 0) {
            return {};
        }
    }
}

Result<void> connect_to(int fd,
                        const addrinfo& address,
                        TcpSocket::Deadline deadline,
                        const Interrupt& interrupt) {
    if (::connect(fd, address.ai_addr, address.ai_addrlen) == 0) {
        return {};
    }
    if (errno != EINPROGRESS) {
        return socket_failed("connecting", errno);
    }
    if (auto ready = wait_for(fd, POLLOUT, deadline, interrupt); !ready) {
        return ready;
    }
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error == 0 ? Result<void>{} : socket_failed("connecting", error);
}

}  // namespace

Result<TcpSocket> TcpSocket::connect(const std::string& host,
                                     const std::string& port,
                                     Deadline deadline,
                                     const Interrupt& interrupt) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
        return socket_failed("looking up " + host + ": " + gai_strerror(error), 0);
    }
    const std::unique_ptr<addrinfo, FreeAddresses> addresses(found);
    Error last = socket_failed("the host has no address", 0);
    for (const auto* address = found; address != nullptr; address = address->ai_next) {
        TcpSocket socket(::socket(
            address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol));
        if (socket.fd_ < 0) {
            last = socket_failed("making a socket", errno);
            continue;
        }
        const auto connected = connect_to(socket.fd_, *address, deadline, interrupt);
        if (connected) {
            return socket;
        }
        last = connected.error();
        if (last.status != Status::disconnected) {
            break;
        }
    }
    return last;
}

TcpSocket::~TcpSocket() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

Result<void> TcpSocket::send(std::span<const std::byte> bytes,
                             Deadline deadline,
                             const Interrupt& interrupt) {
    while (!bytes.empty()) {
        const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(sent));
        } else if (errno != EAGAIN && errno != EINTR) {
            return socket_failed("sending", errno);
        } else if (auto ready = wait_for(fd_, POLLOUT, deadline, interrupt); !ready) {
            return ready;
        }
    }
    return {};
}

Result<std::size_t> TcpSocket::receive(std::span<std::byte> bytes,
                                       Deadline deadline,
                                       const Interrupt& interrupt) {
    for (;;) {
        const auto got = ::recv(fd_, bytes.data(), bytes.size(), 0);
        if (got >= 0) {
            return static_cast<std::size_t>(got);
        }
        if (errno != EAGAIN && errno != EINTR) {
            return socket_failed("receiving", errno);
        }
        if (auto ready = wait_for(fd_, POLLIN, deadline, interrupt); !ready) {
            return ready.error();
        }
    }
}

}  // namespace telpher::cli

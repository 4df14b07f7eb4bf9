// A TCP connection that waits until a deadline, and no longer than until Ctrl-C.
#pragma once

#include "telpher/result.hpp"

#include "tools/telpher/signals.hpp"

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace telpher::cli {

class TcpSocket {
  public:
    using Deadline = std::chrono::steady_clock::time_point;

    // Tries each address of the host. Errors: disconnected, timed_out, cancelled. Looking up a name may
    // take longer than the deadline: the system's resolver knows none.
    static Result<TcpSocket> connect(const std::string& host,
                                     const std::string& port,
                                     Deadline deadline,
                                     const Interrupt& interrupt);
    ~TcpSocket();
    TcpSocket(TcpSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    TcpSocket& operator=(TcpSocket&&) = delete;
    TcpSocket(const TcpSocket&) = delete;
    TcpSocket& operator=(const TcpSocket&) = delete;

    Result<void> send(std::span<const std::byte> bytes,
                      Deadline deadline,
                      const Interrupt& interrupt);
    // At least one byte; 0 = the peer has closed.
    Result<std::size_t> receive(std::span<std::byte> bytes,
                                Deadline deadline,
                                const Interrupt& interrupt);

  private:
    explicit TcpSocket(int fd) : fd_(fd) {}
    int fd_;
};

}  // namespace telpher::cli

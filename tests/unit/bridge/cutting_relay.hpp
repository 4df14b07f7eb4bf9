#pragma once
// A relay between a client and a bridge that can be cut, and that can cut itself after so many bytes.

#include "tests/unit/bridge/loopback.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace telpher::test {

class CuttingRelay {
  public:
    // Listens on a free port of 127.0.0.1, and connects each client to `port` there.
    explicit CuttingRelay(std::uint16_t port);
    CuttingRelay(const CuttingRelay&) = delete;
    CuttingRelay& operator=(const CuttingRelay&) = delete;
    ~CuttingRelay();

    [[nodiscard]] std::string uri() const {
        return "tcp://127.0.0.1:" + std::to_string(listener_.port());
    }
    // Cuts the connections that are there.
    void cut() { ++cuts_wanted_; }
    // Cuts each connection when so many bytes have come from the client or from the bridge; 0 = never.
    void cut_after(std::uint64_t bytes) { bytes_max_ = bytes; }
    // Nobody gets through meanwhile.
    void block(bool on) { blocked_ = on; }
    [[nodiscard]] std::uint64_t connections() const { return connections_; }

  private:
    void run();
    void relay(int client);

    std::uint16_t target_;
    const LoopbackListener listener_{};
    std::atomic<bool> stop_{false};
    std::atomic<bool> blocked_{false};
    std::atomic<std::uint64_t> cuts_wanted_{0};
    std::atomic<std::uint64_t> bytes_max_{0};
    std::atomic<std::uint64_t> connections_{0};
    std::thread thread_;
};

}  // namespace telpher::test

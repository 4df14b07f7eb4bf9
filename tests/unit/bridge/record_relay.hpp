#pragma once
// A relay between a client and a bridge that knows where TLS records end, and does one thing to one of them.

#include "tests/unit/bridge/loopback.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {

enum class Harm : std::uint8_t { none, drop, repeat, swap, splice, flip, truncate };
inline constexpr std::array kHarms{
    Harm::drop, Harm::repeat, Harm::swap, Harm::splice, Harm::flip, Harm::truncate};

class RecordRelay {
  public:
    using Bytes = std::vector<std::byte>;

    // Listens on a free port of 127.0.0.1, and connects each client to `port` there, one at a time.
    explicit RecordRelay(std::uint16_t port);
    RecordRelay(const RecordRelay&) = delete;
    RecordRelay& operator=(const RecordRelay&) = delete;
    ~RecordRelay();

    [[nodiscard]] std::string uri() const {
        return "tcp://127.0.0.1:" + std::to_string(listener_.port());
    }
    // Does it once, to record number `index` (from 0) of a connection in that direction, of this connection or the next
    // that has so many. What was kept of an earlier connection is what is spliced in.
    void plan(Harm harm, bool to_bridge, std::size_t index);
    [[nodiscard]] bool done() const { return done_; }
    [[nodiscard]] std::uint64_t connections() const { return connections_; }
    // Whether a text ever was on the wire, in any direction.
    void look_for(std::string text);
    [[nodiscard]] bool seen() const { return seen_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  private:
    struct Leg {
        int from = -1;
        int to = -1;
        Bytes partial{};
        std::size_t records = 0;
        Bytes held{};  // goes behind the next one
        Bytes tail{};  // of what passed, for a text that is cut in two
    };
    void run();
    void relay(int client);
    [[nodiscard]] bool move(Leg& leg, bool to_bridge);
    // False: the connection is to be cut.
    [[nodiscard]] bool pass(Leg& leg, bool to_bridge, Bytes record);
    void watch(Leg& leg, const Bytes& bytes);

    std::uint16_t target_;
    const LoopbackListener listener_{};
    std::mutex mutex_;  // guards the plan and the text
    Harm harm_ = Harm::none;
    bool harm_to_bridge_ = false;
    std::size_t harm_index_ = 0;
    std::string text_;
    std::array<Bytes, 2> kept_;  // a record of an earlier connection, by direction
    std::atomic<bool> done_{false};
    std::atomic<bool> seen_{false};
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> connections_{0};
    std::atomic<std::uint64_t> bytes_{0};
    std::thread thread_;
};

}  // namespace telpher::test

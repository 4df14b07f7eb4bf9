#pragma once
// A bridge in a process of its own, and the clients that ask it.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "bench/bridge/requests.hpp"
#include "bench/e2e/domain.hpp"

#include <deque>
#include <functional>
#include <string>

namespace telpher::bench {

struct BridgePlan {
    std::size_t payload_bytes = 64;
    std::uint32_t queued = 1024;  // messages that the queue "there" has room for
    bool encrypted = false;
    bool local = false;
    bool compressed = false;
};

// The bridge of one round: domain, queue "there", keys.
class BridgeSide {
  public:
    // Tells its port to the others, behind their meeting.
    BridgeSide(Side& side, const std::string& domain, const std::string& folder, BridgePlan plan);
    [[nodiscard]] Server& server() noexcept { return server_; }
    [[nodiscard]] Queue& queue() noexcept { return there_; }
    [[nodiscard]] Bridge& bridge() noexcept { return bridge_; }
    // Takes out what was sent, phase by phase, until the asking side is done. Reads every line.
    void empty_behind_phases();
    void end();

  private:
    Side& side_;
    Server server_;
    Queue there_;
    Bridge bridge_;
};

// How to reach it from another process.
std::string bridge_uri(Side& side, const std::string& folder, bool local);
Client connect_remote(Side& side, const std::string& folder, const RequestPlan& plan);

// One client with one connection that offers to the queue "there".
class RemotePort {
  public:
    RemotePort(Side& side, const std::string& folder, const RequestPlan& plan);
    void request(std::uint64_t number);
    std::size_t settle();

  private:
    Side& side_;
    bool one_by_one_;
    Client client_;
    Queue queue_;
    PayloadBytes payload_;
    Message message_;
    std::deque<Future<std::uint64_t>> asked_;
};

}  // namespace telpher::bench

#pragma once
// One behaviour, every way to a domain: shared memory, a bridge's Unix socket, TCP, TCP encrypted, TCP compressed.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tcp_bridge/identity.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

namespace telpher::test {

inline DomainLimits ways_limits() {
    DomainLimits limits = small_limits();
    limits.destinations = 32;
    limits.message_bytes = 2U << 20U;
    limits.pool_bytes = 8U << 20U;
    limits.segment_bytes = 64U << 20U;
    return limits;
}

// A domain, a bridge of it, and a client: over which way, the parameter says.
class Ways : public testing::TestWithParam<const char*> {
  public:
    Ways() = default;
    Ways(const Ways&) = delete;
    Ways& operator=(const Ways&) = delete;
    ~Ways() override { std::filesystem::remove_all(config); }

  protected:
    void SetUp() override {
        server = domain.open({.limits = ways_limits(), .log_directory = log_directory});
        BridgeOptions options;
        options.listen = "127.0.0.1:0";
        options.unix_path = path;
        options.threads = 2;
        if (way() == "tls") {
            static_cast<void>(bridge::make_identity(config + "/bridge", "bridge").value());
            options.encryption = Encryption::required;
            options.tls.config_dir = config + "/bridge";
        }
        bridge = Bridge::start(telpher::connect(domain.uri()).value(), options).value();
        client = another_client();
    }
    void TearDown() override {
        client.close();
        bridge.stop();
    }
    [[nodiscard]] static std::string_view way() { return GetParam(); }
    [[nodiscard]] static bool remote() { return way() != "shm"; }
    [[nodiscard]] std::string uri() const {
        if (!remote()) {
            return domain.uri();
        }
        return way() == "unix" ? "unix:" + path
                               : "tcp://127.0.0.1:" + std::to_string(bridge.port());
    }
    [[nodiscard]] ConnectOptions how() const {
        ConnectOptions options;
        if (way() == "tls") {
            options.tls = Tls{.config_dir = config + "/client"};
        }
        if (way() == "compressed") {
            options.compress_from_bytes = 0;
        }
        return options;
    }
    [[nodiscard]] Client another_client() const { return telpher::connect(uri(), how()).value(); }

    static constexpr auto kSoon = std::chrono::seconds(10);  // longer than anything here takes
    std::string log_directory;                               // empty: the domain has no log
    ScratchDomain domain;
    const std::string path = "/tmp/telpher-" + unique_name() + ".sock";
    const std::string config = path + ".config";
    Server server;
    Bridge bridge;
    Client client;
};

inline const auto kAllWays = testing::Values("shm", "unix", "tcp", "tls", "compressed");
inline const auto kRemoteWays = testing::Values("unix", "tcp", "tls", "compressed");
inline std::string name_of_way(const testing::TestParamInfo<const char*>& way) { return way.param; }

}  // namespace telpher::test

// Serves the demo's domain to its remote subscriber: encrypted, on a free port of the loopback.

#include "telpher/bridge.hpp"

#include "tcp_bridge/identity.hpp"
#include "tools/telpher/demo_roles.hpp"

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace telpher::cli {

namespace {

constexpr std::uint64_t kLookEveryNs = 5'000'000;

// Keys are the demo's own. Whoever comes last takes them away: this process, if the parent was killed.
class Keys {
  public:
    explicit Keys(std::string folder) : folder_(std::move(folder)) {}
    Keys(const Keys&) = delete;
    Keys& operator=(const Keys&) = delete;
    ~Keys() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

  private:
    std::string folder_;
};

}  // namespace

Result<void> run_bridge(RoleContext& context) {
    const Keys keys(context.options.keys);
    const std::string folder = context.options.keys + "/bridge";
    if (auto identity = bridge::make_identity(folder, "telpher-demo"); !identity) {
        return identity.error();
    }
    auto bridge = Bridge::start(context.client,
                                {.listen = "127.0.0.1:0",
                                 .encryption = Encryption::required,
                                 .tls = {.config_dir = folder}});
    if (!bridge) {
        return bridge.error();
    }
    context.account->bridge_port.set(bridge->port());
    context.ready(Role::bridge);
    wait_for(context.account->remote_done, context.interrupt, kLookEveryNs);
    bridge->stop();
    return context.interrupt.stopped() ? Result<void>(Status::cancelled) : Result<void>{};
}

// TLS 1.3, the bridge's key trusted at its first use.
Result<Client> connect_to_bridge(const RoleContext& context) {
    wait_for(context.account->bridge_port, context.interrupt, kLookEveryNs);
    if (context.interrupt.stopped()) {
        return Status::cancelled;
    }
    return connect("tcp://127.0.0.1:" + std::to_string(context.account->bridge_port.get()),
                   {.encrypt = true, .tls = Tls{.config_dir = context.options.keys + "/client"}});
}

}  // namespace telpher::cli

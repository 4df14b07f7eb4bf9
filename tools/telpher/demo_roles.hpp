// The hidden processes of the demo, each an executable run of its own, and what they share.
//
//   demo_roles.cpp     from the arguments to the role; ends with the parent
//   demo_producer.cpp  sends the orders
//   demo_worker.cpp    takes orders, and has some computed again
//   demo_pricer.cpp    computes them
//   demo_subscriber.cpp  hears of the orders that are done
//   demo_bridge.cpp    lets one of these hear it over TCP, encrypted
#pragma once

#include "telpher/client.hpp"

#include "tools/telpher/demo.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace telpher::cli {

// What every role has in its hands.
struct RoleContext {
    const RoleOptions& options;
    SharedAccount& account;
    Client& client;
    Interrupt& interrupt;

    // Tells the parent that the role can begin.
    void ready(Role role) const { account->ready.at(index_of(role)).set(1); }
};

// Each runs until its work is done. Errors: cancelled when it is stopped; what went wrong.
Result<void> run_producer(RoleContext& context);
Result<void> run_worker(RoleContext& context, Role role);
Result<void> run_pricer(RoleContext& context, Role role);
Result<void> run_subscriber(RoleContext& context, Role role);
Result<void> run_bridge(RoleContext& context);

// The demo's domain through its bridge, once that runs. Errors: cancelled, as `connect`.
Result<Client> connect_to_bridge(const RoleContext& context);

[[nodiscard]] inline std::string_view text_of(std::span<const std::byte> payload) {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

void sleep_until(std::uint64_t at_ns);
// Looks every `look_every_ns` until the figure is set, or the demo is stopped.
void wait_for(const Figure& figure,
              const Interrupt& interrupt,
              std::uint64_t look_every_ns = 100'000);

}  // namespace telpher::cli

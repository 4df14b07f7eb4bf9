// Question: what does a message cost from a remote client into a queue, until it is acknowledged?
// Method:   bridge_X: offer (one in flight) or offer_async (a window) through the public API to a bridge in a
//           process of its own; raw_X: the same bytes of payload to an epoll server that counts them. 1 to
//           1000 connections are as many clients, a thread each. The serving process has the first
//           processor, the asking one the second. *_tls: encrypted on both sides; *_unix: a Unix socket.
// Not here: links that are slower than loopback, several hosts.
#include "bench/bridge/bridge_side.hpp"
#include "bench/bridge/raw_floor.hpp"
#include "bench/e2e/rows.hpp"

#include <algorithm>

namespace telpher::bench {

namespace {

Result<Sample> run_raw(const Context& context, const RequestPlan& plan) {
    const KeyFolder folder(context);
    return run_pair(
        context,
        [&](Side& side) { serve_raw(side, plan.encrypted ? folder.path() : std::string()); },
        [&](Side& side) {
            ask(side, plan, [&](std::uint32_t) { return std::make_unique<RawPort>(side, plan); });
        });
}

Result<Sample> run_bridge(const Context& context, const RequestPlan& plan) {
    const KeyFolder folder(context);
    const std::string domain = context.new_name();
    SharedBoard board;
    const std::uint32_t spare = plan.payload_bytes > (16U << 20U) ? 4 : 64;
    const auto queued = static_cast<std::uint32_t>(plan.per_phase() * plan.connections + spare);
    const auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             BridgeSide bridge(
                 side,
                 domain,
                 folder.path(),
                 {plan.payload_bytes, queued, plan.encrypted, plan.local, plan.compressed});
             side.sync();
             bridge.empty_behind_phases();
             side.sync();
             bridge.end();
         },
         [&](Side& side) {
             ask(side, plan, [&](std::uint32_t) {
                 return std::make_unique<RemotePort>(side, folder.path(), plan);
             });
         }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

using MakePlan = std::function<RequestPlan(const Scale&)>;

// raw_NAME, bridge_NAME, and where it makes sense both encrypted.
void add_pair(std::vector<Benchmark>& list,
              const std::string& name,
              const std::string& what,
              bool encrypted,
              const MakePlan& make) {
    for (const bool tls : {false, true}) {
        if (tls && !encrypted) {
            continue;
        }
        const std::string suffix = tls ? name + "_tls" : name;
        const auto plan_of = [make, tls](const Context& context) {
            RequestPlan plan = make(context.scale);
            plan.encrypted = tls;
            plan.messages = std::max(plan.messages, plan.phase);
            return plan;
        };
        list.push_back(
            one_row("raw_" + suffix, what + ", epoll server", [plan_of](const Context& context) {
                return run_raw(context, plan_of(context));
            }));
        list.push_back(
            one_row("bridge_" + suffix, what + ", bridge", [plan_of](const Context& context) {
                return run_bridge(context, plan_of(context));
            }));
    }
}

MakePlan requests(std::size_t bytes,
                  std::uint32_t window,
                  std::uint32_t connections,
                  std::uint64_t share,
                  std::uint64_t phase) {
    return [=](const Scale& scale) {
        RequestPlan plan;
        plan.payload_bytes = bytes;
        plan.window = window;
        plan.connections = connections;
        plan.messages = scale.slow_messages / share;
        // Short runs have short phases.
        plan.phase = std::clamp<std::uint64_t>(plan.messages / 2, 1, phase);
        return plan;
    };
}

// The bridge alone, compressed on both sides: payloads like lines of a log, a quarter of their size compressed.
void add_compressed(std::vector<Benchmark>& list,
                    const std::string& name,
                    const std::string& what,
                    const MakePlan& make) {
    list.push_back(one_row(
        "bridge_" + name + "_gzip", what + ", compressed, bridge", [make](const Context& context) {
            RequestPlan plan = make(context.scale);
            plan.compressed = true;
            plan.messages = std::max(plan.messages, plan.phase);
            return run_bridge(context, plan);
        }));
}

}  // namespace

void add_bridge_request_rows(std::vector<Benchmark>& list) {
    add_pair(list, "rr_64", "round trip, 64 B", true, requests(64, 1, 1, 20, 1000));
    list.push_back(
        one_row("bridge_rr_64_unix", "round trip, 64 B, Unix socket", [](const Context& context) {
            RequestPlan plan = requests(64, 1, 1, 20, 1000)(context.scale);
            plan.local = true;
            return run_bridge(context, plan);
        }));
    add_pair(list, "window_64", "window of 256, 64 B", true, requests(64, 256, 1, 1, 8192));
    add_pair(list, "window_1k", "window of 256, 1 KiB", true, requests(1024, 256, 1, 2, 4096));
    add_pair(list, "5k_1", "5 KiB, 1 connection", false, requests(5120, 1, 1, 20, 1000));
    add_pair(list, "5k_10", "5 KiB, 10 connections", false, requests(5120, 1, 10, 20, 1000));
    add_pair(list, "5k_100", "5 KiB, 100 connections", false, requests(5120, 1, 100, 20, 2000));
    add_pair(list, "500k", "500 KiB", true, requests(500 << 10, 1, 1, 400, 16));
    add_pair(list, "5m", "5 MiB", true, requests(5 << 20, 1, 1, 4000, 2));
}

void add_bridge_growth_rows(std::vector<Benchmark>& list) {
    add_pair(list, "5k_1000", "5 KiB, 1000 connections", false, requests(5120, 1, 1000, 20, 4000));
    add_pair(list, "50m", "50 MiB", true, requests(50 << 20, 1, 1, 40000, 2));
    add_pair(list, "5k_2", "5 KiB, 2 connections", false, requests(5120, 1, 2, 20, 1000));
    add_pair(list, "5k_4", "5 KiB, 4 connections", false, requests(5120, 1, 4, 20, 1000));
    add_pair(list, "50k_1", "50 KiB, 1 connection", true, requests(50 << 10, 1, 1, 80, 128));
    add_pair(list, "50k_10", "50 KiB, 10 connections", false, requests(50 << 10, 1, 10, 80, 128));
    add_pair(
        list, "50k_100", "50 KiB, 100 connections", false, requests(50 << 10, 1, 100, 80, 200));
    add_pair(
        list, "500k_10", "500 KiB, 10 connections", false, requests(500 << 10, 1, 10, 400, 20));
    add_pair(list, "5m_10", "5 MiB, 10 connections", false, requests(5 << 20, 1, 10, 4000, 10));
    add_compressed(list, "5k_1", "5 KiB", requests(5120, 1, 1, 20, 1000));
    add_compressed(list, "50k_1", "50 KiB", requests(50 << 10, 1, 1, 80, 128));
    add_compressed(list, "500k", "500 KiB", requests(500 << 10, 1, 1, 400, 16));
    add_compressed(list, "5m", "5 MiB", requests(5 << 20, 1, 1, 4000, 2));
}

}  // namespace telpher::bench

#include "bench/bridge/bridge_side.hpp"

#include "bench/bridge/raw_floor.hpp"

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(20);
constexpr std::int64_t kCompressFrom = 1024;

std::string socket_path(const std::string& folder) { return folder + ".socket"; }

Bridge start_bridge(Side& side,
                    const std::string& domain,
                    const std::string& folder,
                    const BridgePlan& plan) {
    BridgeOptions options;
    if (plan.local) {
        options.unix_path = socket_path(folder);
    } else {
        options.listen = "127.0.0.1:0";
    }
    options.connections_max = 4096;
    options.compress_from_bytes = plan.compressed ? kCompressFrom : -1;
    if (plan.encrypted) {
        make_keys(side, folder);
        options.encryption = Encryption::required;
        options.tls.config_dir = folder;
    }
    return side.must(Bridge::start(join(side, domain), options), "Bridge::start");
}

Server open_domain(Side& side, const std::string& domain, const BridgePlan& plan) {
    ServerOptions options = server_options(side.context());
    const std::size_t bytes = (plan.payload_bytes + 4096) * plan.queued;
    options.limits = DomainLimits{};
    options.limits->message_bytes = std::max<std::size_t>(20U << 20U, plan.payload_bytes + 4096);
    options.limits->pool_bytes = std::max<std::size_t>(64U << 20U, bytes);
    return side.must(Server::open(domain, options), "open");
}

}  // namespace

BridgeSide::BridgeSide(Side& side,
                       const std::string& domain,
                       const std::string& folder,
                       BridgePlan plan)
    : side_(side),
      server_(open_domain(side, domain, plan)),
      there_(side.must(server_.create_queue("there", {.capacity = plan.queued}), "create_queue")),
      bridge_(start_bridge(side, domain, folder, plan)) {
    // relaxed: a meeting follows
    side.board().words[kPort].store(bridge_.port(), std::memory_order_relaxed);
}

void BridgeSide::empty_behind_phases() {
    auto& words = side_.board().words;
    std::uint64_t taken = 0;
    while (!over(side_)) {
        // relaxed, both: pacing
        const std::uint64_t sent = words[kSent].load(std::memory_order_relaxed);
        while (taken < sent) {
            for (const Delivery& delivery : side_.must(there_.poll_n(256, kWaitMax), "poll_n")) {
                if (sequence_of(delivery.payload()) == kTorn) {
                    side_.fail("a message is torn");
                }
                ++taken;
            }
        }
        words[kTaken].store(taken, std::memory_order_relaxed);  // relaxed: as above
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

void BridgeSide::end() {
    bridge_.stop();
    side_.must(server_.remove_domain(), "remove_domain");
}

std::string bridge_uri(Side& side, const std::string& folder, bool local) {
    if (local) {
        return "unix:" + socket_path(folder);
    }
    // relaxed: it was told before a meeting
    return "tcp://127.0.0.1:" +
           std::to_string(side.board().words[kPort].load(std::memory_order_relaxed));
}

Client connect_remote(Side& side, const std::string& folder, const RequestPlan& plan) {
    ConnectOptions options;
    options.compress_from_bytes = plan.compressed ? kCompressFrom : -1;
    if (plan.encrypted) {
        // Trusted on first use, as a user who gives nothing.
        options.encrypt = true;
        options.tls = Tls{.config_dir = folder + "/client"};
    }
    return side.must(connect(bridge_uri(side, folder, plan.local), options), "connect");
}

RemotePort::RemotePort(Side& side, const std::string& folder, const RequestPlan& plan)
    : side_(side),
      one_by_one_(plan.window == 1),
      client_(connect_remote(side, folder, plan)),
      queue_(side.must(client_.queue("there"), "queue")),
      payload_(plan),
      message_(Message::bytes("order", "application/octet-stream", payload_.bytes())) {}

void RemotePort::request(std::uint64_t number) {
    payload_.number(number);
    message_.set_payload(payload_.bytes());
    if (!one_by_one_) {
        asked_.push_back(queue_.offer_async(message_, kWaitMax));
    }
}

std::size_t RemotePort::settle() {
    if (one_by_one_) {
        side_.must(queue_.offer(message_, kWaitMax), "offer");
        return 1;
    }
    std::size_t answered = 0;
    do {
        side_.must(asked_.front().get(kWaitMax), "offer_async");
        asked_.pop_front();
        ++answered;
    } while (!asked_.empty() && asked_.front().ready());
    return answered;
}

}  // namespace telpher::bench

// Question: how long does a remote client take to be connected, and what does one that does nothing cost the
//           bridge?
// Method:   bridge_connect: connect() until it is welcomed, and its end, one after another; raw_connect: a
//           connection, one request of 8 bytes and its acknowledgement. *_tls: a full handshake each, on both
//           sides, no resumption. bridge_idle: RssAnon of the bridge before and behind a thousand connections
//           that greeted and do nothing, and those that have sent and received 200 KiB before.
// Not here: many clients that connect at once.
#include "bench/bridge/bridge_side.hpp"
#include "bench/bridge/raw_floor.hpp"
#include "bench/e2e/rows.hpp"
#include "tcp_bridge/bodies.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace telpher::bench {

namespace {

double rss_anon_kib() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssAnon:")) {
            return std::stod(line.substr(8));
        }
    }
    return 0;
}

// ns per call of `connect_once`.
template <typename ConnectOnce>
void time_connects(Side& side, const ConnectOnce& connect_once) {
    const std::uint64_t count = side.context().scale.attaches * 2ULL;
    side.sync();
    connect_once();
    const auto histogram = std::make_unique<Histogram>();
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t before = ticks();
        connect_once();
        histogram->record(ticks() - before);
    }
    side.tell(*histogram);
    // relaxed: a flag
    side.board().words[kOver].store(1, std::memory_order_relaxed);
    side.sync();
}

Result<Sample> run_raw_connects(const Context& context, bool encrypted) {
    const KeyFolder folder(context);
    return run_pair(
        context,
        [&](Side& side) { serve_raw(side, encrypted ? folder.path() : std::string()); },
        [&](Side& side) {
            RequestPlan plan;
            plan.payload_bytes = 8;
            plan.encrypted = encrypted;
            time_connects(side, [&] {
                RawPort port(side, plan);
                port.request(1);
                static_cast<void>(port.settle());
            });
        });
}

Result<Sample> run_connects(const Context& context, bool encrypted) {
    const KeyFolder folder(context);
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             BridgeSide bridge(side, domain, folder.path(), {64, 64, encrypted, false});
             side.sync();
             bridge.empty_behind_phases();
             side.sync();
             bridge.end();
         },
         [&](Side& side) {
             RequestPlan plan;
             plan.encrypted = encrypted;
             time_connects(side, [&] { connect_remote(side, folder.path(), plan).close(); });
         }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

// ---- idle --------------------------------------------------------------------------------------

// A connection that greets as a client does, in a process that could not have a thread for each.
class Greeted {
  public:
    Greeted(Side& side, std::uint16_t port, SSL_CTX* context)
        : side_(side), socket_(connect_to(side, port)) {
        if (context != nullptr) {
            ssl_ = handshake(side, context, socket_, true);
        }
        const auto body = bridge::encode(bridge::Hello{.heartbeat_ms = 600'000, .name = "idle"});
        bridge::FrameHead head;
        head.type = bridge::FrameType::hello;
        head.length = static_cast<std::uint32_t>(body.size());
        const auto encoded = bridge::encode(head);
        const auto preface = std::as_bytes(std::span(bridge::kPreface));
        bridge::Bytes all(preface.begin(), preface.end());
        all.insert(all.end(), encoded.begin(), encoded.end());
        all.insert(all.end(), body.begin(), body.end());
        send(all);
        std::array<std::byte, 512> welcome{};
        const ssize_t got =
            ssl_ != nullptr ? SSL_read(ssl_.get(), welcome.data(), static_cast<int>(welcome.size()))
                            : ::recv(socket_, welcome.data(), welcome.size(), 0);
        if (got <= 0) {
            side_.fail("not welcomed");
        }
    }
    Greeted(Greeted&& other) noexcept
        : side_(other.side_),
          socket_(std::exchange(other.socket_, -1)),
          ssl_(std::move(other.ssl_)) {}
    Greeted& operator=(Greeted&&) = delete;
    Greeted(const Greeted&) = delete;
    Greeted& operator=(const Greeted&) = delete;
    ~Greeted() {
        ssl_.reset();
        if (socket_ >= 0) {
            ::close(socket_);
        }
    }
    void send(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const ssize_t sent =
                ssl_ != nullptr
                    ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                    : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) {
                side_.fail("send");
            }
            bytes = bytes.subspan(static_cast<std::size_t>(sent));
        }
    }

  private:
    Side& side_;
    int socket_;
    std::unique_ptr<SSL, SslFree> ssl_;
};

// Frames that a bridge passes over (an optional type), so that its buffers have been in use.
bridge::Bytes passed_over(std::size_t bytes) {
    bridge::FrameHead head;
    head.type = static_cast<bridge::FrameType>(0xFF);
    head.length = static_cast<std::uint32_t>(bytes);
    const auto encoded = bridge::encode(head);
    bridge::Bytes all(encoded.begin(), encoded.end());
    all.resize(encoded.size() + bytes);
    return all;
}

void open_idle(Side& side, bool encrypted) {
    const std::uint32_t count = side.context().scale.attaches * 10U;
    side.sync();
    // relaxed: told before a meeting
    const auto port =
        static_cast<std::uint16_t>(side.board().words[kPort].load(std::memory_order_relaxed));
    const SslContext context = encrypted ? client_context(side) : nullptr;
    std::vector<Greeted> all;
    all.emplace_back(side, port, context.get());
    side.sync();  // the first one is there
    side.sync();
    for (std::uint32_t i = 0; i < count; ++i) {
        all.emplace_back(side, port, context.get());
    }
    side.sync();  // all are
    side.sync();
    const bridge::Bytes used = passed_over(50'000);
    for (Greeted& each : all) {
        for (int i = 0; i < 4; ++i) {
            each.send(used);
        }
    }
    side.sync();  // all were in use
    side.sync();
}

Result<std::vector<Reading>> run_idle(const Context& context, bool encrypted) {
    const KeyFolder folder(context);
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto settled = [] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        return rss_anon_kib();
    };
    const auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             const double count = side.context().scale.attaches * 10.0;
             BridgeSide bridge(side, domain, folder.path(), {64, 64, encrypted, false});
             side.sync();
             side.sync();
             const double before = settled();
             side.sync();
             side.sync();
             side.board().add_value((settled() - before) / count);
             side.sync();
             side.sync();
             side.board().add_value((settled() - before) / count);
             side.sync();
             bridge.end();
         },
         [&](Side& side) { open_idle(side, encrypted); }});
    if (!end) {
        return end.error();
    }
    const std::string name = encrypted ? "bridge_idle_tls" : "bridge_idle";
    const auto one = [](double value) { return Sample{value, value, value, value}; };
    return std::vector<Reading>{{name, "KiB", one(board->values[0])},
                                {name + "_used", "KiB", one(board->values[1])}};
}

}  // namespace

void add_bridge_connection_rows(std::vector<Benchmark>& list) {
    for (const bool encrypted : {false, true}) {
        const std::string suffix = encrypted ? "_tls" : "";
        list.push_back(one_row("raw_connect" + suffix,
                               "connect, one request of 8 B, close; epoll server",
                               [=](const Context& c) { return run_raw_connects(c, encrypted); }));
        list.push_back(one_row("bridge_connect" + suffix,
                               "connect() until welcomed, close",
                               [=](const Context& c) { return run_connects(c, encrypted); }));
        list.push_back({"bridge_idle" + suffix,
                        "a bridge's memory per connection that does nothing",
                        false,
                        [=](const Context& c) { return run_idle(c, encrypted); }});
    }
}

}  // namespace telpher::bench

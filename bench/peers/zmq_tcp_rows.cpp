// Question: what does ZeroMQ cost over TCP, beside the bridge?
// Method:   zmq_tcp_rr_64, zmq_tcp_window_64: DEALER and ROUTER, requests of 64 B, acknowledgements of 8 B, one
//           or 256 on their way; zmq_curve_*: with CURVE, keys of one run. zmq_tcp_fan_out: XPUB that drops
//           nothing to ten SUB sockets, a thread each; by deliveries. The serving side has the first processor.
// Not here: a broker, a queue, an acknowledgement of what a subscriber got: ZeroMQ has none.
#include "bench/bridge/raw_floor.hpp"
#include "bench/e2e/rows.hpp"

#ifdef TELPHER_HAS_ZMQ

#include <zmq.h>

#include <algorithm>
#include <array>
#include <string>

namespace telpher::bench {

namespace {

constexpr std::size_t kPayloadBytes = 64;
constexpr int kSubscribers = 10;

struct Keys {
    std::array<char, 41> open{};
    std::array<char, 41> secret{};
    Keys() { zmq_curve_keypair(open.data(), secret.data()); }
};

class Socket {
  public:
    Socket(Side& side, int type)
        : side_(side), zmq_(zmq_ctx_new()), socket_(zmq_socket(zmq_, type)) {}
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket() {
        const int now = 0;
        zmq_setsockopt(socket_, ZMQ_LINGER, &now, sizeof now);
        zmq_close(socket_);
        zmq_ctx_term(zmq_);
    }
    void check(bool good, const char* what) {
        if (!good) {
            side_.fail(std::string(what) + ": " + zmq_strerror(zmq_errno()));
        }
    }
    void set(int option, const void* value, std::size_t bytes) {
        check(zmq_setsockopt(socket_, option, value, bytes) == 0, "zmq_setsockopt");
    }
    void set(int option, int value) { set(option, &value, sizeof value); }
    void serve(const Keys* keys) {
        if (keys != nullptr) {
            set(ZMQ_CURVE_SERVER, 1);
            set(ZMQ_CURVE_SECRETKEY, keys->secret.data(), 40);
        }
        check(zmq_bind(socket_, "tcp://127.0.0.1:*") == 0, "zmq_bind");
        std::array<char, 64> address{};
        std::size_t size = address.size();
        zmq_getsockopt(socket_, ZMQ_LAST_ENDPOINT, address.data(), &size);
        const std::string text(address.data());
        // relaxed: a meeting follows
        side_.board().words[kPort].store(std::stoul(text.substr(text.rfind(':') + 1)),
                                         std::memory_order_relaxed);
    }
    void connect(const Keys* server) {
        if (server != nullptr) {
            const Keys own;
            set(ZMQ_CURVE_SERVERKEY, server->open.data(), 40);
            set(ZMQ_CURVE_PUBLICKEY, own.open.data(), 40);
            set(ZMQ_CURVE_SECRETKEY, own.secret.data(), 40);
        }
        const std::string address =
            "tcp://127.0.0.1:" +
            // relaxed: it was told before a meeting
            std::to_string(side_.board().words[kPort].load(std::memory_order_relaxed));
        check(zmq_connect(socket_, address.c_str()) == 0, "zmq_connect");
    }
    void send(const void* bytes, std::size_t size, int flags = 0) {
        while (zmq_send(socket_, bytes, size, flags) < 0) {
            check(zmq_errno() == EINTR || zmq_errno() == EAGAIN, "zmq_send");
        }
    }
    // -1: there is nothing now.
    int receive(void* bytes, std::size_t size, int flags = 0) {
        for (;;) {
            const int got = zmq_recv(socket_, bytes, size, flags);
            if (got >= 0 || (zmq_errno() == EAGAIN)) {
                return got;
            }
            check(zmq_errno() == EINTR, "zmq_recv");
        }
    }

  private:
    Side& side_;
    void* zmq_;
    void* socket_;
};

void serve_requests(Side& side, const Keys* keys) {
    Socket router(side, ZMQ_ROUTER);
    router.set(ZMQ_RCVTIMEO, 20);
    router.serve(keys);
    side.sync();
    std::array<std::byte, 64> from{};
    std::array<std::byte, kPayloadBytes> payload{};
    std::uint64_t taken = 0;
    while (!over(side)) {
        const int who = router.receive(from.data(), from.size());
        if (who >= 0) {
            router.receive(payload.data(), payload.size());
            const std::uint64_t number = sequence_of(payload);
            router.send(from.data(), static_cast<std::size_t>(who), ZMQ_SNDMORE);
            router.send(&number, sizeof number);
            ++taken;
        }
        side.board().words[kTaken].store(taken, std::memory_order_relaxed);  // relaxed: pacing
    }
    side.sync();
}

class DealerPort {
  public:
    DealerPort(Side& side, const RequestPlan& plan, const Keys* keys)
        : side_(side), socket_(side, ZMQ_DEALER), payload_(plan.payload_bytes) {
        socket_.connect(keys);
    }
    void request(std::uint64_t number) {
        payload_.number(number);
        socket_.send(payload_.bytes().data(), payload_.bytes().size());
    }
    std::size_t settle() {
        std::uint64_t number = 0;
        std::size_t answered = 0;
        for (int flags = 0; socket_.receive(&number, sizeof number, flags) >= 0;
             flags = ZMQ_DONTWAIT) {
            if (number != ++answered_) {
                side_.fail("an acknowledgement was lost");
            }
            ++answered;
        }
        return answered;
    }

  private:
    Side& side_;
    Socket socket_;
    PayloadBytes payload_;
    std::uint64_t answered_ = 0;
};

Result<Sample> run_requests(const Context& context, bool curve, std::uint32_t window) {
    RequestPlan plan;
    plan.window = window;
    plan.messages = context.scale.slow_messages / (window == 1 ? 20 : 2);
    plan.phase = std::clamp<std::uint64_t>(plan.messages / 2, 1, 8192);
    const auto keys = curve ? std::make_unique<Keys>() : nullptr;
    return run_pair(
        context,
        [&](Side& side) { serve_requests(side, keys.get()); },
        [&](Side& side) {
            ask(side, plan, [&](std::uint32_t) {
                return std::make_unique<DealerPort>(side, plan, keys.get());
            });
        });
}

// ---- one to ten --------------------------------------------------------------------------------

void publish_all(Side& side, std::uint64_t messages, const Keys* keys) {
    Socket socket(side, ZMQ_XPUB);
    socket.set(ZMQ_XPUB_NODROP, 1);
    socket.set(ZMQ_XPUB_VERBOSE, 1);
    socket.serve(keys);
    side.sync();
    for (int i = 0; i < kSubscribers; ++i) {
        std::array<char, 8> joined{};
        socket.receive(joined.data(), joined.size());
    }
    PayloadBytes payload(kPayloadBytes);
    side.sync();
    for (std::uint64_t number = 1; number <= messages; ++number) {
        payload.number(number);
        socket.send(payload.bytes().data(), payload.bytes().size());
    }
    side.sync();
}

void receive_all(Side& side, std::uint64_t messages, const Keys* keys) {
    side.sync();
    std::vector<std::unique_ptr<Socket>> sockets;
    for (int i = 0; i < kSubscribers; ++i) {
        sockets.push_back(std::make_unique<Socket>(side, ZMQ_SUB));
        sockets.back()->connect(keys);
        sockets.back()->set(ZMQ_SUBSCRIBE, "", 0);
    }
    side.sync();
    const std::uint64_t before = ticks();
    std::vector<std::thread> threads;
    for (const auto& socket : sockets) {
        threads.emplace_back([&] {
            std::array<std::byte, kPayloadBytes> got{};
            for (std::uint64_t number = 1; number <= messages; ++number) {
                socket->receive(got.data(), got.size());
                if (sequence_of(got) != number) {
                    side.fail("a message was lost");
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    side.tell_mean(ticks() - before, messages * kSubscribers);
    side.sync();
}

Result<Sample> run_fan_out(const Context& context, bool curve) {
    const std::uint64_t messages = context.scale.slow_messages / 8;
    const auto keys = curve ? std::make_unique<Keys>() : nullptr;
    return run_pair(
        context,
        [&](Side& side) { publish_all(side, messages, keys.get()); },
        [&](Side& side) { receive_all(side, messages, keys.get()); });
}

}  // namespace

void add_zmq_tcp_rows(std::vector<Benchmark>& list) {
    for (const bool curve : {false, true}) {
        const std::string name = curve ? "zmq_curve_" : "zmq_tcp_";
        const std::string what = curve ? "ZeroMQ, tcp://, CURVE, " : "ZeroMQ, tcp://, ";
        list.push_back(one_row(name + "rr_64", what + "round trip, 64 B", [=](const Context& c) {
            return run_requests(c, curve, 1);
        }));
        list.push_back(one_row(name + "window_64",
                               what + "window of 256, 64 B",
                               [=](const Context& c) { return run_requests(c, curve, 256); }));
        list.push_back(one_row(name + "fan_out", what + "1 -> 10, 64 B", [=](const Context& c) {
            return run_fan_out(c, curve);
        }));
    }
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_zmq_tcp_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif

// Question: what does ZeroMQ cost from one publisher to several subscribers of a host?
// Method:   XPUB that drops nothing (ZMQ_XPUB_NODROP: a send waits for the slowest) and SUB sockets
//           over ipc:// with an abstract address; 64 B. From the common start until the slowest
//           subscriber's last message, by messages published.
// Not here: PUB, which drops.
#include "bench/peers/peer.hpp"

#ifdef TELPHER_HAS_ZMQ

#include <zmq.h>

namespace telpher::bench {

namespace {

void check(Side& side, bool good, const char* what) {
    if (!good) {
        side.fail(std::string(what) + ": " + zmq_strerror(zmq_errno()));
    }
}

Result<Sample> zmq_publish(const Context& context, int subscribers) {
    const std::uint64_t messages = context.scale.messages / 8;
    const std::string address = "ipc://@telpher-" + context.new_name();
    SharedBoard board;
    std::vector<Body> bodies;
    bodies.emplace_back([&](Side& side) {
        void* zmq = zmq_ctx_new();
        void* socket = zmq_socket(zmq, ZMQ_XPUB);
        const int on = 1;
        check(side, zmq_setsockopt(socket, ZMQ_XPUB_NODROP, &on, sizeof on) == 0, "nodrop");
        check(side, zmq_setsockopt(socket, ZMQ_XPUB_VERBOSE, &on, sizeof on) == 0, "verbose");
        check(side, zmq_bind(socket, address.c_str()) == 0, "bind");
        side.sync();
        for (int i = 0; i < subscribers; ++i) {
            char joined[8];
            check(side, zmq_recv(socket, joined, sizeof joined, 0) >= 0, "join");
        }
        Payload<kLineBytes> payload;
        for (const std::uint64_t count : {messages / 10 + 16, messages}) {
            side.sync();
            for (std::uint64_t number = 1; number <= count; ++number) {
                payload.number(number);
                while (zmq_send(socket, payload.words.data(), kLineBytes, 0) < 0) {
                    check(side, zmq_errno() == EINTR || zmq_errno() == EAGAIN, "send");
                }
            }
            side.sync();
            // relaxed: everybody has come to the meeting
            const auto took = side.board().words[0].exchange(0, std::memory_order_relaxed);
            side.tell_mean(took, count);
        }
        side.sync();
        zmq_close(socket);
        zmq_ctx_term(zmq);
    });
    for (int i = 0; i < subscribers; ++i) {
        bodies.emplace_back([&](Side& side) {
            side.sync();
            void* zmq = zmq_ctx_new();
            void* socket = zmq_socket(zmq, ZMQ_SUB);
            check(side, zmq_connect(socket, address.c_str()) == 0, "connect");
            check(side, zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0) == 0, "subscribe");
            Payload<kLineBytes> got;
            for (const std::uint64_t count : {messages / 10 + 16, messages}) {
                side.sync();
                const std::uint64_t before = ticks();
                for (std::uint64_t number = 1; number <= count; ++number) {
                    while (zmq_recv(socket, got.words.data(), kLineBytes, 0) != kLineBytes) {
                        check(side, zmq_errno() == EINTR, "recv");
                    }
                    if (sequence_of(got.bytes()) != number) {
                        side.fail("a message was lost");
                    }
                }
                const std::uint64_t took = ticks() - before;
                std::uint64_t known = side.board().words[0].load();
                while (known < took && !side.board().words[0].compare_exchange_weak(known, took)) {
                }
                side.sync();
            }
            side.sync();
            zmq_close(socket);
            zmq_ctx_term(zmq);
        });
    }
    if (const auto end = run_sides(context, board, bodies); !end) {
        return end.error();
    }
    return board->sample();
}

}  // namespace

void add_zmq_publish_rows(std::vector<Benchmark>& list) {
    for (const int subscribers : {1, 3}) {
        list.push_back(one_row(
            "zmq_pub_1_" + std::to_string(subscribers),
            "ZeroMQ, ipc://, XPUB without drops, 64 B, subscribers " + std::to_string(subscribers),
            [subscribers](const Context& context) { return zmq_publish(context, subscribers); }));
    }
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_zmq_publish_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif

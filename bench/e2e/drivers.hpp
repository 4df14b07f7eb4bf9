#pragma once
// The loops that every transport is measured with: a ping-pong and a one-way stream.
//
// A Port has   void send(sequence)      fills a payload, sends it, waits for room if it must
//              sequence receive()       waits for one, reads every cache line of it
// Loops are templates so that a port's code is inlined into them as into a user's loop.

#include "bench/e2e/harness.hpp"
#include "bench/e2e/histogram.hpp"

#include <memory>

namespace telpher::bench {

struct Amount {
    std::uint64_t warm_up = 0;
    std::uint64_t measured = 0;
};
inline Amount amount_of(std::uint64_t measured) { return {measured / 10 + 16, measured}; }

template <typename Port>
void ping(Side& side, Port& port, Amount amount) {
    const auto histogram = std::make_unique<Histogram>();  // touched (zeroed) before the first tick
    side.sync();
    const auto round_trip = [&](std::uint64_t sequence) {
        port.send(sequence);
        if (const std::uint64_t got = port.receive(); got != sequence) {
            side.fail("round trip " + std::to_string(sequence) + " came back as " +
                      std::to_string(got));
        }
    };
    std::uint64_t sequence = 1;
    for (; sequence <= amount.warm_up; ++sequence) {
        round_trip(sequence);
    }
    std::uint64_t before = ticks();
    for (const std::uint64_t last = amount.warm_up + amount.measured; sequence <= last;
         ++sequence) {
        round_trip(sequence);
        const std::uint64_t now = ticks();
        histogram->record(now - before);
        before = now;
    }
    side.tell(*histogram);
    side.sync();
}

inline constexpr std::uint64_t kRestNs = 20'000;

// As `ping`, with a rest before each round trip that is not timed.
template <typename Port>
void ping_rested(Side& side, Port& port, Amount amount) {
    const auto histogram = std::make_unique<Histogram>();
    const Context& context = side.context();
    side.sync();
    for (std::uint64_t sequence = 1; sequence <= amount.warm_up + amount.measured; ++sequence) {
        for (const std::uint64_t start = monotonic_now_ns();
             monotonic_now_ns() < start + kRestNs;) {
            context.relax();
        }
        const std::uint64_t before = ticks();
        port.send(sequence);
        if (const std::uint64_t got = port.receive(); got != sequence) {
            side.fail("round trip " + std::to_string(sequence) + " came back as " +
                      std::to_string(got));
        }
        if (sequence > amount.warm_up) {
            histogram->record(ticks() - before);
        }
    }
    side.tell(*histogram);
    side.sync();
}

template <typename Port>
void pong(Side& side, Port& port, Amount amount) {
    side.sync();
    for (std::uint64_t left = amount.warm_up + amount.measured; left > 0; --left) {
        port.send(port.receive());
    }
    side.sync();
}

template <typename Port>
void produce(Side& side, Port& port, Amount amount) {
    side.sync();
    const std::uint64_t last = amount.warm_up + amount.measured;
    for (std::uint64_t sequence = 1; sequence <= last; ++sequence) {
        port.send(sequence);
    }
    side.sync();
}

// ns per message, from the end of the warm-up to the last message; every message is counted and in
// order.
template <typename Port>
void consume(Side& side, Port& port, Amount amount) {
    side.sync();
    const auto take = [&](std::uint64_t sequence) {
        if (const std::uint64_t got = port.receive(); got != sequence) [[unlikely]] {
            side.fail("message " + std::to_string(sequence) + " is " + std::to_string(got));
        }
    };
    std::uint64_t sequence = 1;
    for (; sequence <= amount.warm_up; ++sequence) {
        take(sequence);
    }
    const std::uint64_t before = ticks();
    for (const std::uint64_t last = amount.warm_up + amount.measured; sequence <= last;
         ++sequence) {
        take(sequence);
    }
    side.tell_mean(ticks() - before, amount.measured);
    side.sync();
}

}  // namespace telpher::bench

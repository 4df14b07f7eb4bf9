#pragma once
// The loops that a bridge and its floors are measured with: requests of one payload, each answered by a small
// acknowledgement.
//
// A Port has   void request(number)     fills a payload and begins to send it
//              std::size_t settle()     sends what is to be sent and waits for the oldest answer; how many came
// and a Floor or a bridge has   a serving side, which reads every cache line of every payload.
//
// Messages go in phases: behind each, outside the measured time, the serving side empties the queue that they
// went to. So the memory in use is the same whatever the rate, and no consumer takes part in the measuring.

#include "bench/e2e/harness.hpp"
#include "bench/e2e/histogram.hpp"
#include "bench/e2e/payload.hpp"
#include "tests/unit/compression/json_like.hpp"

#include <barrier>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace telpher::bench {

// What both sides of a row agree on.
struct RequestPlan {
    std::size_t payload_bytes = 64;
    std::uint32_t window = 1;       // requests on their way, per connection
    std::uint32_t connections = 1;  // a thread each
    std::uint64_t messages = 0;     // measured, all connections together
    std::uint64_t phase = 1000;     // messages, all connections together
    bool encrypted = false;
    bool local = false;       // a Unix socket
    bool compressed = false;  // on both sides; the payload reads like a log then

    [[nodiscard]] std::uint64_t per_phase() const {
        return (phase + connections - 1) / connections;
    }
    [[nodiscard]] std::uint64_t phases() const {  // the first is the warm-up
        return 1 + (messages + phase - 1) / phase;
    }
};

// In Board::words. The serving side tells its port; the asking side how many messages were sent in all, and
// waits until as many were taken out.
enum RequestBooks : std::size_t { kPort, kSent, kTaken, kOver };

// A sender's private payload: `number` changes one word in each line.
class PayloadBytes {
  public:
    explicit PayloadBytes(std::size_t bytes) : bytes_(bytes) {}
    // Zeros would compress to nothing.
    explicit PayloadBytes(const RequestPlan& plan)
        : bytes_(plan.compressed ? compression::json_like(plan.payload_bytes)
                                 : std::vector<std::byte>(plan.payload_bytes)) {}
    void number(std::uint64_t sequence) noexcept {
        for (std::size_t at = 0; at + sizeof sequence <= bytes_.size(); at += kLineBytes) {
            std::memcpy(bytes_.data() + at, &sequence, sizeof sequence);
        }
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

template <typename Port>
void run_phase(Port& port, const RequestPlan& plan, std::uint64_t* number, Histogram* histogram) {
    std::uint64_t to_send = plan.per_phase();
    if (plan.window == 1) {
        std::uint64_t before = ticks();
        for (; to_send > 0; --to_send) {
            port.request(++*number);
            while (port.settle() == 0) {
            }
            const std::uint64_t now = ticks();
            if (histogram != nullptr) {
                histogram->record(now - before);
            }
            before = now;
        }
        return;
    }
    std::uint64_t on_their_way = 0;
    while (to_send > 0 || on_their_way > 0) {
        for (; to_send > 0 && on_their_way < plan.window; --to_send, ++on_their_way) {
            port.request(++*number);
        }
        on_their_way -= port.settle();
    }
}

// The asking side: `make_port(i)` connects, in the thread that uses it.
template <typename MakePort>
void ask(Side& side, const RequestPlan& plan, const MakePort& make_port) {
    const auto histogram = std::make_unique<Histogram>();
    auto& words = side.board().words;
    side.sync();  // the serving side listens
    // Who comes last tells when: this thread may have the processor again when others are long under way.
    std::uint64_t met = 0;
    std::barrier meeting(static_cast<std::ptrdiff_t>(plan.connections) + 1,
                         [&met]() noexcept { met = ticks(); });
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < plan.connections; ++i) {
        threads.emplace_back([&, i] {
            auto port = make_port(i);
            std::uint64_t number = 0;
            meeting.arrive_and_wait();  // all are connected
            for (std::uint64_t phase = 0; phase < plan.phases(); ++phase) {
                meeting.arrive_and_wait();
                const bool measured = phase > 0 && plan.connections == 1;
                run_phase(*port, plan, &number, measured ? histogram.get() : nullptr);
                meeting.arrive_and_wait();
            }
        });
    }
    std::uint64_t took = 0;
    std::uint64_t sent = 0;
    meeting.arrive_and_wait();
    for (std::uint64_t phase = 0; phase < plan.phases(); ++phase) {
        meeting.arrive_and_wait();
        const std::uint64_t before = met;
        meeting.arrive_and_wait();
        took += phase > 0 ? met - before : 0;
        sent += plan.per_phase() * plan.connections;
        // relaxed, all: numbers for pacing; the messages came through sockets and queues
        words[kSent].store(sent, std::memory_order_relaxed);
        while (words[kTaken].load(std::memory_order_relaxed) < sent) {  // relaxed: as above
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    if (plan.window == 1 && plan.connections == 1) {
        side.tell(*histogram);
    } else {
        side.tell_mean(took, (plan.phases() - 1) * plan.per_phase() * plan.connections);
    }
    words[kOver].store(1, std::memory_order_relaxed);  // relaxed: as above
    side.sync();
}

// What a serving side asks between its turns: whether it is over.
[[nodiscard]] inline bool over(Side& side) noexcept {
    return side.board().words[kOver].load(std::memory_order_relaxed) != 0;  // relaxed: a flag
}

}  // namespace telpher::bench

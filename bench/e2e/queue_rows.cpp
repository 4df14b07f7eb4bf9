// Question: what does a telpher queue cost, complete messages through the public API?
// Method:   capacity 1024, 64 B payload, topic "order", id and timestamp by the library. The sender
//           puts the payload into one Message again and again (set_payload) and offers it; the
//           receiver polls, reads the payload in place and releases it. Both wait with a timeout:
//           they spin first. `queue_ping_pong_try` polls with timeout 0 in a loop of its own
//           instead. lease_oneway: the queue is at_least_once, and the receiver acknowledges each message.
// Not here: loans (loan_rows.cpp), more than two processes.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

namespace telpher::bench {

namespace {

constexpr std::string_view kTopic = "order";
constexpr Duration kWaitMax = std::chrono::seconds(10);

template <bool kTry, bool kAcks = false>
class QueuePort {
  public:
    QueuePort(Side& side, Queues& queues)
        : side_(side),
          out_(queues.out),
          in_(queues.in),
          message_(Message::bytes(kTopic, "application/octet-stream", payload_.bytes())) {}

    void send(std::uint64_t sequence) {
        payload_.number(sequence);
        message_.set_payload(payload_.bytes());
        if (const auto sent = out_.offer(message_, kWaitMax); !sent) [[unlikely]] {
            side_.fail("offer: " + to_string(sent.error()));
        }
    }
    std::uint64_t receive() {
        for (;;) {
            auto delivery = in_.poll(kTry ? Duration{} : kWaitMax);
            if (delivery) [[likely]] {
                const std::uint64_t sequence = sequence_of(delivery->payload());
                if (kAcks && !delivery->ack()) [[unlikely]] {
                    side_.fail("a lease has ended");
                }
                return sequence;
            }
            if (!kTry || delivery.status() != Status::queue_empty) {
                side_.fail("poll: " + to_string(delivery.error()));
            }
            side_.context().relax();
        }
    }

  private:
    Side& side_;
    Queue& out_;
    Queue& in_;
    Payload<kLineBytes> payload_{};
    Message message_;
};

template <bool kTry>
Result<Sample> queue_round_trip(const Context& context) {
    const Amount amount = amount_of(context.scale.round_trips);
    return run_queue_pair(
        context,
        [&](Side& side, Queues& queues) {
            QueuePort<kTry> port(side, queues);
            ping(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            QueuePort<kTry> port(side, queues);
            pong(side, port, amount);
        });
}

template <bool kAcks>
Result<Sample> queue_one_way(const Context& context) {
    const Amount amount = amount_of(context.scale.messages);
    return run_queue_pair(
        context,
        {.delivery = kAcks ? DeliveryMode::at_least_once : DeliveryMode::at_most_once},
        [&](Side& side, Queues& queues) {
            QueuePort<false, kAcks> port(side, queues);
            produce(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            QueuePort<false, kAcks> port(side, queues);
            consume(side, port, amount);
        });
}

}  // namespace

void add_queue_rows(std::vector<Benchmark>& list) {
    list.push_back(
        one_row("telpher_ping_pong", "telpher queue, round trip, 64 B", queue_round_trip<false>));
    list.push_back(
        one_row("telpher_ping_pong_try", "the same, poll(0) in a loop", queue_round_trip<true>));
    list.push_back(one_row("telpher_oneway", "telpher queue, one way, 64 B", queue_one_way<false>));
    list.push_back(one_row("lease_oneway", "the same, lent and acknowledged", queue_one_way<true>));
}

}  // namespace telpher::bench

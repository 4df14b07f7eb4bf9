#pragma once
// One side's end of two queues: offers one Message again and again, with a payload of 64 B; polls, reads in place and
// releases.

#include "bench/e2e/domain.hpp"
#include "bench/e2e/payload.hpp"

namespace telpher::bench {

inline constexpr Duration kPortPatience = std::chrono::seconds(10);

// kTry: polls with timeout 0 in a loop of its own. kAcks: the queues are at_least_once.
template <bool kTry, bool kAcks = false>
class QueuePort {
  public:
    QueuePort(Side& side, Queues& queues)
        : side_(side),
          out_(queues.out),
          in_(queues.in),
          message_(Message::bytes("order", "application/octet-stream", payload_.bytes())) {}

    void send(std::uint64_t sequence) {
        payload_.number(sequence);
        message_.set_payload(payload_.bytes());
        if (const auto sent = out_.offer(message_, kPortPatience); !sent) [[unlikely]] {
            side_.fail("offer: " + to_string(sent.error()));
        }
    }
    std::uint64_t receive() {
        for (;;) {
            auto delivery = in_.poll(kTry ? Duration{} : kPortPatience);
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

}  // namespace telpher::bench

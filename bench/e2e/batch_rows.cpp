// Question: what do batches save, complete messages through the public API?
// Method:   as telpher_oneway, but sixteen messages an offer_n and at most sixteen a poll_n. What
//           offer_n did not accept in time is offered again; the receiver reads each payload in
//           place and releases the batch as a whole.
// Not here: batches between more than two processes (fan_rows.cpp has single calls).
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

namespace telpher::bench {

namespace {

constexpr std::size_t kBatch = 16;
constexpr Duration kWaitMax = std::chrono::seconds(10);

class BatchPort {
  public:
    // `last`: the sequence after which nothing comes, so that the rest is not held back.
    BatchPort(Side& side, Queues& queues, std::uint64_t last)
        : side_(side),
          out_(queues.out),
          in_(queues.in),
          last_(last),
          messages_(kBatch, Message::bytes("order", "application/octet-stream", payload_.bytes())) {
    }

    void send(std::uint64_t sequence) {
        payload_.number(sequence);
        messages_[filled_++].set_payload(payload_.bytes());
        if (filled_ == kBatch || sequence == last_) {
            flush();
        }
    }
    std::uint64_t receive() {
        if (next_ == taken_.size()) {
            auto taken = in_.poll_n(kBatch, kWaitMax);
            if (!taken) [[unlikely]] {
                side_.fail("poll_n: " + to_string(taken.error()));
            }
            taken_ = std::move(*taken);
            next_ = 0;
        }
        return sequence_of(taken_[next_++].payload());
    }

  private:
    void flush() {
        std::span<const Message> left(messages_.data(), filled_);
        while (!left.empty()) {
            const auto sent = out_.offer_n(left, kWaitMax);
            if (!sent) [[unlikely]] {
                side_.fail("offer_n: " + to_string(sent.error()));
            }
            left = left.subspan(*sent);
        }
        filled_ = 0;
    }

    Side& side_;
    Queue& out_;
    Queue& in_;
    std::uint64_t last_;
    Payload<kLineBytes> payload_{};
    std::vector<Message> messages_;
    std::size_t filled_ = 0;
    std::vector<Delivery> taken_;
    std::size_t next_ = 0;
};

Result<Sample> batches_one_way(const Context& context) {
    const Amount amount = amount_of(context.scale.messages);
    const std::uint64_t last = amount.warm_up + amount.measured;
    return run_queue_pair(
        context,
        [&](Side& side, Queues& queues) {
            BatchPort port(side, queues, last);
            produce(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            BatchPort port(side, queues, last);
            consume(side, port, amount);
        });
}

}  // namespace

void add_batch_rows(std::vector<Benchmark>& list) {
    list.push_back(one_row("batch_16_oneway",
                           "telpher queue, one way, 64 B, offer_n and poll_n of 16",
                           batches_one_way));
}

}  // namespace telpher::bench

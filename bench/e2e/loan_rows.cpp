// Question: what does handing over a message in place cost, whatever its size?
// Method:   round trip of loan, offer, poll, release over two queues; nobody touches the payload,
//           so the figure must not grow with the size. Order is checked by the delivery's sequence
//           number.
// Not here: filling and reading the payload (telpher_ping_pong), sizes above one chunk.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/rows.hpp"

namespace telpher::bench {

namespace {

constexpr std::string_view kTopic = "order";
constexpr Duration kWaitMax = std::chrono::seconds(10);

class LoanPort {
  public:
    LoanPort(Side& side, Queues& queues, std::size_t payload_bytes)
        : side_(side), out_(queues.out), in_(queues.in), payload_bytes_(payload_bytes) {}

    void send(std::uint64_t /*sequence*/) {
        auto loan = out_.loan(kTopic, payload_bytes_, kWaitMax);
        if (!loan) [[unlikely]] {
            side_.fail("loan: " + to_string(loan.error()));
        }
        if (const auto sent = out_.offer(std::move(*loan), kWaitMax); !sent) [[unlikely]] {
            side_.fail("offer: " + to_string(sent.error()));
        }
    }
    std::uint64_t receive() {
        const auto delivery = in_.poll(kWaitMax);
        if (!delivery) [[unlikely]] {
            side_.fail("poll: " + to_string(delivery.error()));
        }
        return delivery->sequence();
    }

  private:
    Side& side_;
    Queue& out_;
    Queue& in_;
    std::size_t payload_bytes_;
};

Result<Sample> loan_round_trip(const Context& context, std::size_t payload_bytes) {
    const Amount amount = amount_of(context.scale.round_trips);
    return run_queue_pair(
        context,
        [&](Side& side, Queues& queues) {
            LoanPort port(side, queues, payload_bytes);
            ping(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            LoanPort port(side, queues, payload_bytes);
            pong(side, port, amount);
        });
}

}  // namespace

void add_loan_rows(std::vector<Benchmark>& list) {
    // A message of 64 KiB with its header is the largest in one chunk.
    constexpr std::pair<const char*, std::size_t> kSizes[] = {{"loan_64", 64},
                                                              {"loan_1k", 1024},
                                                              {"loan_4k", 4096},
                                                              {"loan_16k", 16384},
                                                              {"loan_64k", 65536}};
    add_two_lines_row(list, "loan");
    for (const auto& [name, bytes] : kSizes) {
        list.push_back(one_row(
            name,
            "telpher loan handed over untouched, round trip, " + std::to_string(bytes) + " B",
            [bytes = bytes](const Context& context) { return loan_round_trip(context, bytes); }));
    }
}

}  // namespace telpher::bench

// Question: does handing over a large message in place cost more than a small one?
// Method:   as loan_rows.cpp, from 64 KiB (beside its header: more than one chunk of that size) to
//           64 MiB, in a domain whose limits allow it. A size that this version or /dev/shm has no
//           room for is skipped, with the reason.
// Not here: filling and reading the payload (size_rows.cpp).
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/rows.hpp"

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(10);
constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;

class LargeLoanPort {
  public:
    LargeLoanPort(Side& side, Queues& queues, std::size_t payload_bytes)
        : side_(side), out_(queues.out), in_(queues.in), payload_bytes_(payload_bytes) {}

    void send(std::uint64_t /*sequence*/) {
        auto loan = out_.loan("order", payload_bytes_, kWaitMax);
        if (!loan || loan->payload().size() != payload_bytes_) [[unlikely]] {
            side_.fail("loan: " + to_string(loan.error()));
        }
        if (const auto sent = out_.offer(std::move(*loan), kWaitMax); !sent) [[unlikely]] {
            side_.fail("offer: " + to_string(sent.error()));
        }
    }
    std::uint64_t receive() {
        const auto delivery = in_.poll(kWaitMax);
        if (!delivery || delivery->payload().size() != payload_bytes_) [[unlikely]] {
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

Result<Sample> large_loan(const Context& context, std::size_t payload_bytes) {
    const Amount amount = amount_of(context.scale.round_trips / 3 + 1);
    // One in use, one on its way, one kept for reuse by each side.
    const PairSetup setup{
        .capacity = 16, .message_bytes = payload_bytes, .pool_bytes = 6 * payload_bytes};
    return run_queue_pair(
        context,
        setup,
        [&](Side& side, Queues& queues) {
            LargeLoanPort port(side, queues, payload_bytes);
            ping(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            LargeLoanPort port(side, queues, payload_bytes);
            pong(side, port, amount);
        });
}

}  // namespace

void add_large_loan_rows(std::vector<Benchmark>& list) {
    constexpr std::pair<const char*, std::size_t> kSizes[] = {{"large_loan_64k", 64 * kKiB},
                                                              {"large_loan_256k", 256 * kKiB},
                                                              {"large_loan_1m", kMiB},
                                                              {"large_loan_4m", 4 * kMiB},
                                                              {"large_loan_16m", 16 * kMiB},
                                                              {"large_loan_64m", 64 * kMiB}};
    add_two_lines_row(list, "large_loan");
    for (const auto& [name, bytes] : kSizes) {
        list.push_back(one_row(
            name,
            "telpher loan handed over untouched, round trip, " + std::to_string(bytes) + " B",
            [bytes = bytes](const Context& context) { return large_loan(context, bytes); }));
    }
}

}  // namespace telpher::bench

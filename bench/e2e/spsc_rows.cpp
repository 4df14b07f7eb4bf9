// Question: how fast is the fastest thing a C++ programmer has at hand, boost::lockfree::spsc_queue
// placed
//           in shared memory? No framing, one fixed type, one producer, one consumer, no recovery.
// Method:   capacity 1024. `spsc_64` and `spsc_128` are round trips over two queues. `spsc_oneway`
//           spins with one pause per futile look; `spsc_oneway_paced` lets the other side run ahead
//           first, as telpher's blocking calls do, which is up to twice as fast. Ratios use the
//           faster of the two.
// Not here: its batch calls (push(array)), which need the messages to exist beforehand.
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/pacer.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <boost/lockfree/spsc_queue.hpp>

namespace telpher::bench {

namespace {

constexpr std::size_t kCapacity = 1024;

template <std::size_t kBytes>
using Spsc = boost::lockfree::spsc_queue<Payload<kBytes>, boost::lockfree::capacity<kCapacity>>;

template <std::size_t kBytes>
struct SpscPair {
    alignas(128) Spsc<kBytes> there;
    alignas(128) Spsc<kBytes> back;
};

template <std::size_t kBytes, typename Pace>
class SpscPort {
  public:
    SpscPort(const Context& context, Spsc<kBytes>& out, Spsc<kBytes>& in)
        : pace_(context), out_(out), in_(in) {}

    void send(std::uint64_t sequence) {
        payload_.number(sequence);
        while (!out_.push(payload_)) {
            pace_.full();
        }
    }
    std::uint64_t receive() {
        Payload<kBytes> got;
        while (!in_.pop(got)) {
            pace_.empty();
        }
        pace_.took();
        return sequence_of(got.bytes());
    }

  private:
    Pace pace_;
    Spsc<kBytes>& out_;
    Spsc<kBytes>& in_;
    Payload<kBytes> payload_{};
};

template <std::size_t kBytes>
Result<Sample> spsc_round_trip(const Context& context) {
    using Port = SpscPort<kBytes, NaivePace>;
    Shared<SpscPair<kBytes>> queues;
    const Amount amount = amount_of(context.scale.round_trips);
    return run_pair(
        context,
        [&](Side& side) {
            Port port(side.context(), queues->there, queues->back);
            ping(side, port, amount);
        },
        [&](Side& side) {
            Port port(side.context(), queues->back, queues->there);
            pong(side, port, amount);
        });
}

template <typename Pace>
Result<Sample> spsc_one_way(const Context& context) {
    using Port = SpscPort<kLineBytes, Pace>;
    Shared<SpscPair<kLineBytes>> queues;
    const Amount amount = amount_of(context.scale.messages);
    return run_pair(
        context,
        [&](Side& side) {
            Port port(side.context(), queues->there, queues->back);
            produce(side, port, amount);
        },
        [&](Side& side) {
            Port port(side.context(), queues->back, queues->there);
            consume(side, port, amount);
        });
}

}  // namespace

void add_spsc_rows(std::vector<Benchmark>& list) {
    list.push_back(one_row("spsc_64", "boost spsc_queue, round trip, 64 B", spsc_round_trip<64>));
    list.push_back(
        one_row("spsc_128", "boost spsc_queue, round trip, 128 B", spsc_round_trip<128>));
}

void add_spsc_one_way_rows(std::vector<Benchmark>& list) {
    list.push_back(one_row(
        "spsc_oneway", "boost spsc_queue, one way, 64 B, naive spinning", spsc_one_way<NaivePace>));
    list.push_back(one_row("spsc_oneway_paced",
                           "boost spsc_queue, one way, 64 B, paced",
                           spsc_one_way<CourteousPace>));
}

}  // namespace telpher::bench

// Question: what does Boost's interprocess message_queue cost, the portable choice for many
// programs? Method:   depth 1024, 64 B, default priority. Round trips poll with try_receive, which
// is several times
//           faster than its blocking receive; one way, `boost_mq_oneway` uses the blocking send and
//           receive of its documentation, `boost_mq_oneway_try` the try_ forms. Ratios use the
//           faster.
// Not here: priorities, timed calls.
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <boost/interprocess/ipc/message_queue.hpp>

namespace telpher::bench {

namespace {

namespace bip = boost::interprocess;

constexpr std::size_t kDepth = 1024;
using Body64 = Payload<kLineBytes>;

enum class Wait { blocking, trying };

// Two named queues; the parent makes them and takes the names away again, whatever happens between.
class MqNames {
  public:
    explicit MqNames(const Context& context)
        : there("telpher-" + context.new_name()), back(there + "-back") {
        bip::message_queue(bip::create_only, there.c_str(), kDepth, sizeof(Body64));
        bip::message_queue(bip::create_only, back.c_str(), kDepth, sizeof(Body64));
    }
    MqNames(const MqNames&) = delete;
    MqNames& operator=(const MqNames&) = delete;
    ~MqNames() {
        bip::message_queue::remove(there.c_str());
        bip::message_queue::remove(back.c_str());
    }

    const std::string there;
    const std::string back;
};

template <Wait kWait>
class MqPort {
  public:
    MqPort(const Context& context, const std::string& out, const std::string& in)
        : context_(context), out_(bip::open_only, out.c_str()), in_(bip::open_only, in.c_str()) {}

    void send(std::uint64_t sequence) {
        payload_.number(sequence);
        if constexpr (kWait == Wait::blocking) {
            out_.send(&payload_, sizeof(payload_), 0);
        } else {
            while (!out_.try_send(&payload_, sizeof(payload_), 0)) {
                context_.relax();
            }
        }
    }
    std::uint64_t receive() {
        Body64 got;
        bip::message_queue::size_type size = 0;
        unsigned priority = 0;
        if constexpr (kWait == Wait::blocking) {
            in_.receive(&got, sizeof(got), size, priority);
        } else {
            while (!in_.try_receive(&got, sizeof(got), size, priority)) {
                context_.relax();
            }
        }
        return sequence_of(got.bytes());
    }

  private:
    const Context& context_;
    bip::message_queue out_;
    bip::message_queue in_;
    Body64 payload_{};
};

Result<Sample> mq_round_trip(const Context& context) {
    using Port = MqPort<Wait::trying>;
    const MqNames names(context);
    const Amount amount =
        amount_of(std::min(context.scale.round_trips, context.scale.slow_messages / 4));
    return run_pair(
        context,
        [&](Side& side) {
            Port port(side.context(), names.there, names.back);
            ping(side, port, amount);
        },
        [&](Side& side) {
            Port port(side.context(), names.back, names.there);
            pong(side, port, amount);
        });
}

template <Wait kWait>
Result<Sample> mq_one_way(const Context& context) {
    using Port = MqPort<kWait>;
    const MqNames names(context);
    const Amount amount = amount_of(context.scale.slow_messages);
    return run_pair(
        context,
        [&](Side& side) {
            Port port(side.context(), names.there, names.back);
            produce(side, port, amount);
        },
        [&](Side& side) {
            Port port(side.context(), names.back, names.there);
            consume(side, port, amount);
        });
}

}  // namespace

void add_boost_mq_rows(std::vector<Benchmark>& list) {
    list.push_back(
        one_row("boost_mq", "boost message_queue, round trip, 64 B, polling", mq_round_trip));
    list.push_back(one_row("boost_mq_oneway",
                           "boost message_queue, one way, 64 B, blocking",
                           mq_one_way<Wait::blocking>));
    list.push_back(one_row("boost_mq_oneway_try",
                           "boost message_queue, one way, 64 B, polling",
                           mq_one_way<Wait::trying>));
}

}  // namespace telpher::bench

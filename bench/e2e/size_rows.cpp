// Question: what does a larger message cost that is filled by its sender and read by its receiver?
// Method:   touched_*: the sender copies its payload into a loan, the receiver reads every cache
//           line of it in place. spsc_*: boost::lockfree::spsc_queue of payloads of that size, of
//           the same depth: one copy in, one copy out, then every line is read. floor_1m: two
//           processes and two buffers; each copies its megabyte into one and reads every line of
//           the other: two copies and two reads from the other processor, and nothing else.
// Not here: 64 B (telpher_oneway), payloads nobody touches (loan_rows.cpp, large_loan_rows.cpp).
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/pacer.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <boost/lockfree/spsc_queue.hpp>

#include <atomic>

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(10);
constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;

// Messages of about the same number of bytes per round, whatever their size; before them a tenth, or until every chunk
// that the queue needs has been used.
template <std::size_t kBytes>
Amount one_way_amount(const Context& context, std::uint32_t depth) {
    constexpr std::uint64_t kLeast = kBytes > kMiB ? 4 : 32;
    const std::uint64_t messages =
        std::max<std::uint64_t>(kLeast, context.scale.slow_messages * kKiB / kBytes);
    const std::uint64_t used = std::min(messages, std::uint64_t{2} * depth);
    return {std::max(messages / 10, used), messages};
}
Amount megabyte_amount(const Context& context) {
    return amount_of(std::max<std::uint64_t>(16, context.scale.round_trips / 200));
}

template <std::size_t kBytes>
class TouchedPort {
  public:
    TouchedPort(Side& side, Queues& queues)
        : side_(side),
          out_(queues.out),
          in_(queues.in),
          payload_(std::make_unique<Payload<kBytes>>()) {}

    void send(std::uint64_t sequence) {
        payload_->number(sequence);
        auto loan = out_.loan("order", kBytes, kWaitMax);
        if (!loan) [[unlikely]] {
            side_.fail("loan: " + to_string(loan.error()));
        }
        std::memcpy(loan->payload().data(), payload_->words.data(), kBytes);
        if (const auto sent = out_.offer(std::move(*loan), kWaitMax); !sent) [[unlikely]] {
            side_.fail("offer: " + to_string(sent.error()));
        }
    }
    std::uint64_t receive() {
        const auto delivery = in_.poll(kWaitMax);
        if (!delivery || delivery->payload().size() != kBytes) [[unlikely]] {
            side_.fail("poll: " + to_string(delivery.error()));
        }
        return sequence_of(delivery->payload());
    }

  private:
    Side& side_;
    Queue& out_;
    Queue& in_;
    std::unique_ptr<Payload<kBytes>> payload_;
};

// A domain in which `depth` such messages fit, wherever the pool puts them.
template <std::size_t kBytes>
PairSetup setup_of(std::uint32_t depth) {
    constexpr std::size_t kPoolPerMessage = 8;
    // Of large ones: what waits, what each side has, and some to spare.
    const std::size_t messages = kBytes > kMiB ? depth + 4 : kPoolPerMessage * depth;
    return {.capacity = depth, .message_bytes = kBytes, .pool_bytes = messages * kBytes};
}

template <std::size_t kBytes>
Result<Sample> touched_one_way(const Context& context, std::uint32_t depth) {
    const Amount amount = one_way_amount<kBytes>(context, depth);
    return run_queue_pair(
        context,
        setup_of<kBytes>(depth),
        [&](Side& side, Queues& queues) {
            TouchedPort<kBytes> port(side, queues);
            produce(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            TouchedPort<kBytes> port(side, queues);
            consume(side, port, amount);
        });
}

Result<Sample> touched_round_trip(const Context& context) {
    const Amount amount = megabyte_amount(context);
    return run_queue_pair(
        context,
        setup_of<kMiB>(8),
        [&](Side& side, Queues& queues) {
            TouchedPort<kMiB> port(side, queues);
            ping(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            TouchedPort<kMiB> port(side, queues);
            pong(side, port, amount);
        });
}

template <std::size_t kBytes, std::size_t kDepth>
class SpscSizePort {
  public:
    using Queue = boost::lockfree::spsc_queue<Payload<kBytes>, boost::lockfree::capacity<kDepth>>;

    SpscSizePort(const Context& context, Queue& queue)
        : pace_(context),
          queue_(queue),
          own_(std::make_unique<Payload<kBytes>>()),
          got_(std::make_unique<Payload<kBytes>>()) {}

    void send(std::uint64_t sequence) {
        own_->number(sequence);
        while (!queue_.push(*own_)) {
            pace_.full();
        }
    }
    std::uint64_t receive() {
        while (!queue_.pop(*got_)) {
            pace_.empty();
        }
        pace_.took();
        return sequence_of(got_->bytes());
    }

  private:
    CourteousPace pace_;
    Queue& queue_;
    std::unique_ptr<Payload<kBytes>> own_;
    std::unique_ptr<Payload<kBytes>> got_;
};

template <std::size_t kBytes, std::size_t kDepth>
Result<Sample> spsc_one_way(const Context& context) {
    using Port = SpscSizePort<kBytes, kDepth>;
    Shared<typename Port::Queue> queue;
    const Amount amount = one_way_amount<kBytes>(context, kDepth);
    return run_pair(
        context,
        [&](Side& side) {
            Port port(side.context(), *queue);
            produce(side, port, amount);
        },
        [&](Side& side) {
            Port port(side.context(), *queue);
            consume(side, port, amount);
        });
}

struct Buffers {
    struct Buffer {
        alignas(128) std::atomic<std::uint64_t> sequence{0};
        alignas(128) Payload<kMiB> payload;
    };
    Buffer there;
    Buffer back;
};

class FloorPort {
  public:
    FloorPort(const Context& context, Buffers::Buffer& out, Buffers::Buffer& in)
        : context_(context), out_(out), in_(in), own_(std::make_unique<Payload<kMiB>>()) {}

    void send(std::uint64_t sequence) {
        own_->number(sequence);
        std::memcpy(out_.payload.words.data(), own_->words.data(), kMiB);
        // F1: pairs with F2. Publishes the megabyte.
        out_.sequence.store(sequence, std::memory_order_release);
    }
    std::uint64_t receive() {
        ++awaited_;
        // F2: pairs with F1.
        while (in_.sequence.load(std::memory_order_acquire) != awaited_) {
            context_.relax();
        }
        return sequence_of(in_.payload.bytes());
    }

  private:
    const Context& context_;
    Buffers::Buffer& out_;
    Buffers::Buffer& in_;
    std::unique_ptr<Payload<kMiB>> own_;
    std::uint64_t awaited_ = 0;
};

Result<Sample> floor_round_trip(const Context& context) {
    Shared<Buffers> buffers;
    const Amount amount = megabyte_amount(context);
    return run_pair(
        context,
        [&](Side& side) {
            FloorPort port(side.context(), buffers->there, buffers->back);
            ping(side, port, amount);
        },
        [&](Side& side) {
            FloorPort port(side.context(), buffers->back, buffers->there);
            pong(side, port, amount);
        });
}

template <std::size_t kBytes, std::size_t kDepth>
void add_touched(std::vector<Benchmark>& list, const std::string& size) {
    list.push_back(
        one_row("touched_oneway_" + size,
                "telpher loan, filled and read, one way, " + std::to_string(kBytes) + " B",
                [](const Context& c) { return touched_one_way<kBytes>(c, kDepth); }));
}

template <std::size_t kBytes, std::size_t kDepth>
void add_one_way(std::vector<Benchmark>& list, const std::string& size) {
    add_touched<kBytes, kDepth>(list, size);
    list.push_back(one_row("spsc_oneway_" + size,
                           "boost spsc_queue, paced, one way, " + std::to_string(kBytes) + " B",
                           spsc_one_way<kBytes, kDepth>));
}

}  // namespace

void add_size_rows(std::vector<Benchmark>& list) {
    add_one_way<kKiB, 1024>(list, "1k");
    add_one_way<16 * kKiB, 128>(list, "16k");
    add_one_way<64 * kKiB, 64>(list, "64k");
    add_one_way<kMiB, 8>(list, "1m");
    list.push_back(one_row(
        "touched_1m", "telpher loan, filled and read, round trip, 1 MiB", touched_round_trip));
    list.push_back(one_row("floor_1m",
                           "two copies of 1 MiB and two reads of the other's, round trip",
                           floor_round_trip));
}

void add_size_growth_rows(std::vector<Benchmark>& list) {
    add_touched<4 * kKiB, 512>(list, "4k");
    add_touched<256 * kKiB, 16>(list, "256k");
    add_touched<4 * kMiB, 8>(list, "4m");
    add_touched<16 * kMiB, 4>(list, "16m");
    add_touched<64 * kMiB, 2>(list, "64m");
    add_touched<250'000'000, 2>(list, "250mb");
}

}  // namespace telpher::bench

// Question: what does a queue cost per message when several processes send to it, or receive from
//           it?
// Method:   as telpher_oneway, with more processes at both ends of the one queue; each has a
//           processor of its own where there are so many (with two, they share, and the figure says
//           more about the scheduler). When all producers are done, one of them sends each consumer
//           a last message. The figure: from the common start until the slower consumer's last
//           message, by all messages. Each consumer checks that every producer's numbers ascend;
//           the counts and the sums of the numbers of all consumers must be right.
// Not here: topics.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <algorithm>
#include <array>

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(10);
constexpr int kPartiesMax = 4;  // at each end
constexpr int kProducerShift = 48;
constexpr std::uint64_t kLast = ~0ULL >> 1U;  // what ends a consumer

struct Fan {
    int producers = 1;
    int consumers = 1;
    std::uint64_t each = 0;  // messages of one producer
};

// The books of one phase, in Board::words: producers that are done, messages and the sum of their
// numbers over all consumers.
enum Books : std::size_t { kDone, kCount, kSum, kSlowest };

void send(Side& side, Queue& queue, Message& message, std::uint64_t number) {
    Payload<kLineBytes> payload;
    payload.number(number);
    message.set_payload(payload.bytes());
    if (const auto sent = queue.offer(message, kWaitMax); !sent) [[unlikely]] {
        side.fail("offer: " + to_string(sent.error()));
    }
}

void produce_phase(Side& side, Queue& queue, const Fan& fan, int producer) {
    Message message = Message::bytes("order", "application/octet-stream", {});
    side.sync();
    const auto tag = static_cast<std::uint64_t>(producer) << kProducerShift;
    for (std::uint64_t number = 1; number <= fan.each; ++number) {
        send(side, queue, message, tag | number);
    }
    // A1: pairs with A1: the last of us sees that the others' messages are in the queue.
    const std::uint64_t done =
        side.board().words[kDone].fetch_add(1, std::memory_order_acq_rel) + 1;
    if (done == static_cast<std::uint64_t>(fan.producers)) {
        for (int i = 0; i < fan.consumers; ++i) {
            send(side, queue, message, kLast);
        }
    }
    side.sync();
}

void consume_phase(Side& side, Queue& queue) {
    std::array<std::uint64_t, kPartiesMax> seen{};
    std::uint64_t count = 0;
    std::uint64_t sum = 0;
    side.sync();
    const std::uint64_t before = ticks();
    for (;;) {
        const auto delivery = queue.poll(kWaitMax);
        if (!delivery) [[unlikely]] {
            side.fail("poll: " + to_string(delivery.error()));
        }
        const std::uint64_t got = sequence_of(delivery->payload());
        if (got == kLast) {
            break;
        }
        const std::uint64_t producer = got >> kProducerShift;
        const std::uint64_t number = got & ((1ULL << kProducerShift) - 1);
        if (producer >= kPartiesMax || number <= seen[producer]) [[unlikely]] {
            side.fail("number " + std::to_string(number) + " of producer " +
                      std::to_string(producer) + " is torn, old or doubled");
        }
        seen[producer] = number;
        sum += number;
        ++count;
    }
    const std::uint64_t took = ticks() - before;
    // relaxed, all: read after a meeting
    side.board().words[kCount].fetch_add(count, std::memory_order_relaxed);
    side.board().words[kSum].fetch_add(sum, std::memory_order_relaxed);  // relaxed: as above
    std::uint64_t slowest = side.board().words[kSlowest].load(std::memory_order_relaxed);
    while (slowest < took && !side.board().words[kSlowest].compare_exchange_weak(
                                 slowest, took, std::memory_order_relaxed)) {  // relaxed: as above
    }
    side.sync();
}

// By one side, between two meetings: whether all arrived once. Clears the books.
void close_books(Side& side, const Fan& fan) {
    std::array<std::uint64_t, 4> words{};
    for (std::size_t i = 0; i < words.size(); ++i) {
        // relaxed: everybody has come to the meeting
        words[i] = side.board().words[i].exchange(0, std::memory_order_relaxed);
    }
    const std::uint64_t all = fan.each * static_cast<std::uint64_t>(fan.producers);
    if (words[kCount] != all || words[kSum] != all * (fan.each + 1) / 2) {
        side.fail("of " + std::to_string(all) + " messages " + std::to_string(words[kCount]) +
                  " arrived, or others");
    }
    side.tell_mean(words[kSlowest], all);
}

// A warm-up and the measured phase of one party. Party 0 is a producer and closes the books.
void run_party(Side& side, Queue& queue, const Fan& fan, int party) {
    for (const std::uint64_t each : {fan.each / 10 + 16, fan.each}) {
        const Fan phase{fan.producers, fan.consumers, each};
        if (party < fan.producers) {
            produce_phase(side, queue, phase, party);
        } else {
            consume_phase(side, queue);
        }
        if (party == 0) {
            close_books(side, phase);
        }
        side.sync();
    }
}

Result<Sample> fan(const Context& context, int producers, int consumers) {
    const Fan fan{
        producers, consumers, context.scale.messages / static_cast<std::uint64_t>(producers)};
    const std::string domain = context.new_name();
    SharedBoard board;
    std::vector<Body> bodies;
    // Side 0 makes the domain and is producer 0, side 1 a consumer: those two have processors of
    // their own in any case. The further ones follow.
    std::vector<int> parties = {0, producers};
    for (int i = 0; i < producers + consumers; ++i) {
        if (i != 0 && i != producers) {
            parties.push_back(i);
        }
    }
    for (const int party : parties) {
        bodies.emplace_back([&, party](Side& side) {
            Server server;
            Client client;
            Queue queue;
            if (party == 0) {
                server = side.must(Server::open(domain, server_options(side.context())), "open");
                queue = side.must(server.create_queue("there"), "create_queue");
            }
            side.sync();
            if (party != 0) {
                client = join(side, domain);
                queue = side.must(client.queue("there"), "queue");
            }
            run_party(side, queue, fan, party);
            if (party == 0) {
                side.must(server.remove_domain(), "remove_domain");
            }
        });
    }
    const auto end = run_in_domain(context, board, domain, bodies);
    if (!end) {
        return end.error();
    }
    return board->sample();
}

void add_fan(std::vector<Benchmark>& list, int producers, int consumers) {
    const std::string counts = std::to_string(producers) + "_" + std::to_string(consumers);
    list.push_back(one_row("fan_" + counts,
                           "telpher queue, 64 B, producers " + std::to_string(producers) +
                               ", consumers " + std::to_string(consumers),
                           [=](const Context& c) { return fan(c, producers, consumers); }));
}

}  // namespace

void add_fan_rows(std::vector<Benchmark>& list) {
    add_fan(list, 2, 1);
    add_fan(list, 1, 2);
    add_fan(list, 2, 2);
}

void add_fan_growth_rows(std::vector<Benchmark>& list) {
    add_fan(list, 3, 3);
    add_fan(list, 4, 4);
    add_fan(list, 4, 1);
    add_fan(list, 1, 4);
}

}  // namespace telpher::bench

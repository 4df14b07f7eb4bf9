// Question: how do costs grow: with a queue's capacity, the size of a message, the number of queues, the size of a domain?
// Method:   depth_N: telpher_oneway with a queue of capacity N. touched_oneway_SIZE: as size_rows.cpp, 4 KiB to 250 MB,
//           depth 2 at the end. queues_N: a producer offers to N queues in
//           turns, a consumer polls them in the same order. attach_SIZE: connect() of a fresh process to a domain whose pool has that size.
// Not here: more processes (fan_rows.cpp), subscribers (topic_rows.cpp), connections (bridge/), logs (recovery_rows.cpp).
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"
#include "bench/e2e/stats.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace telpher::bench {

namespace {

constexpr Duration kPatience = std::chrono::seconds(10);
constexpr std::size_t kOneKiB = 1024;
constexpr std::size_t kOneMiB = 1024 * kOneKiB;

class DepthPort {
  public:
    DepthPort(Side& side, Queues& queues) : side_(side), out_(queues.out), in_(queues.in) {}

    void send(std::uint64_t sequence) {
        payload_.number(sequence);
        message_.set_payload(payload_.bytes());
        if (const auto sent = out_.offer(message_, kPatience); !sent) [[unlikely]] {
            side_.fail("offer: " + to_string(sent.error()));
        }
    }
    std::uint64_t receive() {
        const auto delivery = in_.poll(kPatience);
        if (!delivery) [[unlikely]] {
            side_.fail("poll: " + to_string(delivery.error()));
        }
        return sequence_of(delivery->payload());
    }

  private:
    Side& side_;
    Queue& out_;
    Queue& in_;
    Payload<kLineBytes> payload_{};
    Message message_ = Message::bytes("order", "application/octet-stream", payload_.bytes());
};

Result<Sample> run_depth(const Context& context, std::uint32_t capacity) {
    const Amount amount = amount_of(context.scale.messages / 2);
    return run_queue_pair(
        context,
        {.capacity = capacity},
        [&](Side& side, Queues& queues) {
            DepthPort port(side, queues);
            produce(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            DepthPort port(side, queues);
            consume(side, port, amount);
        });
}

// As TouchedPort of size_rows.cpp, of a size that is no constant.
class SizedPort {
  public:
    SizedPort(Side& side, Queues& queues, std::size_t bytes)
        : side_(side), out_(queues.out), in_(queues.in), bytes_(bytes) {}

    void send(std::uint64_t sequence) {
        for (std::size_t at = 0; at < bytes_.size(); at += kLineBytes) {
            std::memcpy(bytes_.data() + at, &sequence, sizeof sequence);
        }
        auto loan = out_.loan("order", bytes_.size(), kPatience);
        if (!loan) [[unlikely]] {
            side_.fail("loan: " + to_string(loan.error()));
        }
        std::memcpy(loan->payload().data(), bytes_.data(), bytes_.size());
        if (const auto sent = out_.offer(std::move(*loan), kPatience); !sent) [[unlikely]] {
            side_.fail("offer: " + to_string(sent.error()));
        }
    }
    std::uint64_t receive() {
        const auto delivery = in_.poll(kPatience);
        if (!delivery || delivery->payload().size() != bytes_.size()) [[unlikely]] {
            side_.fail("poll: " + to_string(delivery.error()));
        }
        return sequence_of(delivery->payload());
    }

  private:
    Side& side_;
    Queue& out_;
    Queue& in_;
    std::vector<std::byte> bytes_;
};

Result<Sample> run_size(const Context& context, std::size_t bytes, std::uint32_t depth) {
    // As many bytes in each round, whatever the size.
    const std::uint64_t messages =
        std::max<std::uint64_t>(4, context.scale.slow_messages * kOneKiB / bytes);
    // Every chunk that the queue needs has been used before it counts.
    const Amount amount{std::max(messages / 10, std::min(messages, std::uint64_t{2} * depth)),
                        messages};
    // The pool: what waits, what each side keeps for reuse, and room between sizes.
    const PairSetup setup{
        .capacity = depth, .message_bytes = bytes, .pool_bytes = (depth + 4) * bytes};
    return run_queue_pair(
        context,
        setup,
        [&](Side& side, Queues& queues) {
            SizedPort port(side, queues, bytes);
            produce(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            SizedPort port(side, queues, bytes);
            consume(side, port, amount);
        });
}

void attach_once_more(const Context& context, Board& board, const std::string& domain) {
    Side self(context, board, 2, 1);
    const std::uint64_t before_ns = monotonic_now_ns();
    const auto client = connect("shm:" + domain);
    const std::uint64_t took_ns = monotonic_now_ns() - before_ns;
    if (!client) {
        self.fail("connect: " + to_string(client.error()));
    }
    board.add_value(static_cast<double>(took_ns) / 1000.0);
}

void hold_domain(Side& side, const std::string& domain, std::size_t pool_bytes) {
    ServerOptions options = server_options(side.context());
    options.limits = DomainLimits{};
    options.limits->pool_bytes = pool_bytes;
    auto opened = Server::open(domain, options);
    if (!opened && no_room(opened.status())) {
        side.skip(to_string(opened.error()));
        side.sync();
        return;
    }
    Server server = side.must(std::move(opened), "open");
    side.sync();
    side.sync();
    side.must(server.remove_domain(), "remove_domain");
}

// By a side that never uses the library, so that its children are fresh.
void attach_often(Side& side, const std::string& domain) {
    side.sync();
    if (side.skipped()) {
        return;
    }
    const Context& context = side.context();
    for (std::uint32_t i = 0; i < context.scale.attaches / 5 + 1; ++i) {
        auto child = side.must(
            Child::start(
                context, context.cpus[1], [&] { attach_once_more(context, side.board(), domain); }),
            "fork");
        side.must(child.wait(context), "attaching process");
    }
    side.sync();
}

Result<std::vector<Reading>> run_attach_sized(const Context& context,
                                              const std::string& row,
                                              std::size_t pool_bytes) {
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(context,
                                   board,
                                   domain,
                                   {[&](Side& side) { hold_domain(side, domain, pool_bytes); },
                                    [&](Side& side) { attach_often(side, domain); }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{row, "us", sample_of(values_of(*board))}};
}

// ---- many queues -------------------------------------------------------------------------------

constexpr std::uint32_t kQueueCapacity = 64;

std::string queue_name(std::uint32_t i) { return "queue-" + std::to_string(i); }

Result<Sample> run_queues(const Context& context, std::uint32_t count) {
    const std::uint64_t messages = context.scale.messages / 4 + count;
    const std::uint64_t warm_up = messages / 10 + count;
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             Server server = side.must(Server::open(domain, server_options(context)), "open");
             std::vector<Queue> queues;
             for (std::uint32_t i = 0; i < count; ++i) {
                 queues.push_back(side.must(
                     server.create_queue(queue_name(i), {.capacity = kQueueCapacity}), "create"));
             }
             Payload<kLineBytes> payload;
             Message message = Message::bytes("order", "application/octet-stream", {});
             side.sync();
             side.sync();
             for (std::uint64_t number = 1; number <= warm_up + messages; ++number) {
                 payload.number(number);
                 message.set_payload(payload.bytes());
                 side.must(queues[number % count].offer(message, kPatience), "offer");
             }
             side.sync();
             side.must(server.remove_domain(), "remove_domain");
         },
         [&](Side& side) {
             side.sync();
             Client client = join(side, domain);
             std::vector<Queue> queues;
             for (std::uint32_t i = 0; i < count; ++i) {
                 queues.push_back(side.must(client.queue(queue_name(i)), "queue"));
             }
             side.sync();
             std::uint64_t before = 0;
             for (std::uint64_t number = 1; number <= warm_up + messages; ++number) {
                 const auto delivery = queues[number % count].poll(kPatience);
                 if (!delivery || sequence_of(delivery->payload()) != number) [[unlikely]] {
                     side.fail("message " + std::to_string(number) + " is another, or none");
                 }
                 before = number == warm_up ? ticks() : before;
             }
             side.tell_mean(ticks() - before, messages);
             side.sync();
         }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

}  // namespace

void add_growth_rows(std::vector<Benchmark>& list) {
    for (const std::uint32_t capacity : {16U, 64U, 256U, 1024U, 4096U, 16384U}) {
        const std::string count = std::to_string(capacity);
        list.push_back(one_row("depth_" + count,
                               "telpher queue of capacity " + count + ", one way, 64 B",
                               [capacity](const Context& c) { return run_depth(c, capacity); }));
    }
    constexpr struct {
        const char* name;
        std::size_t bytes;
        std::uint32_t depth;
    } kSizes[] = {{"4k", 4 * kOneKiB, 512},
                  {"256k", 256 * kOneKiB, 16},
                  {"4m", 4 * kOneMiB, 8},
                  {"16m", 16 * kOneMiB, 4},
                  {"64m", 64 * kOneMiB, 2},
                  {"250mb", 250'000'000, 2}};
    for (const auto& [name, bytes, depth] : kSizes) {
        list.push_back(
            one_row(std::string("touched_oneway_") + name,
                    "telpher loan, filled and read, one way, " + std::to_string(bytes) + " B",
                    [bytes = bytes, depth = depth](const Context& c) {
                        return run_size(c, bytes, depth);
                    }));
    }
    for (const std::uint32_t count : {1U, 10U, 100U, 1000U}) {
        list.push_back(one_row(
            "queues_" + std::to_string(count),
            "one producer, one consumer, in turns over " + std::to_string(count) + " queues, 64 B",
            [count](const Context& c) { return run_queues(c, count); }));
    }
    constexpr std::pair<const char*, std::size_t> kDomains[] = {
        {"64m", 64 * kOneMiB}, {"256m", 256 * kOneMiB}, {"1g", 1024 * kOneMiB}};
    for (const auto& [size, bytes] : kDomains) {
        const std::string row = std::string("attach_") + size;
        list.push_back(
            {row,
             std::string("connect() of a fresh process, pool of ") + size,
             false,
             [row, bytes = bytes](const Context& c) { return run_attach_sized(c, row, bytes); }});
    }
}

}  // namespace telpher::bench

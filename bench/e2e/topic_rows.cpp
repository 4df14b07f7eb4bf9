// Question: what does a topic cost, per message and per subscriber, complete messages through the
//           public API?
// Method:   capacity 1024, 64 B payload. topic_1_N: one publisher, N subscribers that lose nothing
//           (slow = block); from the common start until the slowest subscriber's last message, by
//           messages published. topic_cost_N: what a publish takes the publisher alone, beside N
//           subscribers that keep up as well as they can (drop_oldest). topic_stopped: topic_1_1 of
//           a topic whose other subscriber is stopped; both drop_oldest, and paced by the reader's
//           last number, so that nothing is lost. Subscribers beyond the second processor share it.
// Not here: handlers, patterns.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(20);
constexpr std::uint64_t kLast = ~0ULL >> 1U;

struct Plan {
    int subscribers = 1;
    SlowSubscriber slow = SlowSubscriber::block;
    bool publisher_alone = false;  // the figure is the publisher's own time
    bool stopped = false;          // one more subscriber, which is stopped
};

// In Board::words: the slowest party's ticks; the reader's last number, for pacing.
enum Books : std::size_t { kSlowest, kRead };

void publish_phase(Side& side, Topic& topic, const Plan& plan, std::uint64_t messages) {
    Message message = Message::bytes("t", "application/octet-stream", {});
    Payload<kLineBytes> payload;
    const auto send = [&](std::uint64_t number) {
        payload.number(number);
        message.set_payload(payload.bytes());
        if (const auto sent = topic.publish(message, kWaitMax); !sent) [[unlikely]] {
            side.fail("publish: " + to_string(sent.error()));
        }
    };
    std::atomic<std::uint64_t>& read = side.board().words[kRead];
    side.sync();
    const std::uint64_t before = ticks();
    for (std::uint64_t number = 1; number <= messages; ++number) {
        send(number);
        if (plan.slow == SlowSubscriber::drop_oldest && !plan.publisher_alone &&
            (number & 255U) == 0) {
            // relaxed: only paced by it
            while (number - std::min(number, read.load(std::memory_order_relaxed)) > 512) {
                side.context().relax();
            }
        }
    }
    const std::uint64_t took = ticks() - before;
    send(kLast);
    if (plan.publisher_alone) {
        side.board().words[kSlowest].store(took, std::memory_order_relaxed);  // relaxed: a meeting
    }
    side.sync();
}

void subscribe_phase(Side& side, Subscription& subscription, const Plan& plan, bool tells) {
    std::uint64_t seen = 0;
    std::atomic<std::uint64_t>& read = side.board().words[kRead];
    side.sync();
    const std::uint64_t before = ticks();
    for (;;) {
        const auto sample = subscription.next(kWaitMax);
        if (!sample) [[unlikely]] {
            side.fail("next: " + to_string(sample.error()));
        }
        const std::uint64_t got = sequence_of(sample->payload());
        if (got == kLast) {
            break;
        }
        if (got != seen + 1 + sample->lost_before() ||
            (sample->lost_before() != 0 && !plan.publisher_alone)) [[unlikely]] {
            side.fail("message " + std::to_string(got) + " after " + std::to_string(seen));
        }
        seen = got;
        if (tells && (got & 127U) == 0) {
            read.store(got, std::memory_order_relaxed);  // relaxed: only paced by it
        }
    }
    const std::uint64_t took = ticks() - before;
    if (!plan.publisher_alone) {
        std::atomic<std::uint64_t>& slowest = side.board().words[kSlowest];
        // relaxed, all: read after a meeting
        std::uint64_t known = slowest.load(std::memory_order_relaxed);
        while (known < took && !slowest.compare_exchange_weak(
                                   known, took, std::memory_order_relaxed)) {  // relaxed: as above
        }
    }
    side.sync();
}

Result<Sample> run_topic(const Context& context, const Plan& plan) {
    // Where many subscribers sleep, each publish wakes each of them: microseconds apiece.
    const std::uint64_t share = plan.subscribers > 16  ? 64
                                : plan.subscribers > 4 ? 16
                                : plan.subscribers > 1 ? 2
                                                       : 1;
    const std::uint64_t messages = context.scale.messages / share + 1;
    const std::string domain = context.new_name();
    SharedBoard board;
    std::vector<Body> bodies;
    bodies.emplace_back([&](Side& side) {
        Server server = side.must(Server::open(domain, server_options(side.context())), "open");
        TopicOptions options;
        options.slow = plan.slow;
        options.subscribers = 128;
        Topic topic = side.must(server.create_topic("t", options), "create_topic");
        side.sync();
        side.sync();
        for (const std::uint64_t count : {messages / 10 + 16, messages}) {
            publish_phase(side, topic, plan, count);
            // relaxed, both: everybody has come to the meeting
            const auto took = side.board().words[kSlowest].exchange(0, std::memory_order_relaxed);
            side.board().words[kRead].store(0, std::memory_order_relaxed);
            side.tell_mean(took, count);
            side.sync();
        }
        side.must(server.remove_domain(), "remove_domain");
    });
    for (int i = 0; i < plan.subscribers; ++i) {
        bodies.emplace_back([&, i](Side& side) {
            side.sync();
            Client client = join(side, domain);
            Subscription subscription = side.must(client.subscribe("t"), "subscribe");
            Subscription stopped;  // as one of a stopped process: it never reads
            if (plan.stopped && i == 0) {
                stopped = side.must(client.subscribe("t"), "subscribe");
            }
            side.sync();
            for (int phase = 0; phase < 2; ++phase) {
                subscribe_phase(side, subscription, plan, i == 0);
                side.sync();
            }
        });
    }
    if (const auto end = run_in_domain(context, board, domain, bodies); !end) {
        return end.error();
    }
    return board->sample();
}

void add_costs(std::vector<Benchmark>& list, std::initializer_list<int> counts) {
    for (const int subscribers : counts) {
        list.push_back(one_row(
            "topic_cost_" + std::to_string(subscribers),
            "a publish, for the publisher alone; subscribers " + std::to_string(subscribers),
            [subscribers](const Context& context) {
                return run_topic(context,
                                 {.subscribers = subscribers,
                                  .slow = SlowSubscriber::drop_oldest,
                                  .publisher_alone = true});
            }));
    }
}

}  // namespace

void add_topic_rows(std::vector<Benchmark>& list) {
    for (const int subscribers : {1, 3}) {
        list.push_back(
            one_row("topic_1_" + std::to_string(subscribers),
                    "telpher topic, 64 B, nothing lost, subscribers " + std::to_string(subscribers),
                    [subscribers](const Context& context) {
                        return run_topic(context, {.subscribers = subscribers});
                    }));
    }
    for (const bool stopped : {false, true}) {
        // The same topic twice: alone, and beside a subscriber that never reads.
        const Plan plan{.subscribers = 1, .slow = SlowSubscriber::drop_oldest, .stopped = stopped};
        list.push_back(one_row(stopped ? "topic_stopped" : "topic_free",
                               stopped
                                   ? "telpher topic, 1 -> 1 beside a subscriber that never reads"
                                   : "telpher topic, 1 -> 1, drop_oldest",
                               [plan, stopped](const Context& context) {
                                   Plan mine = plan;
                                   mine.stopped = stopped;
                                   return run_topic(context, mine);
                               }));
    }
    add_costs(list, {1, 2, 4});
}

void add_topic_growth_rows(std::vector<Benchmark>& list) { add_costs(list, {16, 64}); }

}  // namespace telpher::bench

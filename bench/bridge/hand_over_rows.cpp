// Question: what does a message cost from a remote producer through a queue to a remote consumer, both sides
//           acknowledged? What does one cost that ten remote subscribers get?
// Method:   bridge_hand_over: offer_async with a window of 256, poll_async with as many polls outstanding, each
//           delivery confirmed when its result is read; from the common start to the consumer's last message.
//           bridge_fan_out: publish_async with a window of 256; ten clients in one process, a thread each, that
//           lose nothing (block); by deliveries. Where there are two processors, bridge and consumer share
//           one, and bridge and publisher. 64 B, every message counted and in order.
// Not here: consumers that poll one by one (their round trip is bridge_rr_64).
#include "bench/bridge/bridge_side.hpp"
#include "bench/bridge/raw_floor.hpp"
#include "bench/e2e/rows.hpp"

#include <algorithm>

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(20);
constexpr std::size_t kWindow = 256;
constexpr std::size_t kPayloadBytes = 64;
constexpr int kSubscribers = 10;
constexpr const char* kTopic = "prices";

// A window of futures, the oldest first.
template <typename T>
class Window {
  public:
    Window(Side& side, const char* what) : side_(side), what_(what) {}
    template <typename Begin>
    void add(const Begin& begin) {
        if (pending_.size() == kWindow) {
            static_cast<void>(take());
        }
        pending_.push_back(begin());
    }
    T take() {
        T result = side_.must(pending_.front().get(kWaitMax), what_);
        pending_.pop_front();
        return result;
    }
    [[nodiscard]] bool empty() const noexcept { return pending_.empty(); }

  private:
    Side& side_;
    const char* what_;
    std::deque<Future<T>> pending_;
};

// Numbers 1 to `messages`, by `begin(message)`.
template <typename T, typename Begin>
void send_all(Side& side, const char* topic, std::uint64_t messages, const Begin& begin) {
    Window<T> window(side, "sending");
    PayloadBytes payload(kPayloadBytes);
    Message message = Message::bytes(topic, "application/octet-stream", payload.bytes());
    side.sync();
    for (std::uint64_t number = 1; number <= messages; ++number) {
        payload.number(number);
        message.set_payload(payload.bytes());
        window.add([&] { return begin(message); });
    }
    while (!window.empty()) {
        static_cast<void>(window.take());
    }
    side.sync();
}

void check_next(Side& side, std::uint64_t* seen, std::span<const std::byte> payload) {
    const std::uint64_t got = sequence_of(payload);
    if (got != *seen + 1) {
        side.fail("message " + std::to_string(got) + " after " + std::to_string(*seen));
    }
    *seen = got;
}

RequestPlan plan_of_link(bool encrypted) {
    RequestPlan plan;
    plan.encrypted = encrypted;
    return plan;
}

void consume_all(Side& side, Queue& queue, std::uint64_t messages) {
    Window<Delivery> window(side, "poll_async");
    std::uint64_t seen = 0;
    std::uint64_t asked = 0;
    side.sync();
    const std::uint64_t before = ticks();
    while (seen < messages) {
        for (; asked < messages && asked < seen + kWindow; ++asked) {
            window.add([&] { return queue.poll_async(kWaitMax); });
        }
        check_next(side, &seen, window.take().payload());
    }
    side.tell_mean(ticks() - before, messages);
    side.sync();
}

Result<Sample> run_hand_over(const Context& context, bool encrypted) {
    const KeyFolder folder(context);
    const std::string domain = context.new_name();
    const std::uint64_t messages = context.scale.slow_messages;
    SharedBoard board;
    const auto join_there = [&](Side& side, Client& client) {
        side.sync();
        client = connect_remote(side, folder.path(), plan_of_link(encrypted));
        return side.must(client.queue("there"), "queue");
    };
    const auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             BridgeSide bridge(
                 side, domain, folder.path(), {kPayloadBytes, 1024, encrypted, false});
             side.sync();  // it listens
             side.sync();
             side.sync();
             bridge.end();
         },
         [&](Side& side) {
             Client client;
             Queue queue = join_there(side, client);
             send_all<std::uint64_t>(side, "order", messages, [&](const Message& message) {
                 return queue.offer_async(message, kWaitMax);
             });
         },
         [&](Side& side) {
             Client client;
             Queue queue = join_there(side, client);
             consume_all(side, queue, messages);
         }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

// ---- one to ten --------------------------------------------------------------------------------

void subscribe_all(Side& side, const std::string& folder, bool encrypted, std::uint64_t messages) {
    struct Reader {
        Client client;
        Subscription subscription;
    };
    side.sync();  // it listens
    std::vector<Reader> readers;
    for (int i = 0; i < kSubscribers; ++i) {
        Reader reader;
        reader.client = connect_remote(side, folder, plan_of_link(encrypted));
        reader.subscription = side.must(
            reader.client.subscribe(kTopic, SubscribeOptions{.slow = SlowSubscriber::block}),
            "subscribe");
        readers.push_back(std::move(reader));
    }
    side.sync();
    const std::uint64_t before = ticks();
    std::vector<std::thread> threads;
    for (Reader& reader : readers) {
        threads.emplace_back([&] {
            std::uint64_t seen = 0;
            while (seen < messages) {
                const auto sample = reader.subscription.next(kWaitMax);
                if (!sample) {
                    side.fail("next: " + to_string(sample.error()));
                }
                check_next(side, &seen, sample->payload());
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    side.tell_mean(ticks() - before, messages * kSubscribers);
    side.sync();
}

Result<Sample> run_fan_out(const Context& context, bool encrypted) {
    const KeyFolder folder(context);
    const std::string domain = context.new_name();
    const std::uint64_t messages = context.scale.slow_messages / 8;
    SharedBoard board;
    const auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             BridgeSide bridge(side, domain, folder.path(), {kPayloadBytes, 64, encrypted, false});
             side.must(bridge.server().create_topic(
                           kTopic, {.capacity = 4096, .slow = SlowSubscriber::block}),
                       "create_topic");
             side.sync();  // it listens
             side.sync();
             side.sync();
             bridge.end();
         },
         [&](Side& side) { subscribe_all(side, folder.path(), encrypted, messages); },
         [&](Side& side) {
             side.sync();
             Client client = connect_remote(side, folder.path(), plan_of_link(encrypted));
             send_all<Published>(side, kTopic, messages, [&](const Message& message) {
                 return client.publish_async(message, kWaitMax);
             });
         }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

}  // namespace

void add_bridge_hand_over_rows(std::vector<Benchmark>& list) {
    for (const bool encrypted : {false, true}) {
        const std::string suffix = encrypted ? "_tls" : "";
        list.push_back(
            one_row("bridge_hand_over" + suffix,
                    "remote producer -> queue -> remote consumer, 64 B, acknowledged",
                    [=](const Context& context) { return run_hand_over(context, encrypted); }));
        list.push_back(
            one_row("bridge_fan_out" + suffix,
                    "1 remote publisher -> 10 remote subscribers, 64 B, per delivery",
                    [=](const Context& context) { return run_fan_out(context, encrypted); }));
    }
}

}  // namespace telpher::bench

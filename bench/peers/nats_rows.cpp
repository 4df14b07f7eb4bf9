// Question: what does NATS cost a client over TCP, beside the bridge?
// Method:   a nats-server of its own, its streams in memory; libnats, each message sent as soon as it is given where
//           one is waited for (its own thread that sends is a millisecond late); elsewhere what was faster of both.
//           nats_rr_64, nats_window_64: requests of 64 B to a process that answers with 8 B, one or 256 on their way,
//           through the broker (two hops each way, as a request to a server behind a bridge has).
//           nats_hand_over: a JetStream work queue, published asynchronously (256 without an answer), pulled by 256,
//           each acknowledged; from the common start to the consumer's last message. In order, none lost.
//           nats_fan_out: one publisher, ten subscribers in a process, by deliveries; none lost.
// Not here: TLS, persistence, clusters.
#include "bench/bridge/raw_floor.hpp"
#include "bench/e2e/rows.hpp"

#ifdef TELPHER_HAS_NATS

#include <nats/nats.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>

namespace telpher::bench {

namespace {

constexpr std::size_t kPayloadBytes = 64;
constexpr int kWindow = 256;
constexpr int kSubscribers = 10;
constexpr std::int64_t kPatienceMs = 5000;

struct NatsFree {
    void operator()(natsOptions* options) const noexcept { natsOptions_Destroy(options); }
    void operator()(natsConnection* connection) const noexcept {
        natsConnection_Destroy(connection);
    }
    void operator()(natsSubscription* subscription) const noexcept {
        natsSubscription_Destroy(subscription);
    }
    void operator()(natsMsg* message) const noexcept { natsMsg_Destroy(message); }
    void operator()(jsCtx* stream) const noexcept { jsCtx_Destroy(stream); }
};
template <typename T>
using Nats = std::unique_ptr<T, NatsFree>;

natsStatus connect_nats(std::uint64_t port, bool at_once, Nats<natsConnection>* connection) {
    natsOptions* made = nullptr;
    natsStatus status = natsOptions_Create(&made);
    const Nats<natsOptions> options(made);
    const std::string url = "nats://127.0.0.1:" + std::to_string(port);
    natsConnection* connected = nullptr;
    if (status == NATS_OK) {
        status = natsOptions_SetURL(made, url.c_str());
    }
    if (status == NATS_OK) {
        status = natsOptions_SetSendAsap(made, at_once);
    }
    if (status == NATS_OK) {
        status = natsConnection_Connect(&connected, made);
    }
    connection->reset(connected);
    return status;
}

class NatsLink {
  public:
    NatsLink(Side& side, bool at_once) : side_(side) {
        // relaxed: it was told before a meeting
        const auto port = side.board().words[kPort].load(std::memory_order_relaxed);
        check(connect_nats(port, at_once, &connection_), "connect");
    }
    void check(natsStatus status, const char* what) {
        if (status != NATS_OK) {
            side_.fail(std::string("NATS: ") + what + ": " + natsStatus_GetText(status));
        }
    }
    [[nodiscard]] natsConnection* get() const noexcept { return connection_.get(); }
    Nats<natsSubscription> subscribe(const char* subject) {
        natsSubscription* made = nullptr;
        check(natsConnection_SubscribeSync(&made, get(), subject), "subscribe");
        check(natsSubscription_SetPendingLimits(made, -1, -1), "pending limits");
        check(natsConnection_Flush(get()), "flush");
        return Nats<natsSubscription>(made);
    }
    // Null: there is none within that time.
    Nats<natsMsg> next(natsSubscription* subscription, std::int64_t patience_ms) {
        natsMsg* message = nullptr;
        const natsStatus status = natsSubscription_NextMsg(&message, subscription, patience_ms);
        if (status != NATS_TIMEOUT) {
            check(status, "next message");
        }
        return Nats<natsMsg>(message);
    }
    void publish(const char* subject, const char* reply, std::span<const std::byte> bytes) {
        const int size = static_cast<int>(bytes.size());
        check(reply != nullptr
                  ? natsConnection_PublishRequest(get(), subject, reply, bytes.data(), size)
                  : natsConnection_Publish(get(), subject, bytes.data(), size),
              "publish");
    }
    Nats<jsCtx> stream() {
        jsOptions options;
        jsOptions_Init(&options);
        options.PublishAsync.MaxPending = kWindow;
        jsCtx* made = nullptr;
        check(natsConnection_JetStream(&made, get(), &options), "JetStream");
        return Nats<jsCtx>(made);
    }

  private:
    Side& side_;
    Nats<natsConnection> connection_;
};

std::span<const std::byte> bytes_of(const natsMsg* message) {
    return std::as_bytes(std::span(natsMsg_GetData(message),
                                   static_cast<std::size_t>(natsMsg_GetDataLength(message))));
}

// A nats-server, from here to its end, and the folder that it asks for.
class NatsServer {
  public:
    explicit NatsServer(Side& side)
        : folder_(std::filesystem::temp_directory_path() /
                  ("telpher-nats-" + std::to_string(::getpid()))) {
        std::uint16_t port = 0;
        ::close(listen_on_loopback(side, &port));
        const std::string port_text = std::to_string(port);
        const std::string folder = folder_.string();
        child_.emplace(side.must(Child::start(side.context(),
                                              -1,
                                              [&] {
                                                  execl(TELPHER_HAS_NATS,
                                                        "nats-server",
                                                        "--addr",
                                                        "127.0.0.1",
                                                        "--port",
                                                        port_text.c_str(),
                                                        "--jetstream",
                                                        "--store_dir",
                                                        folder.c_str(),
                                                        "--log",
                                                        "/dev/null",
                                                        static_cast<char*>(nullptr));
                                                  _exit(1);
                                              }),
                                 "fork"));
        Nats<natsConnection> first;
        for (int i = 0; i < 500 && connect_nats(port, true, &first) != NATS_OK; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        // relaxed: a meeting follows
        side.board().words[kPort].store(port, std::memory_order_relaxed);
    }
    NatsServer(const NatsServer&) = delete;
    NatsServer& operator=(const NatsServer&) = delete;
    ~NatsServer() {
        child_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

  private:
    const std::filesystem::path folder_;
    std::optional<Child> child_;
};

void serve_nats(Side& side, int meetings) {
    const NatsServer server(side);
    for (int i = 0; i < meetings; ++i) {
        side.sync();
    }
}

// ---- requests ----------------------------------------------------------------------------------

void answer_requests(Side& side) {
    const NatsServer server(side);
    NatsLink link(side, true);
    const auto requests = link.subscribe("orders");
    side.sync();
    while (!over(side)) {
        if (const auto request = link.next(requests.get(), 20)) {
            const std::uint64_t number = sequence_of(bytes_of(request.get()));
            link.publish(
                natsMsg_GetReply(request.get()), nullptr, std::as_bytes(std::span(&number, 1)));
        }
    }
    side.sync();
}

class NatsPort {
  public:
    NatsPort(Side& side, const RequestPlan& plan)
        : side_(side),
          link_(side, true),
          answers_(link_.subscribe("answers")),
          payload_(plan.payload_bytes) {}
    void request(std::uint64_t number) {
        payload_.number(number);
        link_.publish("orders", "answers", payload_.bytes());
    }
    std::size_t settle() {
        std::size_t count = 0;
        for (std::int64_t patience_ms = kPatienceMs;; patience_ms = 1) {
            const auto answer = link_.next(answers_.get(), patience_ms);
            if (answer == nullptr && count == 0) {
                side_.fail("no answer");
            }
            if (answer == nullptr) {
                return count;
            }
            if (sequence_of(bytes_of(answer.get())) != ++answered_) {
                side_.fail("an answer was lost");
            }
            ++count;
            std::uint64_t waiting = 0;
            link_.check(natsSubscription_QueuedMsgs(answers_.get(), &waiting), "queued");
            if (waiting == 0) {
                return count;
            }
        }
    }

  private:
    Side& side_;
    NatsLink link_;
    Nats<natsSubscription> answers_;
    PayloadBytes payload_;
    std::uint64_t answered_ = 0;
};

Result<Sample> run_requests(const Context& context, std::uint32_t window) {
    RequestPlan plan;
    plan.window = window;
    plan.messages = context.scale.slow_messages / (window == 1 ? 20 : 4);
    plan.phase = std::max<std::uint64_t>(plan.messages, 1);
    return run_pair(context, answer_requests, [&](Side& side) {
        // Nothing is to be taken out behind a phase.
        // relaxed: the same thread reads it
        side.board().words[kTaken].store(~0ULL >> 1U, std::memory_order_relaxed);
        ask(side, plan, [&](std::uint32_t) { return std::make_unique<NatsPort>(side, plan); });
    });
}

// ---- a work queue ------------------------------------------------------------------------------

void offer_all(Side& side, std::uint64_t messages) {
    side.sync();
    NatsLink link(side, true);
    const auto stream = link.stream();
    const char* subject = "jobs";
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "JOBS";
    config.Subjects = &subject;
    config.SubjectsLen = 1;
    config.Storage = js_MemoryStorage;
    config.Retention = js_WorkQueuePolicy;
    jsErrCode error{};
    link.check(js_AddStream(nullptr, stream.get(), &config, nullptr, &error), "add stream");
    side.sync();
    PayloadBytes payload(kPayloadBytes);
    side.sync();
    for (std::uint64_t number = 1; number <= messages; ++number) {
        payload.number(number);
        link.check(js_PublishAsync(stream.get(),
                                   subject,
                                   payload.bytes().data(),
                                   static_cast<int>(payload.bytes().size()),
                                   nullptr),
                   "publish");
    }
    link.check(js_PublishAsyncComplete(stream.get(), nullptr), "publish");
    side.sync();
}

void poll_all(Side& side, std::uint64_t messages) {
    side.sync();
    NatsLink link(side, false);
    const auto stream = link.stream();
    side.sync();  // there is a stream
    natsSubscription* made = nullptr;
    jsErrCode error{};
    link.check(js_PullSubscribe(&made, stream.get(), "jobs", "me", nullptr, nullptr, &error),
               "pull subscribe");
    const Nats<natsSubscription> jobs(made);
    std::uint64_t seen = 0;
    side.sync();
    const std::uint64_t before = ticks();
    while (seen < messages) {
        natsMsgList list{};
        link.check(natsSubscription_Fetch(&list, jobs.get(), kWindow, kPatienceMs, &error),
                   "fetch");
        for (int i = 0; i < list.Count; ++i) {
            if (sequence_of(bytes_of(list.Msgs[i])) != ++seen) {
                side.fail("a message was lost");
            }
            link.check(natsMsg_Ack(list.Msgs[i], nullptr), "ack");
        }
        natsMsgList_Destroy(&list);
    }
    side.tell_mean(ticks() - before, messages);
    side.sync();
}

Result<Sample> run_stream(const Context& context) {
    const std::uint64_t messages = context.scale.slow_messages / 4;
    SharedBoard board;
    const auto end = run_sides(context,
                               board,
                               {[](Side& side) { serve_nats(side, 4); },
                                [&](Side& side) { offer_all(side, messages); },
                                [&](Side& side) { poll_all(side, messages); }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

// ---- one to ten --------------------------------------------------------------------------------

void publish_all(Side& side, std::uint64_t messages) {
    const NatsServer server(side);
    NatsLink link(side, false);
    PayloadBytes payload(kPayloadBytes);
    side.sync();
    side.sync();
    for (std::uint64_t number = 1; number <= messages; ++number) {
        payload.number(number);
        link.publish("prices", nullptr, payload.bytes());
    }
    link.check(natsConnection_Flush(link.get()), "flush");
    side.sync();
}

void receive_all(Side& side, std::uint64_t messages) {
    side.sync();
    std::vector<std::unique_ptr<NatsLink>> links;
    std::vector<Nats<natsSubscription>> subscriptions;
    for (int i = 0; i < kSubscribers; ++i) {
        links.push_back(std::make_unique<NatsLink>(side, false));
        subscriptions.push_back(links.back()->subscribe("prices"));
    }
    side.sync();
    const std::uint64_t before = ticks();
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < links.size(); ++i) {
        threads.emplace_back([&, i] {
            for (std::uint64_t number = 1; number <= messages; ++number) {
                const auto got = links[i]->next(subscriptions[i].get(), kPatienceMs);
                if (got == nullptr || sequence_of(bytes_of(got.get())) != number) {
                    side.fail("a message was lost");
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    side.tell_mean(ticks() - before, messages * kSubscribers);
    side.sync();
}

Result<Sample> run_fan_out(const Context& context) {
    const std::uint64_t messages = context.scale.slow_messages / 8;
    return run_pair(
        context,
        [&](Side& side) { publish_all(side, messages); },
        [&](Side& side) { receive_all(side, messages); });
}

}  // namespace

void add_nats_rows(std::vector<Benchmark>& list) {
    list.push_back(one_row("nats_rr_64", "NATS, request and answer, 64 B", [](const Context& c) {
        return run_requests(c, 1);
    }));
    list.push_back(one_row("nats_window_64", "NATS, 256 on their way", [](const Context& c) {
        return run_requests(c, kWindow);
    }));
    list.push_back(one_row("nats_hand_over", "NATS JetStream, work queue, 64 B", run_stream));
    list.push_back(one_row("nats_fan_out", "NATS, 1 -> 10, 64 B", run_fan_out));
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_nats_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif

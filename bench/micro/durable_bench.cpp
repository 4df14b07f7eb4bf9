// Question: what does a durable offer cost beside what the disk takes for it, and how many share a sync?
// Method:   a domain with its log in the folder for temporary files; each offer is a whole message of 256 B, confirmed by a
//           sync; 1, 64 and 256 threads offer to one queue, and one of them takes what was offered; one thread with 1 to 1024
//           asynchronous offers outstanding does the same alone. The floor is
//           write_and_sync of store_bench.cpp, in the same run.
//           offer_async_compressed: 64 outstanding orders like lines of a log (json_like), compressed in the log or not;
//           "stored" is what a message takes there.
//           rebuild: a domain is built again from a log of so many MiB of waiting messages, its memory gone before, in the
//           log as they are or compressed (the MiB are those before that); the making of an empty domain is part of it.
// Not here: several processes; a disk whose sync takes milliseconds, where sharing is worth more.
#include "telpher/telpher.hpp"

#include "bench/micro/micro.hpp"
#include "bench/temporary_folder.hpp"
#include "src/client/domain_core.hpp"
#include "tests/unit/compression/json_like.hpp"

#include <unistd.h>

#include <chrono>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace telpher::bench {
namespace {

constexpr std::size_t kPayload = 256;

// One for all threads of a benchmark.
class DurableDomain {
  public:
    explicit DurableDomain(Durability durability, std::int64_t compress_from = -1) {
        server_ = Server::open(name_,
                               {.mode = OpenMode::create,
                                .lifetime = Lifetime::ephemeral,
                                .log_directory = folder_.file("log"),
                                .log_compress_from_bytes = compress_from})
                      .value();
        queue_ = server_
                     .create_queue("q",
                                   {.capacity = 1U << 16U,
                                    .kind = QueueKind::durable,
                                    .delivery = DeliveryMode::at_least_once,
                                    .durability = durability})
                     .value();
    }
    ~DurableDomain() {
        queue_ = Queue();
        server_ = Server();
    }
    DurableDomain(const DurableDomain&) = delete;
    DurableDomain& operator=(const DurableDomain&) = delete;
    Queue& queue() { return queue_; }
    [[nodiscard]] std::uint64_t logged_bytes() const {
        const Client client = connect("shm:" + name_).value();
        // relaxed: a statistic
        return detail::DomainCore::of(client)->attachment().log().control().bytes.load(
            std::memory_order_relaxed);
    }

  private:
    const std::string name_ = "bench-durable-" + std::to_string(getpid());
    TemporaryFolder folder_;
    Server server_;
    Queue queue_;
};

std::unique_ptr<DurableDomain> g_domain;

void offer(benchmark::State& state, Durability durability) {
    if (state.thread_index() == 0) {
        g_domain = std::make_unique<DurableDomain>(durability);
    }
    const Message message = Message::text("order", std::string(kPayload, 'x')).durable();
    for (auto _ : state) {
        Queue& queue = g_domain->queue();
        if (!queue.offer(message, std::chrono::seconds(30))) {
            state.SkipWithError("the queue refused");
            break;
        }
        if (state.thread_index() == 0) {
            for (int i = 0; i < state.threads(); ++i) {
                if (auto delivery = queue.poll({})) {
                    static_cast<void>(delivery->ack());
                }
            }
        }
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
    if (state.thread_index() == 0) {
        g_domain.reset();
    }
}
BENCHMARK_CAPTURE(offer, durable_power, Durability::power)
    ->Threads(1)
    ->Threads(64)
    ->Threads(256)
    ->UseRealTime();
BENCHMARK_CAPTURE(offer, durable_process, Durability::process)->Threads(1)->UseRealTime();

Message order(std::size_t bytes, std::uint64_t number) {
    const auto text = compression::json_like(bytes, number);
    return Message::text("order", {reinterpret_cast<const char*>(text.data()), text.size()})
        .durable();
}

// One thread with that many offers outstanding: it waits for the oldest, and takes and acknowledges one message an offer.
void offer_in_turns(benchmark::State& state,
                    Queue& queue,
                    std::span<const Message> messages,
                    std::size_t outstanding) {
    std::size_t next = 0;
    std::deque<Future<std::uint64_t>> offers;
    const auto confirm = [&] {
        const bool confirmed = offers.front().get(std::chrono::seconds(30)).has_value();
        offers.pop_front();
        if (auto delivery = queue.poll({})) {
            static_cast<void>(delivery->ack());
        }
        return confirmed;
    };
    bool sound = true;
    for (auto _ : state) {
        if (offers.size() == outstanding && !confirm()) {
            sound = false;
            break;
        }
        offers.push_back(queue.offer_async(messages[next], std::chrono::seconds(30)));
        next = (next + 1) % messages.size();
    }
    while (!offers.empty()) {
        sound = confirm() && sound;
    }
    if (!sound) {
        state.SkipWithError("an offer was not confirmed");
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}

void offer_async_durable(benchmark::State& state) {
    DurableDomain domain(Durability::power);
    const Message message = Message::text("order", std::string(kPayload, 'x')).durable();
    offer_in_turns(state, domain.queue(), {&message, 1}, static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(offer_async_durable)->Arg(1)->Arg(64)->Arg(256)->Arg(1024)->UseRealTime();

void offer_async_compressed(benchmark::State& state) {
    constexpr std::size_t kOutstanding = 64;
    const auto payload = static_cast<std::size_t>(state.range(0));
    DurableDomain domain(Durability::power, state.range(1) != 0 ? 0 : -1);
    std::vector<Message> messages;
    for (std::uint64_t i = 0; i < kOutstanding; ++i) {
        messages.push_back(order(payload, i));
    }
    const std::uint64_t before = domain.logged_bytes();
    offer_in_turns(state, domain.queue(), messages, kOutstanding);
    state.counters["stored"] = static_cast<double>(domain.logged_bytes() - before) /
                               static_cast<double>(state.iterations());
}
BENCHMARK(offer_async_compressed)
    ->ArgsProduct({{256, 1024, 4096, 65536}, {0, 1}})
    ->ArgNames({"payload", "compressed"})
    ->UseRealTime();

// Its arguments: MiB of the log, bytes of a message, whether the log is compressed.
void rebuild(benchmark::State& state) {
    const TemporaryFolder folder;
    const std::string name = "bench-rebuild-" + std::to_string(getpid());
    const auto bytes = static_cast<std::uint64_t>(state.range(0)) << 20U;
    const auto payload = static_cast<std::size_t>(state.range(1));
    const std::uint64_t messages = bytes / (payload + 200);
    ServerOptions options{.log_directory = folder.file("log"),
                          .log_compress_from_bytes = state.range(2) != 0 ? 0 : -1};
    options.limits = DomainLimits{.ring_bytes = std::size_t{256} << 20U,
                                  .segment_bytes = std::size_t{16} << 30U};
    {
        Server server = Server::open(name, options).value();
        Queue queue = server
                          .create_queue("q",
                                        {.capacity = static_cast<std::uint32_t>(messages),
                                         .kind = QueueKind::durable,
                                         .delivery = DeliveryMode::at_least_once,
                                         .durability = Durability::process})
                          .value();
        const Message message = order(payload, 1);
        std::deque<Future<std::uint64_t>> offers;
        for (std::uint64_t i = 0; i < messages; ++i) {
            offers.push_back(queue.offer_async(message, std::chrono::seconds(30)));
            if (offers.size() == 256) {
                static_cast<void>(offers.front().get(std::chrono::seconds(30)).value());
                offers.pop_front();
            }
        }
        for (auto& offer : offers) {
            static_cast<void>(offer.get(std::chrono::seconds(30)).value());
        }
    }
    for (auto _ : state) {
        static_cast<void>(remove_domain(name, true).value());
        const auto begun = std::chrono::steady_clock::now();
        const Server server = Server::open(name, options).value();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
        state.SetIterationTime(took.count());
    }
    static_cast<void>(remove_domain(name, true).value());
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes) *
                            static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(rebuild)
    ->ArgsProduct({{1, 16, 256, 1024}, {256, 4000}, {0, 1}})
    ->ArgNames({"MiB", "payload", "compressed"})
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace telpher::bench

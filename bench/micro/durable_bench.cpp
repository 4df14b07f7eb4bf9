// Question: what does a durable offer cost beside what the disk takes for it, and how many share a sync?
// Method:   a domain with its log in the folder for temporary files; each offer is a whole message of 256 B, confirmed by a
//           sync; 1, 64 and 256 threads offer to one queue, and one of them takes what was offered; one thread with 1 to 1024
//           asynchronous offers outstanding does the same alone. The floor is
//           write_and_sync of store_bench.cpp, in the same run.
//           rebuild: a domain is built again from a log of so many MiB of waiting messages, its memory gone before; the
//           making of an empty domain is part of it.
// Not here: several processes; a disk whose sync takes milliseconds, where sharing is worth more.
#include "telpher/telpher.hpp"

#include "bench/micro/micro.hpp"
#include "bench/temporary_folder.hpp"

#include <unistd.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>

namespace telpher::bench {
namespace {

constexpr std::size_t kPayload = 256;

// One for all threads of a benchmark.
class DurableDomain {
  public:
    explicit DurableDomain(Durability durability) {
        server_ = Server::open("bench-durable-" + std::to_string(getpid()),
                               {.mode = OpenMode::create,
                                .lifetime = Lifetime::ephemeral,
                                .log_directory = folder_.file("log")})
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

  private:
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

// One thread with that many offers outstanding: it waits for the oldest, and takes and acknowledges one message an offer.
void offer_async_durable(benchmark::State& state) {
    DurableDomain domain(Durability::power);
    Queue& queue = domain.queue();
    const Message message = Message::text("order", std::string(kPayload, 'x')).durable();
    const auto outstanding = static_cast<std::size_t>(state.range(0));
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
        offers.push_back(queue.offer_async(message, std::chrono::seconds(30)));
    }
    while (!offers.empty()) {
        sound = confirm() && sound;
    }
    if (!sound) {
        state.SkipWithError("an offer was not confirmed");
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(offer_async_durable)->Arg(1)->Arg(64)->Arg(256)->Arg(1024)->UseRealTime();

// Its arguments: MiB of the log, bytes of a message.
void rebuild(benchmark::State& state) {
    const TemporaryFolder folder;
    const std::string name = "bench-rebuild-" + std::to_string(getpid());
    const auto bytes = static_cast<std::uint64_t>(state.range(0)) << 20U;
    const auto payload = static_cast<std::size_t>(state.range(1));
    const std::uint64_t messages = bytes / (payload + 200);
    ServerOptions options{.log_directory = folder.file("log")};
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
        const Message message = Message::text("order", std::string(payload, 'x')).durable();
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
    ->ArgsProduct({{1, 16, 256, 1024}, {256, 4000}})
    ->ArgNames({"MiB", "payload"})
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace telpher::bench

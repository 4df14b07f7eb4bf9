// Question: what does a message cost that is sealed at one end and opened at the other?
// Method:   one thread, both ends in memory: write() at one, feed() and read() at the other. `coalesced`
//           gathers messages to 64 KiB before the write, as an event loop's turn does; `alone` writes each.
// Not here: sockets, and the second processor that a peer brings with it.
#include "bench/micro/micro.hpp"
#include "bench/temporary_folder.hpp"
#include "tcp_bridge/tls_channel.hpp"

#include <string>
#include <vector>

namespace telpher::bench {

namespace {

using bridge::TlsChannel;
using bridge::TlsContext;

struct Pair {
    std::unique_ptr<TlsChannel> client;
    std::unique_ptr<TlsChannel> server;
};

bool carry(TlsChannel& from, TlsChannel& to) {
    const auto wire = from.pending();
    const bool fed = to.feed(wire).has_value();
    from.sent(wire.size());
    return fed;
}

struct Contexts {
    std::shared_ptr<const TlsContext> client;
    std::shared_ptr<const TlsContext> server;

    // nullptr members when the files cannot be made.
    static Contexts make() {
        const TemporaryFolder folder;
        Contexts contexts;
        if (!folder) {
            return contexts;
        }
        if (const auto pin = bridge::make_identity(folder.path(), "bench")) {
            contexts.client =
                TlsContext::client({.pin = pin->text(), .config_dir = folder.file("none")}).value();
            contexts.server = TlsContext::server({.config_dir = folder.path()}).value();
        }
        return contexts;
    }
    [[nodiscard]] Pair shake_hands() const {
        Pair pair{TlsChannel::make(client, "bench:1").value(),
                  TlsChannel::make(server, "bench").value()};
        while (!pair.client->established() || !pair.server->established()) {
            carry(*pair.client, *pair.server);
            carry(*pair.server, *pair.client);
        }
        return pair;
    }
};

void seal_and_open(benchmark::State& state, std::size_t message_bytes, std::size_t batch) {
    const auto contexts = Contexts::make();
    if (contexts.server == nullptr) {
        state.SkipWithError("no identity could be made");
        return;
    }
    const auto pair = contexts.shake_hands();
    const std::vector<std::byte> plain(message_bytes * batch, std::byte{'x'});
    std::vector<std::byte> out(plain.size());
    for (auto _ : state) {
        if (!pair.client->write(plain) || !carry(*pair.client, *pair.server) ||
            pair.server->read(out) != out.size()) {
            state.SkipWithError("what was sealed was not opened");
            break;
        }
    }
    report_per_operation(state, batch);
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                            static_cast<std::int64_t>(plain.size()));
}
BENCHMARK_CAPTURE(seal_and_open, 64_alone, 64, 1);
BENCHMARK_CAPTURE(seal_and_open, 64_coalesced, 64, 1024);
BENCHMARK_CAPTURE(seal_and_open, 16k, std::size_t{16} << 10U, 1);
BENCHMARK_CAPTURE(seal_and_open, 64k, std::size_t{64} << 10U, 1);
BENCHMARK_CAPTURE(seal_and_open, 1m, std::size_t{1} << 20U, 1);

void shake_hands(benchmark::State& state) {
    const auto contexts = Contexts::make();
    if (contexts.server == nullptr) {
        state.SkipWithError("no identity could be made");
        return;
    }
    for (auto _ : state) {
        benchmark::DoNotOptimize(contexts.shake_hands().server.get());
    }
    report_per_operation(state);
}
BENCHMARK(shake_hands);

}  // namespace
}  // namespace telpher::bench

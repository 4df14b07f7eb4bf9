// Question: what does compressing a body cost, and reading it again, by codec, engine and size?
// Method:   one thread, streams reused, text like a log of orders; "ratio" is raw / compressed.
//           compress_body is what a sender does: with the trial of the first 4 KiB, or with what it
//           remembers of the bodies before (CompressionHistory).
// Not here: what the link saves: 10 Gbit/s moves a KiB in 0.8 us, 1 Gbit/s in 8 us.
#include "bench/micro/micro.hpp"
#include "tcp_bridge/compression.hpp"
#include "tests/unit/bridge/json_like.hpp"

#include <string>

namespace telpher::bench {

namespace {

using bridge::Codec;
using bridge::GzipEngine;
using Bytes = std::vector<std::byte>;

void compress(benchmark::State& state, Codec codec, GzipEngine engine, std::size_t size) {
    bridge::Compressor compressor(engine);
    const Bytes input = bridge::json_like(size);
    Bytes out(size + 1000);
    std::size_t written = 0;
    for (auto _ : state) {
        written = compressor.compress(codec, input, out).value_or(0);
        benchmark::ClobberMemory();
    }
    state.counters["ratio"] = static_cast<double>(size) / static_cast<double>(written);
    report_per_operation(state);
}

void decompress(benchmark::State& state, Codec codec, GzipEngine engine, std::size_t size) {
    const Bytes input = bridge::json_like(size);
    Bytes stream(size + 1000);
    stream.resize(bridge::Compressor(engine).compress(codec, input, stream).value_or(0));
    bridge::Decompressor decompressor(engine);
    Bytes out(size);
    for (auto _ : state) {
        if (!decompressor.decompress(codec, stream, std::span(out))) {
            state.SkipWithError("what was compressed is refused");
            break;
        }
        benchmark::ClobberMemory();
    }
    report_per_operation(state);
}

void compress_body(benchmark::State& state, const Bytes& input, bool with_history) {
    bridge::Compressor compressor;
    bridge::CompressionHistory history;
    Bytes out;
    for (auto _ : state) {
        benchmark::DoNotOptimize(compressor.compress_body(
            {Codec::gzip, 0}, input, out, with_history ? &history : nullptr));
    }
    report_per_operation(state);
}

void add_rows(const std::string& who, Codec codec, GzipEngine engine) {
    for (const std::size_t size : {1U << 10U, 16U << 10U, 1U << 20U}) {
        const std::string row = who + "/" + std::to_string(size >> 10U) + "k";
        benchmark::RegisterBenchmark(("compress/" + row).c_str(), compress, codec, engine, size);
        benchmark::RegisterBenchmark(
            ("decompress/" + row).c_str(), decompress, codec, engine, size);
    }
}

// Which rows there are depends on the build, so they are made when the program starts.
const bool kRowsAdded = [] {
    for (const GzipEngine engine : bridge::gzip_engines()) {
        add_rows("gzip_" + std::string{to_string(engine)}, Codec::gzip, engine);
    }
    if (bridge::has_codec(Codec::zstd)) {
        add_rows("zstd", Codec::zstd, bridge::gzip_engines().front());
    }
    return true;
}();

BENCHMARK_CAPTURE(compress_body, text_1k, bridge::json_like(1024), false);
BENCHMARK_CAPTURE(compress_body, text_16k, bridge::json_like(16U << 10U), false);
BENCHMARK_CAPTURE(compress_body, text_16k_history, bridge::json_like(16U << 10U), true);
BENCHMARK_CAPTURE(compress_body, noise_1k, bridge::random_bytes(1024), false);
BENCHMARK_CAPTURE(compress_body, noise_1k_history, bridge::random_bytes(1024), true);
BENCHMARK_CAPTURE(compress_body, noise_16k, bridge::random_bytes(16U << 10U), false);
BENCHMARK_CAPTURE(compress_body, noise_16k_history, bridge::random_bytes(16U << 10U), true);

}  // namespace
}  // namespace telpher::bench

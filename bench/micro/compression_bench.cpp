// Question: what does compressing a body cost, and reading it again, by codec, engine and size?
// Method:   one thread, streams reused, text like a log of orders; "ratio" is raw / compressed.
//           compress_body is what a sender does: with the trial of the first 4 KiB, or with what it
//           remembers of the bodies before (CompressionHistory).
// Not here: what the link saves: 10 Gbit/s moves a KiB in 0.8 us, 1 Gbit/s in 8 us.
#include "bench/micro/micro.hpp"
#include "src/compression/compression.hpp"
#include "tests/unit/compression/json_like.hpp"

#include <string>

namespace telpher::bench {

namespace {

using compression::Codec;
using compression::GzipEngine;
using Bytes = std::vector<std::byte>;

void compress(benchmark::State& state, Codec codec, GzipEngine engine, std::size_t size) {
    compression::Compressor compressor(engine);
    const Bytes input = compression::json_like(size);
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
    const Bytes input = compression::json_like(size);
    Bytes stream(size + 1000);
    stream.resize(compression::Compressor(engine).compress(codec, input, stream).value_or(0));
    compression::Decompressor decompressor(engine);
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
    compression::Compressor compressor;
    compression::CompressionHistory history;
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
    for (const GzipEngine engine : compression::gzip_engines()) {
        add_rows("gzip_" + std::string{to_string(engine)}, Codec::gzip, engine);
    }
    if (compression::has_codec(Codec::zstd)) {
        add_rows("zstd", Codec::zstd, compression::gzip_engines().front());
    }
    return true;
}();

BENCHMARK_CAPTURE(compress_body, text_1k, compression::json_like(1024), false);
BENCHMARK_CAPTURE(compress_body, text_16k, compression::json_like(16U << 10U), false);
BENCHMARK_CAPTURE(compress_body, text_16k_history, compression::json_like(16U << 10U), true);
BENCHMARK_CAPTURE(compress_body, noise_1k, compression::random_bytes(1024), false);
BENCHMARK_CAPTURE(compress_body, noise_1k_history, compression::random_bytes(1024), true);
BENCHMARK_CAPTURE(compress_body, noise_16k, compression::random_bytes(16U << 10U), false);
BENCHMARK_CAPTURE(compress_body, noise_16k_history, compression::random_bytes(16U << 10U), true);

}  // namespace
}  // namespace telpher::bench

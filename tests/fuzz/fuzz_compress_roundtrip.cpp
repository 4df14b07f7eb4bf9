// What is compressed comes back, by every codec, engine and reader. The first byte is the cutoff, and
// from 128 on says that the rest is repeated until its beginning is tried by itself.
#include "src/compression/compression.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace {

using telpher::fuzz::require;
namespace compression = telpher::compression;
using Bytes = std::vector<std::byte>;

struct Engine {
    explicit Engine(compression::GzipEngine engine) : compressor(engine), decompressor(engine) {}
    compression::Compressor compressor;
    compression::Decompressor decompressor;
};

std::span<Engine> engines() {
    static std::vector<Engine> all = [] {
        std::vector<Engine> made;
        for (const compression::GzipEngine engine : compression::gzip_engines()) {
            made.emplace_back(engine);
        }
        return made;
    }();
    return all;
}

void check_stream(Engine& writer, compression::Codec codec, std::span<const std::byte> input) {
    Bytes stream(input.size() + input.size() / 100 + 100);
    const auto written = writer.compressor.compress(codec, input, stream);
    require(written && *written <= stream.size(), "everything fits into a little more");
    stream.resize(*written);
    stream.shrink_to_fit();
    for (Engine& reader : engines()) {
        Bytes out(input.size());
        require(reader.decompressor.decompress(codec, stream, std::span(out)).has_value(),
                "what was compressed is read");
        require(std::ranges::equal(out, input), "and is what it was");
    }
    // AddressSanitizer sees what is written behind a place that is too small.
    Bytes narrow(stream.size() / 2);
    require(!writer.compressor.compress(codec, input, narrow), "half the room is not enough");
}

void check_body(Engine& writer,
                const compression::CompressionPolicy& policy,
                std::span<const std::byte> input) {
    static Bytes body;
    compression::CompressionHistory history;
    history.record(policy.compress_from_bytes % 2 == 1);  // without a trial, or with one
    if (!writer.compressor.compress_body(policy, input, body, &history)) {
        return;
    }
    require(policy.compress_from_bytes <= static_cast<std::int64_t>(input.size()),
            "nothing below the cutoff is compressed");
    require(body.size() < input.size(), "a compressed body is shorter");
    const auto read = compression::read_compressed_body(body, input.size());
    require(read && read->raw_bytes == input.size(), "its head is read");
    Bytes out;
    require(
        writer.decompressor.decompress(read->codec, read->stream, read->raw_bytes, out).has_value(),
        "its stream is read");
    require(std::ranges::equal(out, input), "and is what it was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::int64_t cutoff = data[0] % 128;
    auto input = telpher::fuzz::as_bytes(data + 1, size - 1);
    Bytes repeated;
    if (data[0] >= 128 && !input.empty()) {
        while (repeated.size() <= compression::kTrialBytes) {
            repeated.insert(repeated.end(), input.begin(), input.end());
        }
        input = repeated;
    }
    for (Engine& writer : engines()) {
        for (const compression::Codec codec : compression::codecs()) {
            if (codec == compression::Codec::gzip || &writer == engines().data()) {
                check_stream(writer, codec, input);
                check_body(writer, {codec, cutoff}, input);
            }
        }
    }
    return 0;
}

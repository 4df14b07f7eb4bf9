// Question: what does putting a message into bytes cost, and reading it out again?
// Method:   one thread, everything in L1; topic "order", 64 B of payload; with and without an
// extension. Not here: moving the bytes to another processor (bench/e2e).
#include "bench/micro/micro.hpp"
#include "src/wire/codec.hpp"

#include <array>

namespace telpher::bench {

namespace {

constexpr wire::Stamp kStamp{
    {0x0123456789ABCDEFU, 42}, 1'700'000'000'000'000'000U, MessageType::offer};

struct alignas(64) Chunk {
    std::array<std::byte, 4096> bytes{};
    // A chunk's own 16 bytes come before the message.
    [[nodiscard]] std::span<std::byte> message() {
        return std::span(bytes).subspan(wire::kChunkPrefixBytes);
    }
};

Message plain(std::size_t payload_bytes) {
    const std::string payload(payload_bytes, 'x');
    return Message::bytes("order", "application/octet-stream", std::as_bytes(std::span(payload)));
}

Message with_extension() {
    return plain(64)
        .with_request_id("17")
        .with_correlation_id("0af7651916cd43dd")
        .reply_to("answers");
}

void encode_message(benchmark::State& state, const Message& message) {
    Chunk chunk;
    for (auto _ : state) {
        wire::encode(message, kStamp, chunk.message());
        benchmark::ClobberMemory();
    }
    report_per_operation(state);
}
BENCHMARK_CAPTURE(encode_message, plain_64, plain(64));
BENCHMARK_CAPTURE(encode_message, plain_1k, plain(1024));
BENCHMARK_CAPTURE(encode_message, extension_64, with_extension());

void decode_message(benchmark::State& state, const Message& message) {
    Chunk chunk;
    wire::encode(message, kStamp, chunk.message());
    for (auto _ : state) {
        auto view = wire::decode(chunk.message());
        if (!view) {
            state.SkipWithError("decode refused its own message");
            break;
        }
        benchmark::DoNotOptimize(*view);
    }
    report_per_operation(state);
}
BENCHMARK_CAPTURE(decode_message, plain_64, plain(64));
BENCHMARK_CAPTURE(decode_message, extension_64, with_extension());

void encode_loan(benchmark::State& state) {
    Chunk chunk;
    const wire::LoanPlan plan{.topic = "order", .payload_bytes = 64};
    for (auto _ : state) {
        benchmark::DoNotOptimize(wire::encode_loan(plan, chunk.message()));
        wire::stamp_loan(chunk.message(), kStamp, 64);
        benchmark::ClobberMemory();
    }
    report_per_operation(state);
}
BENCHMARK(encode_loan);

}  // namespace
}  // namespace telpher::bench

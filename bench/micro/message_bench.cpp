// Question: what does building a message cost, and giving an existing one a new payload?
// Method:   one thread; topic "order"; the payload's size is the argument.
// Not here: encoding it into a chunk (codec_bench.cpp).
#include "telpher/message.hpp"

#include "bench/micro/micro.hpp"

#include <string>

namespace telpher::bench {

namespace {

std::string payload_of(const benchmark::State& state) {
    return std::string(static_cast<std::size_t>(state.range(0)), 'x');
}

void message_text(benchmark::State& state) {
    const std::string payload = payload_of(state);
    for (auto _ : state) {
        Message message = Message::text("order", payload);
        benchmark::DoNotOptimize(message);
    }
    report_per_operation(state);
}
BENCHMARK(message_text)->Arg(64)->Arg(1024);

void message_bytes(benchmark::State& state) {
    const std::string payload = payload_of(state);
    const auto bytes = std::as_bytes(std::span(payload));
    for (auto _ : state) {
        Message message = Message::bytes("order", "application/octet-stream", bytes);
        benchmark::DoNotOptimize(message);
    }
    report_per_operation(state);
}
BENCHMARK(message_bytes)->Arg(64)->Arg(1024);

void message_with_ids(benchmark::State& state) {
    const std::string payload = payload_of(state);
    for (auto _ : state) {
        Message message = Message::text("order", payload)
                              .with_request_id("17")
                              .with_correlation_id("0af7651916cd43dd")
                              .reply_to("answers");
        benchmark::DoNotOptimize(message);
    }
    report_per_operation(state);
}
BENCHMARK(message_with_ids)->Arg(64);

// The way without an allocation: the payload's memory stays.
void message_set_payload(benchmark::State& state) {
    const std::string payload = payload_of(state);
    const auto bytes = std::as_bytes(std::span(payload));
    Message message = Message::bytes("order", "application/octet-stream", bytes);
    for (auto _ : state) {
        message.set_payload(bytes);
        benchmark::DoNotOptimize(message);
        benchmark::ClobberMemory();
    }
    report_per_operation(state);
}
BENCHMARK(message_set_payload)->Arg(64)->Arg(1024);

}  // namespace
}  // namespace telpher::bench

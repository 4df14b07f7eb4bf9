#include "src/compression/compression.hpp"

#include "src/compression/codec_engine.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace telpher::compression {

namespace {

constexpr std::uint8_t kFailuresMax = 4;  // 2^4 - 1 bodies go untried
constexpr std::size_t kRawBytesMax = std::numeric_limits<std::uint32_t>::max();

// gzip's header without optional fields, and its trailer: CRC-32 and length.
constexpr std::array kGzipBegin{std::byte{0x1F}, std::byte{0x8B}, std::byte{8}, std::byte{0}};
constexpr std::size_t kGzipHeaderBytes = 10;
constexpr std::size_t kGzipTrailerBytes = 8;

std::uint32_t load_u32(const std::byte* at) noexcept {
    std::uint32_t value = 0;
    std::memcpy(&value, at, sizeof value);  // little-endian, as every host of telpher
    return value;
}

// What must fit: at least 10 % less than `bytes`.
constexpr std::size_t shrunk(std::size_t bytes) noexcept { return bytes - (bytes + 9) / 10; }

constexpr bool can_become(std::size_t compressed_bytes, std::size_t raw_bytes) noexcept {
    return raw_bytes / kExpansionMax <= compressed_bytes;
}

bool resize(std::vector<std::byte>& bytes, std::size_t size) noexcept {
    try {
        bytes.resize(size);
    } catch (const std::exception&) {  // bad_alloc or length_error
        return false;
    }
    return true;
}

Error bad_request(std::string_view fault) {
    return {Status::bad_request, 0, "compressed body " + std::string{fault}};
}

GzipEngine built_in(GzipEngine engine) noexcept {
    return std::ranges::find(gzip_engines(), engine) != gzip_engines().end() ? engine
                                                                             : GzipEngine::zlib;
}

template <class Engine>
Engine* made(std::unique_ptr<Engine>& engine, std::unique_ptr<Engine> (*make)() noexcept) noexcept {
    if (!engine) {
        engine = make();
    }
    return engine.get();
}

}  // namespace

std::string_view gzip_frame_fault(std::span<const std::byte> input,
                                  std::size_t raw_bytes) noexcept {
    if (input.size() < kGzipHeaderBytes + kGzipTrailerBytes) {
        return "ends early";
    }
    if (!std::ranges::equal(input.first(kGzipBegin.size()), kGzipBegin)) {
        return "does not begin as gzip without optional fields";
    }
    // Asked before anything is inflated: what lies about its size costs nothing.
    if (load_u32(input.data() + input.size() - 4) != raw_bytes) {
        return "says another size than declared, ends early, or goes on after its end";
    }
    return {};
}

// --- CompressionHistory ---

bool CompressionHistory::worth_a_try() noexcept {
    if (to_skip_ == 0) {
        return true;
    }
    --to_skip_;
    return false;
}

void CompressionHistory::record(bool shrank) noexcept {
    // The first failure skips nothing: a stream of which every second body shrinks is tried whole.
    shrank_ = shrank;
    to_skip_ = shrank ? std::uint8_t{0} : static_cast<std::uint8_t>((1U << failures_) - 1U);
    failures_ = shrank ? std::uint8_t{0}
                       : std::min(static_cast<std::uint8_t>(failures_ + 1U), kFailuresMax);
}

// --- Compressor ---

Compressor::Compressor(GzipEngine engine) noexcept : gzip_engine_(built_in(engine)) {}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;
Compressor& Compressor::operator=(Compressor&&) noexcept = default;

CompressEngine* Compressor::engine(Codec codec) noexcept {
    switch (codec) {
        case Codec::gzip:
            return made(gzip_,
                        gzip_engine_ == GzipEngine::libdeflate ? make_libdeflate_compressor
                                                               : make_zlib_compressor);
        case Codec::zstd:
            return made(zstd_, make_zstd_compressor);
    }
    return nullptr;
}

std::optional<std::size_t> Compressor::compress(Codec codec,
                                                std::span<const std::byte> input,
                                                std::span<std::byte> out) noexcept {
    CompressEngine* const found = engine(codec);
    if (found == nullptr || input.size() > kRawBytesMax) {
        return std::nullopt;
    }
    return found->compress(input, out.first(std::min(out.size(), kRawBytesMax)));
}

bool Compressor::begins_well(Codec codec,
                             std::span<const std::byte> input,
                             std::span<std::byte> out) noexcept {
    return input.size() <= kTrialBytes ||
           compress(codec, input.first(kTrialBytes), out.first(shrunk(kTrialBytes)));
}

std::size_t Compressor::try_body(Codec& codec,
                                 std::span<const std::byte> input,
                                 std::span<std::byte> out) noexcept {
    if (input.size() <= kTrialBytes) {  // its own trial
        const auto room = out.first(std::min(out.size(), shrunk(input.size())));
        return compress(codec, input, room).value_or(0);
    }
    const std::size_t written = compress(codec, input, out).value_or(0);
    if (written > 0 && !can_become(written, input.size())) {
        // zstd makes less of a run of zeros than a receiver believes; gzip cannot.
        codec = Codec::gzip;
        return compress(codec, input, out).value_or(0);
    }
    return written;
}

bool Compressor::compress_body(const CompressionPolicy& policy,
                               std::span<const std::byte> input,
                               std::vector<std::byte>& out,
                               CompressionHistory* history) noexcept {
    if (policy.compress_from_bytes < 0 ||
        input.size() < static_cast<std::uint64_t>(policy.compress_from_bytes) ||
        input.size() <= kCompressedHeadBytes + 1 || input.size() > kRawBytesMax) {
        return false;
    }
    if (history != nullptr && !history->worth_a_try()) {
        return false;
    }
    if (!resize(out, input.size() - 1)) {
        if (history != nullptr) {
            history->record(false);  // there is no memory to try: not at once again
        }
        return false;
    }
    auto codec = policy.codec;
    const auto stream = std::span(out).subspan(kCompressedHeadBytes);
    const bool trusted =
        history != nullptr && history->shrank() && input.size() <= kTrustedBytesMax;
    const std::size_t written =
        trusted || begins_well(codec, input, stream) ? try_body(codec, input, stream) : 0;
    if (history != nullptr) {
        history->record(written > 0);
    }
    if (written == 0) {
        return false;
    }
    const auto raw_bytes = static_cast<std::uint32_t>(input.size());
    std::ranges::fill(std::span(out).first(kCompressedHeadBytes), std::byte{0});
    out[0] = static_cast<std::byte>(codec);
    std::memcpy(out.data() + 4, &raw_bytes, sizeof raw_bytes);
    return resize(out, kCompressedHeadBytes + written);
}

// --- Decompressor ---

std::uint32_t raw_bytes_of(std::span<const std::byte> body) noexcept {
    return load_u32(body.data() + 4);
}

Result<CompressedBody> read_compressed_body(std::span<const std::byte> body,
                                            std::size_t raw_bytes_max) {
    if (body.size() <= kCompressedHeadBytes) {
        return bad_request("is " + std::to_string(body.size()) + " bytes, shorter than its head");
    }
    const CompressedBody read{
        static_cast<Codec>(body[0]), raw_bytes_of(body), body.subspan(kCompressedHeadBytes)};
    if (!has_codec(read.codec)) {
        return bad_request("has codec " + std::to_string(std::to_integer<int>(body[0])) +
                           ", which is not known here");
    }
    if ((body[1] | body[2] | body[3]) != std::byte{0}) {
        return bad_request("has reserved bytes that are not 0");
    }
    if (read.raw_bytes > raw_bytes_max) {
        return Error{Status::message_too_large,
                     0,
                     "compressed body declares " + std::to_string(read.raw_bytes) +
                         " bytes, the limit is " + std::to_string(raw_bytes_max)};
    }
    if (!can_become(read.stream.size(), read.raw_bytes)) {
        return bad_request("declares " + std::to_string(read.raw_bytes) + " bytes, " +
                           std::to_string(read.stream.size()) + " cannot become as many");
    }
    return read;
}

Decompressor::Decompressor(GzipEngine engine) noexcept : gzip_engine_(built_in(engine)) {}
Decompressor::~Decompressor() = default;
Decompressor::Decompressor(Decompressor&&) noexcept = default;
Decompressor& Decompressor::operator=(Decompressor&&) noexcept = default;

DecompressEngine* Decompressor::engine(Codec codec) noexcept {
    switch (codec) {
        case Codec::gzip:
            return made(gzip_,
                        gzip_engine_ == GzipEngine::libdeflate ? make_libdeflate_decompressor
                                                               : make_zlib_decompressor);
        case Codec::zstd:
            return made(zstd_, make_zstd_decompressor);
    }
    return nullptr;
}

Result<void> Decompressor::decompress(Codec codec,
                                      std::span<const std::byte> input,
                                      std::span<std::byte> out) {
    DecompressEngine* const found = engine(codec);
    if (found == nullptr) {
        return has_codec(codec) ? Error{Status::out_of_memory, 0, "no memory to decompress with"}
                                : bad_request("has a codec that is not known here");
    }
    if (input.size() > kRawBytesMax || out.size() > kRawBytesMax) {
        return bad_request("is longer than 32 bits can say");
    }
    if (const auto fault = found->decompress(input, out); !fault.empty()) {
        return bad_request(fault);
    }
    return {};
}

Result<void> Decompressor::decompress(Codec codec,
                                      std::span<const std::byte> input,
                                      std::size_t raw_bytes,
                                      std::vector<std::byte>& out) {
    if (!can_become(input.size(), raw_bytes)) {
        out.clear();
        return bad_request("cannot become as long as declared");
    }
    if (!resize(out, raw_bytes)) {
        out.clear();
        return Error{
            Status::out_of_memory, 0, "no memory for " + std::to_string(raw_bytes) + " bytes"};
    }
    auto result = decompress(codec, input, std::span(out));
    if (!result) {
        out.clear();
    }
    return result;
}

}  // namespace telpher::compression

// The policy and the layout of a compressed body, and bodies made to exhaust their receiver.
#include "src/compression/compression.hpp"
#include "tests/unit/compression/json_like.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <sys/resource.h>

#include <string_view>

namespace telpher::compression {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;

Bytes from_hex(std::string_view hex) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    Bytes bytes(hex.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
    }
    return bytes;
}

std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a receiver does with a body.
Result<void> receive(std::span<const std::byte> body, std::size_t raw_bytes_max, Bytes& out) {
    const auto read = read_compressed_body(body, raw_bytes_max);
    if (!read) {
        return read.error();
    }
    return Decompressor().decompress(read->codec, read->stream, read->raw_bytes, out);
}

// --- The layout: the test vectors of PROTOCOL.md, made by other programs ---

constexpr std::string_view kRaw = "espresso espresso espresso espresso espresso";

constexpr std::string_view kGzipBody =
    "01000000"
    "2c000000"
    "1f8b08000000000000ff4b2d2e284a2d2ece574825cc0000b00bad542c000000";

constexpr std::string_view kZstdBody =
    "02000000"
    "2c000000"
    "28b52ffd242c7d000048657370726573736f20010048962306c1b0ed";

TEST(CompressedBody, the_protocols_examples_are_read) {
    for (const std::string_view hex : {kGzipBody, kZstdBody}) {
        const Bytes body = from_hex(hex);
        if (has_codec(static_cast<Codec>(body[0]))) {
            Bytes out;
            ASSERT_TRUE(receive(body, 1000, out)) << hex;
            EXPECT_EQ(as_text(out), kRaw);
        }
    }
}

TEST(CompressedBody, its_head_is_codec_zeros_and_raw_size) {
    const Bytes input = json_like(0x12345);
    for (const Codec codec : codecs()) {
        Bytes body;
        ASSERT_TRUE(Compressor().compress_body({codec, 0}, input, body));
        EXPECT_EQ(std::to_integer<int>(body[0]), static_cast<int>(codec));
        EXPECT_EQ(Bytes(body.begin() + 1, body.begin() + 8), from_hex("00000045230100"));
        const auto read = read_compressed_body(body, input.size());
        ASSERT_TRUE(read);
        EXPECT_EQ(read->codec, codec);
        EXPECT_EQ(read->raw_bytes, input.size());
        EXPECT_EQ(read->stream.data(), body.data() + 8);
        EXPECT_EQ(read->stream.size(), body.size() - 8);
    }
}

TEST(CompressedBody, each_fault_of_the_head_is_refused) {
    const Bytes good = from_hex(kGzipBody);
    EXPECT_TRUE(read_compressed_body(good, 44));
    EXPECT_EQ(read_compressed_body(good, 43).status(), Status::message_too_large);
    for (std::size_t size = 0; size <= 8; ++size) {
        EXPECT_EQ(read_compressed_body(std::span(good).first(size), 1000).status(),
                  Status::bad_request);
    }
    for (const std::size_t at : {1U, 2U, 3U}) {
        Bytes body = good;
        body[at] = std::byte{1};
        EXPECT_EQ(read_compressed_body(body, 1000).status(), Status::bad_request);
    }
    for (const int codec : {0, 3, 200}) {
        Bytes body = good;
        body[0] = static_cast<std::byte>(codec);
        EXPECT_EQ(read_compressed_body(body, 1000).status(), Status::bad_request);
    }
}

TEST(CompressedBody, more_than_its_bytes_can_become_is_refused_before_it_is_allocated) {
    Bytes body = from_hex(kGzipBody);
    body[6] = std::byte{1};  // 64 KiB more
    EXPECT_EQ(read_compressed_body(body, 250 * kMiB).status(), Status::bad_request);
    Bytes out;
    EXPECT_EQ(
        Decompressor().decompress(Codec::gzip, from_hex("1f8b0800"), 250 * kMiB, out).status(),
        Status::bad_request);
    EXPECT_EQ(out.capacity(), 0U);
}

// --- The policy ---

TEST(CompressionPolicy, is_off_by_default) {
    Bytes body;
    EXPECT_FALSE(Compressor().compress_body({}, json_like(10'000), body));
}

TEST(CompressionPolicy, compresses_from_the_cutoff_on) {
    Compressor compressor;
    Bytes body;
    const CompressionPolicy policy{Codec::gzip, 1000};
    EXPECT_FALSE(compressor.compress_body(policy, json_like(999), body));
    EXPECT_TRUE(compressor.compress_body(policy, json_like(1000), body));
    EXPECT_TRUE(compressor.compress_body(policy, json_like(1001), body));
    EXPECT_FALSE(compressor.compress_body(
        {Codec::gzip, std::numeric_limits<std::int64_t>::max()}, json_like(5000), body));
}

TEST(CompressionPolicy, a_body_that_does_not_shrink_goes_plain) {
    for (const Codec codec : codecs()) {
        Compressor compressor;
        Bytes body;
        for (const std::size_t size : {0U, 1U, 8U, 9U, 10U, 50U, 1000U, 4096U, 4097U, 100'000U}) {
            EXPECT_FALSE(compressor.compress_body({codec, 0}, random_bytes(size), body)) << size;
        }
        for (const std::size_t size : {0U, 1U, 8U, 9U, 10U}) {
            EXPECT_FALSE(compressor.compress_body({codec, 0}, Bytes(size), body)) << size;
        }
        // What is sent compressed is shorter, by a byte at least.
        for (std::size_t size = 0; size < 300; ++size) {
            if (compressor.compress_body({codec, 0}, json_like(size), body)) {
                EXPECT_LT(body.size(), size);
            }
        }
    }
}

TEST(CompressionPolicy, a_body_whose_first_4_kib_do_not_shrink_goes_plain) {
    Bytes input = random_bytes(4096);
    const Bytes rest = json_like(100'000);
    input.insert(input.end(), rest.begin(), rest.end());
    for (const Codec codec : codecs()) {
        Bytes body;
        EXPECT_FALSE(Compressor().compress_body({codec, 0}, input, body));
        // With a tenth of text before it, it shrinks by about that much and more.
        const Bytes half(input.begin() + 2000, input.end());
        EXPECT_TRUE(Compressor().compress_body({codec, 0}, half, body));
    }
}

TEST(CompressionPolicy, what_shrinks_beyond_belief_comes_as_gzip) {
    const Bytes zeros(4 * kMiB);
    for (const Codec codec : codecs()) {
        Bytes body;
        ASSERT_TRUE(Compressor().compress_body({codec, 0}, zeros, body));
        Bytes out;
        ASSERT_TRUE(receive(body, zeros.size(), out));
        EXPECT_TRUE(out == zeros);
    }
}

TEST(CompressionPolicy, a_stream_that_does_not_shrink_is_tried_ever_more_rarely) {
    CompressionHistory history;
    int tries = 0;
    for (int i = 0; i < 1000; ++i) {
        if (history.worth_a_try()) {
            history.record(false);
            ++tries;
        }
    }
    EXPECT_GE(tries, 1000 / 16);
    EXPECT_LE(tries, 1000 / 16 + 5);
    while (!history.worth_a_try()) {
    }
    history.record(true);
    EXPECT_TRUE(history.worth_a_try()) << "one success, and all are tried again";
}

TEST(CompressionPolicy, a_body_after_one_that_shrank_is_compressed_without_a_trial) {
    Bytes input = random_bytes(kTrialBytes);
    const Bytes rest = json_like(kTrustedBytesMax - kTrialBytes);
    input.insert(input.end(), rest.begin(), rest.end());
    for (const Codec codec : codecs()) {
        Compressor compressor;
        CompressionHistory history;
        Bytes body;
        EXPECT_FALSE(compressor.compress_body({codec, 0}, input, body, &history));
        EXPECT_TRUE(compressor.compress_body({codec, 0}, json_like(1000), body, &history));
        EXPECT_TRUE(compressor.compress_body({codec, 0}, input, body, &history));
        Bytes out;
        ASSERT_TRUE(receive(body, input.size(), out));
        EXPECT_EQ(out, input);
        input.push_back(std::byte{'x'});
        EXPECT_FALSE(compressor.compress_body({codec, 0}, input, body, &history)) << "too long";
        input.pop_back();
        EXPECT_FALSE(compressor.compress_body({codec, 0}, input, body, &history));
    }
}

TEST(CompressionPolicy, every_body_of_a_mixed_stream_is_tried) {
    Compressor compressor;
    CompressionHistory history;
    Bytes body;
    const Bytes text = json_like(2000);
    const Bytes noise = random_bytes(2000);
    for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(compressor.compress_body({Codec::gzip, 0}, text, body, &history));
        EXPECT_FALSE(compressor.compress_body({Codec::gzip, 0}, noise, body, &history));
    }
}

// --- Bombs ---

// `size` zeros, then `tail`, by zlib at its best (1029 zeros from each byte), made in little memory.
Bytes gzip_zeros(std::size_t size, std::span<const std::byte> tail = {}) {
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    Bytes out(size / 1000 + tail.size() + 1000);
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const auto put = [&](std::span<const std::byte> bytes, int flush) {
        stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
        stream.avail_in = static_cast<uInt>(bytes.size());
        return deflate(&stream, flush);
    };
    const Bytes zeros(std::min(size, kMiB));
    for (std::size_t done = 0; done < size; done += zeros.size()) {
        EXPECT_EQ(put(zeros, Z_NO_FLUSH), Z_OK);
    }
    EXPECT_EQ(put(tail, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

// gzip's last field, or a stream would be refused by that alone.
void say_size(Bytes& stream, std::size_t size) {
    for (std::size_t i = 0; i < 4; ++i) {
        stream[stream.size() - 4 + i] = static_cast<std::byte>(size >> (8 * i));
    }
}

std::size_t peak_memory_kib() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::size_t>(usage.ru_maxrss);
}

// Goal: 200 KiB that become 200 MiB are refused in memory of the size that they declare.
// The peak of a process never falls: only its growth in this test says something.
TEST(CompressionBomb, takes_no_more_memory_than_it_declares) {
    Bytes bomb = gzip_zeros(200 * kMiB);
    EXPECT_GT(200 * kMiB / bomb.size(), 1000U);
    const std::size_t before_kib = peak_memory_kib();
    for (const GzipEngine engine : gzip_engines()) {
        SCOPED_TRACE(to_string(engine));
        Decompressor decompressor(engine);
        for (const std::size_t declared : {std::size_t{0}, std::size_t{1}, kMiB / 16, kMiB}) {
            say_size(bomb, declared);
            for (int i = 0; i < 10; ++i) {
                Bytes out;
                EXPECT_EQ(decompressor.decompress(Codec::gzip, bomb, declared, out).status(),
                          Status::bad_request);
                EXPECT_LE(out.capacity(), declared);
            }
        }
    }
    // Sanitizers keep what was freed for a while.
    EXPECT_LE(peak_memory_kib() - before_kib, 64U << 10U);
}

TEST(CompressionBomb, inside_another_is_only_opened_once) {
    const Bytes inner = gzip_zeros(20 * kMiB);
    const Bytes outer = gzip_zeros(0, inner);
    for (const GzipEngine engine : gzip_engines()) {
        Bytes out;
        Decompressor decompressor(engine);
        EXPECT_TRUE(decompressor.decompress(Codec::gzip, outer, inner.size(), out));
        EXPECT_EQ(out, inner);
        EXPECT_EQ(decompressor.decompress(Codec::gzip, outer, 20 * kMiB, out).status(),
                  Status::bad_request);
        EXPECT_EQ(out.size(), 0U);
    }
}

}  // namespace
}  // namespace telpher::compression

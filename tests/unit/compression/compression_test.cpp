// Codecs and engines: what goes in comes out, and nothing else is accepted.
#include "src/compression/compression.hpp"

#include "tests/unit/compression/json_like.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

namespace telpher::compression {
namespace {

// A codec and who reads and writes it.
struct Way {
    Codec codec;
    GzipEngine writer;
    GzipEngine reader;
};

std::vector<Way> all_ways() {
    std::vector<Way> ways;
    for (const GzipEngine writer : gzip_engines()) {
        for (const GzipEngine reader : gzip_engines()) {
            ways.push_back({Codec::gzip, writer, reader});
        }
    }
    if (has_codec(Codec::zstd)) {
        ways.push_back({Codec::zstd, gzip_engines().front(), gzip_engines().front()});
    }
    return ways;
}

std::string name_of(const Way& way) {
    return std::string{to_string(way.codec)} + " by " + std::string{to_string(way.writer)} +
           ", read by " + std::string{to_string(way.reader)};
}

Bytes compressed(Compressor& compressor, Codec codec, std::span<const std::byte> input) {
    Bytes out(input.size() + input.size() / 100 + 1000);
    out.resize(compressor.compress(codec, input, out).value());
    return out;
}

Bytes compressed(const Way& way, std::span<const std::byte> input) {
    Compressor compressor(way.writer);
    return compressed(compressor, way.codec, input);
}

// Bytes in memory of exactly their size, so that a sanitizer sees a read behind them.
Bytes exactly(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

TEST(Compression, bodies_of_every_size_come_back) {
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        Compressor compressor(way.writer);
        Decompressor decompressor(way.reader);
        std::vector<std::size_t> sizes{
            255, 256, 257, 4095, 4096, 4097, 65'535, 65'536, 65'537, std::size_t{1} << 20U};
        for (std::size_t size = 0; size < 70; ++size) {
            sizes.push_back(size);
        }
        for (const std::size_t size : sizes) {
            for (const Bytes& input : {json_like(size), random_bytes(size), Bytes(size)}) {
                const Bytes stream = compressed(compressor, way.codec, input);
                Bytes out;
                // The third kind may shrink beyond what the second form believes.
                if (size <= stream.size() * kExpansionMax) {
                    ASSERT_TRUE(decompressor.decompress(way.codec, stream, size, out)) << size;
                    ASSERT_EQ(out, input) << size;
                }
                out.assign(size, std::byte{0x5A});
                ASSERT_TRUE(decompressor.decompress(way.codec, stream, std::span(out))) << size;
                ASSERT_EQ(out, input) << size;
            }
        }
    }
}

TEST(Compression, twenty_mib_come_back) {
    const Bytes text = json_like(std::size_t{20} << 20U);
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        const Bytes stream = compressed(way, text);
        EXPECT_LT(stream.size(), text.size() / 3);
        Bytes out;
        ASSERT_TRUE(Decompressor(way.reader).decompress(way.codec, stream, text.size(), out));
        EXPECT_TRUE(out == text);
    }
}

TEST(Compression, every_truncation_is_a_bad_request) {
    const Bytes input = json_like(500);
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        const Bytes whole = compressed(way, input);
        Decompressor decompressor(way.reader);
        for (std::size_t size = 0; size < whole.size(); ++size) {
            Bytes out(input.size());
            const auto result =
                decompressor.decompress(way.codec, exactly(std::span(whole).first(size)), out);
            ASSERT_EQ(result.status(), Status::bad_request) << size;
            ASSERT_FALSE(result.error().detail.empty());
        }
        Bytes out;
        EXPECT_TRUE(decompressor.decompress(way.codec, whole, input.size(), out));
        EXPECT_EQ(out, input);
    }
}

// Goal: both codecs' checksums are looked at. Bits that say nothing (a time, an operating system)
// may be flipped.
TEST(Compression, every_flipped_bit_is_a_bad_request_or_changes_nothing) {
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        for (const Bytes& input : {json_like(300), random_bytes(100)}) {
            const Bytes whole = compressed(way, input);
            Decompressor decompressor(way.reader);
            std::size_t harmless = 0;
            for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
                Bytes damaged = whole;
                damaged[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
                Bytes out;
                const auto result = decompressor.decompress(way.codec, damaged, input.size(), out);
                if (result) {
                    ASSERT_EQ(out, input) << "bit " << bit;
                    ++harmless;
                } else {
                    ASSERT_EQ(result.status(), Status::bad_request) << "bit " << bit;
                }
            }
            // gzip's time (4 bytes), extra flags and system, padding of the last byte.
            EXPECT_LE(harmless, way.codec == Codec::gzip ? 6U * 8 + 7 : 8U);
        }
    }
}

TEST(Compression, a_wrong_checksum_is_a_bad_request) {
    const Bytes input = json_like(300);
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        Bytes stream = compressed(way, input);
        stream[stream.size() - (way.codec == Codec::gzip ? 8 : 4)] ^= std::byte{1};
        Bytes out;
        const auto result =
            Decompressor(way.reader).decompress(way.codec, stream, input.size(), out);
        EXPECT_EQ(result.status(), Status::bad_request);
        EXPECT_TRUE(out.empty());
    }
}

TEST(Compression, what_follows_the_end_is_a_bad_request) {
    const Bytes input = json_like(300);
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        const Bytes whole = compressed(way, input);
        Decompressor decompressor(way.reader);
        std::vector<Bytes> tails{{std::byte{0}}, Bytes(8), whole, Bytes(300)};
        // A size that looks right at the end, and zstd's frames to be skipped.
        tails.emplace_back(whole.end() - 4, whole.end());
        tails.push_back({std::byte{0x50},
                         std::byte{0x2A},
                         std::byte{0x4D},
                         std::byte{0x18},
                         std::byte{0},
                         std::byte{0},
                         std::byte{0},
                         std::byte{0}});
        for (const Bytes& tail : tails) {
            Bytes stream = whole;
            stream.insert(stream.end(), tail.begin(), tail.end());
            Bytes out;
            EXPECT_EQ(decompressor.decompress(way.codec, stream, input.size(), out).status(),
                      Status::bad_request);
            EXPECT_EQ(decompressor.decompress(way.codec, stream, 2 * input.size(), out).status(),
                      Status::bad_request);
        }
    }
}

TEST(Compression, another_size_than_declared_is_a_bad_request) {
    const Bytes input = json_like(1000);
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        const Bytes stream = compressed(way, input);
        Decompressor decompressor(way.reader);
        for (const std::size_t declared : {0U, 1U, 500U, 999U, 1001U, 2000U, 200'000U}) {
            // A stream that tells the truth about itself, and gzip that lies: its length is the
            // last field.
            Bytes lying = stream;
            for (std::size_t i = 0; i < 4 && way.codec == Codec::gzip; ++i) {
                lying[lying.size() - 4 + i] = static_cast<std::byte>(declared >> (8 * i));
            }
            for (const Bytes& tried : {stream, lying}) {
                Bytes out;
                EXPECT_EQ(decompressor.decompress(way.codec, tried, declared, out).status(),
                          Status::bad_request)
                    << declared;
            }
        }
    }
}

TEST(Compression, gzip_with_optional_fields_is_a_bad_request) {
    const Bytes input = json_like(300);
    for (const Way& way : all_ways()) {
        if (way.codec == Codec::gzip) {
            Bytes stream = compressed(way, input);
            stream[3] = std::byte{0x08};  // a name follows, which the stream may well seem to have
            Bytes out;
            EXPECT_EQ(
                Decompressor(way.reader).decompress(way.codec, stream, input.size(), out).status(),
                Status::bad_request);
        }
    }
}

TEST(Compression, unknown_codecs_are_refused_at_both_ends) {
    const Bytes input = json_like(300);
    for (const int number : {0, 3, 255}) {
        const auto codec = static_cast<Codec>(number);
        EXPECT_FALSE(has_codec(codec));
        EXPECT_EQ(to_string(codec), "unknown");
        Bytes out(1000);
        EXPECT_FALSE(Compressor().compress(codec, input, out));
        EXPECT_EQ(Decompressor().decompress(codec, input, out).status(), Status::bad_request);
    }
    if (!has_codec(Codec::zstd)) {
        Bytes out(1000);
        EXPECT_FALSE(Compressor().compress(Codec::zstd, input, out));
        EXPECT_EQ(Decompressor().decompress(Codec::zstd, input, out).status(), Status::bad_request);
    }
}

TEST(Compression, every_build_offers_gzip_last) {
    EXPECT_EQ(codecs().back(), Codec::gzip);
    EXPECT_EQ(gzip_engines().back(), GzipEngine::zlib);
}

TEST(Compression, streams_are_as_new_after_an_error) {
    const Bytes first = json_like(3000, 1);
    const Bytes second = json_like(5000, 2);
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        const Bytes expected = compressed(way, second);
        Compressor compressor(way.writer);
        Decompressor decompressor(way.reader);
        for (std::size_t room = 0; room < 400; room += 7) {
            Bytes narrow(room);
            ASSERT_FALSE(compressor.compress(way.codec, first, narrow));
            ASSERT_EQ(compressed(compressor, way.codec, second), expected)
                << "after " << room << " bytes";
        }
        const Bytes stream = compressed(way, first);
        for (std::size_t at = 0; at < stream.size(); at += 7) {
            Bytes damaged = stream;
            damaged[at] ^= std::byte{0xFF};
            Bytes out;
            (void)decompressor.decompress(way.codec, damaged, first.size(), out);
            ASSERT_TRUE(decompressor.decompress(way.codec, expected, second.size(), out));
            ASSERT_EQ(out, second);
        }
    }
}

TEST(Compression, what_does_not_fit_is_not_written) {
    const Bytes input = json_like(3000);
    for (const Way& way : all_ways()) {
        SCOPED_TRACE(name_of(way));
        Compressor compressor(way.writer);
        const std::size_t size = compressed(compressor, way.codec, input).size();
        Bytes exact(size + 1, std::byte{0x5A});
        EXPECT_FALSE(compressor.compress(way.codec, input, std::span(exact).first(size / 2)));
        EXPECT_EQ(exact[size / 2], std::byte{0x5A});
        EXPECT_EQ(exact[size], std::byte{0x5A});
    }
}

TEST(Compression, engines_move) {
    const Bytes input = json_like(3000);
    Compressor first;
    const Bytes stream = compressed(first, Codec::gzip, input);
    Compressor second = std::move(first);
    EXPECT_EQ(compressed(second, Codec::gzip, input), stream);
    Decompressor third;
    Bytes out;
    EXPECT_TRUE(third.decompress(Codec::gzip, stream, input.size(), out));
    Decompressor fourth = std::move(third);
    EXPECT_TRUE(fourth.decompress(Codec::gzip, stream, input.size(), out));
    EXPECT_EQ(out, input);
}

}  // namespace
}  // namespace telpher::compression

// Compressed bodies from outside. The first byte chooses:
//
//   bit 0..1   0: the rest is a body as it comes in a frame
//              1: the rest is a stream for each codec in turn, its size guessed from its end
//              2: the rest is deflate's blocks, given gzip's header, checksum and length, so that
//                 mutations get past them: what zlib accepts, libdeflate accepts, with the same bytes
//              3: as 2, with blocks that zlib makes of the rest in a way that the second byte
//                 chooses, and of which three bits are flipped; neither library is built for
//                 libFuzzer, which could not find its way into them by itself
//   bit 2..7   how much the declared size differs from what the stream says, with its sign
//
// Bodies declare 64 KiB at most: what is beyond that is the same, and slow.
#include "src/compression/compression.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace {

using telpher::Result;
using telpher::Status;
using telpher::fuzz::require;
namespace compression = telpher::compression;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kRawBytesMax = 64U << 10U;

compression::Decompressor& decompressor(compression::GzipEngine engine) {
    static std::array<compression::Decompressor, 2> all{
        compression::Decompressor(compression::GzipEngine::zlib),
        compression::Decompressor(compression::GzipEngine::libdeflate)};
    return all.at(static_cast<std::size_t>(engine));
}

// Both forms of decompress, and into memory of exactly the declared size, so that
// AddressSanitizer sees a byte behind it.
Result<void> decompress(compression::GzipEngine engine,
                        compression::Codec codec,
                        std::span<const std::byte> stream,
                        Bytes& out) {
    const std::size_t declared = out.size();
    auto result = decompressor(engine).decompress(codec, stream, std::span(out));
    require(result || (result.status() == Status::bad_request && !result.error().detail.empty()),
            "a refusal is bad_request and says why");
    Bytes other;
    const auto again = decompressor(engine).decompress(codec, stream, declared, other);
    require(other.capacity() <= declared, "no more is allocated than declared");
    require(result || !again, "both forms refuse");
    require(!again || other == out, "both forms read the same");
    require(again || other.empty(), "nothing comes out of an error");
    return result;
}

// What zlib accepts, all engines accept, with the same bytes. Not the other way round: libdeflate
// looks at less of a block's header (a repeat of code lengths may run over their end, which zlib calls
// an "invalid bit length repeat"). What it accepts so has the right checksum still.
void check_gzip(std::span<const std::byte> stream, std::size_t declared) {
    Bytes by_zlib(declared);
    const auto zlib =
        decompress(compression::GzipEngine::zlib, compression::Codec::gzip, stream, by_zlib);
    for (const compression::GzipEngine engine : compression::gzip_engines()) {
        Bytes out(declared);
        const auto result = decompress(engine, compression::Codec::gzip, stream, out);
        require(!zlib || (result && out == by_zlib), "what zlib accepts, all engines accept");
        if (result) {
            const auto crc =
                crc32(0, reinterpret_cast<const Bytef*>(out.data()), static_cast<uInt>(out.size()));
            std::uint32_t said = 0;
            std::memcpy(&said, stream.data() + stream.size() - 8, sizeof said);
            require(out.empty() || crc == said, "what is accepted has its checksum");
        }
    }
}

void check_zstd(std::span<const std::byte> stream, std::size_t declared) {
    if (compression::has_codec(compression::Codec::zstd)) {
        Bytes out(declared);
        (void)decompress(
            compression::gzip_engines().front(), compression::Codec::zstd, stream, out);
    }
}

void check_body(std::span<const std::byte> body) {
    const auto read = compression::read_compressed_body(body, kRawBytesMax);
    if (!read) {
        require(read.status() == Status::bad_request || read.status() == Status::message_too_large,
                "a head is refused for itself or for its size");
        return;
    }
    require(read->raw_bytes <= kRawBytesMax, "the limit is kept");
    require(read->stream.size() + compression::kCompressedHeadBytes == body.size(),
            "nothing is lost");
    if (read->codec == compression::Codec::gzip) {
        check_gzip(read->stream, read->raw_bytes);
    } else {
        check_zstd(read->stream, read->raw_bytes);
    }
}

std::size_t last_u32(std::span<const std::byte> bytes) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + bytes.size() - sizeof value, sizeof value);
    return value;
}

std::size_t near(std::size_t size, int difference) {
    const auto moved = static_cast<std::int64_t>(size % kRawBytesMax) + difference;
    return static_cast<std::size_t>(std::clamp<std::int64_t>(moved, 0, kRawBytesMax));
}

// A raw stream of every level and strategy, made once.
z_stream& deflater(int how) {
    static std::array<z_stream, 50> all{};
    const int kind = how % 50;
    z_stream& stream = all.at(static_cast<std::size_t>(kind));
    if (stream.state == nullptr) {
        require(deflateInit2(&stream, kind % 10, Z_DEFLATED, -15, 8, kind / 10) == Z_OK,
                "zlib has memory");
    }
    require(deflateReset(&stream) == Z_OK, "zlib begins again");
    return stream;
}

// Level and strategy from the first byte; the next six bytes are places of bits to flip.
Bytes damaged_blocks(std::span<const std::byte> input) {
    constexpr std::size_t kPlaces = 3;
    if (input.size() < 1 + 2 * kPlaces) {
        return {};
    }
    const auto how = std::to_integer<int>(input[0]);
    const auto raw = input.subspan(1 + 2 * kPlaces);
    z_stream& stream = deflater(how);
    Bytes blocks(deflateBound(&stream, static_cast<uLong>(raw.size())));
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(raw.data()));
    stream.avail_in = static_cast<uInt>(raw.size());
    stream.next_out = reinterpret_cast<Bytef*>(blocks.data());
    stream.avail_out = static_cast<uInt>(blocks.size());
    require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib's bound holds");
    blocks.resize(stream.total_out);
    for (std::size_t i = 0; i < kPlaces; ++i) {
        std::uint16_t place = 0;
        std::memcpy(&place, input.data() + 1 + 2 * i, sizeof place);
        if (place / 8U < blocks.size()) {  // else nothing is flipped
            blocks[place / 8U] ^= static_cast<std::byte>(1U << (place % 8U));
        }
    }
    return blocks;
}

// gzip around deflate's blocks, as far as zlib can read them; `declared` is what they become.
Bytes gzip_around(std::span<const std::byte> blocks, std::size_t& declared) {
    static Bytes raw(kRawBytesMax);
    static z_stream stream{};  // made once: making one takes longer than all else here
    if (stream.state == nullptr) {
        require(inflateInit2(&stream, -15) == Z_OK, "zlib has memory");
    }
    require(inflateReset(&stream) == Z_OK, "zlib begins again");
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(blocks.data()));
    stream.avail_in = static_cast<uInt>(blocks.size());
    stream.next_out = reinterpret_cast<Bytef*>(raw.data());
    stream.avail_out = static_cast<uInt>(raw.size());
    (void)inflate(&stream, Z_FINISH);
    const std::size_t read = blocks.size() - stream.avail_in;
    declared = stream.total_out;

    Bytes gzip{std::byte{0x1F}, std::byte{0x8B}, std::byte{8}};
    gzip.resize(10);
    gzip.insert(gzip.end(), blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(read));
    const auto crc =
        crc32(0, reinterpret_cast<const Bytef*>(raw.data()), static_cast<uInt>(declared));
    for (const std::uint64_t number : {std::uint64_t{crc}, std::uint64_t{declared}}) {
        for (unsigned i = 0; i < 4; ++i) {
            gzip.push_back(static_cast<std::byte>(number >> (8 * i)));
        }
    }
    return gzip;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 5) {
        return 0;
    }
    const unsigned mode = data[0] & 3U;
    const int difference = static_cast<std::int8_t>(data[0]) >> 2;
    const auto rest = telpher::fuzz::as_bytes(data + 1, size - 1);
    if (mode == 0) {
        check_body(rest);
    } else if (mode == 1) {
        check_gzip(rest, near(last_u32(rest), difference));
        check_zstd(rest,
                   near(static_cast<std::size_t>(rest.size() > 5 ? rest[5] : rest[0]), difference));
    } else {
        std::size_t declared = 0;
        const Bytes blocks = mode == 2 ? Bytes(rest.begin(), rest.end()) : damaged_blocks(rest);
        const Bytes gzip = gzip_around(blocks, declared);
        check_gzip(gzip, near(declared, difference));
    }
    return 0;
}

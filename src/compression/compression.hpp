// Bodies, compressed: when it pays, and into what. Of frames (tcp_bridge/PROTOCOL.md, Compression) and of records in
// logs (src/store/FORMAT.md).
//
//   Shape     codec u8 | reserved 3 x u8 | raw_bytes u32 | compressed bytes
//   Threads   one at a time for each object: one Compressor and one Decompressor per thread
//   Memory    made at a codec's first use and kept; to compress and to decompress: zlib 260 and
//             40 KiB, libdeflate 200 and 12 KiB, zstd up to 600 and 95 KiB, growing with the bodies
//   Progress  no lock, no system call beyond the allocator's
//   Errors    values; nothing throws. After an error the object is ready for the next body.
#pragma once

#include "telpher/result.hpp"

#include "src/compression/codec.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace telpher::compression {

class CompressEngine;
class DecompressEngine;

inline constexpr std::size_t kCompressedHeadBytes = 8;

// A body may not become more than this many times as long. It is what gzip's format can reach (258
// bytes from 2 bits), and bounds what a few bytes can make a receiver allocate with any codec.
inline constexpr std::size_t kExpansionMax = 1032;

// Of a longer body, this much is tried before the rest is compressed.
inline constexpr std::size_t kTrialBytes = 4096;

struct CompressionPolicy {
    Codec codec = Codec::gzip;
    std::int64_t compress_from_bytes = -1;  // shorter bodies go plain; 0 = none do, -1 = all do
};

// Up to here the trial costs more (a third at 16 KiB) than it saves where the last body shrank.
inline constexpr std::size_t kTrustedBytesMax = 16 * kTrialBytes;

// What the last bodies for one destination came to. Where they do not shrink, ever fewer are tried
// (one of 16); where the last one did, a body up to kTrustedBytesMax is compressed without a trial.
// In a mixed stream every body is tried.
class CompressionHistory {
  public:
    // Whether to try this body; counts it.
    [[nodiscard]] bool worth_a_try() noexcept;
    void record(bool shrank) noexcept;
    // Whether worth_a_try() will say no; counts nothing.
    [[nodiscard]] bool skips_next() const noexcept { return to_skip_ != 0; }
    // Whether the last body that was tried shrank.
    [[nodiscard]] bool shrank() const noexcept { return shrank_; }

  private:
    bool shrank_ = false;
    std::uint8_t failures_ = 0;  // in a row, up to kFailuresMax
    std::uint8_t to_skip_ = 0;   // bodies that go plain before the next try
};

class Compressor {
  public:
    // The engine for gzip; zlib, if this build lacks it.
    explicit Compressor(GzipEngine engine = gzip_engines().front()) noexcept;
    ~Compressor();
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;
    Compressor(Compressor&&) noexcept;
    Compressor& operator=(Compressor&&) noexcept;

    // Writes `input`, compressed, to the start of `out`. Returns the bytes written; nothing if they
    // do not fit, or without the codec or memory for it: the body then goes plain, which is never
    // an error.
    [[nodiscard]] std::optional<std::size_t> compress(Codec codec,
                                                      std::span<const std::byte> input,
                                                      std::span<std::byte> out) noexcept;

    // Makes `out` the body of a compressed frame, if the policy wants `input` compressed and that
    // pays: its first 4 KiB must shrink by 10 %, and the whole at all. False: send `input` as it
    // is; `out` holds anything. The memory of `out` is used again, and grows to input.size() at
    // most.
    //   history   of the input's destination, or null: every body is tried
    [[nodiscard]] bool compress_body(const CompressionPolicy& policy,
                                     std::span<const std::byte> input,
                                     std::vector<std::byte>& out,
                                     CompressionHistory* history = nullptr) noexcept;

  private:
    [[nodiscard]] CompressEngine* engine(Codec codec) noexcept;
    // Whether the first 4 KiB of a longer body shrink by 10 %.
    [[nodiscard]] bool begins_well(Codec codec,
                                   std::span<const std::byte> input,
                                   std::span<std::byte> out) noexcept;
    // Bytes written to `out`, 0 if that did not pay; `codec` becomes the one that was used.
    [[nodiscard]] std::size_t try_body(Codec& codec,
                                       std::span<const std::byte> input,
                                       std::span<std::byte> out) noexcept;

    GzipEngine gzip_engine_;
    std::unique_ptr<CompressEngine> gzip_{};
    std::unique_ptr<CompressEngine> zstd_{};
};

// The checked head of a compressed body, and what follows it.
struct CompressedBody {
    Codec codec = Codec::gzip;
    std::uint32_t raw_bytes = 0;
    std::span<const std::byte> stream{};
};

// What the head of at least kCompressedHeadBytes declares, unchecked.
[[nodiscard]] std::uint32_t raw_bytes_of(std::span<const std::byte> body) noexcept;

// Reads the head and allocates nothing.
//   raw_bytes_max   the limit for messages
//   errors          bad_request (too short, a codec that this build lacks, reserved bytes that are
//                   not 0, a size that so few bytes cannot become), message_too_large
[[nodiscard]] Result<CompressedBody> read_compressed_body(std::span<const std::byte> body,
                                                          std::size_t raw_bytes_max);

class Decompressor {
  public:
    // The engine for gzip; zlib, if this build lacks it.
    explicit Decompressor(GzipEngine engine = gzip_engines().front()) noexcept;
    ~Decompressor();
    Decompressor(const Decompressor&) = delete;
    Decompressor& operator=(const Decompressor&) = delete;
    Decompressor(Decompressor&&) noexcept;
    Decompressor& operator=(Decompressor&&) noexcept;

    // Fills `out` exactly from all of `input`, whatever its bytes. Stops where `out` ends.
    //   errors   bad_request (truncated, damaged, one byte more or less than `out`, anything behind
    //            the end, a codec that this build lacks), out_of_memory; `out` then holds anything
    [[nodiscard]] Result<void> decompress(Codec codec,
                                          std::span<const std::byte> input,
                                          std::span<std::byte> out);
    // The same, with `out` made as long as `raw_bytes`, which the caller has checked against its
    // limit. Allocates no more than that, and nothing if `input` cannot become as long; an empty
    // `out` after an error.
    [[nodiscard]] Result<void> decompress(Codec codec,
                                          std::span<const std::byte> input,
                                          std::size_t raw_bytes,
                                          std::vector<std::byte>& out);

  private:
    [[nodiscard]] DecompressEngine* engine(Codec codec) noexcept;

    GzipEngine gzip_engine_;
    std::unique_ptr<DecompressEngine> gzip_{};
    std::unique_ptr<DecompressEngine> zstd_{};
};

}  // namespace telpher::compression

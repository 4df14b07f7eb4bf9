// One codec's streams, kept for reuse: what compression.hpp is built on.
//
//   Threads   one at a time for each object
//   Progress  no lock, no system call; memory is taken by the make_ functions, and by zstd when a
//             body is larger than all before it
//   Errors    values; nothing throws. An error leaves the object ready for the next body.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace telpher::compression {

class CompressEngine {
  public:
    CompressEngine() = default;
    CompressEngine(const CompressEngine&) = delete;
    CompressEngine& operator=(const CompressEngine&) = delete;
    virtual ~CompressEngine() = default;

    // Bytes written; nothing if the whole does not fit into `out`. Both are at most 2^32 - 1 bytes.
    [[nodiscard]] virtual std::optional<std::size_t> compress(
        std::span<const std::byte> input, std::span<std::byte> out) noexcept = 0;
};

class DecompressEngine {
  public:
    DecompressEngine() = default;
    DecompressEngine(const DecompressEngine&) = delete;
    DecompressEngine& operator=(const DecompressEngine&) = delete;
    virtual ~DecompressEngine() = default;

    // Fills `out` exactly from all of `input`, which may be hostile; both are at most 2^32 - 1
    // bytes. Returns what is wrong, as the end of a sentence; an empty text if nothing is. After a
    // fault `out` holds anything.
    [[nodiscard]] virtual std::string_view decompress(std::span<const std::byte> input,
                                                      std::span<std::byte> out) noexcept = 0;
};

// Null without memory, or where the library is not built in.
[[nodiscard]] std::unique_ptr<CompressEngine> make_zlib_compressor() noexcept;
[[nodiscard]] std::unique_ptr<CompressEngine> make_libdeflate_compressor() noexcept;
[[nodiscard]] std::unique_ptr<CompressEngine> make_zstd_compressor() noexcept;
[[nodiscard]] std::unique_ptr<DecompressEngine> make_zlib_decompressor() noexcept;
[[nodiscard]] std::unique_ptr<DecompressEngine> make_libdeflate_decompressor() noexcept;
[[nodiscard]] std::unique_ptr<DecompressEngine> make_zstd_decompressor() noexcept;

// An engine that has what it needs, or null.
template <class Engine>
[[nodiscard]] std::unique_ptr<Engine> open_engine() noexcept {
    std::unique_ptr<Engine> engine(new (std::nothrow) Engine);
    return engine && engine->open() ? std::move(engine) : nullptr;
}

// What is wrong with a gzip member as this protocol has it: the header without optional fields, and
// the length at its end. Both engines rely on it, so that neither accepts what the other refuses.
[[nodiscard]] std::string_view gzip_frame_fault(std::span<const std::byte> input,
                                                std::size_t raw_bytes) noexcept;

// The fastest level of each library: a higher one costs more than a link saves (bench/micro).
inline constexpr int kLevel = 1;

}  // namespace telpher::compression

// zstd by libzstd, where it is installed.
#include "src/compression/codec_engine.hpp"

#ifdef TELPHER_HAS_ZSTD

#include <zstd.h>

#include <array>

namespace telpher::compression {

namespace {

constexpr std::array kMagic{std::byte{0x28}, std::byte{0xB5}, std::byte{0x2F}, std::byte{0xFD}};
// Bits of the byte behind it (RFC 8878, 3.1.1.1.1).
constexpr std::byte kHasChecksum{0x04};
constexpr std::byte kDictionaryBits{0x03};

// What is wrong with the frame around the blocks: exactly one frame, of the format's first and only
// magic (libzstd may know older ones), with its size and a checksum, without a dictionary.
std::string_view frame_fault(std::span<const std::byte> input, std::size_t raw_bytes) noexcept {
    if (input.size() < kMagic.size() + 1) {
        return "ends early";
    }
    for (std::size_t i = 0; i < kMagic.size(); ++i) {
        if (input[i] != kMagic.at(i)) {
            return "does not begin as a zstd frame";
        }
    }
    const std::byte descriptor = input[kMagic.size()];
    if ((descriptor & kHasChecksum) == std::byte{0} ||
        (descriptor & kDictionaryBits) != std::byte{0}) {
        return "is a zstd frame without checksum or with a dictionary";
    }
    const auto content = ZSTD_getFrameContentSize(input.data(), input.size());
    if (content != raw_bytes) {
        return "says another size than declared";
    }
    const std::size_t frame = ZSTD_findFrameCompressedSize(input.data(), input.size());
    if (ZSTD_isError(frame) != 0) {
        return "ends early or is damaged";
    }
    return frame == input.size() ? std::string_view{} : "goes on after its end";
}

class ZstdCompressor final : public CompressEngine {
  public:
    [[nodiscard]] bool open() noexcept {
        context_.reset(ZSTD_createCCtx());
        return context_ != nullptr && set(ZSTD_c_compressionLevel, kLevel) &&
               set(ZSTD_c_checksumFlag, 1) && set(ZSTD_c_contentSizeFlag, 1);
    }

    std::optional<std::size_t> compress(std::span<const std::byte> input,
                                        std::span<std::byte> out) noexcept override {
        // A frame of its own, whatever the last one came to; the parameters stay.
        const std::size_t written =
            ZSTD_compress2(context_.get(), out.data(), out.size(), input.data(), input.size());
        return ZSTD_isError(written) == 0 ? std::optional(written) : std::nullopt;
    }

  private:
    struct Free {
        void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
    };
    [[nodiscard]] bool set(ZSTD_cParameter parameter, int value) noexcept {
        return ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), parameter, value)) == 0;
    }
    std::unique_ptr<ZSTD_CCtx, Free> context_{};
};

class ZstdDecompressor final : public DecompressEngine {
  public:
    [[nodiscard]] bool open() noexcept {
        context_.reset(ZSTD_createDCtx());
        return context_ != nullptr;
    }

    std::string_view decompress(std::span<const std::byte> input,
                                std::span<std::byte> out) noexcept override {
        if (const auto fault = frame_fault(input, out.size()); !fault.empty()) {
            return fault;
        }
        // One call: the output is its own window, however large a window the frame asks for.
        const std::size_t written =
            ZSTD_decompressDCtx(context_.get(), out.data(), out.size(), input.data(), input.size());
        if (ZSTD_isError(written) != 0) {
            return "is damaged";
        }
        return written == out.size() ? std::string_view{} : "is shorter than declared";
    }

  private:
    struct Free {
        void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
    };
    std::unique_ptr<ZSTD_DCtx, Free> context_{};
};

}  // namespace

std::unique_ptr<CompressEngine> make_zstd_compressor() noexcept {
    return open_engine<ZstdCompressor>();
}

std::unique_ptr<DecompressEngine> make_zstd_decompressor() noexcept {
    return open_engine<ZstdDecompressor>();
}

}  // namespace telpher::compression

#else

namespace telpher::compression {

std::unique_ptr<CompressEngine> make_zstd_compressor() noexcept { return nullptr; }
std::unique_ptr<DecompressEngine> make_zstd_decompressor() noexcept { return nullptr; }

}  // namespace telpher::compression

#endif

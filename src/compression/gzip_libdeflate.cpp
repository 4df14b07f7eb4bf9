// gzip by libdeflate, where it is installed: the same format, faster in both directions because it
// takes whole bodies only.
#include "src/compression/codec_engine.hpp"

#ifdef TELPHER_HAS_LIBDEFLATE

#include <libdeflate.h>

#include <array>

namespace telpher::compression {

namespace {

class LibdeflateCompressor final : public CompressEngine {
  public:
    [[nodiscard]] bool open() noexcept {
        compressor_.reset(libdeflate_alloc_compressor(kLevel));
        return compressor_ != nullptr;
    }

    std::optional<std::size_t> compress(std::span<const std::byte> input,
                                        std::span<std::byte> out) noexcept override {
        const std::size_t written = libdeflate_gzip_compress(
            compressor_.get(), input.data(), input.size(), out.data(), out.size());
        return written > 0 ? std::optional(written) : std::nullopt;
    }

  private:
    struct Free {
        void operator()(libdeflate_compressor* compressor) const noexcept {
            libdeflate_free_compressor(compressor);
        }
    };
    std::unique_ptr<libdeflate_compressor, Free> compressor_{};
};

class LibdeflateDecompressor final : public DecompressEngine {
  public:
    [[nodiscard]] bool open() noexcept {
        decompressor_.reset(libdeflate_alloc_decompressor());
        return decompressor_ != nullptr;
    }

    std::string_view decompress(std::span<const std::byte> input,
                                std::span<std::byte> out) noexcept override {
        if (const auto fault = gzip_frame_fault(input, out.size()); !fault.empty()) {
            return fault;
        }
        std::array<std::byte, 1> nothing{};
        std::size_t read = 0;
        // Without a place for the size written, it accepts nothing but exactly out.size().
        const auto result = libdeflate_gzip_decompress_ex(decompressor_.get(),
                                                          input.data(),
                                                          input.size(),
                                                          out.empty() ? nothing.data() : out.data(),
                                                          out.size(),
                                                          &read,
                                                          nullptr);
        switch (result) {
            case LIBDEFLATE_SUCCESS:
                return read == input.size() ? std::string_view{} : "goes on after its end";
            case LIBDEFLATE_SHORT_OUTPUT:
                return "is shorter than declared";
            case LIBDEFLATE_INSUFFICIENT_SPACE:
                return "is longer than declared";
            case LIBDEFLATE_BAD_DATA:
                break;
        }
        return "is damaged";
    }

  private:
    struct Free {
        void operator()(libdeflate_decompressor* decompressor) const noexcept {
            libdeflate_free_decompressor(decompressor);
        }
    };
    std::unique_ptr<libdeflate_decompressor, Free> decompressor_{};
};

}  // namespace

std::unique_ptr<CompressEngine> make_libdeflate_compressor() noexcept {
    return open_engine<LibdeflateCompressor>();
}

std::unique_ptr<DecompressEngine> make_libdeflate_decompressor() noexcept {
    return open_engine<LibdeflateDecompressor>();
}

}  // namespace telpher::compression

#else

namespace telpher::compression {

std::unique_ptr<CompressEngine> make_libdeflate_compressor() noexcept { return nullptr; }
std::unique_ptr<DecompressEngine> make_libdeflate_decompressor() noexcept { return nullptr; }

}  // namespace telpher::compression

#endif

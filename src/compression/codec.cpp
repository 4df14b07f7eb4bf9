#include "src/compression/codec.hpp"

#include <algorithm>
#include <array>

namespace telpher::compression {

namespace {

#ifdef TELPHER_HAS_ZSTD
constexpr std::array kCodecs{Codec::zstd, Codec::gzip};
#else
constexpr std::array kCodecs{Codec::gzip};
#endif

#ifdef TELPHER_HAS_LIBDEFLATE
constexpr std::array kGzipEngines{GzipEngine::libdeflate, GzipEngine::zlib};
#else
constexpr std::array kGzipEngines{GzipEngine::zlib};
#endif

}  // namespace

std::string_view to_string(Codec codec) noexcept {
    switch (codec) {
        case Codec::gzip:
            return "gzip";
        case Codec::zstd:
            return "zstd";
    }
    return "unknown";
}

std::string_view to_string(GzipEngine engine) noexcept {
    return engine == GzipEngine::zlib ? "zlib" : "libdeflate";
}

std::span<const Codec> codecs() noexcept { return kCodecs; }

bool has_codec(Codec codec) noexcept { return std::ranges::find(kCodecs, codec) != kCodecs.end(); }

std::span<const GzipEngine> gzip_engines() noexcept { return kGzipEngines; }

}  // namespace telpher::compression

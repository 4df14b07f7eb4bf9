// The codecs that a connection may negotiate, and which of them this build has.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace telpher::compression {

// The numbers are on the wire and in logs (PROTOCOL.md, Compression): append only. 0 stays free, so that
// bytes that were never written are no codec.
enum class Codec : std::uint8_t {
    gzip = 1,  // RFC 1952; every build has it
    zstd = 2,  // RFC 8878; builds that found libzstd
};

// Who makes and reads gzip's bytes. Either reads what the other made.
enum class GzipEngine : std::uint8_t { zlib, libdeflate };

// "gzip", "zstd"; "unknown" for any other number.
[[nodiscard]] std::string_view to_string(Codec codec) noexcept;
// "zlib", "libdeflate".
[[nodiscard]] std::string_view to_string(GzipEngine engine) noexcept;

// The codecs of this build, the best first: what it offers to its peer.
[[nodiscard]] std::span<const Codec> codecs() noexcept;
[[nodiscard]] bool has_codec(Codec codec) noexcept;

// The engines of this build, the fastest first; never empty.
[[nodiscard]] std::span<const GzipEngine> gzip_engines() noexcept;

}  // namespace telpher::compression

#pragma once
// Compression of one stream's messages, as HELLO and WELCOME agreed on it (PROTOCOL.md, Compression).
//
//   Threads  one at a time; the tools may be shared by the streams of one thread
//   Memory   of the tools: Compressor and Decompressor, made at their first use

#include "src/compression/compression.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/frame.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace telpher::bridge {

using compression::Codec;
using compression::CompressedBody;
using compression::CompressionHistory;
using compression::CompressionPolicy;
using compression::Compressor;
using compression::Decompressor;

struct CodecTools {
    Compressor compressor{};
    Decompressor decompressor{};
    Bytes scratch{};
};

// What HELLO says of the codecs of this build.
[[nodiscard]] std::uint8_t codecs_offered() noexcept;
// The best one of this build that a HELLO offers; nullopt: none.
[[nodiscard]] std::optional<Codec> choose_codec(std::uint8_t offered) noexcept;
// Whether WELCOME may have chosen it.
[[nodiscard]] bool was_offered(std::uint8_t codec) noexcept;

class BodyCodec {
  public:
    explicit BodyCodec(std::shared_ptr<CodecTools> tools) : tools_(std::move(tools)) {}

    // From now on, in both directions. Codec 0: nothing is compressed.
    void agree(std::uint8_t codec, std::int64_t compress_from) noexcept;
    [[nodiscard]] bool agreed() const noexcept { return agreed_; }
    // As agreed on; 0 and -1: nothing.
    [[nodiscard]] std::uint8_t codec() const noexcept {
        return agreed_ ? static_cast<std::uint8_t>(policy_.codec) : std::uint8_t{0};
    }
    [[nodiscard]] std::int64_t compress_from() const noexcept {
        return agreed_ ? policy_.compress_from_bytes : -1;
    }

    // The message `body`, compressed if that was agreed on and pays; `head` is marked. Otherwise nothing.
    // The bytes end with the next call on the same tools.
    [[nodiscard]] std::optional<std::span<const std::byte>> shrink(FrameHead& head,
                                                                   std::span<const std::byte> body);
    // How long the message of a compressed body is. Errors: as read_compressed_body; bad_request if it was
    // not agreed on.
    [[nodiscard]] Result<CompressedBody> look(std::span<const std::byte> body,
                                              std::size_t message_bytes_max) const;
    // Fills `out`, of raw_bytes. Errors: as Decompressor::decompress.
    [[nodiscard]] Result<void> open(const CompressedBody& body, std::span<std::byte> out);

  private:
    std::shared_ptr<CodecTools> tools_;
    CompressionPolicy policy_{};
    CompressionHistory history_{};
    bool agreed_ = false;
};

}  // namespace telpher::bridge

#include "tcp_bridge/body_codec.hpp"

#include <string>

namespace telpher::bridge {
namespace {

constexpr std::uint8_t bit_of(Codec codec) noexcept { return static_cast<std::uint8_t>(codec); }
static_assert(bit_of(Codec::gzip) == kCodecGzip && bit_of(Codec::zstd) == kCodecZstd,
              "the numbers of these two are their bits");

}  // namespace

std::uint8_t codecs_offered() noexcept {
    std::uint8_t bits = 0;
    for (const Codec codec : compression::codecs()) {
        bits = static_cast<std::uint8_t>(bits | bit_of(codec));
    }
    return bits;
}

std::optional<Codec> choose_codec(std::uint8_t offered) noexcept {
    for (const Codec codec : compression::codecs()) {
        if ((offered & bit_of(codec)) != 0) {
            return codec;
        }
    }
    return std::nullopt;
}

bool was_offered(std::uint8_t codec) noexcept {
    return codec == 0 || compression::has_codec(static_cast<Codec>(codec));
}

void BodyCodec::agree(std::uint8_t codec, std::int64_t compress_from) noexcept {
    agreed_ = codec != 0;
    policy_ = {static_cast<Codec>(codec), compress_from};
    history_ = {};
}

std::optional<std::span<const std::byte>> BodyCodec::shrink(FrameHead& head,
                                                            std::span<const std::byte> body) {
    if (!agreed_ || !carries_message(head.type) ||
        !tools_->compressor.compress_body(policy_, body, tools_->scratch, &history_)) {
        return std::nullopt;
    }
    head.flags |= kFlagCompressed;
    return std::span<const std::byte>(tools_->scratch);
}

Result<CompressedBody> BodyCodec::look(std::span<const std::byte> body,
                                       std::size_t message_bytes_max) const {
    if (!agreed_) {
        return Error{Status::bad_request, 0, "a compressed frame, although no codec was agreed on"};
    }
    return compression::read_compressed_body(body, message_bytes_max);
}

Result<void> BodyCodec::open(const CompressedBody& body, std::span<std::byte> out) {
    return tools_->decompressor.decompress(body.codec, body.stream, out);
}

}  // namespace telpher::bridge

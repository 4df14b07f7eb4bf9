#include "src/store/packed_payload.hpp"

#include <new>
#include <string>

namespace telpher::store {
namespace {

constexpr std::size_t kHistoriesMost = 4096;
}  // namespace

// gzip: every build reads it. A log that only some builds can read would be found out when it is needed.
std::optional<Bytes> Packer::pack(std::uint32_t destination, Bytes payload) noexcept try {
    if (!wants(payload.size())) {
        return std::nullopt;
    }
    if (histories_.size() >= kHistoriesMost) {
        histories_.clear();
    }
    const bool packed = compressor_.compress_body(
        {compression::Codec::gzip, from_bytes_}, payload, packed_, &histories_[destination]);
    return packed ? std::optional<Bytes>(packed_) : std::nullopt;
} catch (const std::bad_alloc&) {
    return std::nullopt;
}

Result<void> check_compress_from(std::string_view field, std::int64_t bytes) {
    constexpr auto kMost = static_cast<std::int64_t>(limits::kMessageBytesMaxHighest);
    return bytes >= -1 && bytes <= kMost
               ? Result<void>()
               : Error{Status::bad_request,
                       0,
                       std::string(field) + " is " + std::to_string(bytes) +
                           ", allowed are -1 (nothing) and 0.." + std::to_string(kMost)};
}

Result<Bytes> Unpacker::unpack(const RecordHeader& header, Bytes stored) {
    if ((header.flags & kPackedPayload) == 0) {
        return stored;
    }
    auto body = compression::read_compressed_body(stored, limits::kMessageBytesMaxHighest);
    auto done = body ? decompressor_.decompress(body->codec, body->stream, body->raw_bytes, raw_)
                     : Result<void>(body.error());
    if (done) {
        return Bytes(raw_);
    }
    if (done.status() == Status::out_of_memory) {
        return done.error();
    }
    return Error{Status::corrupt, 0, "its payload cannot be read: " + done.error().detail};
}

}  // namespace telpher::store

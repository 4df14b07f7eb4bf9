#include "src/store/packed_payload.hpp"

#include <array>
#include <new>
#include <string>

namespace telpher::store {
namespace {

constexpr std::size_t kHistoriesMost = 4096;
constexpr std::size_t kKeptBytes = std::size_t{1} << 20U;

}  // namespace

compression::CompressionHistory* Packer::history_of(std::uint32_t destination, std::size_t bytes) {
    if (!wants(bytes)) {
        return nullptr;
    }
    if (histories_.size() >= kHistoriesMost) {
        histories_.clear();
    }
    compression::CompressionHistory& history = histories_[destination];
    if (history.skips_next()) {
        static_cast<void>(history.worth_a_try());  // counts it
        return nullptr;
    }
    return &history;
}

// gzip: every build reads it. A log that only some builds can read would be found out when it is needed.
std::optional<Bytes> Packer::pack(Bytes payload, compression::CompressionHistory& history) {
    const bool packed = compressor_.compress_body(
        {compression::Codec::gzip, from_bytes_}, payload, packed_, &history);
    if (!packed) {
        rest();
        return std::nullopt;
    }
    if (packed_.capacity() > kKeptBytes) {  // as much as the payload has
        packed_ = std::vector<std::byte>(packed_.begin(), packed_.end());
    }
    return packed_;
}

std::optional<Bytes> Packer::pack(std::uint32_t destination, Bytes payload) noexcept try {
    compression::CompressionHistory* const history = history_of(destination, payload.size());
    return history != nullptr ? pack(payload, *history) : std::nullopt;
} catch (const std::bad_alloc&) {
    rest();
    return std::nullopt;
}

// Of a large one, so much is looked at before all of it is copied.
bool Packer::begins_well(Bytes payload, compression::CompressionHistory& history) {
    if (payload.size() <= compression::kTrustedBytesMax) {
        return true;
    }
    const Bytes begin = payload.first(compression::kTrialBytes);
    copy_.assign(begin.begin(), begin.end());
    std::array<std::byte, compression::kTrialBytes * 9 / 10> room{};
    const bool shrinks = compressor_.compress(compression::Codec::gzip, copy_, room).has_value();
    if (!shrinks) {
        history.record(false);
    }
    return shrinks;
}

std::optional<Bytes> Packer::pack_shared(std::uint32_t destination, Bytes payload) noexcept {
    compression::CompressionHistory* history = nullptr;
    try {
        history = history_of(destination, payload.size());
        if (history == nullptr || !begins_well(payload, *history)) {
            return std::nullopt;
        }
        copy_.assign(payload.begin(), payload.end());
        const std::optional<Bytes> packed = pack(copy_, *history);
        if (copy_.capacity() > kKeptBytes) {
            std::vector<std::byte>().swap(copy_);
        }
        return packed;
    } catch (const std::bad_alloc&) {
        if (history != nullptr) {
            history->record(false);
        }
        rest();
        return std::nullopt;
    }
}

void Packer::rest() noexcept {
    for (std::vector<std::byte>* buffer : {&copy_, &packed_}) {
        if (buffer->capacity() > kKeptBytes) {
            std::vector<std::byte>().swap(*buffer);
        }
    }
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

Result<Bytes> Unpacker::unpack(const RecordHeader& header,
                               Bytes stored,
                               std::vector<std::byte>& raw) {
    if ((header.flags & kPackedPayload) == 0) {
        return stored;
    }
    auto body = compression::read_compressed_body(stored, limits::kMessageBytesMaxHighest);
    if (body && body->codec != compression::Codec::gzip) {
        body = Error{Status::bad_request, 0, "compressed body has a codec that logs do not have"};
    }
    auto done = body ? decompressor_.decompress(body->codec, body->stream, body->raw_bytes, raw)
                     : Result<void>(body.error());
    if (done) {
        return Bytes(raw);
    }
    if (done.status() == Status::out_of_memory) {
        return done.error();
    }
    return Error{Status::corrupt, 0, "its payload cannot be read: " + done.error().detail};
}

}  // namespace telpher::store

#pragma once
// Payloads of messages, compressed in their records where that pays (FORMAT.md, "Compressed payloads").
//
//   Threads  one at a time for each object.
//   Memory   the codec's streams from the first payload on (src/compression/compression.hpp), twice a payload while it is
//            tried, and up to 1 MiB each of what that left; of a larger result until rest().
//   Cost     of pack: the codec's, and a copy of what others share; next to nothing for what is not tried.

#include "telpher/limits.hpp"

#include "src/compression/compression.hpp"
#include "src/store/record.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

namespace telpher::store {

// Whether an option of that name may say so. Errors: bad_request.
Result<void> check_compress_from(std::string_view option, std::int64_t bytes);

class Packer {
  public:
    // Payloads of at least so many bytes; 0: all, -1: none.
    explicit Packer(std::int64_t from_bytes) : from_bytes_(from_bytes) {}

    // Whether payloads of that length are compressed at all. Not what no reader would make so much memory for.
    [[nodiscard]] bool wants(std::size_t bytes) const noexcept {
        return from_bytes_ >= 0 && static_cast<std::int64_t>(bytes) >= from_bytes_ &&
               bytes <= limits::kMessageBytesMaxHighest;
    }
    // What the record is to hold instead, until the next call; nothing: the payload as it is, because it does not
    // become smaller, or there is no memory to try. `payload` must not change meanwhile.
    [[nodiscard]] std::optional<Bytes> pack(std::uint32_t destination, Bytes payload) noexcept;
    // The same of bytes that others may write to meanwhile: a codec reads them more than once, and trusts itself.
    [[nodiscard]] std::optional<Bytes> pack_shared(std::uint32_t destination,
                                                   Bytes payload) noexcept;
    // Gives back what only a large payload needed; what pack() returned is gone.
    void rest() noexcept;

  private:
    // Null: it is not to be tried.
    compression::CompressionHistory* history_of(std::uint32_t destination, std::size_t bytes);
    bool begins_well(Bytes payload, compression::CompressionHistory& history);
    std::optional<Bytes> pack(Bytes payload, compression::CompressionHistory& history);

    const std::int64_t from_bytes_;
    compression::Compressor compressor_{};
    // Where messages do not shrink, ever fewer are tried. Destinations come and go: forgotten all at once when many.
    std::map<std::uint32_t, compression::CompressionHistory> histories_{};
    std::vector<std::byte> copy_{};
    std::vector<std::byte> packed_{};
};

class Unpacker {
  public:
    // What was put, of bytes that a record holds: those themselves, or others that are in `raw` then.
    //   errors  corrupt (the stream is damaged, longer than a message may be, or of another codec: says which),
    //           out_of_memory
    Result<Bytes> unpack(const RecordHeader& header, Bytes stored, std::vector<std::byte>& raw);

  private:
    compression::Decompressor decompressor_{};
};

}  // namespace telpher::store

// The frames around TLS: where a record ends, and how many a peer may send that carry nothing.
// Knows no cryptography, so that it is checked byte by byte.
#pragma once

#include "telpher/result.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace telpher::bridge {

inline constexpr std::size_t kRecordHeaderBytes = 5;
// The most plaintext in a record, and what sealing may add to it (RFC 8446, 5.1 and 5.2).
inline constexpr std::size_t kRecordBytes = 16384;
inline constexpr std::size_t kSealedBytesMax = kRecordBytes + 256;

// Cuts a stream into records. A record that came whole is handed out where it lies, without a copy.
class RecordReader {
  public:
    // The next whole record with its header, valid until the next call, or an empty span when `wire`
    // ends before it does. Takes what it used from `wire`.
    // Errors: version_mismatch (no TLS), corrupt (a header that TLS does not have).
    Result<std::span<const std::byte>> next(std::span<const std::byte>& wire);

    // Between records it keeps no memory.
    void trim() noexcept {
        if (complete_ || partial_.empty()) {
            partial_ = {};
            complete_ = false;
        }
    }

  private:
    [[nodiscard]] Result<std::size_t> length(std::span<const std::byte> bytes);

    std::vector<std::byte> partial_;  // the beginning of a record, or the last one handed out
    bool complete_ = false;           // partial_ was handed out
    bool first_ = true;               // nothing came yet
};

// How many records without use a peer may send. What is beyond ends the connection: each costs us
// a decryption, and a KeyUpdate a new key as well.
struct RecordLimits {
    std::uint32_t window_records = 1U << 16U;
    std::uint32_t key_updates_max = 16;     // in a window
    std::uint32_t empty_records_max = 32;   // in a window
    std::uint32_t tiny_records_max = 1024;  // one after the other; a frame alone is larger
    std::uint32_t tickets_max = 16;  // in all: messages other than KeyUpdate after the handshake
};

inline constexpr std::size_t kTinyBytes = 16;

class RecordBudget {
  public:
    explicit RecordBudget(const RecordLimits& limits) : limits_(limits) {}

    void key_update() noexcept { ++key_updates_; }
    void other_message() noexcept { ++tickets_; }
    // One record was opened, which gave `bytes` of plaintext and `messages` of the handshake protocol.
    // Errors: limit_reached.
    Result<void> record(std::size_t bytes, std::uint32_t messages);

  private:
    RecordLimits limits_;
    std::uint32_t records_ = 0;  // of this window
    std::uint32_t key_updates_ = 0;
    std::uint32_t empty_ = 0;
    std::uint32_t tiny_ = 0;
    std::uint32_t tickets_ = 0;
};

}  // namespace telpher::bridge

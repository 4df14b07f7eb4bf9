#include "tcp_bridge/tls_records.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

constexpr std::uint8_t kChangeCipherSpec = 20;
constexpr std::uint8_t kAlert = 21;
constexpr std::uint8_t kHandshake = 22;
constexpr std::uint8_t kApplicationData = 23;
constexpr std::uint8_t kMajorVersion = 3;

Result<void> flood(const std::string& what) {
    return Error{Status::limit_reached, 0, "the peer floods the connection with " + what};
}

}  // namespace

// The length of the record that begins with `bytes`; 0 = the header is not whole. Each byte is
// judged as soon as it is there: whoever speaks another protocol is not waited for.
Result<std::size_t> RecordReader::length(std::span<const std::byte> bytes) {
    const auto at = [bytes](std::size_t index) {
        return std::to_integer<std::uint8_t>(bytes[index]);
    };
    if (!bytes.empty()) {
        const bool opens = at(0) == kHandshake || at(0) == kAlert;
        if (first_ ? !opens : at(0) < kChangeCipherSpec || at(0) > kApplicationData) {
            return Error{
                first_ ? Status::version_mismatch : Status::corrupt,
                0,
                first_ ? "the peer does not speak TLS" : "no TLS record where one must begin"};
        }
    }
    if (bytes.size() > 1 && at(1) != kMajorVersion) {
        return Error{first_ ? Status::version_mismatch : Status::corrupt,
                     0,
                     "a record of no known version of TLS"};
    }
    if (bytes.size() < kRecordHeaderBytes) {
        return std::size_t{0};
    }
    const std::size_t size = std::size_t{at(3)} * 256 + at(4);
    if (size == 0 || size > kSealedBytesMax) {
        return Error{Status::corrupt, 0, "a TLS record of " + std::to_string(size) + " bytes"};
    }
    return kRecordHeaderBytes + size;
}

Result<std::span<const std::byte>> RecordReader::next(std::span<const std::byte>& wire) {
    if (complete_) {
        partial_.clear();
        complete_ = false;
    }
    if (partial_.empty()) {
        const auto whole = length(wire);
        if (!whole) {
            return whole.error();
        }
        if (*whole != 0 && *whole <= wire.size()) {
            const auto record = wire.first(*whole);
            wire = wire.subspan(*whole);
            first_ = false;
            return record;
        }
    }
    // Twice at most: to the end of the header, then to the end of the record.
    for (;;) {
        const auto whole = length(partial_);
        if (!whole) {
            return whole.error();
        }
        const std::size_t wanted = *whole == 0 ? kRecordHeaderBytes : *whole;
        const std::size_t taken = std::min(wanted - partial_.size(), wire.size());
        const auto piece = wire.first(taken);
        partial_.insert(partial_.end(), piece.begin(), piece.end());
        wire = wire.subspan(taken);
        if (*whole != 0 && partial_.size() == wanted) {
            complete_ = true;
            first_ = false;
            return std::span<const std::byte>(partial_);
        }
        if (taken == 0 || partial_.size() < wanted) {
            // What came of a header is judged now, not with the next bytes.
            const auto judged = length(partial_);
            if (!judged) {
                return judged.error();
            }
            return std::span<const std::byte>{};
        }
    }
}

Result<void> RecordBudget::record(std::size_t bytes, std::uint32_t messages) {
    if (records_ >= limits_.window_records) {
        records_ = 0;
        empty_ = 0;
        // Those of this record were counted before it.
        key_updates_ = std::min(key_updates_, messages);
    }
    ++records_;
    if (bytes == 0 && messages == 0) {
        ++empty_;
    }
    if (messages == 0) {
        tiny_ = bytes < kTinyBytes ? tiny_ + 1 : 0;
    }
    if (key_updates_ > limits_.key_updates_max) {
        return flood("key updates");
    }
    if (tickets_ > limits_.tickets_max) {
        return flood("session tickets");
    }
    if (empty_ > limits_.empty_records_max) {
        return flood("empty records");
    }
    return tiny_ > limits_.tiny_records_max ? flood("tiny records") : Result<void>{};
}

}  // namespace telpher::bridge

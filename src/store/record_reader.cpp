#include "src/store/record_reader.hpp"

#include <new>
#include <span>
#include <string>
#include <utility>

namespace telpher::store {

Result<RecordHeader> RecordReader::read(const Place& place, std::vector<std::byte>& payload) {
    if (file_ == nullptr || segment_ != place.segment) {
        auto file = storage_->open(segment_name(place.segment), Access::read);
        if (!file) {
            return file.error();
        }
        file_ = std::move(*file);
        segment_ = place.segment;
    }
    RecordHeader header{};
    auto got = file_->read(place.offset, std::as_writable_bytes(std::span(&header, 1)));
    if (!got) {
        return got.error();
    }
    // Its checksum holds: then its length is what was written, and bounded.
    const bool held = *got == sizeof header && header_holds(header, seed_);
    payload.resize(held ? header.payload_bytes : 0);
    auto filled = file_->read(place.offset + sizeof header, payload);
    if (!filled) {
        return filled.error();
    }
    if (!held || *filled != payload.size() || payload_sum(payload, seed_) != header.payload_sum) {
        return Error{Status::corrupt,
                     0,
                     storage_->path_of(segment_name(place.segment)) + ": the record at offset " +
                         std::to_string(place.offset) + " is damaged"};
    }
    return header;
}

Result<StoredPayload> RecordReader::stored(const Place& place) try {
    StoredPayload payload;
    auto header = read(place, payload.bytes);
    if (!header) {
        return header.error();
    }
    payload.packed = (header->flags & kPackedPayload) != 0;
    return payload;
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<std::vector<std::byte>> RecordReader::payload(const Place& place) try {
    std::vector<std::byte> bytes;
    auto header = read(place, bytes);
    if (!header) {
        return header.error();
    }
    if ((header->flags & kPackedPayload) == 0) {
        return bytes;
    }
    std::vector<std::byte> raw;
    if (auto unpacked = unpacker_.unpack(*header, bytes, raw); !unpacked) {
        Error error = unpacked.error();
        error.detail = storage_->path_of(segment_name(place.segment)) + ": offset " +
                       std::to_string(place.offset) + ", record " + std::to_string(header->lsn) +
                       ": " + error.detail;
        return error;
    }
    return raw;
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

void RecordReader::forget(std::uint64_t segment) {
    if (segment_ == segment) {
        file_.reset();
    }
}

}  // namespace telpher::store

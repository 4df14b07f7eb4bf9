#include "src/store/record_reader.hpp"

#include <new>
#include <span>
#include <string>
#include <utility>

namespace telpher::store {

Result<std::vector<std::byte>> RecordReader::payload(const Place& place) try {
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
    std::vector<std::byte> payload(held ? header.payload_bytes : 0);
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
    return payload;
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

void RecordReader::forget(std::uint64_t segment) {
    if (segment_ == segment) {
        file_.reset();
    }
}

}  // namespace telpher::store

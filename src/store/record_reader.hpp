#pragma once
// Reads single records of a log by their place.

#include "src/store/log_reader.hpp"
#include "src/store/packed_payload.hpp"
#include "src/store/record.hpp"
#include "src/store/storage.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace telpher::store {

// A payload as its record holds it.
struct StoredPayload {
    std::vector<std::byte> bytes;
    bool packed = false;  // compressed
};

class RecordReader {
  public:
    RecordReader(Storage& storage, Seed seed) : storage_(&storage), seed_(seed) {}

    // Errors: corrupt (there is no such record of this log), storage_failed, out_of_memory.
    Result<StoredPayload> stored(const Place& place);
    // What was put. Errors: as stored(), and corrupt (it cannot be decompressed).
    Result<std::vector<std::byte>> payload(const Place& place);
    // Closes the file of that segment, if it is open.
    void forget(std::uint64_t segment);

  private:
    Result<RecordHeader> read(const Place& place, std::vector<std::byte>& payload);

    Storage* storage_;
    Seed seed_;
    std::unique_ptr<File> file_;  // the segment that was read last
    std::uint64_t segment_ = 0;
    Unpacker unpacker_{};
};

}  // namespace telpher::store

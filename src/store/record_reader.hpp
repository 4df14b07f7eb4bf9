#pragma once
// Reads single records of a log by their place.

#include "src/store/log_reader.hpp"
#include "src/store/record.hpp"
#include "src/store/storage.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace telpher::store {

class RecordReader {
  public:
    RecordReader(Storage& storage, Seed seed) : storage_(&storage), seed_(seed) {}

    // The payload as it is on disk. Errors: corrupt (there is no such record of this log), storage_failed.
    Result<std::vector<std::byte>> payload(const Place& place);
    // Closes the file of that segment, if it is open.
    void forget(std::uint64_t segment);

  private:
    Storage* storage_;
    Seed seed_;
    std::unique_ptr<File> file_;  // the segment that was read last
    std::uint64_t segment_ = 0;
};

}  // namespace telpher::store

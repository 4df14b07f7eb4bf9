#pragma once
// Which entries count: one that names the record behind it as its message counts if that follows, so that a log that was
// torn between the two has neither.
//
//   Threads  one at a time.

#include "src/store/log_reader.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace telpher::store {

// What a destination keeps a value by.
using EntryKey = std::array<std::byte, 16>;

struct EntryCopy {
    std::uint32_t destination = 0;
    EntryKey key{};
    Lsn origin = 0;  // of the message that it is about; 0: of none
    std::vector<std::byte> value{};
    Place place{};
};

class HeldEntry {
  public:
    // For each record, in the order of the log: the entry that counts from here on.
    std::optional<EntryCopy> pass(const Record& record, const Place& place);

  private:
    std::optional<EntryCopy> held_;
};

}  // namespace telpher::store

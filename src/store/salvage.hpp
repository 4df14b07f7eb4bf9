#pragma once
// Saves what can be read of a damaged log.

#include "src/store/log.hpp"
#include "src/store/storage.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace telpher::store {

struct Salvaged {
    LogReport read;              // its damages: what could not be read
    std::uint64_t messages = 0;  // that are in the new log
    std::uint64_t lost = 0;      // whose record was found and whose bytes were not
    std::uint64_t entries = 0;
};

// Writes everything of the log in `from` that is readable and still needed into a new log in `to`, a folder without
// one; messages keep their order and get new numbers. What was done by a record that is lost comes back: at least once.
// Nothing in `from` is changed.
//   errors   not_permitted (one of them is in use), already_exists (there is a log in `to`), bad_request (there is none
//            in `from`), version_mismatch, mismatch (segments of several logs), storage_failed, out_of_memory
//   crash    killed in it: `from` is as it was, `to` has to be emptied
Result<Salvaged> salvage(Storage& from, Storage& to);

}  // namespace telpher::store

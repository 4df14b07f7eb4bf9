#pragma once
// Which files of a folder are the log: each segment names the one before it.

#include "src/store/record.hpp"
#include "src/store/storage.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace telpher::store {

// A segment's file, and what its header says.
struct ChainLink {
    SegmentFacts facts;  // where `why` says something only its number is known
    std::uint64_t file_bytes = 0;
    std::string why{};          // its header cannot be believed; empty: it is whole
    std::uint64_t missing = 0;  // the segment before it is not there, and older ones are; 0: it is
};

// From the segment with the highest number down, to the one that says that it was the first, or whose predecessor is
// not there. Where a header cannot be believed, the order of the numbers counts.
struct Chain {
    std::vector<ChainLink> links;  // oldest first; empty: there is no log
    std::vector<ChainLink>
        overtaken;  // passed by: what a writer made that another one overtook; sorted
};

// Changes nothing. Errors: version_mismatch, storage_failed.
Result<Chain> read_chain(Storage& storage);

// The numbers of all files that are named like a segment, sorted.
Result<std::vector<std::uint64_t>> list_segments(Storage& storage);

}  // namespace telpher::store

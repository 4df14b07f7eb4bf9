#pragma once
// The name of a destination, as its definition in a log begins: length (4 B), name, then what else the writer says of it.

#include "src/store/storage.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace telpher::store {

inline constexpr std::size_t kDefinitionNameBytesMax = 255;

// "destination ID" where the definition has no name: empty, longer than the limit or than the definition, or with
// control characters. Never an error: who lists what a log holds has to call it something.
std::string name_of_definition(Bytes definition, std::uint32_t id);

}  // namespace telpher::store

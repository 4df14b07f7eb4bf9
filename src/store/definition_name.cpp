#include "src/store/definition_name.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::store {

std::string name_of_definition(Bytes definition, std::uint32_t id) {
    std::uint32_t name_bytes = 0;
    if (definition.size() >= sizeof name_bytes) {
        std::memcpy(&name_bytes, definition.data(), sizeof name_bytes);
        const Bytes behind = definition.subspan(sizeof name_bytes);
        const bool fits = name_bytes <= behind.size() && name_bytes <= kDefinitionNameBytesMax;
        const Bytes name = behind.first(fits ? name_bytes : 0);
        const bool shown = std::none_of(name.begin(), name.end(), [](std::byte byte) {
            return byte < std::byte{0x20} || byte == std::byte{0x7F};
        });
        if (!name.empty() && shown) {
            return {reinterpret_cast<const char*>(name.data()), name.size()};
        }
    }
    return "destination " + std::to_string(id);
}

}  // namespace telpher::store

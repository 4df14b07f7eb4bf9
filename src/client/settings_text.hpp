#pragma once
// The settings of a domain as people write them.

#include "telpher/result.hpp"
#include "telpher/server.hpp"

#include "shm/settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace telpher::detail {

// Which setting, and what to put there; nothing: it is taken back.
struct SettingChange {
    shm::Setting setting{};
    std::optional<std::uint64_t> value{};
};
// Errors: bad_request, naming the settings that there are, or the field, its range and the value.
[[nodiscard]] Result<SettingChange> parse_setting(std::string_view name, std::string_view value);
// Every setting, in the order of its numbers.
[[nodiscard]] DomainSetting describe_setting(shm::Setting setting,
                                             std::optional<std::uint64_t> value);

}  // namespace telpher::detail

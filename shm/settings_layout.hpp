#pragma once
// What can be changed in a running domain: region 18. Part of shm/layout.hpp, with its contract.

#include "shm/words.hpp"

namespace telpher::shm {

// Which setting; an index into SettingsBlock::values. The numbers lie in segments: only append.
enum class Setting : std::uint8_t {
    attempts_max = 0,
    base_ms = 1,
    cap_ms = 2,
    factor = 3,  // thousandths
    jitter = 4,  // as telpher::Jitter
    budget = 5,  // per cent
    call_timeout_ms = 6,
};
inline constexpr std::uint32_t kSettings = 7;
inline constexpr std::uint32_t kSettingsRoom = 15;

// A setting is one word: 0 = not set, else bit 63 and the value. All-zero = none is set.
struct alignas(kLinePair) SettingsBlock {
    Word changes;  // since the domain began; for people
    Word values[kSettingsRoom];
};
static_assert(sizeof(SettingsBlock) == 128);
inline constexpr std::uint64_t kSettingSet = 1ULL << 63;

}  // namespace telpher::shm

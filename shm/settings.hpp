#pragma once
// The settings of a domain: numbers that change while it runs.
//
//   Lives in  region 18: a word for each setting, and nothing that joins them.
//   Threads   any number at once, of any number of processes.
//   Progress  wait-free, no system call.
//   Crash     killed in `put`: the setting has its old value or its new one; killed between the two steps,
//             `changes` is one short. Nobody waits, and nobody reads half a value.
//   Hostile   a word that is out of its range counts as not set.

#include "shm/settings_layout.hpp"

#include <cstdint>
#include <optional>

namespace telpher::shm {

// What a setting may be, and how it is written.
enum class SettingForm : std::uint8_t { count, thousandths, jitter };
struct SettingRule {
    const char* name = nullptr;
    std::uint64_t least = 0;
    std::uint64_t most = 0;
    SettingForm form = SettingForm::count;
};
// Jitter: none to decorrelated. `range` has fields of its own, which a setting does not change.
inline constexpr SettingRule kSettingRules[kSettings] = {
    {"retry.attempts_max", 1, 1000},
    {"retry.base_ms", 1, 86'400'000},
    {"retry.cap_ms", 1, 86'400'000},
    {"retry.factor", 1000, 100'000, SettingForm::thousandths},
    {"retry.jitter", 0, 3, SettingForm::jitter},
    {"retry.budget", 0, 100},
    {"call.timeout_ms", 1, 86'400'000},
};

class Settings {
  public:
    Settings() = default;
    explicit Settings(SettingsBlock* block) noexcept : block_(block) {}

    // Its value, if it is set.
    [[nodiscard]] std::optional<std::uint64_t> get(Setting setting) const noexcept {
        const auto index = static_cast<std::uint32_t>(setting);
        // relaxed: the value is all there is to it
        const std::uint64_t word = block_->values[index].load(std::memory_order_relaxed);
        if ((word & kSettingSet) == 0) [[likely]] {
            return std::nullopt;
        }
        const std::uint64_t value = word & ~kSettingSet;
        const SettingRule& rule = kSettingRules[index];
        return value >= rule.least && value <= rule.most ? std::optional(value) : std::nullopt;
    }
    // Changes it; nothing: takes it back. The value was checked.
    void put(Setting setting, std::optional<std::uint64_t> value) noexcept;
    [[nodiscard]] std::uint64_t changes() const noexcept {
        return block_->changes.load(std::memory_order_relaxed);  // relaxed: a statistic
    }
    // The word as it stands, for `verify`: whether it is one that `put` writes.
    [[nodiscard]] bool sound(std::uint32_t index) const noexcept;

  private:
    SettingsBlock* block_ = nullptr;
};

}  // namespace telpher::shm

#include "shm/settings.hpp"

#include "shm/base/step.hpp"

namespace telpher::shm {

void Settings::put(Setting setting, std::optional<std::uint64_t> value) noexcept {
    SHM_STEP("settings.value");
    block_->values[static_cast<std::uint32_t>(setting)].store(
        value ? kSettingSet | *value : 0,
        std::memory_order_relaxed);  // relaxed: the value is all there is to it
    SHM_STEP("settings.changes");
    block_->changes.fetch_add(1, std::memory_order_relaxed);  // relaxed: a statistic
}

bool Settings::sound(std::uint32_t index) const noexcept {
    // relaxed: as in `get`
    return block_->values[index].load(std::memory_order_relaxed) == 0 ||
           get(static_cast<Setting>(index)).has_value();
}

}  // namespace telpher::shm

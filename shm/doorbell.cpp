#include "shm/doorbell.hpp"

namespace telpher::shm {

void wake_all(WaiterMap& map, std::span<ThreadRecord> threads) noexcept {
    for (std::uint32_t w = 0; w < kThreadsMax / 64; ++w) {
        SHM_STEP("wake_all.word");
        // W9: pairs with W1. The bits stay: their owners take them away when they leave.
        std::uint64_t bits = map.words[w].load(std::memory_order_seq_cst);
        while (bits != 0) {
            const std::uint32_t thread =
                w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
            if (thread < threads.size()) {  // a bit that no thread of this domain has set: damage
                ring_doorbell(threads[thread]);
            }
            bits &= bits - 1;
        }
    }
}

void repair_summary(WaiterMap& map) noexcept {
    for (std::uint32_t w = 0; w < kThreadsMax / 64; ++w) {
        SHM_STEP("repair.word");
        // W10: pairs with W1. A bit whose owner died before it set the summary.
        if (map.words[w].load(std::memory_order_seq_cst) != 0) {
            SHM_STEP("repair.summary");
            // W11: pairs with W3. A spurious summary bit costs one look.
            map.summary.fetch_or(1ULL << w, std::memory_order_seq_cst);
        }
    }
}

}  // namespace telpher::shm

#include "shm/doorbell.hpp"

namespace telpher::shm {

// Killed in it: as in `wake`, for the one whose bit was taken and who was not rung, and for those of one
// word whose summary bit was taken away.
void wake_each(WaiterMap& map, std::span<ThreadRecord> threads) noexcept {
    SHM_STEP("wake_each.summary");
    // W3: pairs with W1 and W2.
    std::uint64_t groups = map.summary.load(std::memory_order_seq_cst);
    for (; groups != 0; groups &= groups - 1) {
        const auto w = static_cast<std::uint32_t>(std::countr_zero(groups));
        SHM_STEP("wake_each.clear_summary");
        // W6: pairs with W2. Cleared before the word is read: a bit set after our read sets it again.
        map.summary.fetch_and(~(1ULL << w), std::memory_order_seq_cst);
        SHM_STEP("wake_each.read_word");
        // W7: pairs with W1. Reads the word after the summary bit was taken away.
        std::uint64_t bits = map.words[w].load(std::memory_order_seq_cst);
        for (; bits != 0; bits &= bits - 1) {
            const auto b = static_cast<std::uint32_t>(std::countr_zero(bits));
            SHM_STEP("wake_each.take_bit");
            // W4: pairs with W5. Whoever clears the bit rings the thread.
            const std::uint64_t old =
                map.words[w].fetch_and(~(1ULL << b), std::memory_order_seq_cst);
            const std::uint32_t thread = w * 64 + b;
            // A bit that no thread of this domain has set is damage.
            if ((old >> b & 1U) != 0 && thread < threads.size()) {
                ring_doorbell(threads[thread]);
            }
        }
    }
}

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

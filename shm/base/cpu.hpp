#pragma once
// What the portable language has no word for: a pause, prefetch for writing, the 16-byte
// compare-and-swap.

#include "shm/layout.hpp"

#include <cstdint>

namespace telpher::shm {

// Tells the core that this is a spin loop.
inline void cpu_pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

// Asks for the line in exclusive state, so that the locked operation to come does not wait for it
// while the store buffer drains. No semantics: any address inside the mapping is allowed.
inline void prefetch_for_write(const void* address) noexcept { __builtin_prefetch(address, 1, 3); }

// Replaces (pos, ref) by (new_pos, new_ref) if both still hold. Sequentially consistent on success.
// gcc 12 sends std::atomic<16 bytes> to a library with hidden locks; this builtin is one
// cmpxchg16b. The result says nothing about which half differed: the caller reads both again.
inline bool compare_exchange_slot(Slot& slot,
                                  std::uint64_t pos,
                                  std::uint64_t ref,
                                  std::uint64_t new_pos,
                                  std::uint64_t new_ref) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide expected = (static_cast<Wide>(ref) << 64) | pos;
    const Wide desired = (static_cast<Wide>(new_ref) << 64) | new_pos;
    return __sync_bool_compare_and_swap(reinterpret_cast<Wide*>(&slot), expected, desired);
}

}  // namespace telpher::shm

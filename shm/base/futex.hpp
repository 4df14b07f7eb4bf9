#pragma once
// The futex of the kernel, shared between processes. std::atomic::wait of libstdc++ 12 uses private
// futexes, which never wake another process.

#include <atomic>
#include <chrono>
#include <cstdint>

namespace telpher::shm {

// Sleeps while `word` holds `seen`, at most `timeout` (monotonic). Returns at once if it holds
// something else. May return early for no reason: the caller looks again.
void futex_wait(std::atomic<std::uint32_t>& word,
                std::uint32_t seen,
                std::chrono::nanoseconds timeout) noexcept;

// Wakes at most `count` sleepers and returns how many there were.
int futex_wake(std::atomic<std::uint32_t>& word, int count) noexcept;

}  // namespace telpher::shm

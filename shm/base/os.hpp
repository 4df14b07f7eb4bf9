#pragma once
// Facts about this process and machine that the segment records or compares.

#include "telpher/result.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace telpher::shm {

using Uuid = std::array<std::uint8_t, 16>;

// Fills `out` from the kernel's random source. Errors: server_error (no source).
Result<void> fill_random(void* out, std::size_t size_bytes);
Result<Uuid> random_uuid();
std::string to_string(const Uuid& uuid);
// /proc/sys/kernel/random/boot_id, zeros if it cannot be read.
Uuid boot_id();
// Inode of this process' pid namespace, 0 if unknown.
std::uint64_t pid_namespace();
// Field 22 of /proc/PID/stat (ticks since boot), 0 if the process does not exist.
std::uint64_t process_start_time(std::uint32_t pid);
// "what: strerror" for an errno value; thread-safe.
std::string errno_text(const char* what, int error);

// Counts forks: the value differs between a process and its child, in which every handle is dead.
extern std::atomic<std::uint32_t> g_fork_count;
inline std::uint32_t fork_count() noexcept {
    // relaxed: changes only in a fork's child, before it has a second thread
    return g_fork_count.load(std::memory_order_relaxed);
}
// From now on; once is enough.
void count_forks();
// The same, and `in_child` runs in the child. Called once by the first attachment.
void watch_forks(void (*in_child)());

// An OFD byte lock on `descriptor`: owned by the open file description, so it ends with the process
// (all of its threads) whatever other descriptors of the file it closes. Never waits.
enum class LockResult { locked, busy, failed };
LockResult try_lock_byte(int descriptor, std::uint64_t offset) noexcept;
// The same beside others that share it.
LockResult try_share_byte(int descriptor, std::uint64_t offset) noexcept;
void unlock_byte(int descriptor, std::uint64_t offset) noexcept;
// Whether another open file description holds the byte. `failed` counts as held: never a false
// death.
bool byte_is_locked(int descriptor, std::uint64_t offset) noexcept;

}  // namespace telpher::shm

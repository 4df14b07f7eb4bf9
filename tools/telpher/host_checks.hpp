// What a machine must have for telpher, and what it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace telpher::cli {

// What a look at the machine found. Texts are empty, and numbers 0, where it could not be told.
struct HostFacts {
    struct Shm {
        bool there = false;
        bool tmpfs = false;
        bool writable = false;  // a file can be made by this user
        std::uint64_t bytes = 0;
        std::uint64_t free_bytes = 0;
    } shm{};
    unsigned processors = 0;  // that this process may run on
    bool cmpxchg16b = false;
    bool pidfd = false;                // pidfd_open works
    bool ofd_locks = false;            // fcntl(F_OFD_SETLK) works there
    bool proc = false;                 // /proc shows this process
    std::string pid_namespace{};       // "4026531836"
    std::uint64_t descriptors = 0;     // limit of this process; ~0: none
    std::uint64_t address_bytes = 0;   // of address space; ~0: no limit
    std::string clock_source{};        // "tsc"
    std::uint64_t coarse_tick_ns = 0;  // of CLOCK_MONOTONIC_COARSE
    std::int64_t wall_s = 0;           // since 1970
    std::vector<std::string> domains{};
    std::vector<std::string> stale{};  // files that `telpher gc` would remove
    std::string domains_error{};       // why they cannot be listed
    std::string openssl{};             // its version
    bool tls13 = false;
    std::string identity{};        // the pin of this user's key
    std::string identity_error{};  // why it cannot be used, unless there is none
};

// A warning: it works, with a restriction. A failure: something does not work.
enum class Health : std::uint8_t { ok, warning, failure };

struct HostCheck {
    std::string name;
    Health health = Health::ok;
    std::string found;
    std::string fix{};  // what to do; empty: nothing
};

// A domain with default limits takes this much of /dev/shm, and may grow to that.
inline constexpr std::uint64_t kDomainBytes = std::uint64_t{50} << 20U;
inline constexpr std::uint64_t kRoomyBytes = std::uint64_t{256} << 20U;

[[nodiscard]] HostFacts look_at_host();
[[nodiscard]] std::vector<HostCheck> judge(const HostFacts& facts);

}  // namespace telpher::cli

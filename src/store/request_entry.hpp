#pragma once
// The entry that says in a domain's log that a request was accepted.

#include "shm/base/clock.hpp"
#include "shm/idempotency.hpp"
#include "src/store/record.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace telpher::store {

struct RequestEntry {
    static constexpr std::size_t kBytes = sizeof(shm::Hash128) + sizeof(RememberedRequest);

    std::uint32_t destination = 0;
    Lsn origin = 0;
    std::array<std::byte, kBytes> payload{};

    // Points into this.
    [[nodiscard]] NewRecord record() const& {
        return {.kind = RecordKind::entry,
                .destination = destination,
                .origin = origin,
                .payload = payload};
    }
};

// Remembered from now on. `origin`: of its message.
inline RequestEntry entry_of(const shm::IdempotencyStore::Begun& begun,
                             std::uint32_t destination,
                             Lsn origin) {
    constexpr std::uint64_t kNsInMs = 1'000'000;
    const std::uint64_t now_ms = shm::wall_coarse_ns() / kNsInMs;
    const RememberedRequest request{.print = {begun.print.low, begun.print.high},
                                    .made_wall_ms = now_ms,
                                    .expires_wall_ms = now_ms + begun.ttl_ns / kNsInMs + 1};
    RequestEntry entry{.destination = destination, .origin = origin};
    std::memcpy(entry.payload.data(), &begun.key, sizeof begun.key);
    std::memcpy(entry.payload.data() + sizeof begun.key, &request, sizeof request);
    return entry;
}

}  // namespace telpher::store

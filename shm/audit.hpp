#pragma once
// Checks every invariant of a live segment (shared-memory rules 1 to 5 of ARCHITECTURE.md).
//
//   Threads   any; reads only. On a busy domain what seems wrong is looked at again after a pause,
//             and reported only if the same word still says the same.
//   Cost      one look at every chunk and every slot: milliseconds.

#include "shm/attachment.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace telpher::shm {

struct Audit {
    std::vector<std::string> problems;
    std::uint64_t chunks = 0;
    std::uint64_t free = 0;
    std::uint64_t owned = 0;
    std::uint64_t offered = 0;
    std::uint64_t claimed = 0;
    std::uint64_t retired = 0;
    std::uint64_t parked = 0;  // or on their way to the dead letters
    std::uint64_t lingering = 0;
    std::uint64_t kept = 0;         // responses that the idempotency store keeps
    std::uint64_t ended_calls = 0;  // answered, failed or orphaned, and not given back yet
    std::uint32_t queues = 0;
    std::uint32_t processes = 0;
};

Audit audit(Attachment& attachment);
// The part of the idempotency store: one record for each key, at a place of its own, at work for a live process.
void audit_idempotency(Attachment& attachment, std::vector<std::string>& problems);

}  // namespace telpher::shm

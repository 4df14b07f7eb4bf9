#pragma once
// What a chunk that carries a call holds between its header and its message.

#include "shm/layout.hpp"

#include <cstddef>
#include <cstdint>

namespace telpher::shm {

// Behind the header of a chunk that carries a call: a request, or a response that did not fit into
// its request's chunk. Written by the caller before the request is OFFERED, then by who has it CLAIMED.
struct CallBlock {
    Word client;     // identity of the caller's process
    Word thread;     // thread record whose doorbell the answer rings:32 | flags:32
    Word deadline;   // coarse monotonic clock, ns; work is not started after it; ~0 = none
    Word reply;      // reference of the chunk that holds the response; kNoRef: this one does
    Word outcome;    // 0: ok, and a message is there; else make_outcome
    Word error_id;   // names the server's account of what went wrong
    Word principal;  // whose call it is: a user, or a number of a remote client's name
    Word origin;     // a number of the remote client's session; 0 = of the caller's process itself
};
static_assert(sizeof(CallBlock) == 64, "payloads keep their alignment to the chunk's lines");
// An answer without a message: status:8 | 0 or 1 + Outcome, where the status leaves that open:8. The status
// `duplicate` of kCallDeferred: a request of the same id is running; its caller sends it again, later.
constexpr std::uint64_t make_outcome(std::uint8_t status, std::uint8_t effect) {
    return static_cast<std::uint64_t>(effect) << 8U | status;
}
inline constexpr std::uint64_t kCallDeferred = 1ULL << 16U;
// The status `overloaded` with how long its caller is to wait, in ms:32, in the high half.
constexpr std::uint64_t make_overloaded(std::uint8_t status, std::uint32_t after_ms) {
    return static_cast<std::uint64_t>(after_ms) << 32U | status;
}
constexpr std::uint32_t outcome_after_ms(std::uint64_t outcome) {
    return static_cast<std::uint32_t>(outcome >> 32U);
}
inline constexpr std::uint32_t kCallOneway = 1;  // nobody waits for an answer
inline constexpr std::size_t kCallMessageOffset = kMessageOffset + sizeof(CallBlock);
constexpr std::uint64_t make_call_thread(std::uint32_t thread, std::uint32_t flags) {
    return (static_cast<std::uint64_t>(flags) << 32) | thread;
}
constexpr std::uint32_t call_thread(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
constexpr std::uint32_t call_flags(std::uint64_t word) {
    return static_cast<std::uint32_t>(word >> 32);
}

// Of a chunk whose word says that it is OFFERED or later, of a function. Nobody waits for its answer.
inline bool is_oneway(const ChunkHeader& header) noexcept {
    const auto& block = *reinterpret_cast<const CallBlock*>(
        reinterpret_cast<const std::byte*>(&header) + kMessageOffset);
    // relaxed: written before OFFERED, which the caller has seen
    return (call_flags(block.thread.load(std::memory_order_relaxed)) & kCallOneway) != 0;
}

}  // namespace telpher::shm

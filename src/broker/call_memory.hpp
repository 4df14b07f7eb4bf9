#pragma once
// Where the memory of a request or response comes from.

#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include "shm/attachment.hpp"
#include "shm/call_layout.hpp"

#include <algorithm>

namespace telpher::detail {

// Takes a chunk that holds a call's message of `message_bytes`: a free one, one from the dead, or more
// memory for the domain; then waits for it as long as `left()` says. Errors: message_too_large,
// out_of_memory, domain_removed.
Result<std::uint32_t> take_call_chunk_slowly(shm::Attachment& attachment,
                                             shm::ThreadContext& context,
                                             std::size_t message_bytes,
                                             std::uint64_t deadline_ns);

// The same when one is free, else kNoChunk.
inline std::uint32_t take_call_chunk(shm::Attachment& attachment,
                                     shm::ThreadContext& context,
                                     std::size_t message_bytes) noexcept {
    shm::ChunkPool& pool = attachment.pool();
    const std::size_t most =
        std::min(attachment.segment().message_bytes_max(), pool.small_bytes_max());
    if (message_bytes + sizeof(shm::CallBlock) > most) {
        return shm::kNoChunk;
    }
    return pool.allocate(
        pool.class_for(message_bytes + shm::kCallMessageOffset), attachment.slot(), context.cursor);
}

}  // namespace telpher::detail

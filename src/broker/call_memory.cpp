#include "src/broker/call_memory.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/futex.hpp"

namespace telpher::detail {
namespace {

constexpr Duration kGrowPatience = std::chrono::milliseconds(50);
constexpr int kGrowRounds = 8;  // others may take what we add
constexpr Duration kMemoryLook = std::chrono::milliseconds(1);

std::uint32_t try_take(shm::Attachment& attachment,
                       shm::ThreadContext& context,
                       std::size_t chunk_bytes,
                       shm::ChunkPool::Waste waste) {
    shm::ChunkPool& pool = attachment.pool();
    const std::uint32_t k = pool.class_for(chunk_bytes);
    const std::uint32_t chunk = k < pool.first_classes()
                                    ? pool.allocate(k, attachment.slot(), context.cursor)
                                    : shm::kNoChunk;
    return chunk != shm::kNoChunk
               ? chunk
               : pool.allocate_large(chunk_bytes, attachment.slot(), context.cursor, waste);
}

}  // namespace

Result<std::uint32_t> take_call_chunk_slowly(shm::Attachment& attachment,
                                             shm::ThreadContext& context,
                                             std::size_t message_bytes,
                                             std::uint64_t deadline_ns) {
    using Waste = shm::ChunkPool::Waste;
    const std::size_t bytes_max = attachment.segment().message_bytes_max();
    if (message_bytes > bytes_max) {
        return Error{Status::message_too_large,
                     0,
                     "the message has " + std::to_string(message_bytes) +
                         " bytes with its header, limits.message_bytes is " +
                         std::to_string(bytes_max)};
    }
    const std::size_t chunk_bytes = message_bytes + shm::kCallMessageOffset;
    std::uint32_t chunk = try_take(attachment, context, chunk_bytes, Waste::at_most_half);
    if (chunk != shm::kNoChunk) {
        return chunk;
    }
    attachment.check_deaths();
    static_cast<void>(attachment.pool().learn());
    Result<void> grown;
    for (int round = 0; round < kGrowRounds && grown; ++round) {
        const std::uint32_t classes = attachment.pool().class_count();
        chunk = try_take(attachment, context, chunk_bytes, Waste::at_most_half);
        if (chunk != shm::kNoChunk) {
            return chunk;
        }
        grown = attachment.grow(chunk_bytes, classes, kGrowPatience);
    }
    if (grown.status() == Status::domain_removed) {
        return grown.error();
    }
    // Others give back what they hold, sooner or later; as long as we may wait.
    for (;;) {
        chunk = try_take(attachment, context, chunk_bytes, Waste::any);
        if (chunk != shm::kNoChunk) {
            return chunk;
        }
        if (const Status status = attachment.usable(); status != Status::ok) {
            return status;
        }
        if (shm::monotonic_ns() >= deadline_ns) {
            return Error{Status::out_of_memory,
                         grown.error().os_error,
                         "no free chunk of " + std::to_string(chunk_bytes) +
                             " bytes: messages hold all of limits.pool_bytes, and " +
                             grown.error().detail};
        }
        // A sleep on a doorbell that others may ring for other reasons: then we only look sooner.
        // D2: pairs with shm/doorbell.hpp:D1.
        const std::uint32_t seen = context.record->doorbell.load(std::memory_order_acquire);
        shm::futex_wait(context.record->doorbell, seen, kMemoryLook);
    }
}

}  // namespace telpher::detail

#include "shm/chunk_pool.hpp"

#include <algorithm>

namespace telpher::shm {

ChunkPool::ChunkPool(std::byte* base,
                     std::span<const ChunkClass> classes,
                     std::atomic<std::uint8_t>* slab_hints)
    : base_(base),
      slab_hints_(slab_hints),
      class_count_(static_cast<std::uint32_t>(classes.size())) {
    std::copy(classes.begin(), classes.end(), classes_);
    if (class_count_ != 0) {
        chunk_count_ =
            classes_[class_count_ - 1].first_chunk + classes_[class_count_ - 1].chunk_count;
    }
}

std::uint32_t ChunkPool::class_for(std::size_t chunk_bytes) const noexcept {
    std::uint32_t k = 0;
    while (k < class_count_ && classes_[k].chunk_bytes < chunk_bytes) {
        ++k;
    }
    return k;
}

void ChunkPool::start(PoolCursor& cursor, std::uint32_t thread) const noexcept {
    for (std::uint32_t k = 0; k < class_count_; ++k) {
        const std::uint32_t windows = std::max(1U, classes_[k].chunk_count / kWindowChunks);
        cursor.start[k] = (thread % windows) * kWindowChunks;
        cursor.next[k] = cursor.start[k];
        cursor.hot_count[k] = 0;
        cursor.used_up[k] = 0;
    }
}

void ChunkPool::flush(PoolCursor& cursor) noexcept {
    for (std::uint32_t k = 0; k < class_count_; ++k) {
        while (cursor.hot_count[k] != 0) {
            free_now(cursor.hot[k][--cursor.hot_count[k]]);
        }
    }
}

// The chunk under the cursor is taken: look at all slabs of the class by their hints, beginning
// with the one around the cursor, then at those of the larger classes; then, once, at every word
// whatever the hints say.
std::uint32_t ChunkPool::allocate_in_class(std::uint32_t k,
                                           std::uint32_t me,
                                           PoolCursor& cursor) noexcept {
    for (std::uint32_t larger = k; larger < class_count_; ++larger) {
        if (cursor.hot_count[larger] != 0) {
            return cursor.hot[larger][--cursor.hot_count[larger]];
        }
        // A class that was used up is left alone for a while: its hints alone are thousands.
        if (cursor.used_up[larger] != 0) {
            --cursor.used_up[larger];
            continue;
        }
        const std::uint32_t chunk = search_slabs(larger, me, cursor, true);
        if (chunk != kNoChunk) {
            return chunk;
        }
        cursor.used_up[larger] = kUsedUpRounds;
    }
    for (std::uint32_t larger = k; larger < class_count_; ++larger) {
        const std::uint32_t chunk = search_slabs(larger, me, cursor, false);
        if (chunk != kNoChunk) {
            cursor.used_up[larger] = 0;
            return chunk;
        }
    }
    return kNoChunk;
}

std::uint32_t ChunkPool::search_slab(std::uint32_t first,
                                     std::uint32_t end,
                                     std::uint32_t me) noexcept {
    for (std::uint32_t chunk = first; chunk < end; ++chunk) {
        if (take(chunk, me)) {
            return chunk;
        }
    }
    return kNoChunk;
}

std::uint32_t ChunkPool::search_slabs(std::uint32_t k,
                                      std::uint32_t me,
                                      PoolCursor& cursor,
                                      bool trust_hints) noexcept {
    const ChunkClass& c = classes_[k];
    const std::uint32_t slabs = (c.chunk_count + kSlabChunks - 1) / kSlabChunks;
    const std::uint32_t from = cursor.next[k] / kSlabChunks;
    for (std::uint32_t i = 0; i < slabs; ++i) {
        const std::uint32_t slab = (from + i) % slabs;
        const std::uint32_t first = c.first_chunk + slab * kSlabChunks;
        const std::uint32_t end = std::min(first + kSlabChunks, c.first_chunk + c.chunk_count);
        std::atomic<std::uint8_t>& hint = slab_hints_[first / kSlabChunks];
        SHM_STEP("pool.search.hint");
        // relaxed: a hint; the words decide, and the second round does not look at it
        if (trust_hints && hint.load(std::memory_order_relaxed) == 0) {
            continue;
        }
        std::uint32_t chunk = search_slab(first, end, me);
        if (chunk == kNoChunk) {
            SHM_STEP("pool.search.clear");
            hint.store(0, std::memory_order_relaxed);  // relaxed: a hint; one more look covers
                                                       // a free beside it
            chunk = search_slab(first, end, me);
            if (chunk == kNoChunk) {
                continue;
            }
            SHM_STEP("pool.search.restore");
            hint.store(1, std::memory_order_relaxed);  // relaxed: a hint
        }
        const std::uint32_t relative = chunk - c.first_chunk;
        cursor.start[k] = relative / kWindowChunks * kWindowChunks;
        cursor.next[k] = relative + 1 == c.chunk_count ? cursor.start[k] : relative + 1;
        if (cursor.next[k] - cursor.start[k] >= kWindowChunks) {
            cursor.next[k] = cursor.start[k];
        }
        return chunk;
    }
    return kNoChunk;
}

}  // namespace telpher::shm

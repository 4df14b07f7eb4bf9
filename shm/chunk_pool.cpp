#include "shm/chunk_pool.hpp"

#include <algorithm>

namespace telpher::shm {

ChunkPool::ChunkPool(std::byte* base,
                     std::span<const ChunkClass> classes,
                     std::atomic<std::uint8_t>* slab_hints,
                     DataSegments* data)
    : base_(base),
      data_(data),
      class_count_(static_cast<std::uint32_t>(classes.size())),
      first_classes_(class_count_) {
    std::copy(classes.begin(), classes.end(), classes_);
    for (std::uint32_t k = 0; k < class_count_; ++k) {
        hints_[k] = slab_hints + classes_[k].first_chunk / kSlabChunks;
        chunk_count_ = classes_[k].first_chunk + classes_[k].chunk_count;
    }
    first_chunks_ = chunk_count_;
}

Status ChunkPool::learn() noexcept {
    if (data_ == nullptr) {
        return Status::ok;
    }
    const Status status = data_->reach();
    const std::lock_guard hold(data_->mutex());
    for (; data_seen_ < data_->count(); ++data_seen_) {
        const DataSegment& segment = data_->at(data_seen_);
        if (segment.kind != static_cast<std::uint32_t>(DataKind::chunks)) {
            continue;
        }
        const std::uint32_t k = class_count();
        if (segment.first_chunk < chunk_count()) {
            return Status::corrupt;  // numbers of another segment
        }
        classes_[k] = {
            segment.chunk_bytes, segment.chunk_count, segment.first_chunk, 0, segment.content};
        hints_[k] = data_->hints(data_seen_);
        // N2: pairs with N1.
        grown(class_count_).store(k + 1, std::memory_order_release);
        grown(chunk_count_)
            .store(segment.first_chunk + segment.chunk_count,
                   std::memory_order_release);  // N2: as above
    }
    return status;
}

Status ChunkPool::reach(std::uint32_t chunk) noexcept {
    if (valid(chunk)) [[likely]] {
        return Status::ok;
    }
    const Status status = learn();
    if (valid(chunk)) {
        return Status::ok;
    }
    return status == Status::ok ? Status::corrupt : status;
}

std::uint32_t ChunkPool::class_for(std::size_t chunk_bytes) const noexcept {
    std::uint32_t k = 0;
    while (k < first_classes_ && classes_[k].chunk_bytes < chunk_bytes) {
        ++k;
    }
    return k;
}

void ChunkPool::start(PoolCursor& cursor, std::uint32_t thread) const noexcept {
    cursor = {};
    for (std::uint32_t k = 0; k < first_classes_; ++k) {
        const std::uint32_t windows = std::max(1U, classes_[k].chunk_count / kWindowChunks);
        cursor.start[k] = (thread % windows) * kWindowChunks;
        cursor.next[k] = cursor.start[k];
    }
}

void ChunkPool::flush(PoolCursor& cursor) noexcept {
    const std::uint32_t count = class_count();
    for (std::uint32_t k = 0; k < count; ++k) {
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
    return search_classes(
        classes_[k].chunk_bytes, classes_[first_classes_ - 1].chunk_bytes, me, cursor);
}

std::uint32_t ChunkPool::allocate_large(std::size_t chunk_bytes,
                                        std::uint32_t me,
                                        PoolCursor& cursor,
                                        Waste waste) noexcept {
    const std::uint64_t most = waste == Waste::any ? ~0ULL : 2 * chunk_bytes;
    const std::uint32_t last = cursor.last_large;
    if (last != kNoChunk) {
        const std::uint32_t bytes = class_of(last).chunk_bytes;
        if (bytes >= chunk_bytes && bytes <= most && take(last, me)) {
            return last;
        }
    }
    return search_classes(chunk_bytes, most, me, cursor);
}

std::uint32_t ChunkPool::search_classes(std::uint64_t least,
                                        std::uint64_t most,
                                        std::uint32_t me,
                                        PoolCursor& cursor) noexcept {
    const std::uint32_t count = class_count();
    const auto fits = [this, least, most](std::uint32_t k) {
        return classes_[k].chunk_bytes >= least && classes_[k].chunk_bytes <= most;
    };
    // Where many are taken and none is given back, the next one is there: no look at the slabs of all classes that are
    // used up. Of that size alone: larger ones are taken while there is none.
    if (cursor.searched < count && classes_[cursor.searched].chunk_bytes == least) {
        const std::uint32_t chunk = take_next(cursor.searched, me, cursor);
        if (chunk != kNoChunk) {
            return chunk;
        }
    }
    for (std::uint32_t k = 0; k < count; ++k) {
        if (!fits(k)) {
            continue;
        }
        if (cursor.hot_count[k] != 0) {
            return cursor.hot[k][--cursor.hot_count[k]];
        }
        // A class that was used up is left alone for a while: its hints alone are thousands.
        if (cursor.used_up[k] != 0) {
            --cursor.used_up[k];
            continue;
        }
        const std::uint32_t chunk = search_slabs(k, me, cursor, true);
        if (chunk != kNoChunk) {
            cursor.searched = k;
            return chunk;
        }
        cursor.used_up[k] = kUsedUpRounds;
    }
    for (std::uint32_t k = 0; k < count; ++k) {
        const std::uint32_t chunk = fits(k) ? search_slabs(k, me, cursor, false) : kNoChunk;
        if (chunk != kNoChunk) {
            cursor.used_up[k] = 0;
            cursor.searched = k;
            return chunk;
        }
    }
    return kNoChunk;
}

void ChunkPool::move_on(PoolCursor& cursor,
                        std::uint32_t k,
                        std::uint32_t taken,
                        std::uint32_t count) noexcept {
    cursor.start[k] = taken / kWindowChunks * kWindowChunks;
    cursor.next[k] = taken + 1 == count ? cursor.start[k] : taken + 1;
    if (cursor.next[k] - cursor.start[k] >= kWindowChunks) {
        cursor.next[k] = cursor.start[k];
    }
}

std::uint32_t ChunkPool::take_next(std::uint32_t k, std::uint32_t me, PoolCursor& cursor) noexcept {
    if (cursor.hot_count[k] != 0) {
        return cursor.hot[k][--cursor.hot_count[k]];
    }
    const ChunkClass& c = classes_[k];
    const std::uint32_t next = cursor.next[k];
    if (next >= c.chunk_count || !take(c.first_chunk + next, me)) {
        return kNoChunk;
    }
    move_on(cursor, k, next, c.chunk_count);
    return c.first_chunk + next;
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
        std::atomic<std::uint8_t>& hint = hint_of(first);
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
        move_on(cursor, k, chunk - c.first_chunk, c.chunk_count);
        return chunk;
    }
    return kNoChunk;
}

}  // namespace telpher::shm

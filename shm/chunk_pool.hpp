#pragma once
// The chunks of a segment: fixed-size pieces of memory in classes of one size each.
//
//   Shape      class k = chunk_count chunks of chunk_bytes, numbered through all classes; 64
//              neighbours (the last ones of a class may be fewer) are a slab. The chunk's first
//              word (state, owner, generation) is the only truth. The first classes are the first
//              segment's, of growing size; each data segment of chunks (data_segments.hpp) adds one
//              of any size.
//   Lives in   shared memory. All-zero bytes are a valid pool in which everything is free.
//   Threads    any number; each thread passes its own PoolCursor. A class, once there, stays.
//   Progress   lock-free; allocation looks at every chunk of a class at most once before it gives
//              up.
//   Crash      killed before the CAS of `allocate`: nothing happened. After it: the word says
//              OWNED by the dead, and the reaper frees it. `release` is one store: before it the reaper
//              frees the chunk, after it the chunk is free. A slab hint may be wrong either way (a
//              kill between FREE and the hint leaves it 0): the last look of a failing allocation
//              ignores hints.
//   Checked by tests/model/pool.pml, tests/crash/, and each memory order by
//              tests/tools/memory_orders_test.py, but for this one:
//   N1         not seen by TSan: nothing grows in its driver; tests/unit/queue/large_message_test.cpp
//              grows between threads under TSan
//
// Anyone may take a free chunk anywhere; threads merely prefer windows of their own, so that the
// words they compare-and-swap are not fought over. There is no free list that a kill could tear.

#include "telpher/status.hpp"

#include "shm/base/cpu.hpp"
#include "shm/base/step.hpp"
#include "shm/data_segments.hpp"
#include "shm/layout.hpp"

#include <cstdint>
#include <span>

namespace telpher::shm {

inline constexpr std::uint32_t kNoChunk = ~0U;
inline constexpr std::uint32_t kHotChunks = 4;  // per class and thread, reused last in first out
inline constexpr std::uint32_t kHotChunkBytesMax = 4224;     // of larger ones, one is kept
inline constexpr std::uint32_t kHotLargeChunkBytes = 65664;  // beyond it, none
inline constexpr std::uint32_t kWindowChunks =
    2048;  // in rotation per thread: 256 KiB of 128-byte chunks

// How many allocations pass a class by that had nothing left, before they look at it again.
inline constexpr std::uint32_t kUsedUpRounds = 64;

// A thread's place in the pool. Private memory; one thread at a time.
struct PoolCursor {
    std::uint32_t next[kPoolClassesMax] = {};   // chunk to look at first, relative to the class
    std::uint32_t start[kPoolClassesMax] = {};  // window being walked
    std::uint32_t used_up[kPoolClassesMax] =
        {};  // failing looks to skip at a class that was used up
    std::uint32_t hot_count[kPoolClassesMax] = {};
    std::uint32_t hot[kPoolClassesMax][kHotChunks] = {};  // OWNED by this process, ready for reuse
    std::uint32_t last_large = kNoChunk;  // the large chunk given back last, probably still free
    std::uint32_t searched = 0;           // the class in which a search found one last
};

class LogTable;

class ChunkPool {
  public:
    ChunkPool() = default;
    // `classes` is copied and must have been validated (Segment does): every offset and count in
    // bounds. `data`: where more classes may come from, or null.
    ChunkPool(std::byte* base,
              std::span<const ChunkClass> classes,
              std::atomic<std::uint8_t>* slab_hints,
              DataSegments* data = nullptr);

    // Takes over the chunks that the domain grew by since. ok, or why some cannot be reached:
    // out_of_memory, corrupt, domain_removed.
    [[nodiscard]] Status learn() noexcept;
    // Whether chunk `chunk` is there, perhaps since a moment ago: ok, out_of_memory (its data
    // segment cannot be mapped here), domain_removed, corrupt (there is no such chunk).
    [[nodiscard]] Status reach(std::uint32_t chunk) noexcept;

    // The smallest class of the first segment whose chunks hold `chunk_bytes`, or
    // first_classes() if none does: then it is a large one.
    [[nodiscard]] std::uint32_t class_for(std::size_t chunk_bytes) const noexcept;
    // Takes a chunk of class `k` (of the first segment) for process `me`, or of a larger class when
    // that one is used up. kNoChunk when every chunk that would do is in use.
    [[nodiscard]] std::uint32_t allocate(std::uint32_t k,
                                         std::uint32_t me,
                                         PoolCursor& cursor) noexcept;
    // Takes a chunk of `chunk_bytes` up to twice as many, or of any larger size (`most`). kNoChunk
    // when all are in use. Looks at each chunk of these sizes: a large chunk is a long way from the
    // next one, but there are few.
    enum class Waste { at_most_half, any };
    [[nodiscard]] std::uint32_t allocate_large(std::size_t chunk_bytes,
                                               std::uint32_t me,
                                               PoolCursor& cursor,
                                               Waste waste) noexcept;
    // Gives back a chunk that `me` holds (OWNED or CLAIMED). It may stay in the cursor's hot stack.
    void release(std::uint32_t chunk, std::uint32_t me, PoolCursor& cursor) noexcept;
    // Gives back a chunk without keeping it.
    void free_now(std::uint32_t chunk) noexcept;
    // Raises the hint of a chunk that became free (by `free_now`, or by the reaper's CAS).
    void mark_free(std::uint32_t chunk) noexcept;
    // Empties the hot stacks. Called before a thread sleeps or ends, so that nothing idles in them.
    void flush(PoolCursor& cursor) noexcept;
    // Places the cursor of thread record `thread`.
    void start(PoolCursor& cursor, std::uint32_t thread) const noexcept;

    [[nodiscard]] ChunkHeader* header(std::uint32_t chunk) const noexcept {
        const ChunkClass& c = class_of(chunk);
        return reinterpret_cast<ChunkHeader*>(
            base_ + c.offset + static_cast<std::uint64_t>(chunk - c.first_chunk) * c.chunk_bytes);
    }
    // The message bytes of a chunk: everything after its two words.
    [[nodiscard]] std::span<std::byte> message(std::uint32_t chunk) const noexcept {
        return {reinterpret_cast<std::byte*>(header(chunk)) + kMessageOffset,
                class_of(chunk).chunk_bytes - kMessageOffset};
    }
    // Whether `chunk` exists. Numbers of a class begin at a multiple of 64, so there are gaps.
    [[nodiscard]] bool valid(std::uint32_t chunk) const noexcept {
        if (chunk >= chunk_count()) {
            return false;
        }
        const ChunkClass& c = class_of(chunk);
        return chunk - c.first_chunk < c.chunk_count;
    }
    // One above the highest number.
    [[nodiscard]] std::uint32_t chunk_count() const noexcept {
        // N1: pairs with N2. Who sees a chunk's number finds its class.
        return grown(chunk_count_).load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint32_t class_count() const noexcept {
        // N1: pairs with N2.
        return grown(class_count_).load(std::memory_order_acquire);
    }
    // Message bytes of the largest chunks of the first segment.
    [[nodiscard]] std::size_t small_bytes_max() const noexcept {
        return classes_[first_classes_ - 1].chunk_bytes - kMessageOffset;
    }
    [[nodiscard]] std::uint32_t first_classes() const noexcept { return first_classes_; }
    [[nodiscard]] const ChunkClass& chunk_class(std::uint32_t k) const noexcept {
        return classes_[k];
    }
    [[nodiscard]] const ChunkClass& class_of(std::uint32_t chunk) const noexcept {
        const std::uint32_t count = class_count();
        std::uint32_t k = chunk < first_chunks_ ? 0 : first_classes_;
        while (k + 1 < count && chunk >= classes_[k + 1].first_chunk) {
            ++k;
        }
        return classes_[k];
    }

    // Where messages that are in the domain's log note that they ended; null: there is none.
    void write_endings_to(LogTable* log) noexcept { log_ = log; }
    [[nodiscard]] LogTable* log() const noexcept { return log_; }

    // CAS FREE -> OWNED(me). Public for the tests that race it.
    [[nodiscard]] bool take(std::uint32_t chunk, std::uint32_t me) noexcept;

  private:
    [[nodiscard]] std::uint32_t allocate_in_class(std::uint32_t k,
                                                  std::uint32_t me,
                                                  PoolCursor& cursor) noexcept;
    // Looks at the classes of chunks of `least` to `most` bytes.
    [[nodiscard]] std::uint32_t search_classes(std::uint64_t least,
                                               std::uint64_t most,
                                               std::uint32_t me,
                                               PoolCursor& cursor) noexcept;
    // The chunk under the cursor of that class.
    [[nodiscard]] std::uint32_t take_next(std::uint32_t k,
                                          std::uint32_t me,
                                          PoolCursor& cursor) noexcept;
    static void move_on(PoolCursor& cursor,
                        std::uint32_t k,
                        std::uint32_t taken,
                        std::uint32_t count) noexcept;
    [[nodiscard]] std::uint32_t search_slabs(std::uint32_t k,
                                             std::uint32_t me,
                                             PoolCursor& cursor,
                                             bool trust_hints) noexcept;
    [[nodiscard]] std::uint32_t search_slab(std::uint32_t first,
                                            std::uint32_t end,
                                            std::uint32_t me) noexcept;

    // Counts that grow while others read them.
    static std::atomic_ref<std::uint32_t> grown(const std::uint32_t& count) noexcept {
        return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(count));
    }
    [[nodiscard]] std::atomic<std::uint8_t>& hint_of(std::uint32_t chunk) const noexcept {
        if (chunk < first_chunks_) [[likely]] {
            return hints_[0][chunk / kSlabChunks];
        }
        const ChunkClass& c = class_of(chunk);
        return hints_[&c - classes_][(chunk - c.first_chunk) / kSlabChunks];
    }

    std::byte* base_ = nullptr;
    DataSegments* data_ = nullptr;
    LogTable* log_ = nullptr;
    std::uint32_t chunk_count_ = 0;  // through grown()
    std::uint32_t class_count_ = 0;  // through grown()
    std::uint32_t first_classes_ = 0;
    std::uint32_t first_chunks_ = 0;
    std::uint32_t data_seen_ = 0;  // guarded by the data segments' mutex
    // Private copies: a scribbled table cannot move our chunks.
    ChunkClass classes_[kPoolClassesMax] = {};
    // One per slab of a class: 0 = probably nothing free in it. Those of the first segment's classes
    // lie in one table.
    std::atomic<std::uint8_t>* hints_[kPoolClassesMax] = {};
};

// ---- hot paths ---------------------------------------------------------------------------------

inline bool ChunkPool::take(std::uint32_t chunk, std::uint32_t me) noexcept {
    Word& word = header(chunk)->word;
    SHM_STEP("pool.take.load");
    std::uint64_t seen = word.load(std::memory_order_relaxed);  // the CAS below decides and orders
    if (word_state(seen) != ChunkState::free) {
        return false;
    }
    SHM_STEP("pool.take.cas");
    // P1: pairs with P2. The last holder has finished reading before we write into the chunk.
    return word.compare_exchange_strong(
        seen,
        make_word(ChunkState::owned, me, word_generation(seen)),
        std::memory_order_acquire,
        std::memory_order_relaxed);  // failure: the value is not used
}

inline void ChunkPool::free_now(std::uint32_t chunk) noexcept {
    Word& word = header(chunk)->word;
    // relaxed: the word is ours, nobody else leaves OWNED or CLAIMED while we live
    const std::uint64_t generation = word_generation(word.load(std::memory_order_relaxed));
    SHM_STEP("pool.free.store");
    // P2: pairs with P1. Our last use of the chunk happened before its next owner's first.
    word.store(make_word(ChunkState::free, 0, generation), std::memory_order_release);
    mark_free(chunk);
}

inline void ChunkPool::mark_free(std::uint32_t chunk) noexcept {
    std::atomic<std::uint8_t>& hint = hint_of(chunk);
    SHM_STEP("pool.free.hint");
    if (hint.load(std::memory_order_relaxed) == 0) {  // relaxed: a hint, see `search_slabs`
        hint.store(1, std::memory_order_relaxed);  // relaxed: a hint, wrong either way is harmless
    }
}

inline std::uint32_t ChunkPool::allocate(std::uint32_t k,
                                         std::uint32_t me,
                                         PoolCursor& cursor) noexcept {
    if (cursor.hot_count[k] != 0) {
        return cursor.hot[k][--cursor.hot_count[k]];
    }
    const ChunkClass& c = classes_[k];
    const std::uint32_t next = cursor.next[k];
    if (take(c.first_chunk + next, me)) [[likely]] {
        // Rotation within the window: the chunk freed longest ago comes first, and the ones to come
        // are fetched for writing eight allocations ahead.
        std::uint32_t following = next + 1;
        if (following - cursor.start[k] == kWindowChunks || following == c.chunk_count) {
            following = cursor.start[k];
        }
        cursor.next[k] = following;
        const std::uint32_t ahead = following + 8 < c.chunk_count ? following + 8 : following;
        const auto* line = reinterpret_cast<const std::byte*>(header(c.first_chunk + ahead));
        prefetch_for_write(line);
        prefetch_for_write(line + kCacheLine);
        return c.first_chunk + next;
    }
    return allocate_in_class(k, me, cursor);
}

inline void ChunkPool::release(std::uint32_t chunk, std::uint32_t me, PoolCursor& cursor) noexcept {
    const ChunkClass& c = class_of(chunk);
    const auto k = static_cast<std::uint32_t>(&c - classes_);
    const std::uint32_t keep = c.chunk_bytes <= kHotChunkBytesMax     ? kHotChunks
                               : c.chunk_bytes <= kHotLargeChunkBytes ? 1
                                                                      : 0;
    if (cursor.hot_count[k] < keep) {
        Word& word = header(chunk)->word;
        // relaxed: the word is ours, nobody else leaves OWNED or CLAIMED while we live
        const std::uint64_t generation = word_generation(word.load(std::memory_order_relaxed));
        SHM_STEP("pool.release.keep");
        // relaxed: OWNED(me) either way, nobody takes the chunk from us by this store
        word.store(make_word(ChunkState::owned, me, generation), std::memory_order_relaxed);
        cursor.hot[k][cursor.hot_count[k]++] = chunk;
        return;
    }
    if (keep == 0) {
        cursor.last_large = chunk;  // its word is in our cache: the best one to take next
    }
    free_now(chunk);
}

}  // namespace telpher::shm

#pragma once
// A pool and a ring in plain memory, for tests of threads over one mapping.
//
//   Shape     one ring of `capacity`; a pool of 128-byte chunks (or of given classes); one "party"
//             per thread: its thread record, its place in the pool, and its number as process slot
//   Messages  one 64-bit number each
//   Threads   each party is used by one thread at a time

#include "telpher/status.hpp"

#include "shm/chunk_pool.hpp"
#include "shm/layout.hpp"
#include "shm/ring.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace telpher::test {

inline constexpr std::uint32_t kParties = 16;

struct ClassSize {
    std::uint32_t chunk_bytes;
    std::uint32_t chunk_count;
};

// Zeroed memory on a page boundary.
class PageMemory {
  public:
    explicit PageMemory(std::size_t size_bytes) : size_bytes_(size_bytes) {
        bytes_.reset(static_cast<std::byte*>(
            std::aligned_alloc(shm::kPageBytes, (size_bytes + 4095) / 4096 * 4096)));
        std::memset(bytes_.get(), 0, size_bytes_);
    }
    [[nodiscard]] std::byte* data() const { return bytes_.get(); }

  private:
    struct Free {
        void operator()(std::byte* bytes) const { std::free(bytes); }
    };
    std::size_t size_bytes_;
    std::unique_ptr<std::byte, Free> bytes_;
};

// A pool by itself.
class ScratchPool {
  public:
    explicit ScratchPool(std::initializer_list<ClassSize> sizes) : memory_(bytes_of(sizes)) {
        std::uint32_t first = 0;
        std::uint64_t offset = 0;
        for (const ClassSize& size : sizes) {
            classes_.push_back({size.chunk_bytes, size.chunk_count, first, 0, offset});
            first = (first + size.chunk_count + shm::kSlabChunks - 1) / shm::kSlabChunks *
                    shm::kSlabChunks;
            offset += static_cast<std::uint64_t>(size.chunk_bytes) * size.chunk_count;
        }
        hints_ = std::vector<std::atomic<std::uint8_t>>(first / shm::kSlabChunks);
        set_hints(1);
        pool_ = shm::ChunkPool(memory_.data(), classes_, hints_.data());
        for (std::uint32_t party = 0; party < kParties; ++party) {
            pool_.start(cursors_[party], party);
        }
    }

    void set_hints(std::uint8_t value) {
        for (auto& hint : hints_) {
            hint.store(value, std::memory_order_relaxed);
        }
    }
    [[nodiscard]] shm::ChunkState state(std::uint32_t chunk) const {
        return shm::word_state(pool_.header(chunk)->word.load(std::memory_order_acquire));
    }
    // How many chunks are in `state`.
    [[nodiscard]] std::uint32_t count(shm::ChunkState state) const {
        std::uint32_t found = 0;
        for (std::uint32_t chunk = 0; chunk < pool_.chunk_count(); ++chunk) {
            found += pool_.valid(chunk) && this->state(chunk) == state ? 1U : 0U;
        }
        return found;
    }
    [[nodiscard]] shm::ChunkPool& pool() { return pool_; }
    [[nodiscard]] shm::PoolCursor& cursor(std::uint32_t party) { return cursors_[party]; }

  private:
    static std::size_t bytes_of(std::initializer_list<ClassSize> sizes) {
        std::size_t bytes = 0;
        for (const ClassSize& size : sizes) {
            bytes += static_cast<std::size_t>(size.chunk_bytes) * size.chunk_count;
        }
        return bytes;
    }

    PageMemory memory_;
    std::vector<shm::ChunkClass> classes_;
    std::vector<std::atomic<std::uint8_t>> hints_;
    shm::ChunkPool pool_;
    std::array<shm::PoolCursor, kParties> cursors_{};
};

struct Polled {
    Status status = Status::none;
    std::uint64_t value = 0;
    std::uint64_t position = 0;
};

class ScratchRing {
  public:
    static constexpr std::uint64_t kDest = shm::make_dest(3, 7);

    explicit ScratchRing(std::uint32_t capacity, std::uint32_t chunks = 0)
        : pool_({{128, chunks != 0 ? chunks : capacity + 4 * kParties}}),
          slots_(std::max(2U, std::bit_ceil(capacity + 1))),
          block_(shm::kRingSlotsOffset + slots_ * sizeof(shm::Slot)),
          ring_(control(), slots_, capacity, kDest, &pool_.pool()) {}

    // Offers the number, as `party`. queue_full, queue_not_found and corrupt leave no chunk behind.
    Status offer(std::uint64_t value, std::uint32_t party = 0) {
        std::uint64_t position = 0;
        return offer_at(value, party, &position);
    }
    Status offer_at(std::uint64_t value, std::uint32_t party, std::uint64_t* position) {
        const std::uint32_t chunk = pool_.pool().allocate(0, party, pool_.cursor(party));
        if (chunk == shm::kNoChunk) {
            return Status::out_of_memory;
        }
        std::memcpy(pool_.pool().message(chunk).data(), &value, sizeof value);
        const Status status = ring_.commit(chunk, party, threads_[party], position);
        if (status != Status::ok) {
            pool_.pool().release(chunk, party, pool_.cursor(party));
        }
        return status;
    }
    // Polls as `party`, and gives the chunk back.
    Polled poll(std::uint32_t party = 0) {
        Polled polled;
        std::uint32_t chunk = 0;
        polled.status = ring_.claim(party, &chunk, &polled.position);
        if (polled.status == Status::ok) {
            std::memcpy(&polled.value, pool_.pool().message(chunk).data(), sizeof polled.value);
            pool_.pool().release(chunk, party, pool_.cursor(party));
        }
        return polled;
    }

    [[nodiscard]] shm::Ring& ring() { return ring_; }
    [[nodiscard]] ScratchPool& memory() { return pool_; }
    [[nodiscard]] shm::ThreadRecord& thread(std::uint32_t party) { return threads_[party]; }
    [[nodiscard]] shm::RingControl* control() const {
        return reinterpret_cast<shm::RingControl*>(block_.data());
    }
    // Sets the hints as a stopped or killed process may leave them.
    void set_hints(std::uint64_t head, std::uint64_t tail) {
        control()->head.store(head, std::memory_order_relaxed);
        control()->tail.store(tail, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t head_hint() const {
        return control()->head.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t tail_hint() const {
        return control()->tail.load(std::memory_order_relaxed);
    }

  private:
    ScratchPool pool_;
    std::uint32_t slots_;
    PageMemory block_;
    shm::Ring ring_;
    std::array<shm::ThreadRecord, kParties> threads_{};
};

// The seed of a random test: fixed, or TELPHER_SEED.
inline std::uint64_t test_seed() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment
    const char* text = std::getenv("TELPHER_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 20'261'121;
}

}  // namespace telpher::test

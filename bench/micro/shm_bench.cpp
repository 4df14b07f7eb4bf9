// Question: what do the steps below a queue cost: taking and giving back a chunk, committing and
// claiming
//           a ring slot, looking for a waiter?
// Method:   one thread over one pool and one ring of 1024 in private memory, everything in the
//           cache, so that each figure is the floor of its step: instructions and uncontended
//           atomics.
// Not here: other processors (bench/e2e), the codec (codec_bench.cpp), the calls around it
//           (queue_bench.cpp).
#include "bench/micro/micro.hpp"
#include "shm/doorbell.hpp"
#include "shm/ring.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace telpher::bench {

namespace {

constexpr std::uint32_t kMe = 3;
constexpr std::uint32_t kSlots = 2048;
constexpr std::uint32_t kCapacity = 1024;
constexpr std::uint32_t kChunks = 4096;
constexpr std::uint32_t kChunkBytes = 128;

// A ring block and the chunks behind it, all zero, which is a valid empty ring and a free pool.
class World {
  public:
    World() {
        shm::ChunkClass pool_class{};
        pool_class.chunk_bytes = kChunkBytes;
        pool_class.chunk_count = kChunks;
        pool_class.offset = kRingBytes;
        pool = shm::ChunkPool(memory_.get(), {&pool_class, 1}, hints_.data());
        pool.start(cursor, 0);
        ring = shm::Ring(reinterpret_cast<shm::RingControl*>(memory_.get()),
                         kSlots,
                         kCapacity,
                         shm::make_dest(1, 1),
                         &pool);
    }

    shm::ChunkPool pool;
    shm::Ring ring;
    shm::PoolCursor cursor{};
    shm::ThreadRecord thread{};

  private:
    static constexpr std::size_t kRingBytes =
        (shm::kRingSlotsOffset + kSlots * sizeof(shm::Slot) + 4095) / 4096 * 4096;
    static constexpr std::size_t kBytes = kRingBytes + std::size_t{kChunks} * kChunkBytes;

    static std::byte* zeroed() {
        auto* memory =
            static_cast<std::byte*>(std::aligned_alloc(4096, (kBytes + 4095) / 4096 * 4096));
        std::memset(memory, 0, kBytes);
        return memory;
    }
    std::unique_ptr<std::byte, decltype(&std::free)> memory_{zeroed(), &std::free};
    std::array<std::atomic<std::uint8_t>, kChunks / shm::kSlabChunks> hints_{};
};

// The chunk comes from the hot stack and goes back to it.
void pool_allocate_release_hot(benchmark::State& state) {
    const auto world = std::make_unique<World>();
    for (auto _ : state) {
        const std::uint32_t chunk = world->pool.allocate(0, kMe, world->cursor);
        benchmark::DoNotOptimize(chunk);
        world->pool.release(chunk, kMe, world->cursor);
    }
    report_per_operation(state);
}
BENCHMARK(pool_allocate_release_hot);

// Batches of 64, so that all but four chunks go through their words: the way of a stream.
void pool_allocate_free(benchmark::State& state) {
    constexpr std::uint32_t kBatch = 64;
    const auto world = std::make_unique<World>();
    std::array<std::uint32_t, kBatch> chunks{};
    for (auto _ : state) {
        for (std::uint32_t& chunk : chunks) {
            chunk = world->pool.allocate(0, kMe, world->cursor);
        }
        for (const std::uint32_t chunk : chunks) {
            world->pool.release(chunk, kMe, world->cursor);
        }
    }
    report_per_operation(state, kBatch);
}
BENCHMARK(pool_allocate_free);

void ring_commit_claim(benchmark::State& state) {
    const auto world = std::make_unique<World>();
    std::uint32_t chunk = world->pool.allocate(0, kMe, world->cursor);
    std::uint64_t position = 0;
    for (auto _ : state) {
        if (world->ring.commit(chunk, kMe, world->thread, &position) != Status::ok ||
            world->ring.claim(kMe, &chunk, &position) != Status::ok) {
            state.SkipWithError("the ring refused");
            break;
        }
        // What pool.release does to a claimed chunk that is kept.
        world->pool.release(chunk, kMe, world->cursor);
        chunk = world->pool.allocate(0, kMe, world->cursor);
    }
    report_per_operation(state);
}
BENCHMARK(ring_commit_claim);

// Batches of 512 walk through all slots, as a stream does.
void ring_commit_claim_batch(benchmark::State& state) {
    constexpr std::uint32_t kBatch = 512;
    const auto world = std::make_unique<World>();
    std::uint64_t position = 0;
    std::uint32_t chunk = 0;
    bool good = true;
    for (auto _ : state) {
        for (std::uint32_t i = 0; i < kBatch; ++i) {
            chunk = world->pool.allocate(0, kMe, world->cursor);
            good = world->ring.commit(chunk, kMe, world->thread, &position) == Status::ok && good;
        }
        for (std::uint32_t i = 0; i < kBatch; ++i) {
            good = world->ring.claim(kMe, &chunk, &position) == Status::ok && good;
            world->pool.release(chunk, kMe, world->cursor);
        }
    }
    if (!good) {
        state.SkipWithError("the ring refused");
    }
    report_per_operation(state, kBatch);
}
BENCHMARK(ring_commit_claim_batch);

void ring_claim_empty(benchmark::State& state) {
    const auto world = std::make_unique<World>();
    std::uint64_t position = 0;
    std::uint32_t chunk = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(world->ring.claim(kMe, &chunk, &position));
    }
    report_per_operation(state);
}
BENCHMARK(ring_claim_empty);

// After every commit and claim: is anybody asleep? Nobody is.
void wake_nobody(benchmark::State& state) {
    const auto map = std::make_unique<shm::WaiterMap>();
    shm::ThreadRecord thread{};
    for (auto _ : state) {
        shm::wake(*map, {&thread, 1}, [] { return false; });
        benchmark::ClobberMemory();
    }
    report_per_operation(state);
}
BENCHMARK(wake_nobody);

}  // namespace
}  // namespace telpher::bench

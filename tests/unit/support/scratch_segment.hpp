#pragma once
// A small unpublished segment, and "processes" in it: each Party has its own open file description
// and mapping, so that the kernel's locks see several processes though the test is one.

#include "shm/attachment.hpp"
#include "shm/process_table.hpp"
#include "shm/reaper.hpp"
#include "shm/segment.hpp"
#include "tests/unit/support/unique_name.hpp"

#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace telpher::test {

// 1.4 MiB: 8 processes, 16 threads, 6 destinations.
inline shm::SegmentPlan small_plan(std::string name) {
    shm::SegmentPlan plan;
    plan.name = std::move(name);
    plan.processes_max = 8;
    plan.threads_max = 16;
    plan.destinations_max = 6;
    plan.ring_bytes = 64U << 10U;
    plan.pool_bytes = 1U << 20U;
    plan.segment_bytes_max = 0;
    return plan;
}

// What a process keeps about a segment, put together by hand; no janitor.
class Party {
  public:
    explicit Party(shm::Segment opened) : segment(std::move(opened)) {
        auto* hints = reinterpret_cast<std::atomic<std::uint8_t>*>(
            segment.region(shm::RegionKind::slab_hints).data());
        pool = shm::ChunkPool(segment.base(), segment.classes(), hints, &segment.data());
        threads = {
            reinterpret_cast<shm::ThreadRecord*>(segment.region(shm::RegionKind::threads).data()),
            segment.threads_max()};
        table.start(&segment);
        slot = table.join();
        identity = shm::make_identity(slot, shm::process_epoch(process_word(slot)));
        directory.start(&segment, &pool, slot);
        reaper.start(&table, threads, &directory, &pool);
        pool.start(cursor, 0);
    }

    [[nodiscard]] std::uint64_t process_word(std::uint32_t of) const {
        return table.record(of).word.load(std::memory_order_relaxed);
    }
    // A thread record of ours, the first free one.
    shm::ThreadRecord& own_thread() {
        for (shm::ThreadRecord& thread : threads) {
            if (thread.owner.load(std::memory_order_relaxed) == 0) {
                thread.inflight.store(shm::kNoRef, std::memory_order_relaxed);
                thread.owner.store(identity, std::memory_order_release);
                return thread;
            }
        }
        std::abort();
    }
    // An OWNED chunk with `value` in it.
    std::uint32_t loan(std::uint64_t value = 0) {
        const std::uint32_t chunk = pool.allocate(0, slot, cursor);
        std::memcpy(pool.message(chunk).data(), &value, sizeof value);
        return chunk;
    }
    [[nodiscard]] shm::Word& word(std::uint32_t chunk) const { return pool.header(chunk)->word; }
    [[nodiscard]] shm::ChunkState state(std::uint32_t chunk) const {
        return shm::word_state(word(chunk).load(std::memory_order_acquire));
    }
    [[nodiscard]] std::uint32_t count(shm::ChunkState wanted) const {
        std::uint32_t found = 0;
        for (std::uint32_t chunk = 0; chunk < pool.chunk_count(); ++chunk) {
            found += pool.valid(chunk) && state(chunk) == wanted ? 1U : 0U;
        }
        return found;
    }
    // The word and in-flight word of an offer up to just before its commit.
    void offer_uncommitted(shm::ThreadRecord& thread, std::uint32_t chunk, std::uint64_t dest) {
        const std::uint64_t generation =
            shm::word_generation(word(chunk).load(std::memory_order_relaxed)) + 1;
        pool.header(chunk)->dest.store(dest, std::memory_order_relaxed);
        thread.inflight.store(shm::make_ref(generation, chunk), std::memory_order_relaxed);
        word(chunk).store(shm::make_word(shm::ChunkState::offered, slot, generation),
                          std::memory_order_release);
    }

    shm::Segment segment;
    shm::ChunkPool pool;
    shm::ProcessTable table;
    shm::Directory directory;
    shm::Reaper reaper;
    std::span<shm::ThreadRecord> threads;
    shm::PoolCursor cursor{};
    std::uint32_t slot = 0;
    std::uint64_t identity = 0;
};

class ScratchSegment {
  public:
    ScratchSegment() : ScratchSegment(small_plan(unique_name())) {}
    explicit ScratchSegment(const shm::SegmentPlan& plan)
        : survivor_(std::make_unique<Party>(shm::Segment::create(plan).value())) {}
    ~ScratchSegment() { survivor_->segment.unlink(); }
    ScratchSegment(const ScratchSegment&) = delete;
    ScratchSegment& operator=(const ScratchSegment&) = delete;

    // The process that outlives the test.
    [[nodiscard]] Party& survivor() { return *survivor_; }
    // Another process. It dies with the pointer: its locks go, its words stay.
    [[nodiscard]] std::unique_ptr<Party> another() {
        const shm::Segment& s = survivor_->segment;
        return std::make_unique<Party>(
            shm::Segment::open(shm::private_file(s.name(), s.uuid())).value());
    }

  private:
    std::unique_ptr<Party> survivor_;
};

}  // namespace telpher::test

#include "tests/crash/ring_world.hpp"

#include "tests/crash/fibers.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

namespace telpher::crash {
namespace {

constexpr std::uint32_t kChunkBytes = 128;
constexpr std::uint64_t kDest = shm::make_dest(3, 7);

Answer answer_of(Status status) {
    switch (status) {
        case Status::ok:
            return Answer::ok;
        case Status::queue_full:
            return Answer::full;
        case Status::queue_empty:
            return Answer::empty;
        case Status::queue_not_found:
            return Answer::not_found;
        default:
            return Answer::damaged;
    }
}

}  // namespace

RingWorld::RingWorld(std::uint32_t capacity, std::uint32_t chunks_used)
    : capacity_(capacity),
      slots_(std::max(2U, std::bit_ceil(capacity + 1))),
      chunks_used_(chunks_used),
      ring_bytes_(shm::kRingSlotsOffset + (slots_ * sizeof(shm::Slot) + 127) / 128 * 128),
      memory_(static_cast<std::byte*>(std::aligned_alloc(4096, 16384))),
      control_(reinterpret_cast<shm::RingControl*>(memory_)),
      history_(capacity) {
    shm::ChunkClass pool_class{};
    pool_class.chunk_bytes = kChunkBytes;
    pool_class.chunk_count = kChunks;
    pool_class.offset = ring_bytes_;
    pool_ = shm::ChunkPool(memory_, {&pool_class, 1}, hints_);
}

RingWorld::~RingWorld() { std::free(memory_); }

void RingWorld::reset(std::uint32_t laps, std::uint32_t lag) {
    std::memset(static_cast<void*>(memory_), 0, ring_bytes_ + chunks_used_ * kChunkBytes);
    std::memset(static_cast<void*>(threads_), 0, sizeof threads_);
    // New handles: an old one remembers a head, and no schedule would run twice alike.
    for (shm::Ring& ring : rings_) {
        ring = shm::Ring(control_, slots_, capacity_, kDest, &pool_);
    }
    for (std::uint32_t i = 0; i < laps; ++i) {
        offer(0, i);
        poll(0);
    }
    std::fill(std::begin(busy_), std::end(busy_), false);
    const std::uint64_t hint = laps > lag ? laps - lag : 0;
    control_->head.store(hint, std::memory_order_relaxed);
    control_->tail.store(hint, std::memory_order_relaxed);
    history_.clear();
}

std::uint32_t RingWorld::take_chunk(std::uint32_t party) {
    for (std::uint32_t i = 0; i < chunks_used_; ++i) {
        if (pool_.take(i, party)) {
            return i;
        }
    }
    return shm::kNoChunk;
}

Operation& RingWorld::begin(std::uint32_t party, Verb verb, std::uint32_t value) {
    busy_[party] = true;
    return pending_[party] = {verb, Answer::unknown, value, steps_so_far(), ~0ULL};
}

void RingWorld::end(std::uint32_t party, Status status) {
    busy_[party] = false;
    pending_[party].answer = answer_of(status);
    pending_[party].returned = steps_so_far();
    history_.add(pending_[party]);
}

void RingWorld::offer(std::uint32_t party, std::uint32_t value) {
    const std::uint32_t chunk = take_chunk(party);
    if (chunk == shm::kNoChunk) {
        return;
    }
    std::memcpy(pool_.message(chunk).data(), &value, sizeof value);
    begin(party, Verb::offer, value);
    std::uint64_t position = 0;
    const Status status = rings_[party].commit(chunk, party, threads_[party], &position);
    end(party, status);
    if (status != Status::ok) {
        pool_.free_now(chunk);
    }
}

void RingWorld::poll(std::uint32_t party) {
    Operation& operation = begin(party, Verb::poll, 0);
    std::uint32_t chunk = 0;
    std::uint64_t position = 0;
    const Status status = rings_[party].claim(party, &chunk, &position);
    if (status == Status::ok) {
        std::memcpy(&operation.value, pool_.message(chunk).data(), sizeof operation.value);
    }
    end(party, status);
    if (status == Status::ok) {
        pool_.free_now(chunk);
    }
}

void RingWorld::close(std::uint32_t party) {
    begin(party, Verb::close, 0);
    end(party, rings_[party].close());
}

void RingWorld::reap(std::uint32_t party) {
    const std::uint64_t inflight = threads_[party].inflight.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < chunks_used_; ++i) {
        const std::uint64_t word = pool_.header(i)->word.load(std::memory_order_relaxed);
        const shm::ChunkState state = shm::word_state(word);
        const bool mine = state != shm::ChunkState::free && shm::word_owner(word) == party;
        const std::uint64_t ref = shm::make_ref(shm::word_generation(word), i);
        if (mine &&
            (state != shm::ChunkState::offered || (ref == inflight && !rings_[0].holds(ref)))) {
            pool_.free_now(i);
        }
    }
}

std::string RingWorld::judge_memory() {
    for (std::uint32_t i = 0; i < chunks_used_; ++i) {
        if (shm::word_state(pool_.header(i)->word.load(std::memory_order_relaxed)) !=
            shm::ChunkState::free) {
            return "chunk " + std::to_string(i) + " is not free in the end";
        }
    }
    const std::uint64_t committed = rings_[0].committed();
    if (control_->tail.load(std::memory_order_relaxed) > committed) {
        return "the tail hint leads";
    }
    if (control_->head.load(std::memory_order_relaxed) > committed) {
        return "the head hint leads";
    }
    return {};
}

std::string RingWorld::judge() {
    for (std::uint32_t party = 0; party < std::size(busy_); ++party) {
        if (busy_[party]) {
            history_.add(pending_[party]);
        }
    }
    constexpr std::uint32_t kDrainer = 7;
    for (std::uint32_t i = 0; i <= slots_; ++i) {
        poll(kDrainer);
    }
    std::string problem = history_.judge();
    return problem.empty() ? judge_memory() : problem;
}

}  // namespace telpher::crash

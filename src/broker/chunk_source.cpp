// Where a message's memory comes from when the first look finds none: from what others gave back,
// from the dead, from more memory for the domain, and at last from whoever gives some back.

#include "src/broker/chunk_source.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/futex.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

// A killed or stopped process may keep the directory lock: who may not wait waits that long.
constexpr Duration kGrowPatience = std::chrono::milliseconds(50);
constexpr int kGrowRounds = 8;  // others may take what we add
constexpr Duration kMemoryLookFirst = std::chrono::milliseconds(1);

}  // namespace

ChunkSource::ChunkSource(shm::Attachment& attachment, Closed closed, std::size_t head_bytes)
    : attachment_(attachment),
      closed_(closed),
      offset_(shm::kMessageOffset + head_bytes),
      bytes_max_(attachment_.segment().message_bytes_max()),
      small_bytes_max_(std::min(bytes_max_, attachment_.pool().small_bytes_max() - head_bytes)) {}

Status ChunkSource::usable() const noexcept {
    const Status status = attachment_.usable();
    const auto is_set = [](const std::atomic<bool>* flag) {
        // relaxed: a close that matters to this call was ordered before it by the caller
        return flag != nullptr && flag->load(std::memory_order_relaxed);
    };
    const bool closed = is_set(closed_.handle) || is_set(closed_.connection);
    return status == Status::ok && closed ? Status::closed : status;
}

std::uint32_t ChunkSource::try_allocate(shm::ThreadContext& context,
                                        std::size_t chunk_bytes) noexcept {
    shm::ChunkPool& pool = attachment_.pool();
    const std::uint32_t k = pool.class_for(chunk_bytes);
    return k < pool.first_classes() ? pool.allocate(k, attachment_.slot(), context.cursor)
                                    : pool.allocate_large(chunk_bytes,
                                                          attachment_.slot(),
                                                          context.cursor,
                                                          shm::ChunkPool::Waste::at_most_half);
}

// Takes what it waits off `timeout`.
Result<std::uint32_t> ChunkSource::allocate(shm::ThreadContext& context,
                                            std::size_t message_bytes,
                                            Duration& timeout,
                                            const std::stop_token& stop) {
    if (message_bytes > bytes_max_) [[unlikely]] {
        return Error{Status::message_too_large,
                     0,
                     "the message has " + std::to_string(message_bytes) +
                         " bytes with its header, limits.message_bytes is " +
                         std::to_string(bytes_max_)};
    }
    const std::size_t chunk_bytes = message_bytes + offset_;
    std::uint32_t chunk = try_allocate(context, chunk_bytes);
    if (chunk != shm::kNoChunk) [[likely]] {
        return chunk;
    }
    auto made = make_room(context, chunk_bytes, timeout);
    if (made || made.status() == Status::domain_removed) {
        return made;
    }
    const Status status = wait_for_memory(context, chunk_bytes, timeout, stop, &chunk);
    if (status == Status::ok) {
        return chunk;
    }
    if (status != Status::out_of_memory) {
        return status;
    }
    return Error{
        status,
        made.error().os_error,
        "no free chunk of " + std::to_string(chunk_bytes) +
            " bytes: queued messages, loans and deliveries hold all of limits.pool_bytes, and " +
            made.error().detail};
}

// A chunk from the dead, from what others added, from memory added here, or a larger one than need
// be; the error tells why the domain cannot grow.
Result<std::uint32_t> ChunkSource::make_room(shm::ThreadContext& context,
                                             std::size_t chunk_bytes,
                                             Duration timeout) {
    shm::ChunkPool& pool = attachment_.pool();
    attachment_.check_deaths();
    static_cast<void>(pool.learn());
    Result<void> grown;
    for (int round = 0; round < kGrowRounds && grown; ++round) {
        const std::uint32_t classes = pool.class_count();
        const std::uint32_t chunk = try_allocate(context, chunk_bytes);
        if (chunk != shm::kNoChunk) {
            return chunk;
        }
        if (round == 0 && attachment_.directory().free_retired()) {
            continue;  // what publishers evicted and did not come to free
        }
        grown =
            attachment_.grow(chunk_bytes,
                             classes,
                             std::clamp<Duration>(timeout, kGrowPatience, shm::kDirectoryPatience));
    }
    const std::uint32_t chunk = pool.allocate_large(
        chunk_bytes, attachment_.slot(), context.cursor, shm::ChunkPool::Waste::any);
    if (chunk != shm::kNoChunk) {
        return chunk;
    }
    return grown ? Error{Status::out_of_memory, 0, "others take what is added"} : grown.error();
}

// Others give back what they hold, sooner or later; as long as we may wait.
Status ChunkSource::wait_for_memory(shm::ThreadContext& context,
                                    std::size_t chunk_bytes,
                                    Duration& timeout,
                                    const std::stop_token& stop,
                                    std::uint32_t* chunk) {
    const std::uint64_t start = shm::monotonic_ns();
    shm::WaiterMap& waiters = attachment_.pool_waiters();
    shm::Word& starving = attachment_.segment().header().starving;
    const auto look = [&] {
        *chunk = try_allocate(context, chunk_bytes);
        if (*chunk == shm::kNoChunk) {
            *chunk = attachment_.pool().allocate_large(
                chunk_bytes, attachment_.slot(), context.cursor, shm::ChunkPool::Waste::any);
        }
        return *chunk != shm::kNoChunk;
    };
    shm::ThreadRecord& me = *context.record;
    const std::stop_callback on_stop(stop, [&me] { shm::ring_doorbell(me); });
    // Who gives back looks at `starving` without a fence, and may miss us once: the first sleeps are
    // short.
    Duration nap = kMemoryLookFirst;
    bool chosen = false;
    Status status = Status::ok;
    do {
        const Duration waited(shm::monotonic_ns() - start);
        status = stop.stop_requested() ? Status::cancelled : usable();
        if (status == Status::ok && waited >= timeout) {
            status = Status::out_of_memory;
        }
        if (status != Status::ok) {
            break;
        }
        // A flag, not a count: a kill would leak a count.
        starving.store(1, std::memory_order_relaxed);  // relaxed: a hint, the look is repeated
        // D2: pairs with shm/doorbell.hpp:D1.
        const std::uint32_t seen = me.doorbell.load(std::memory_order_acquire);
        shm::arm(waiters, context.index);
        if (!look()) {
            shm::futex_wait(me.doorbell, seen, std::min(nap, timeout - waited));
        }
        chosen = shm::disarm(waiters, context.index) || chosen;
        nap = std::min<Duration>(nap * 2, shm::kSleepMax);
    } while (*chunk == shm::kNoChunk && !look());
    // W3: pairs with shm/doorbell.hpp:W2. The last one in the room turns off the light.
    if (waiters.summary.load(std::memory_order_seq_cst) == 0) {
        starving.store(0, std::memory_order_relaxed);  // relaxed: a hint
    } else if (chosen) {
        // What chose us may do for another, whose message is smaller.
        shm::wake(waiters, attachment_.threads(), [] { return true; });
    }
    if (*chunk == shm::kNoChunk) {
        return status;
    }
    if (timeout.count() != 0) {
        // Never 0: a full queue is still `timed_out` to who asked to wait.
        timeout = std::max(Duration(1), timeout - Duration(shm::monotonic_ns() - start));
    }
    return Status::ok;
}

// Made where the caller will find it, as a delivery: a loan that is moved is read whole while the stores of its parts
// are on their way into the cache, behind those into the chunk, whose lines come from another processor.
Result<Loan> ChunkSource::loan(const wire::LoanPlan& plan, Duration timeout) {
    Result<Loan> result(std::in_place);
    auto context = attachment_.context();
    if (!context) {
        result = context.error();
        return result;
    }
    // A size near the end of its range must not wrap around with the header.
    const std::size_t bytes =
        plan.payload_bytes > bytes_max_ ? plan.payload_bytes : wire::encoded_bytes(plan);
    auto chunk = allocate(**context, bytes, timeout, {});
    if (!chunk) {
        result = chunk.error();
        return result;
    }
    Loan& loan = *result;
    loan.bytes_ = attachment_.pool().message(*chunk).subspan(offset_ - shm::kMessageOffset, bytes);
    loan.payload_ = loan.bytes_.subspan(wire::encode_loan(plan, loan.bytes_), plan.payload_bytes);
    loan.held_ = {&attachment_, *chunk};
    attachment_.charge(*chunk);
    shm::count_up((*context)->taken);
    return result;
}

}  // namespace telpher::detail

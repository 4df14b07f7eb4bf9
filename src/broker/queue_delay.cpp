// Offers that are handed out later.

#include "telpher/limits.hpp"

#include "shm/base/clock.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"

namespace telpher::detail {
namespace {}  // namespace

// Killed before PARKED: nothing was sent, and our reaper frees the chunk. Behind it: sent; the pass that
// follows our death finds it. Stopped behind it: a janitor finds it, after 5 s at most.
Result<std::uint64_t> QueueCore::offer_later(shm::ThreadContext& context,
                                             std::uint32_t chunk,
                                             std::chrono::milliseconds delay) {
    const bool ended = ring_.closed();
    if (ended || delay > limits::kDelayMax) {  // which a message from a bridge may ask for
        attachment_.pool().release(chunk, attachment_.slot(), context.cursor);
        return ended ? explain(Status::queue_not_found, {})
                     : Error{Status::bad_request,
                             0,
                             "delay is " + std::to_string(delay.count()) + ", allowed are 0.." +
                                 std::to_string(limits::kDelayMax.count())};
    }
    const shm::Leases leases = attachment_.leases();
    // Not by the coarse clock, which may be behind: never too early.
    const std::uint64_t now = shm::monotonic_ns() / 1000;
    const std::uint64_t due = now + static_cast<std::uint64_t>(delay.count()) * 1000;
    leases.open(chunk);
    if (context.logged != 0) {
        leases.set_logged(
            chunk, shm::logged_lsn(context.logged), shm::logged_share(context.logged));
    }
    if (context.note != nullptr) {
        // The word as it will be PARKED: killed before the store, the record sees the one before.
        // relaxed, both: the word is ours; the note is published by the store
        const std::uint64_t generation = shm::word_generation(
            attachment_.pool().header(chunk)->word.load(std::memory_order_relaxed));
        context.note->store(shm::make_ref(generation + 1, chunk),
                            std::memory_order_relaxed);  // relaxed: as above
    }
    leases.park_offer(chunk, found_.dest(), due);
    shm::DirectoryEntry& entry = attachment_.directory().entry(found_.entry);
    SHM_STEP("queue.later.look");
    // LE7: pairs with shm/lease_keeper.cpp:LE8. PARKED, then this look; the pass's store, then its look at the
    // chunk.
    const std::uint64_t look = shm::look_us(entry.lease_look.load(std::memory_order_seq_cst));
    if ((look == 0 || look > due) && shm::LeaseKeeper::look_by(entry, due) &&
        due < now + kJanitorKnowsUs) {
        attachment_.poke_janitor();
    }
    return std::uint64_t{0};
}

}  // namespace telpher::detail

#include "shm/lease_keeper.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"
#include "shm/log_table.hpp"

#include <algorithm>
#include <new>
#include <tuple>

namespace telpher::shm {
namespace {

constexpr std::uint64_t kNever = ~0ULL;
constexpr std::uint64_t kBlindAgainUs = 1'000'000;  // some of the domain cannot be mapped here
constexpr std::uint32_t kNoQueue = ~0U;
// Nobody loses that many races in a row: the ring is damaged.
constexpr std::uint32_t kDropRoundsMax = 1U << 16;

}  // namespace

std::optional<LeasedQueue> LeaseKeeper::open(const Found& found) const {
    const auto ring = directory_->ring(found);
    const auto lane = directory_->returns_lane(found);
    if (found.state != EntryState::live || !found.leased() || !ring || !lane ||
        !directory_->attach(found)) {
        return std::nullopt;
    }
    return LeasedQueue{found, *ring, *lane};
}

std::optional<LeasedQueue> LeaseKeeper::pin(std::uint32_t chunk) const {
    // relaxed: written before OFFERED, or by the mover that we are
    const std::uint64_t dest = pool_->header(chunk)->dest.load(std::memory_order_relaxed);
    const auto found = directory_->at(dest_entry(dest));
    return found && found->generation == dest_generation(dest) ? open(*found) : std::nullopt;
}

std::vector<LeasedQueue> LeaseKeeper::pin_all() const {
    std::vector<LeasedQueue> all;
    for (const Found& found : directory_->list()) {
        if (auto queue = open(found)) {
            all.push_back(*queue);
        }
    }
    return all;
}

bool LeaseKeeper::unpin(const LeasedQueue& queue) const {
    directory_->detach(queue.found.entry);
    // relaxed: who removes it behind this look finds nobody attached
    const std::uint64_t word =
        directory_->entry(queue.found.entry).word.load(std::memory_order_relaxed);
    return entry_state(word) != EntryState::live;
}

bool LeaseKeeper::any() const noexcept {
    const std::uint32_t count = directory_->used();
    for (std::uint32_t i = 0; i < count; ++i) {
        if (directory_->live_and_leased(i)) {
            return true;
        }
    }
    return false;
}

std::uint64_t LeaseKeeper::next_look() const noexcept {
    std::uint64_t next = kNever;
    const std::uint32_t count = directory_->used();
    for (std::uint32_t i = 0; i < count; ++i) {
        // relaxed: a time to look at
        const std::uint64_t look =
            look_us(directory_->entry(i).lease_look.load(std::memory_order_relaxed));
        if (look != 0 && directory_->live_and_leased(i)) {
            next = std::min(next, look);
        }
    }
    return next;
}

bool LeaseKeeper::look_by(DirectoryEntry& entry, std::uint64_t us) noexcept {
    // relaxed, both: a time to look at, whatever the order
    std::uint64_t look = entry.lease_look.load(std::memory_order_relaxed);
    SHM_STEP("lease.look_by");
    while (look_us(look) == 0 || look_us(look) > us) {
        if (entry.lease_look.compare_exchange_weak(
                look,
                us | (look & kMoreParked),
                std::memory_order_seq_cst,     // LE7: pairs with LE8
                std::memory_order_relaxed)) {  // failure: again
            return true;
        }
    }
    return false;
}

// The lane had no room. Somebody may have emptied it since, and not seen the mark: then at once.
void LeaseKeeper::leave_more(const LeasedQueue& queue) const noexcept {
    DirectoryEntry& entry = directory_->entry(queue.found.entry);
    SHM_STEP("lease.more");
    // LE9: pairs with src/broker/queue_lease.cpp:LE10.
    entry.lease_look.fetch_or(kMoreParked, std::memory_order_seq_cst);
    if (!queue.lane.readable()) {
        look_by(entry, 1);
    }
}

// What one chunk says about leases. It may have its next life at any moment: then its word has changed.
void LeaseKeeper::look_at(std::uint32_t chunk, std::uint64_t now_us) {
    ChunkHeader& header = *pool_->header(chunk);
    // R4: pairs with ring_inline.hpp:C0. LE8: pairs with LE7.
    const std::uint64_t word = header.word.load(std::memory_order_seq_cst);
    const ChunkState state = word_state(word);
    if (state == ChunkState::lingering) {
        leases_.free_if_unread(chunk, word);
        return;
    }
    if (state != ChunkState::claimed && state != ChunkState::parked) {
        return;
    }
    // relaxed: written before the word that we have seen
    const std::uint64_t dest = header.dest.load(std::memory_order_relaxed);
    if (dest_lane(dest) != Lane::leased) {
        return;
    }
    const std::uint32_t at =
        dest_entry(dest) < queue_of_entry_.size() ? queue_of_entry_[dest_entry(dest)] : kNoQueue;
    if (at == kNoQueue || queues_[at].found.generation != dest_generation(dest)) {
        const auto found = directory_->pinned(dest_entry(dest));
        if (state == ChunkState::parked && (!found || found->generation != dest_generation(dest))) {
            leases_.settle(chunk, word);  // parked when its queue had gone
        }
        return;
    }
    std::uint64_t parked = word;
    std::uint64_t due = 0;
    if (state == ChunkState::claimed) {
        const std::uint64_t ends = leases_.ends_at(chunk, word);
        if (ends > now_us) {
            next_[at] = std::min(next_[at], ends);
            return;
        }
        if (!leases_.expire(chunk, word, &parked)) {
            return;
        }
        SHM_STEP("lease.expired.count");
        // relaxed: a statistic
        directory_->entry(queues_[at].found.entry)
            .lease_expired.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
    } else if (due = leases_.due_at(chunk, word); due > now_us) {
        next_[at] = std::min(next_[at], due);
        return;
    }
    // relaxed: only an order to hand them out in
    const std::uint64_t sequence = leases_.sequence_seen(chunk);
    parked_.push_back({at, sequence, due, chunk, parked});
}

bool LeaseKeeper::pass(ThreadContext* context) {
    if (bug(Bug::parked_not_sought)) {
        return false;
    }
    queues_ = pin_all();
    try {
        look_at_all();
    } catch (const std::bad_alloc&) {
        // Half a pass: what it ended and did not note is parked, for the next one.
        next_.resize(0);
    }
    // In the order in which they were sent; those that have no number, because they were offered for later,
    // in the order in which they are due.
    std::sort(parked_.begin(), parked_.end(), [](const Parked& a, const Parked& b) {
        return std::tie(a.queue, a.sequence, a.due) < std::tie(b.queue, b.sequence, b.due);
    });
    std::size_t full = kNoQueue;
    for (const Parked& p : parked_) {
        if (p.queue == full) {
            continue;  // in order
        }
        if (context == nullptr) {
            leave_more(queues_[p.queue]);
            full = p.queue;
        } else if (hand_out(queues_[p.queue], p.chunk, p.word, *context) == Status::queue_full) {
            full = p.queue;
        }
    }
    bool closed = false;
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        const std::uint64_t next = next_.empty() ? lease_clock_us() + kBlindAgainUs : next_[i];
        if (next != kNever) {
            look_by(directory_->entry(queues_[i].found.entry), next);
        }
        closed = unpin(queues_[i]) || closed;
    }
    queues_.clear();
    return closed;
}

void LeaseKeeper::look_at_all() {
    parked_.clear();
    next_.assign(queues_.size(), kNever);
    queue_of_entry_.assign(directory_->used(), kNoQueue);
    for (std::uint32_t i = 0; i < queues_.size(); ++i) {
        const std::uint32_t entry = queues_[i].found.entry;
        if (entry < queue_of_entry_.size()) {
            queue_of_entry_[entry] = i;
        }
        SHM_STEP("lease.pass.begin");
        // LE8: pairs with LE7. First, so that a lease that the pass does not see sets it again.
        directory_->entry(entry).lease_look.store(0, std::memory_order_seq_cst);
    }
    const std::uint64_t now = lease_clock_us();
    if (pool_->learn() != Status::ok) {
        std::fill(next_.begin(), next_.end(), now + kBlindAgainUs);
    }
    for (std::uint32_t k = 0; k < pool_->class_count(); ++k) {
        const ChunkClass& c = pool_->chunk_class(k);
        for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
            __builtin_prefetch(pool_->header(c.first_chunk + std::min(i + 16, c.chunk_count - 1)));
            look_at(c.first_chunk + i, now);
        }
    }
}

Status LeaseKeeper::hand_out(const LeasedQueue& queue,
                             std::uint32_t chunk,
                             std::uint64_t parked,
                             ThreadContext& context) const {
    const std::uint64_t dead = leases_.dead_seen(chunk);
    if (dead != 0 && dead_entry(dead) == queue.found.entry) {
        // It was on its way, and its mover died.
        return bury(queue, chunk, parked, static_cast<ReturnReason>(dead_reason(dead)), context);
    }
    if (leases_.waits_for_its_turn(chunk)) {
        return post(queue, chunk, parked, context);
    }
    if (queue.found.info.deliveries_max != 0 &&
        leases_.deliveries_seen(chunk) >= queue.found.info.deliveries_max) {
        return bury(queue, chunk, parked, ReturnReason::too_many_deliveries, context);
    }
    Ring lane = queue.lane;
    const Status status = leases_.bring_back(chunk, parked, lane, *context.record);
    if (status == Status::ok) {
        const Ring& ring = queue.ring;
        wake(ring.control().items, threads_, [&] { return lane.readable() || ring.readable(); });
        // How often it came counts on when the domain is built again: no more records of a message than deliveries_max.
        if (queue.found.info.deliveries_max != 0 && leases_.logged_seen(chunk) != 0 &&
            parked_reason(parked) != ReturnReason::unread) {
            pool_->log()->note_moved(chunk);  // of whatever lies there when it is written
        }
    } else if (status == Status::queue_full) {
        leave_more(queue);
    }
    return status;
}

std::optional<LeasedQueue> LeaseKeeper::dead_letters(const Found& of) const {
    const auto found = directory_->dead_letters(of);
    return found ? open(*found) : std::nullopt;
}

// A circular queue is full: its oldest message goes. False: nothing went.
bool LeaseKeeper::make_room(const LeasedQueue& queue, PoolCursor& cursor) const {
    if (queue.found.kind() != Kind::circular) {
        return false;
    }
    Ring ring = queue.ring;
    std::uint32_t oldest = 0;
    std::uint64_t at = 0;
    std::uint64_t claimed = 0;
    const Status status = ring.claim(me_, &oldest, &at, &claimed);
    if (status == Status::ok) {
        static_cast<void>(leases_.acknowledge(oldest, claimed, &cursor));
        SHM_STEP("lease.bury.drop");
        // relaxed: a statistic
        directory_->entry(queue.found.entry).dropped.fetch_add(1, std::memory_order_relaxed);
    }
    return status == Status::ok || status == Status::queue_empty;
}

// The letter and its note, into the dead letters' ring. The oldest make room where they may.
Status LeaseKeeper::send_letter(LeasedQueue& dead,
                                std::uint32_t chunk,
                                std::uint64_t& taken,
                                std::uint64_t note,
                                ThreadContext& context) const {
    SHM_STEP("lease.bury.note");
    // relaxed: published by the commit
    leases_.block(chunk).dead.store(note, std::memory_order_relaxed);
    for (std::uint32_t round = 0; round < kDropRoundsMax; ++round) {
        const Status status =
            leases_.carry(chunk, taken, dead.ring, dead.found.dest(), *context.record);
        if (status != Status::queue_full || !make_room(dead, context.cursor)) {
            return status;
        }
    }
    return Status::corrupt;
}

// A condemned request, from where it is PARKED to its turn in its queue.
Status LeaseKeeper::post(const LeasedQueue& queue,
                         std::uint32_t chunk,
                         std::uint64_t parked,
                         ThreadContext& context) const {
    const std::uint64_t note = leases_.dead_seen(chunk);
    if (!leases_.take(chunk, parked)) {
        return Status::none;
    }
    leases_.begin_its_turn(chunk, parked);
    LeasedQueue to = queue;
    const Status status = send_letter(to, chunk, parked, note, context);
    if (status == Status::ok) {
        wake(to.ring.control().items, threads_, [&] { return to.ring.readable(); });
    } else {
        leases_.settle(chunk, parked);
        SHM_STEP("lease.post.dropped");
        // relaxed: a statistic
        directory_->entry(queue.found.entry).dropped.fetch_add(1, std::memory_order_relaxed);
    }
    return Status::ok;
}

bool LeaseKeeper::condemn(const Found& function,
                          std::uint32_t chunk,
                          ReturnReason reason,
                          ThreadContext& context) const {
    auto dead = dead_letters(function);
    if (!dead) {
        pool_->release(chunk, me_, context.cursor);
        return false;
    }
    // relaxed: CLAIMED by us, nobody else changes it
    std::uint64_t word = pool_->header(chunk)->word.load(std::memory_order_relaxed);
    if (leases_.condemn(chunk, word, {dead->found.dest(), function.entry, reason, 0})) {
        SHM_STEP("lease.condemn.count");
        // relaxed: a statistic
        directory_->entry(function.entry).dead_lettered.fetch_add(1, std::memory_order_relaxed);
        static_cast<void>(post(*dead, chunk, word, context));
    }
    return unpin(*dead);
}

Status LeaseKeeper::bury(const LeasedQueue& queue,
                         std::uint32_t chunk,
                         std::uint64_t seen,
                         ReturnReason reason,
                         ThreadContext& context) const {
    DirectoryEntry& entry = directory_->entry(queue.found.entry);
    if (!leases_.take(chunk, seen)) {
        if (word_state(seen) == ChunkState::claimed) {
            leases_.lose(chunk, seen);
        }
        return Status::lease_expired;
    }
    auto dead = dead_letters(queue.found);
    Status status = Status::queue_not_found;
    if (dead) {
        const std::uint64_t note = make_dead(
            wall_coarse_ns() / 1'000'000, queue.found.entry, static_cast<std::uint8_t>(reason));
        status = send_letter(*dead, chunk, seen, note, context);
    }
    SHM_STEP("lease.bury.count");
    if (status == Status::ok) {
        // relaxed: a statistic
        entry.dead_lettered.fetch_add(1, std::memory_order_relaxed);
        if (leases_.logged_seen(chunk) != 0) {
            pool_->log()->note_moved(chunk);  // of whatever lies there when it is written
        }
        wake(dead->ring.control().items, threads_, [&] { return dead->ring.readable(); });
    } else {
        // No dead letters, or no room for them: it ends here, and is counted where it could not go.
        leases_.settle(chunk, seen);
        // relaxed: a statistic
        (dead ? directory_->entry(dead->found.entry) : entry)
            .dropped.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
    }
    if (dead) {
        static_cast<void>(unpin(*dead));
    }
    return Status::ok;
}

}  // namespace telpher::shm

#include "shm/reaper.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"
#include "shm/doorbell.hpp"
#include "shm/log_table.hpp"

#include <algorithm>
#include <thread>
#include <vector>

namespace telpher::shm {

namespace {

// So often, in even distances, a pass over the chunks lets others that want its processor have it: those who survived
// a death go on working while it is cleaned up behind the dead. Not oftener: to yield may cost a slice of whoever
// never rests, and what the dead held is waited for.
constexpr std::uint32_t kRestsInAPass = 8;

}  // namespace

void Reaper::start(ProcessTable* table,
                   std::span<ThreadRecord> threads,
                   Directory* directory,
                   ChunkPool* pool,
                   bool visits) noexcept {
    visits_ = visits;
    table_ = table;
    threads_ = threads;
    directory_ = directory;
    pool_ = pool;
    calls_ = Calls(pool, table, threads);
    leases_ = Leases(pool, kNobodysChunk);
}

bool Reaper::help(std::uint32_t slot, std::uint32_t me, std::uint64_t gone) {
    const std::uint64_t identity = table_->judge(slot, gone);
    if (identity == 0) {
        table_->reuse(slot, me);
        return false;
    }
    if (!table_->begin_reaping(me, identity)) {
        return false;
    }
    const bool complete = sweep(identity, me);
    table_->end_reaping(me, identity, complete);
    return complete;
}

std::uint32_t Reaper::help_all(std::uint32_t me) {
    std::uint32_t reaped = 0;
    for (std::uint32_t slot = 0; slot < table_->count(); ++slot) {
        if (slot != me) {
            reaped += help(slot, me) ? 1U : 0U;
        }
    }
    return reaped;
}

// False: some of the domain's memory cannot be mapped here, the dead may hold a piece of it, and
// somebody else must finish.
bool Reaper::sweep(std::uint64_t identity, std::uint32_t me) {
    // What the dead used was complete before it used it.
    if (pool_->learn() != Status::ok) {
        return false;
    }
    const std::uint32_t slot = identity_slot(identity);
    std::vector<std::uint64_t> inflight;
    std::vector<std::uint64_t> victims;
    for (ThreadRecord& thread : threads_) {
        // K2: pairs with the claim of the record (thread_context.cpp:T1).
        if (thread.owner.load(std::memory_order_acquire) == identity) {
            SHM_STEP("reap.inflight");
            // relaxed: its writer is dead, and its death was seen through the kernel's lock
            inflight.push_back(thread.inflight.load(std::memory_order_relaxed));
            SHM_STEP("reap.victim");
            victims.push_back(thread.victim.load(std::memory_order_relaxed));  // relaxed: as above
        }
    }
    // First, so that the pass over the chunks frees what they named.
    reap_subscribers(identity);
    for (const std::uint64_t victim : victims) {
        retire_victim(victim);
    }
    // Before any chunk: what the dead was offering is told from its chunk.
    if (!bug(Bug::records_reaped_last)) {
        directory_->idempotency().reap(slot, *directory_);
    }
    if (bug(Bug::attached_cleared_first)) {
        clear_attached(slot);
    }
    if (pool_->log() != nullptr) {
        pool_->log()->sweep(identity);
    }
    if (!sweep_chunks(slot, me, inflight)) {
        return false;
    }
    if (pool_->log() != nullptr) {
        pool_->log()->sweep_written(identity, *pool_, directory_->idempotency());
    }
    if (bug(Bug::records_reaped_last)) {
        directory_->idempotency().reap(slot, *directory_);
    }
    // Behind the last one, so that they are handed out together, in order; and whoever parked them.
    const std::uint32_t used = directory_->used();
    for (std::uint32_t i = 0; i < used; ++i) {
        if (directory_->live_and_leased(i)) {
            LeaseKeeper::look_by(directory_->entry(i), 1);
        }
    }
    sweep_waiters(identity);
    for (ThreadRecord& thread : threads_) {
        std::uint64_t expected = identity;
        // relaxed failure: another helper was faster
        SHM_STEP("reap.thread");
        // K3: pairs with thread_context.cpp:T1. The next user of the record finds its chunks
        // resolved.
        if (thread.owner.load(std::memory_order_relaxed) == identity) {  // relaxed: the CAS decides
            // K3: as above.
            thread.owner.compare_exchange_strong(
                expected,
                0,
                std::memory_order_release,
                std::memory_order_relaxed);  // failure: another helper was faster
        }
    }
    clear_attached(slot);
    return true;
}

bool Reaper::sweep_chunks(std::uint32_t slot,
                          std::uint32_t me,
                          std::span<const std::uint64_t> inflight) {
    bool complete = true;
    const std::uint32_t rest_every = pool_->chunk_count() / (kRestsInAPass + 1) + 1;
    std::uint32_t since_rest = 0;
    for (std::uint32_t k = 0; k < pool_->class_count(); ++k) {
        const ChunkClass& c = pool_->chunk_class(k);
        for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
            __builtin_prefetch(pool_->header(c.first_chunk + std::min(i + 16, c.chunk_count - 1)));
            complete = sweep_chunk(c.first_chunk + i, slot, me, inflight) && complete;
            if (++since_rest == rest_every) {
                since_rest = 0;
                std::this_thread::yield();
            }
        }
    }
    return complete;
}

bool Reaper::sweep_chunk(std::uint32_t chunk,
                         std::uint32_t slot,
                         std::uint32_t me,
                         std::span<const std::uint64_t> inflight) {
    Word& word = pool_->header(chunk)->word;
    for (;;) {
        // K1: pairs with ring_inline.hpp:C0 and ring_inline.hpp:C2; with call.cpp:CW1 and call.cpp:CW7 it
        // is the second half of store-then-load: the dead is DEAD, then this look; an answer, then a look at
        // its caller's life.
        std::uint64_t seen = word.load(std::memory_order_seq_cst);
        const ChunkState state = word_state(seen);
        if (const Settled done = sweep_special(chunk, seen, slot, inflight); done != Settled::no) {
            if (done == Settled::again) {
                continue;
            }
            return true;
        }
        if (state == ChunkState::free ||
            (word_owner(seen) != slot &&
             !(bug(Bug::reap_claimed_by_anybody) && state == ChunkState::claimed))) {
            return true;
        }
        if (state == ChunkState::owned && directory_->idempotency().adopt(chunk, seen)) {
            continue;
        }
        SHM_STEP("reap.chunk");
        if (state == ChunkState::offered) {
            const std::uint64_t ref = make_ref(word_generation(seen), chunk);
            const bool in_flight =
                std::find(inflight.begin(), inflight.end(), ref) != inflight.end();
            if (!in_flight) {
                return true;
            }
            const Place place = place_of(chunk, ref);
            if (place == Place::retired) {
                continue;
            }
            if (place != Place::nowhere) {
                return place == Place::committed;
            }
        }
        // Read before the chunk can have its next owner. relaxed: written before OFFERED (K1).
        const std::uint64_t dest = pool_->header(chunk)->dest.load(std::memory_order_relaxed);
        if (state == ChunkState::claimed && awaited(chunk, dest)) {
            if (!calls_.fail(chunk, seen)) {
                continue;  // its caller has given up, or a helper was faster
            }
            count_abandoned(dest);
            return true;
        }
        if (const Settled done = condemn(chunk, seen, dest, me); done != Settled::no) {
            if (done == Settled::again) {
                continue;
            }
            return done == Settled::yes;
        }
        SHM_STEP("reap.chunk.cas");
        // K4: pairs with chunk_pool.hpp:P1. Failure: a helper, or the consumer of a committed
        // message, was faster: look again.
        if (word.compare_exchange_strong(seen,
                                         make_word(ChunkState::free, 0, word_generation(seen)),
                                         std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {  // failure: read again above
            pool_->mark_free(chunk);
            if (state == ChunkState::claimed ||
                (state == ChunkState::offered && dest_lane(dest) == Lane::returns)) {
                count_abandoned(dest);
            }
            return true;
        }
    }
}

// An answer, or a call whose caller gave up. Whoever died: an answer that nobody will read any more was
// perhaps left by a server that is gone, too. False: look again.
bool Reaper::settle_call(std::uint32_t chunk, std::uint64_t seen, std::uint32_t slot) {
    const bool over = word_state(seen) == ChunkState::orphaned ? word_owner(seen) == slot
                                                               : calls_.deserted(chunk);
    SHM_STEP("reap.call");
    return !over || calls_.discard(chunk, seen);
}

// Whether a chunk that the dead had claimed is a request whose caller waits for an answer. Its
// function's entry cannot be taken apart meanwhile, as in `place_of`.
bool Reaper::awaited(std::uint32_t chunk, std::uint64_t dest) const {
    const auto found = directory_->pinned(dest_entry(dest));
    return found && found->generation == dest_generation(dest) && found->kind() == Kind::function &&
           !bug(Bug::reaper_frees_calls) && !is_oneway(*pool_->header(chunk));
}

// Where an in-flight chunk of the dead is. Its ring cannot be recycled meanwhile: the dead still has
// its attached bit. (If another helper has cleared it, it has resolved this chunk before, and our CAS
// fails.)
Reaper::Place Reaper::place_of(std::uint32_t chunk, std::uint64_t ref) {
    SHM_STEP("reap.dest");
    // relaxed: written before OFFERED, which we have seen (K1)
    const std::uint64_t dest = pool_->header(chunk)->dest.load(std::memory_order_relaxed);
    const auto found = directory_->pinned(dest_entry(dest));
    if (!found || found->generation != dest_generation(dest) || bug(Bug::no_ring_scan)) {
        return Place::nowhere;
    }
    if (dest_lane(dest) == Lane::returns) {
        return bug(Bug::reaper_frees_returned) ? Place::nowhere : complete_return(*found, ref);
    }
    const auto ring = directory_->ring(*found);
    if (ring && ring->holds(ref)) {
        return Place::committed;
    }
    if (auto topic = directory_->topic(*found)) {
        // Not committed, or evicted since, and perhaps being read.
        if (topic->retire(ref,
                          word_owner(pool_->header(chunk)->word.load(std::memory_order_relaxed)))) {
            return Place::retired;
        }
    }
    return Place::nowhere;
}

// What a dead publisher evicted and had not retired; or nothing, if it was killed before its CAS: then
// the ring holds it, or another evicted it and retires it.
void Reaper::retire_victim(std::uint64_t ref) {
    const std::uint32_t chunk = ref_chunk(ref);
    if (ref == 0 || ref == kNoRef || ref == kClosedRef || pool_->reach(chunk) != Status::ok) {
        return;
    }
    // relaxed: of a chunk that was read in a slot of its ring
    const std::uint64_t dest = pool_->header(chunk)->dest.load(std::memory_order_relaxed);
    const auto found = directory_->pinned(dest_entry(dest));
    if (!found || found->generation != dest_generation(dest)) {
        return;
    }
    auto topic = directory_->topic(*found);
    if (topic && !topic->holds(ref)) {
        topic->retire(ref, kNobodysChunk);
    }
}

// One CAS each, so that a helper that was stopped does nothing to the record's next owner.
void Reaper::reap_subscribers(std::uint64_t identity) {
    for (const Found& found : directory_->list()) {
        if (found.family() != Family::topic) {
            continue;
        }
        if (auto topic = directory_->topic(found)) {
            for (SubscriberRecord& record : topic->subscribers()) {
                topic->reap(record, identity);
            }
        }
    }
}

// What was on its way back into a queue is brought there: it had been offered and accepted, and
// nobody has read it. We pin the ring ourselves, because another helper may finish before our store.
// A lane that is full, or gone, lets it fall: freed and counted as abandoned.
Reaper::Place Reaper::complete_return(const Found& found, std::uint64_t ref) {
    if (visits_) {
        return Place::unknown;
    }
    if (!directory_->attach(found)) {
        return Place::nowhere;
    }
    auto lane = directory_->returns_lane(found);
    const bool done = lane && lane->complete(ref) == Status::ok;
    directory_->detach(found.entry);
    return done ? Place::committed : Place::nowhere;
}

// By the one helper whose CAS freed the chunk. One that is killed in between leaves the count one
// short.
void Reaper::count_abandoned(std::uint64_t dest) const noexcept {
    const auto found = directory_->pinned(dest_entry(dest));
    if (found && found->generation == dest_generation(dest)) {
        // relaxed: a statistic
        directory_->entry(found->entry).abandoned.fetch_add(1, std::memory_order_relaxed);
    }
}

// The dead may have been chosen by a waker, or may have been a waker that took a bit and did not
// ring: every thread is rung, whatever its bit says (tests/model/wait.pml).
void Reaper::sweep_waiters(std::uint64_t identity) {
    const std::uint32_t slot = identity_slot(identity);
    for (const Found& found : directory_->list()) {
        DirectoryEntry& entry = directory_->entry(found.entry);
        // relaxed: only the dead process itself or its reapers change this bit
        if ((entry.attached[slot / 64].load(std::memory_order_relaxed) >> (slot % 64) & 1U) == 0) {
            continue;
        }
        if (const auto ring = directory_->ring(found)) {
            repair_summary(ring->control().items);
            repair_summary(ring->control().space);
        }
    }
    for (ThreadRecord& thread : threads_) {
        // K2: pairs with thread_context.cpp:T1.
        const std::uint64_t owner = thread.owner.load(std::memory_order_acquire);
        if (owner != 0 && owner != identity) {
            ring_doorbell(thread);
        }
    }
}

void Reaper::clear_attached(std::uint32_t slot) const noexcept {
    const std::uint32_t count = directory_->used();
    for (std::uint32_t i = 0; i < count; ++i) {
        DirectoryEntry& entry = directory_->entry(i);
        const std::uint64_t bit = 1ULL << (slot % 64);
        // relaxed: a first look; the RMW decides
        if ((entry.attached[slot / 64].load(std::memory_order_relaxed) & bit) != 0) {
            SHM_STEP("reap.attached");
            // K5: pairs with directory_recycle.cpp:G2. Everything the dead had in flight there is
            // resolved.
            entry.attached[slot / 64].fetch_and(~bit, std::memory_order_release);
        }
        if ((entry.consumers[slot / 64].load(std::memory_order_relaxed) & bit) !=
            0) {  // relaxed: a statistic
            entry.consumers[slot / 64].fetch_and(
                ~bit, std::memory_order_relaxed);  // relaxed: a statistic
        }
    }
}

}  // namespace telpher::shm

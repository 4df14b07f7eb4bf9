#include "shm/leases.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"
#include "shm/log_table.hpp"

namespace telpher::shm {

__attribute__((noinline, no_sanitize("thread"))) std::uint64_t glance(const Word& word) noexcept {
    // LE2: pairs with LE1.
    return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(&word), __ATOMIC_ACQUIRE);
}

std::uint64_t lease_clock_us() noexcept { return monotonic_coarse_ns() / 1000; }

void Leases::open(std::uint32_t chunk) const noexcept {
    LeaseBlock& b = block(chunk);
    // relaxed, all: the chunk is ours, and published by its commit (ring_inline.hpp:C0)
    const std::uint64_t generation = word_generation(word(chunk).load(std::memory_order_relaxed));
    b.deadline.store(0, std::memory_order_relaxed);  // relaxed: as above
    b.due.store(0, std::memory_order_relaxed);       // relaxed: as above
    for (Word& reader : b.readers) {
        reader.store(0, std::memory_order_relaxed);  // relaxed: as above
    }
    // relaxed: as above. The commit raises the generation by one.
    b.count.store(make_count(generation + 1, 0), std::memory_order_relaxed);
    b.sequence.store(0, std::memory_order_relaxed);  // relaxed: as above
    b.returned.store(0, std::memory_order_relaxed);  // relaxed: as above
    b.dead.store(0, std::memory_order_relaxed);      // relaxed: as above
}

Leases::Begun Leases::begin(std::uint32_t chunk,
                            std::uint64_t claimed,
                            std::uint64_t until_us,
                            std::uint64_t sequence) const noexcept {
    LeaseBlock& b = block(chunk);
    const std::uint64_t generation = word_generation(claimed);
    Begun begun;
    // relaxed, all: written before OFFERED, which the claim has seen (R4), or by us
    const std::uint64_t count = b.count.load(std::memory_order_relaxed);
    begun.deliveries = count_deliveries(count) + 1;
    SHM_STEP("lease.begin.count");
    // relaxed: as above
    b.count.store(make_count(count_first(count), begun.deliveries), std::memory_order_relaxed);
    const std::uint64_t returned = b.returned.load(std::memory_order_relaxed);  // relaxed: as above
    if (returned >> 24 == (generation & kLowGenerationMask)) {
        begun.reason = static_cast<ReturnReason>(static_cast<std::uint8_t>(returned));
    }
    if (logged_seen(chunk) != 0) {
        sequence = 0;  // its number in the log
    } else if (sequence != 0) {
        SHM_STEP("lease.begin.sequence");
        b.sequence.store(sequence, std::memory_order_relaxed);  // relaxed: as above
    }
    // relaxed: as above
    const std::uint64_t number =
        sequence != 0 ? sequence : b.sequence.load(std::memory_order_relaxed);
    begun.sequence = (number & kLogged) != 0 ? logged_lsn(number) : number;
    SHM_STEP("lease.begin.deadline");
    // relaxed: names its generation; published by the note
    b.deadline.store(make_moment(generation, until_us), std::memory_order_relaxed);
    note(chunk, generation);  // last: only from here on may the lease expire
    return begun;
}

// Without a place, because leases before this one expired and their holders are still noted, this
// lease does not expire.
void Leases::note(std::uint32_t chunk, std::uint64_t generation) const noexcept {
    for (Word& reader : block(chunk).readers) {
        // relaxed: the chunk is ours; notes of others are only taken away
        if (reader.load(std::memory_order_relaxed) == 0) {
            SHM_STEP("lease.note");
            // LE1: pairs with LE2. Who ends this lease has seen the note, and all that we wrote before.
            // seq_cst: the note, then its holder's look at `lease_look` (LE7).
            reader.store(make_reader(generation, me_), std::memory_order_seq_cst);
            return;
        }
    }
}

Word* Leases::note_of(std::uint32_t chunk, std::uint64_t generation) const noexcept {
    for (Word& reader : block(chunk).readers) {
        // relaxed: written by us, or by another who is not looked for
        if (reader.load(std::memory_order_relaxed) == make_reader(generation, me_)) {
            return &reader;
        }
    }
    return nullptr;
}

// We do not read any more. The chunk is ours, or our note keeps it.
void Leases::take_note_away(std::uint32_t chunk, std::uint64_t generation) const noexcept {
    if (Word* note = note_of(chunk, generation)) {
        SHM_STEP("lease.note.away");
        // LE4: pairs with LE3; then a CAS on the word, or a look at it.
        note->store(0, std::memory_order_seq_cst);
    }
}

bool Leases::read_by_others(std::uint32_t chunk, std::uint64_t but) const noexcept {
    bool any = false;
    for (const Word& reader : block(chunk).readers) {
        // LE3: pairs with LE4. After our CAS; or of leases before ours, which our claim has seen.
        const std::uint64_t seen = reader.load(std::memory_order_seq_cst);
        any = any || (seen != 0 && seen != but);
    }
    return any && !bug(Bug::readers_not_noted);
}

void Leases::set_logged(std::uint32_t chunk, std::uint64_t lsn, LoggedShare share) const noexcept {
    SHM_STEP("lease.logged");
    // relaxed: the chunk is ours, and published by its commit
    block(chunk).sequence.store(make_logged(lsn, share), std::memory_order_relaxed);
}

void Leases::set_deliveries(std::uint32_t chunk, std::uint32_t deliveries) const noexcept {
    Word& count = block(chunk).count;
    // relaxed, both: the chunk is ours, and published by its commit
    const std::uint64_t first = count_first(count.load(std::memory_order_relaxed));
    count.store(make_count(first, deliveries), std::memory_order_relaxed);  // relaxed: as above
}

std::uint64_t Leases::logged_seen(std::uint32_t chunk) const noexcept {
    const std::uint64_t sequence = pool_->log() != nullptr ? glance(block(chunk).sequence) : 0;
    return logged_lsn(sequence);
}

LoggedShare Leases::share_seen(std::uint32_t chunk) const noexcept {
    return logged_share(glance(block(chunk).sequence));
}

void Leases::end_logged(std::uint64_t lsn) const noexcept {
    if (lsn != 0) [[unlikely]] {
        pool_->log()->note_ended(lsn);
    }
}

// Killed before the CAS: the lease goes on, and our reaper parks the message: it is handed out again.
// After it: OWNED by us or LINGERING; one that is in the log, and not noted as ended, comes again when the domain is
// built again.
Status Leases::acknowledge(std::uint32_t chunk,
                           std::uint64_t claimed,
                           PoolCursor* cursor) const noexcept {
    const std::uint64_t generation = word_generation(claimed);
    if (read_by_others(chunk, make_reader(generation, me_))) [[unlikely]] {
        take_note_away(chunk, generation);
        if (settle(chunk, claimed)) {
            return Status::ok;
        }
        lose(chunk, claimed);
        return Status::lease_expired;
    }
    const std::uint64_t lsn = logged_seen(chunk);
    std::uint64_t expected = claimed;
    SHM_STEP("lease.ack.cas");
    if (bug(Bug::acknowledged_by_store)) {
        // relaxed: the seeded bug
        word(chunk).store(make_word(ChunkState::owned, me_, generation), std::memory_order_relaxed);
    } else if (!word(chunk).compare_exchange_strong(
                   expected,
                   make_word(ChunkState::owned, me_, generation),
                   std::memory_order_release,     // LE5: pairs with LE6: nobody ends it any more
                   std::memory_order_relaxed)) {  // failure: it is lost
        lose(chunk, claimed);
        return Status::lease_expired;
    }
    end_logged(lsn);
    if (cursor != nullptr) {
        pool_->release(chunk, me_, *cursor);
    } else {
        pool_->free_now(chunk);
    }
    return Status::ok;
}

bool Leases::settle(std::uint32_t chunk, std::uint64_t seen) const noexcept {
    const std::uint64_t generation = (word_generation(seen) + 1) & kGenerationMask;
    const bool read = read_by_others(chunk, 0);
    const std::uint64_t lsn = logged_seen(chunk);
    const std::uint64_t next =
        make_word(read ? ChunkState::lingering : ChunkState::free, 0, generation);
    SHM_STEP("lease.settle.cas");
    // LE3: pairs with LE4. Our CAS, then the look at the readers; their CAS, then the look at the word.
    // P2: pairs with chunk_pool.hpp:P1.
    if (!word(chunk).compare_exchange_strong(
            seen,
            next,
            std::memory_order_seq_cst,
            std::memory_order_relaxed)) {  // failure: another was faster
        return false;
    }
    end_logged(lsn);
    if (read) {
        free_if_unread(chunk, next);
    } else {
        pool_->mark_free(chunk);
    }
    return true;
}

void Leases::free_if_unread(std::uint32_t chunk, std::uint64_t seen) const noexcept {
    if (word_state(seen) != ChunkState::lingering || read_by_others(chunk, 0)) {
        return;
    }
    SHM_STEP("lease.unread.cas");
    // P2: pairs with chunk_pool.hpp:P1.
    if (word(chunk).compare_exchange_strong(
            seen,
            make_word(ChunkState::free, 0, word_generation(seen)),
            std::memory_order_acq_rel,
            std::memory_order_relaxed)) {  // failure: another was faster
        pool_->mark_free(chunk);
    }
}

// Killed or stopped in between: a lease that is not noted yet.
Status Leases::extend(std::uint32_t chunk,
                      std::uint64_t& claimed,
                      std::uint64_t until_us) const noexcept {
    const std::uint64_t generation = word_generation(claimed);
    const std::uint64_t next =
        make_word(ChunkState::claimed, me_, (generation + 1) & kGenerationMask);
    std::uint64_t expected = claimed;
    SHM_STEP("lease.extend.cas");
    // LE5: pairs with LE6. Who read the old deadline fails.
    if (!word(chunk).compare_exchange_strong(expected,
                                             next,
                                             std::memory_order_acq_rel,
                                             std::memory_order_relaxed)) {  // failure: it is lost
        return Status::lease_expired;
    }
    claimed = next;
    SHM_STEP("lease.extend.deadline");
    // relaxed: names its generation
    block(chunk).deadline.store(make_moment(generation + 1, until_us), std::memory_order_relaxed);
    if (Word* old = note_of(chunk, generation)) {
        SHM_STEP("lease.extend.note");
        // LE1: pairs with LE2.
        old->store(make_reader(generation + 1, me_), std::memory_order_seq_cst);
    } else {
        note(chunk, generation + 1);  // there may be a place now
    }
    return Status::ok;
}

Status Leases::park(std::uint32_t chunk,
                    std::uint64_t claimed,
                    ReturnReason reason,
                    std::uint64_t due_us,
                    std::uint64_t* parked) const noexcept {
    const std::uint64_t generation = word_generation(claimed);
    // By two: a time that is stored in vain names no generation that an expiry makes.
    *parked = make_parked(reason, (generation + 2) & kGenerationMask);
    if (due_us != 0) {
        SHM_STEP("lease.park.due");
        // relaxed: names its generation; published by the CAS below
        block(chunk).due.store(make_moment(generation + 2, due_us), std::memory_order_relaxed);
    }
    take_note_away(chunk, generation);  // from here on the lease does not expire
    std::uint64_t expected = claimed;
    SHM_STEP("lease.park.cas");
    // LE5: pairs with LE6. Our last use of the chunk happened before its next consumer's first.
    if (!word(chunk).compare_exchange_strong(expected,
                                             *parked,
                                             std::memory_order_acq_rel,
                                             std::memory_order_relaxed)) {  // failure: it is lost
        lose(chunk, claimed);
        return Status::lease_expired;
    }
    return Status::ok;
}

// Killed in it: our reaper takes the note away, and looks at the word.
void Leases::lose(std::uint32_t chunk, std::uint64_t claimed) const noexcept {
    take_note_away(chunk, word_generation(claimed));
    SHM_STEP("lease.lose.word");
    // LE4: pairs with LE3.
    free_if_unread(chunk, word(chunk).load(std::memory_order_seq_cst));
}

std::uint64_t Leases::ends_at(std::uint32_t chunk, std::uint64_t claimed) const noexcept {
    const LeaseBlock& b = block(chunk);
    const std::uint64_t generation = word_generation(claimed);
    bool noted = bug(Bug::readers_not_noted);
    for (const Word& reader : b.readers) {
        noted = noted || glance(reader) == make_reader(generation, word_owner(claimed));
    }
    const std::uint64_t deadline = glance(b.deadline);
    return noted && moment_names(deadline, generation) ? moment_us(deadline) : ~0ULL;
}

std::uint64_t Leases::due_at(std::uint32_t chunk, std::uint64_t parked) const noexcept {
    const std::uint64_t due = glance(block(chunk).due);
    return due != 0 && moment_names(due, word_generation(parked)) ? moment_us(due) : 0;
}

std::uint64_t Leases::sequence_seen(std::uint32_t chunk) const noexcept {
    const std::uint64_t sequence = glance(block(chunk).sequence);
    return (sequence & kLogged) != 0 ? make_logged(logged_lsn(sequence), 0) : sequence;
}

std::uint64_t Leases::dead_seen(std::uint32_t chunk) const noexcept {
    return glance(block(chunk).dead);
}

bool Leases::waits_for_its_turn(std::uint32_t chunk) const noexcept {
    return count_first(glance(block(chunk).count)) == 0;
}

std::uint32_t Leases::deliveries_seen(std::uint32_t chunk) const noexcept {
    return count_deliveries(glance(block(chunk).count));
}

bool Leases::expire(std::uint32_t chunk,
                    std::uint64_t claimed,
                    std::uint64_t* parked) const noexcept {
    *parked =
        make_parked(ReturnReason::lease_expired, (word_generation(claimed) + 1) & kGenerationMask);
    SHM_STEP("lease.expire.cas");
    // LE6: pairs with LE5. Who is done with the message later sees the note that we have seen.
    return word(chunk).compare_exchange_strong(
        claimed,
        *parked,
        std::memory_order_acq_rel,
        std::memory_order_relaxed);  // failure: it ended otherwise
}

// A note of the dead, seen while the chunk's word is `seen`, keeps the chunk until it is taken away: the CAS
// meets it, or nothing.
bool Leases::forget_reader(std::uint32_t chunk,
                           std::uint64_t seen,
                           std::uint32_t dead) const noexcept {
    for (Word& reader : block(chunk).readers) {
        std::uint64_t note = glance(reader);
        if (note == 0 || (note & 0xFFFFFFU) != dead || bug(Bug::readers_not_forgotten)) {
            continue;
        }
        SHM_STEP("lease.forget.look");
        // R4: pairs with ring_inline.hpp:C0. The chunk has not had its next life at the glance.
        if (word(chunk).load(std::memory_order_seq_cst) != seen) {
            return false;
        }
        SHM_STEP("lease.forget.reader");
        // LE4: pairs with LE3.
        reader.compare_exchange_strong(note, 0, std::memory_order_seq_cst);
        // LE4: pairs with LE3.
        free_if_unread(chunk, word(chunk).load(std::memory_order_seq_cst));
    }
    return true;
}

bool Leases::park_for_dead(std::uint32_t chunk, std::uint64_t seen) const noexcept {
    SHM_STEP("lease.reap.cas");
    // K4: pairs with LE5. Failure: a helper, or whoever ended the lease, was faster.
    return word(chunk).compare_exchange_strong(
        seen,
        make_parked(ReturnReason::consumer_died, (word_generation(seen) + 1) & kGenerationMask),
        std::memory_order_acq_rel,
        std::memory_order_relaxed);  // failure: as above
}

bool Leases::first_offer(std::uint32_t chunk, std::uint64_t word) const noexcept {
    // relaxed: written before OFFERED, which the caller has seen
    return count_first(block(chunk).count.load(std::memory_order_relaxed)) ==
           (word_generation(word) & kLowGenerationMask);
}

}  // namespace telpher::shm

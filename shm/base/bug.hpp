#pragma once
// Seeded bugs: deliberate mistakes that the crash harness must catch, so that a green run means
// something.
//
//   Release   `bug(...)` is a compile-time false: the mistakes do not exist in the product.
//   Tests     built with TELPHER_STEPS, a harness sets `seeded_bug` before it starts its processes.

namespace telpher::shm {
enum class Bug {
    none,
    no_generation_check,  // a claim believes any OFFERED word, whatever its generation
    no_ring_scan,         // the reaper frees every in-flight chunk without looking into the ring
    no_reaper,            // the dead are never reaped
    closed_only_at_tail,  // the close sentinel is noticed only at p == t+1
    unguarded_distance,   // t-h is taken although h > t
    head_before_claim,    // the head hint is raised before the claim
    reap_claimed_by_anybody,   // the reaper frees CLAIMED words without comparing the owner
    dest_after_commit,         // the destination is written after the commit
    summary_cleared_late,      // a waker clears the summary after it scanned the word
    attached_cleared_first,    // the reaper clears attached bits before the chunk pass
    drop_not_released,         // a producer keeps what it drops from a circular queue
    reaper_frees_returned,     // a reaper frees what was on its way back into a queue
    unread_future_drops,       // the end of a future releases the message that nobody has read
    orphans_stay,              // temporary queues of the dead are not closed
    grow_counted_first,        // a data segment is counted before its file is complete
    free_without_hazards,      // an evicted message of a topic is freed without a look at hazards
    cursor_before_validation,  // a subscriber believes its copy without a second look at the chunk
    join_at_hint,              // a subscriber begins where the tail hint points
    no_recheck_after_join,     // attach does not look at the domain's state after it joined
    answer_stored,             // a server answers a call by a store, without a look at the word
    reaper_frees_calls,        // a reaper frees what the dead server had claimed, and tells nobody
    caller_not_checked,        // nobody looks whether the caller of an answered call still lives
    second_chunk_kept,         // who frees an answer forgets the chunk that it names
    acknowledged_by_store,   // a consumer acknowledges by a store, whoever has the message by then
    readers_not_noted,       // nobody looks who reads under a lease that expired
    readers_not_forgotten,   // a reaper leaves the notes of dead readers
    reaper_frees_leased,     // a reaper frees what the dead had leased
    due_after_parked,        // an offer for later is parked before its time is noted
    parked_not_sought,       // after a death nobody looks for what was parked
    proposal_not_checked,    // who proposes a request does not look whether another did
    response_not_kept,       // a reaper frees a response that a record names
    uncertain_forgotten,     // a reaper forgets what the dead ran
    offer_not_noted,         // an offer does not say which chunk it commits
    reaper_frees_oneway,     // a reaper frees the one-way requests of the dead
    settled_before_written,  // who writes the log confirms before it has written
    written_ends_always,     // a reaper ends what the dead had written, though it is in its queue
    flushed_before_written,  // who writes the log tells those who flush before it has written
    request_not_logged,      // the log does not say which request a message was of
    withdrawn_is_done,  // what never came to its queue ends in the log as if it had been delivered
    hint_not_read_again,  // who walks over positions never looks at its hint again
    records_reaped_last,  // a reaper frees chunks before it looks what became of offers
};
#ifdef TELPHER_STEPS
inline Bug seeded_bug = Bug::none;
inline bool bug(Bug which) { return seeded_bug == which; }
#else
constexpr bool bug(Bug /*which*/) { return false; }
#endif
}  // namespace telpher::shm

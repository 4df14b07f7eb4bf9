#include "shm/call.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"

namespace telpher::shm {

Calls::Look Calls::look_before_sleep(std::uint32_t chunk, std::uint32_t me) const noexcept {
    SHM_STEP("call.look.last");
    // CW2: pairs with CW1 (call.cpp:CW1), and the second half of store-then-load (call.hpp:CW4).
    return judge(word(chunk).load(std::memory_order_seq_cst), me);
}

bool Calls::queued(std::uint32_t chunk) const noexcept {
    // CW2: pairs with CW1.
    return word_state(word(chunk).load(std::memory_order_acquire)) == ChunkState::offered;
}

// Killed before the CAS: the call is as it was, and the caller's death is found by others. After it:
// OWNED by the dead, or ORPHANED and its server's.
Calls::GivenUp Calls::give_up(std::uint32_t chunk, std::uint32_t me, Give how) const noexcept {
    // CW2: pairs with CW1.
    std::uint64_t seen = word(chunk).load(std::memory_order_acquire);
    for (;;) {
        const ChunkState state = word_state(seen);
        if (state != ChunkState::offered &&
            (state != ChunkState::claimed || how == Give::up_unless_begun)) {
            return GivenUp::ended;
        }
        const bool unsent = state == ChunkState::offered;
        const std::uint64_t next =
            unsent ? make_word(ChunkState::owned, me, word_generation(seen))
                   : make_word(ChunkState::orphaned, word_owner(seen), word_generation(seen));
        SHM_STEP("call.give_up.cas");
        // CW5: pairs with CW6. The server that finds it ORPHANED is the only one who touches it.
        if (word(chunk).compare_exchange_strong(seen,
                                                next,
                                                std::memory_order_acq_rel,
                                                // CW2: pairs with CW1. Answered meanwhile.
                                                std::memory_order_acquire)) {
            return unsent ? GivenUp::unsent : GivenUp::orphaned;
        }
    }
}

std::uint32_t Calls::response(std::uint32_t chunk, std::uint32_t me) const noexcept {
    // relaxed: written before REPLIED, which we have seen (CW2)
    const std::uint64_t ref = block(chunk).reply.load(std::memory_order_relaxed);
    if (ref == kNoRef) [[likely]] {
        return chunk;
    }
    const std::uint32_t second = ref_chunk(ref);
    if (pool_->reach(second) != Status::ok) {
        return kNoChunk;
    }
    // CW2: pairs with CW7.
    const std::uint64_t seen = word(second).load(std::memory_order_acquire);
    const bool ours = word_state(seen) == ChunkState::replied && word_owner(seen) == me &&
                      ref_names(ref, word_generation(seen));
    return ours ? second : kNoChunk;
}

// Killed anywhere: FAILED, its caller dead; the second chunk goes with it, or went before.
void Calls::reopen(std::uint32_t chunk) const noexcept {
    free_second(chunk);
    CallBlock& b = block(chunk);
    SHM_STEP("call.reopen");
    b.reply.store(kNoRef, std::memory_order_relaxed);  // relaxed: published by the commit
    b.outcome.store(0, std::memory_order_relaxed);     // relaxed: as above
}

bool Calls::wanted(std::uint32_t chunk) const noexcept {
    // relaxed: written before OFFERED, which the claim has seen
    return table_->alive(block(chunk).client.load(std::memory_order_relaxed));
}

// Killed before the second chunk's word moves: OWNED by the dead, the name leads to nothing. After it:
// the caller's, and whoever frees the request finds it by its name.
void Calls::hand_over(std::uint32_t chunk, std::uint32_t second) const noexcept {
    CallBlock& from = block(chunk);
    CallBlock& to = block(second);
    // relaxed, all: both chunks are ours
    const std::uint64_t client = from.client.load(std::memory_order_relaxed);
    to.client.store(client, std::memory_order_relaxed);   // relaxed: published by CW7
    to.thread.store(0, std::memory_order_relaxed);        // relaxed: as above
    to.deadline.store(~0ULL, std::memory_order_relaxed);  // relaxed: as above
    to.reply.store(kNoRef, std::memory_order_relaxed);    // relaxed: as above
    to.outcome.store(0, std::memory_order_relaxed);       // relaxed: as above
    const std::uint64_t generation =
        (word_generation(word(second).load(std::memory_order_relaxed)) + 1) &  // relaxed: ours
        kGenerationMask;
    SHM_STEP("call.second.name");
    // relaxed: published by the answer, or read when we are dead
    from.reply.store(make_ref(generation, second), std::memory_order_relaxed);
    SHM_STEP("call.second.hand_over");
    // CW7: pairs with CW2 and with reaper.cpp:K1. The response, and whose it is.
    word(second).store(make_word(ChunkState::replied, identity_slot(client), generation),
                       std::memory_order_release);
}

bool Calls::answer(std::uint32_t chunk, std::uint32_t me) const noexcept {
    CallBlock& b = block(chunk);
    // relaxed, all: ours until the CAS; the word is CLAIMED by us, or ORPHANED
    const std::uint64_t client = b.client.load(std::memory_order_relaxed);
    const std::uint64_t thread = b.thread.load(std::memory_order_relaxed);  // relaxed: as above
    const std::uint64_t generation =
        word_generation(word(chunk).load(std::memory_order_relaxed));  // relaxed: as above
    std::uint64_t expected = make_word(ChunkState::claimed, me, generation);
    std::uint64_t replied = make_word(ChunkState::replied, identity_slot(client), generation);
    SHM_STEP("call.answer.cas");
    if (bug(Bug::answer_stored)) {
        word(chunk).store(replied, std::memory_order_seq_cst);  // CW1, in the wrong way
    } else if (
        // CW1: pairs with CW2. The answer: the response is the caller's; seq_cst, so that the looks
        // at its thread and its life come after it.
        !word(chunk).compare_exchange_strong(expected,
                                             replied,
                                             std::memory_order_seq_cst,
                                             // CW6: pairs with CW5. The caller is done with it.
                                             std::memory_order_acquire)) {
        return false;
    }
    wake_caller(thread);
    SHM_STEP("call.answer.caller");
    // A caller that was found dead before our CAS was swept before it: then nobody else looks here.
    if (!table_->alive(client) && !bug(Bug::caller_not_checked)) {
        discard(chunk, replied);
    }
    return true;
}

// A chunk that a request names as its response, if it is still `client`'s.
void Calls::free_named(std::uint64_t ref, std::uint64_t client) const noexcept {
    if (ref == kNoRef || bug(Bug::second_chunk_kept)) [[likely]] {
        return;
    }
    const std::uint32_t second = ref_chunk(ref);
    if (pool_->reach(second) != Status::ok) {
        return;
    }
    // CW2: pairs with CW7.
    std::uint64_t seen = word(second).load(std::memory_order_acquire);
    SHM_STEP("call.second.free");
    if (word_state(seen) == ChunkState::replied &&
        word_owner(seen) == (identity_slot(client) & 0xFFFU) &&
        ref_names(ref, word_generation(seen)) &&
        // CW8: pairs with chunk_pool.hpp:P1. Its last use happened before its next owner's first.
        word(second).compare_exchange_strong(seen,
                                             make_word(ChunkState::free, 0, word_generation(seen)),
                                             std::memory_order_acq_rel,
                                             // relaxed: a helper was faster
                                             std::memory_order_relaxed)) {
        pool_->mark_free(second);
    }
}

void Calls::free_second(std::uint32_t chunk) const noexcept {
    const CallBlock& b = block(chunk);
    // relaxed, both: the chunk is the calling process' own
    const std::uint64_t client = b.client.load(std::memory_order_relaxed);
    free_named(b.reply.load(std::memory_order_relaxed), client);  // relaxed: as above
}

bool Calls::discard(std::uint32_t chunk, std::uint64_t seen) const noexcept {
    const CallBlock& b = block(chunk);
    SHM_STEP("call.discard.name");
    // CW9: pairs with CW1. Both are read before the word is read again.
    const std::uint64_t ref = b.reply.load(std::memory_order_acquire);
    const std::uint64_t client = b.client.load(std::memory_order_acquire);  // CW9: as above
    // CW9: pairs with CW1. Unchanged: what was read belongs to that call, and not to the chunk's next.
    if (word(chunk).load(std::memory_order_acquire) != seen) {
        return false;
    }
    free_named(ref, client);
    SHM_STEP("call.discard.cas");
    // CW8: pairs with chunk_pool.hpp:P1.
    if (!word(chunk).compare_exchange_strong(seen,
                                             make_word(ChunkState::free, 0, word_generation(seen)),
                                             std::memory_order_acq_rel,
                                             // relaxed: somebody else was faster
                                             std::memory_order_relaxed)) {
        return false;
    }
    pool_->mark_free(chunk);
    return true;
}

bool Calls::fail(std::uint32_t chunk, std::uint64_t seen) const noexcept {
    // Read before the chunk can have its next owner. relaxed: written before CLAIMED
    const std::uint64_t client = block(chunk).client.load(std::memory_order_relaxed);
    const std::uint64_t thread =
        block(chunk).thread.load(std::memory_order_relaxed);  // relaxed: as above
    const std::uint64_t failed =
        make_word(ChunkState::failed, identity_slot(client), word_generation(seen));
    SHM_STEP("call.fail.cas");
    // CW1: pairs with CW2. The caller hears that its server died; seq_cst as in `answer`.
    if (!word(chunk).compare_exchange_strong(seen,
                                             failed,
                                             std::memory_order_seq_cst,
                                             // relaxed: read again by the reaper
                                             std::memory_order_relaxed)) {
        return false;
    }
    wake_caller(thread);
    SHM_STEP("call.fail.caller");
    if (!table_->alive(client)) {
        discard(chunk, failed);
    }
    return true;
}

bool Calls::deserted(std::uint32_t chunk) const noexcept {
    return !bug(Bug::caller_not_checked) && !wanted(chunk);
}

}  // namespace telpher::shm

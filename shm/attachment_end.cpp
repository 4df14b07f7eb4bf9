// How an attachment ends: with its last handle, or, if deliveries or loans are still out then, with
// the last of those.

#include "shm/attachment.hpp"

#include <unistd.h>

namespace telpher::shm {
namespace {

// Attachments without a handle, of which deliveries or loans are still out; linked by next_orphan_.
// Process-wide by nature: whoever gives the last one back has no handle of theirs.
std::atomic<Attachment*> g_orphans{nullptr};

}  // namespace

// The last handle has gone. Deliveries and loans that outlive it keep the mapping (and our slot)
// alive.
void Attachment::Closer::operator()(Attachment* attachment) const noexcept {
    if (attachment->forked()) {
        return;  // a child neither leaves nor unmaps
    }
    if (attachment->janitor_.joinable()) {
        // relaxed: the event's write and read order it
        attachment->janitor_stops_.store(true, std::memory_order_relaxed);
        attachment->poke_janitor();
        attachment->janitor_.join();
        if (attachment->mailbox_ >= 0) {
            close(attachment->mailbox_);
        }
    }
    if (attachment->outstanding() == 0) {
        attachment->leave();
        delete attachment;
        return;
    }
    keep_orphan(attachment);
    end_orphans();  // the last one may have come back meanwhile
}

void Attachment::give_back(std::uint32_t chunk) noexcept {
    if (forked()) {
        return;
    }
    ThreadContext* context = known_context();
    if (context != nullptr) {
        pool_.release(chunk, slot_, context->cursor);
    } else {
        pool_.free_now(chunk);
    }
    returned(chunk, context);
}

void Attachment::returned(std::uint32_t chunk, ThreadContext* context) noexcept {
    discharge(chunk);
    // relaxed: a hint; who waits for memory also looks every few milliseconds
    if (segment_.header().starving.load(std::memory_order_relaxed) != 0) [[unlikely]] {
        wake(*pool_waiters_, threads_, [] { return true; });
    }
    // From here on the last handle, closed by another thread, may end the attachment.
    if (context != nullptr) {
        count_up(context->returned);
    } else {
        // O1: pairs with O2, as in count_up.
        returned_elsewhere_.fetch_add(1, std::memory_order_release);
    }
    // relaxed: a miss leaves the attachment to the next who gives something back
    if (g_orphans.load(std::memory_order_relaxed) != nullptr) [[unlikely]] {
        end_orphans();
    }
}

void Attachment::keep_orphan(Attachment* orphan) noexcept {
    // relaxed: the CAS decides
    orphan->next_orphan_ = g_orphans.load(std::memory_order_relaxed);
    // O3: pairs with O4.
    while (!g_orphans.compare_exchange_weak(orphan->next_orphan_,
                                            orphan,
                                            std::memory_order_release,
                                            std::memory_order_relaxed)) {  // failure: again
    }
}

void Attachment::end_orphans() noexcept {
    // O4: pairs with O3. Whoever takes the list owns all that is in it.
    Attachment* orphan = g_orphans.exchange(nullptr, std::memory_order_acquire);
    while (orphan != nullptr) {
        Attachment* next = orphan->next_orphan_;
        if (orphan->outstanding() != 0) {
            keep_orphan(orphan);
        } else {
            orphan->leave();
            delete orphan;
        }
        orphan = next;
    }
}

std::uint64_t Attachment::outstanding() noexcept {
    const std::lock_guard hold(contexts_mutex_);
    // O2: pairs with O1 (thread_context.hpp:O1). Exact, because nothing is taken without a handle.
    std::uint64_t count = 0 - returned_elsewhere_.load(std::memory_order_acquire);
    for (auto& context : contexts_) {
        count += context->taken.load(std::memory_order_acquire) -    // O2: as above
                 context->returned.load(std::memory_order_acquire);  // O2: as above
    }
    return count;
}

void Attachment::forget_orphans() noexcept {
    // relaxed: the child has one thread; the parent's orphans are not ours to end
    g_orphans.store(nullptr, std::memory_order_relaxed);
}

void Attachment::ring_all() noexcept {
    for (ThreadRecord& thread : threads_) {
        // T2: pairs with thread_context.cpp:T1.
        if (thread.owner.load(std::memory_order_acquire) != 0) {
            ring_doorbell(thread);
        }
    }
}

void Attachment::ring_own_threads() noexcept {
    const std::lock_guard hold(contexts_mutex_);
    for (auto& context : contexts_) {
        if (context->in_use) {
            ring_doorbell(*context->record);
        }
    }
}

}  // namespace telpher::shm

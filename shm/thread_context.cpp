// The contexts of threads: made at a thread's first call, ended with the thread.

#include "shm/thread_context.hpp"

#include "shm/attachment.hpp"
#include "shm/base/step.hpp"

#include <sys/syscall.h>
#include <unistd.h>

namespace telpher::shm {
namespace {

struct Known {
    std::uint64_t serial;
    ThreadContext* context;
    std::weak_ptr<Attachment> owner;
};

// Ends this thread's contexts when the thread ends.
class KnownContexts {
  public:
    KnownContexts() = default;
    KnownContexts(const KnownContexts&) = delete;
    KnownContexts& operator=(const KnownContexts&) = delete;
    ~KnownContexts() { end(); }
    void end() noexcept {
        for (Known& known : all) {
            if (const auto owner = known.owner.lock(); owner && !owner->forked()) {
                owner->end_context(known.context);
            }
        }
        all.clear();  // a delivery may be released later, by another destructor of this thread
        all.shrink_to_fit();
    }
    std::vector<Known> all;
};
thread_local KnownContexts t_known;

}  // namespace

void end_contexts_of_this_thread() noexcept { t_known.end(); }

ThreadContext* Attachment::known_context() noexcept {
    if (tls_serial == serial_) [[likely]] {
        return tls_context;
    }
    for (const Known& known : t_known.all) {
        if (known.serial == serial_) {
            return known.context;
        }
    }
    return nullptr;
}

Result<ThreadContext*> Attachment::context() {
    ThreadContext* context = known_context();
    if (context == nullptr) {
        auto made = make_context();
        if (!made) {
            static_cast<void>(reap_deaths());  // the dead may hold all records
            made = make_context();
        }
        if (!made) {
            return made;
        }
        context = *made;
        std::erase_if(t_known.all, [](const Known& known) { return known.owner.expired(); });
        t_known.all.push_back({serial_, context, weak_from_this()});
    }
    tls_serial = serial_;
    tls_context = context;
    return context;
}

Result<ThreadContext*> Attachment::make_context() {
    const std::lock_guard hold(contexts_mutex_);
    const auto count = static_cast<std::uint32_t>(threads_.size());
    const std::uint32_t start = (slot_ * 7) % count;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t index = (start + i) % count;
        ThreadRecord& record = threads_[index];
        std::uint64_t expected = 0;
        SHM_STEP("thread.claim");
        // relaxed: a first look; the CAS decides
        if (record.owner.load(std::memory_order_relaxed) != 0 ||
            // T1: pairs with attachment_end.cpp:T2, T3 and reaper.cpp:K3. The last user's chunks are
            // resolved.
            !record.owner.compare_exchange_strong(
                expected,
                identity_,
                std::memory_order_acq_rel,
                std::memory_order_relaxed)) {  // failure: the next one
            continue;
        }
        SHM_STEP("thread.start");
        record.inflight.store(kNoRef, std::memory_order_relaxed);  // relaxed: read when we are dead
        record.victim.store(kNoRef, std::memory_order_relaxed);    // relaxed: as above
        record.awaits_call.store(
            0, std::memory_order_relaxed);  // relaxed: a ring too many is harmless
        record.tid.store(static_cast<std::uint32_t>(syscall(SYS_gettid)),
                         std::memory_order_relaxed);  // relaxed: for people
        ThreadContext* context = nullptr;
        for (auto& candidate : contexts_) {
            context = candidate->in_use ? context : candidate.get();
        }
        if (context == nullptr) {
            contexts_.push_back(std::make_unique<ThreadContext>());
            context = contexts_.back().get();
            // A prefix is unique per context and domain: the slot, its epoch and a shared counter.
            // relaxed: only unique
            const std::uint64_t number =
                segment_.header().id_source.fetch_add(1, std::memory_order_relaxed);
            std::uint64_t random = 0;
            static_cast<void>(fill_random(&random, sizeof random));
            context->id_prefix = random ^ (number * 0x9E3779B97F4A7C15ULL);
            context->measure_gap = static_cast<std::uint32_t>(random >> 32);
        }
        context->record = &record;
        context->index = index;
        context->in_use = true;
        pool_.start(context->cursor, index);
        return context;
    }
    return Error{Status::limit_reached,
                 0,
                 "limits.threads is " + std::to_string(count) + ", all records are taken"};
}

void Attachment::end_context(ThreadContext* context) noexcept {
    const std::lock_guard hold(contexts_mutex_);
    if (!context->in_use) {
        return;
    }
    pool_.flush(context->cursor);
    context->in_use = false;
    if (tls_context == context) {
        tls_serial = 0;
    }
    SHM_STEP("thread.end.inflight");
    context->record->inflight.store(kNoRef, std::memory_order_relaxed);  // relaxed: published by T3
    context->record->victim.store(kNoRef, std::memory_order_relaxed);    // relaxed: published by T3
    SHM_STEP("thread.end");
    // T3: pairs with T1. Our last offer is complete.
    context->record->owner.store(0, std::memory_order_release);
}

}  // namespace telpher::shm

// What a consumer says about a message it has leased.

#include "src/broker/lease.hpp"

#include "shm/attachment.hpp"
#include "src/broker/waiter.hpp"
#include "src/client/domain_log.hpp"
#include "src/client/remote.hpp"

#include <algorithm>
#include <atomic>

namespace telpher::detail {
namespace {

constexpr Duration kDelayMax = std::chrono::hours(24 * 365);
// The coarse clock may be that late beside the precise one.
constexpr std::uint64_t kCoarseMs = 10;

std::uint64_t from_now_us(Duration duration) {
    return shm::lease_clock_us() +
           static_cast<std::uint64_t>(std::min(duration, kDelayMax).count()) / 1000;
}

Error not_ours() {
    return {Status::bad_request,
            0,
            "the delivery is empty: it was acknowledged, given back or released before"};
}

Error not_leased(std::string_view verb) {
    return {
        Status::bad_request,
        0,
        std::string(verb) +
            " needs a queue of delivery = at_least_once; this one's messages are taken when they "
            "are polled"};
}

Error refuse_duration(std::string_view name, Duration value) {
    return {
        Status::bad_request,
        0,
        std::string(name) + " is " + std::to_string(value.count()) + " ns, allowed are 0 and more"};
}

// The checks that all of them begin with.
Result<void> check(const Held& held, std::string_view verb) {
    if (held.memory == nullptr) {
        return not_ours();
    }
    if (held.chunk != kRemoteChunk && held.memory->forked()) {
        return Status::forked;
    }
    if (held.lease == 0) {
        return not_leased(verb);
    }
    return {};
}

Result<void> outcome(Status status) {
    return status == Status::ok ? Result<void>() : Result<void>(status);
}

// Through a bridge: whatever it answered, the delivery is at its end. A lease that the bridge still has goes
// back when it expires, or with the session.
Result<void> settled(Held& held, Result<void> answered) {
    RemoteMemory::end_lease(held);
    return answered;
}

// Ours no more, whatever became of it.
void let_go(Held& held, shm::ThreadContext* context) noexcept {
    shm::Attachment& memory = *held.memory;
    const std::uint32_t chunk = held.chunk;
    held = {};
    memory.returned(chunk, context);
}

// Its queue is gone: nobody will ask for it again.
Status drop(Held& held, shm::ThreadContext* context) noexcept {
    shm::Attachment& memory = *held.memory;
    // relaxed: written before OFFERED
    const std::uint64_t dest =
        memory.pool().header(held.chunk)->dest.load(std::memory_order_relaxed);
    const Status status = memory.leases().acknowledge(
        held.chunk, held.lease, context != nullptr ? &context->cursor : nullptr);
    const auto found = memory.directory().pinned(shm::dest_entry(dest));
    if (status == Status::ok && found && found->generation == shm::dest_generation(dest)) {
        // relaxed: a statistic
        memory.directory().entry(found->entry).dropped.fetch_add(1, std::memory_order_relaxed);
    }
    let_go(held, context);
    return status == Status::ok ? Status::queue_not_found : status;
}

}  // namespace

// Killed between PARKED and the lane: whoever reaps us hands the message out. A thread without a record, as
// one that ends, leaves that to the janitor.
Status return_lease(Held& held, ReturnReason reason, std::uint64_t due_us) noexcept {
    shm::Attachment& memory = *held.memory;
    shm::ThreadContext* context = memory.known_context();
    const shm::LeaseKeeper keeper = memory.keeper();
    const auto queue = keeper.pin(held.chunk);
    if (!queue) {
        return drop(held, context);
    }
    shm::DirectoryEntry& entry = memory.directory().entry(queue->found.entry);
    bool earlier = false;
    if (due_us != 0) {
        // First: who is killed in it leaves it to be found.
        earlier = shm::LeaseKeeper::look_by(entry, due_us);
    }
    std::uint64_t parked = 0;
    const Status status = memory.leases().park(held.chunk, held.lease, reason, due_us, &parked);
    if (status == Status::ok && due_us == 0) {
        const Status out = context != nullptr
                               ? keeper.hand_out(*queue, held.chunk, parked, *context)
                               : Status::limit_reached;
        earlier = out == Status::queue_full ||
                  (out == Status::limit_reached && shm::LeaseKeeper::look_by(entry, 1));
    }
    if (earlier && due_us < shm::lease_clock_us() + kJanitorKnowsUs) {
        memory.poke_janitor();
    }
    if (keeper.unpin(*queue)) {
        memory.tidy_directory();
    }
    relieve_log(memory, false);
    let_go(held, context);  // last: with the last delivery the attachment may end
    return status;
}

Status bury_lease(Held& held, ReturnReason reason) noexcept {
    shm::Attachment& memory = *held.memory;
    auto context = memory.context();
    if (!context) {
        return context.status();  // nothing changed
    }
    const shm::LeaseKeeper keeper = memory.keeper();
    const auto queue = keeper.pin(held.chunk);
    if (!queue) {
        return drop(held, *context);
    }
    const Status status = keeper.bury(*queue, held.chunk, held.lease, reason, **context);
    if (keeper.unpin(*queue)) {
        memory.tidy_directory();
    }
    relieve_log(memory, false);
    let_go(held, *context);
    return status;
}

Result<void> acknowledge(Held& held) {
    if (held.memory == nullptr) {
        return not_ours();
    }
    if (held.chunk != kRemoteChunk && held.memory->forked()) {
        return Status::forked;
    }
    if (held.lease == 0) {
        give_back(held);
        return {};
    }
    if (held.chunk == kRemoteChunk) {
        return settled(held, RemoteMemory::lease(held).ack());
    }
    shm::Attachment& memory = *held.memory;
    shm::ThreadContext* context = memory.known_context();
    const Status status = memory.leases().acknowledge(
        held.chunk, held.lease, context != nullptr ? &context->cursor : nullptr);
    relieve_log(memory, false);
    let_go(held, context);
    return outcome(status);
}

Result<void> give_back_later(Held& held, Duration delay) {
    if (auto sound = check(held, "nack"); !sound) {
        return sound;
    }
    if (delay.count() < 0) {
        return refuse_duration("delay", delay);
    }
    if (held.chunk == kRemoteChunk) {
        return settled(held, RemoteMemory::lease(held).nack(delay));
    }
    return outcome(
        return_lease(held, ReturnReason::nacked, delay.count() == 0 ? 0 : from_now_us(delay)));
}

Result<void> extend(Held& held, Duration duration) {
    if (auto sound = check(held, "extend"); !sound) {
        return sound;
    }
    if (duration.count() < 0) {
        return refuse_duration("duration", duration);
    }
    if (held.chunk == kRemoteChunk) {
        return RemoteMemory::lease(held).extend(duration);
    }
    shm::Attachment& memory = *held.memory;
    // relaxed: written before OFFERED
    const std::uint64_t dest =
        memory.pool().header(held.chunk)->dest.load(std::memory_order_relaxed);
    const auto found = memory.directory().pinned(shm::dest_entry(dest));
    const bool exists = found && found->generation == shm::dest_generation(dest);
    if (duration.count() == 0) {
        duration = exists ? Duration(static_cast<std::int64_t>(found->info.lease_ns))
                          : std::chrono::seconds(30);
    }
    const std::uint64_t until = from_now_us(duration);
    std::uint64_t claimed = held.lease;
    const Status status = memory.leases().extend(held.chunk, claimed, until);
    // relaxed: for who looks at the message meanwhile (`dead_letter`), it is a lease before and after
    std::atomic_ref<std::uint64_t>(held.lease).store(claimed, std::memory_order_relaxed);
    if (status == Status::ok && exists &&
        shm::LeaseKeeper::look_by(memory.directory().entry(found->entry), until) &&
        until < shm::lease_clock_us() + kJanitorKnowsUs) {
        memory.poke_janitor();
    }
    return outcome(status);
}

Result<void> reject(Held& held) {
    if (auto sound = check(held, "reject"); !sound) {
        return sound;
    }
    if (held.chunk == kRemoteChunk) {
        return settled(held, RemoteMemory::lease(held).reject());
    }
    return outcome(bury_lease(held, ReturnReason::rejected));
}

std::optional<DeadLetter> dead_letter(const Held& held) {
    // Not as a plain word: another thread may be extending it.
    if (held.memory == nullptr || __atomic_load_n(&held.lease, __ATOMIC_RELAXED) == 0) {
        return std::nullopt;
    }
    if (held.chunk == kRemoteChunk) {
        return RemoteMemory::lease(held).dead_letter();
    }
    if (held.memory->forked()) {
        return std::nullopt;
    }
    // relaxed: written before OFFERED
    const std::uint64_t dead =
        held.memory->leases().block(held.chunk).dead.load(std::memory_order_relaxed);
    if (dead == 0) {
        return std::nullopt;
    }
    // At most what a system_clock has room for, whatever the segment says.
    constexpr auto kMsMax = static_cast<std::uint64_t>(
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::duration::max())
            .count());
    const std::uint64_t wall_ms = std::min(shm::dead_wall_ms(dead), kMsMax);
    DeadLetter letter;
    letter.reason = static_cast<ReturnReason>(shm::dead_reason(dead));
    letter.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(wall_ms));
    const auto origin = held.memory->directory().at(shm::dead_entry(dead));
    if (origin && origin->family() != shm::Family::topic &&
        origin->info.created_ns / 1'000'000 <= wall_ms + kCoarseMs) {
        letter.origin = origin->name();
    }
    return letter;
}

}  // namespace telpher::detail

// Messages that were polled and come back: the returns lane, which is served before the queue.

#include "shm/base/clock.hpp"
#include "src/broker/lease.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"

#include <chrono>
#include <thread>

namespace telpher::detail {
namespace {

constexpr std::uint64_t kGiveUpPatienceNs = 100'000'000;

}  // namespace

// The oldest message that came back, else the oldest of the queue. A message that came back has lost
// its place: position kReturned.
Status QueueCore::claim(std::uint32_t* chunk,
                        std::uint64_t* position,
                        std::uint64_t* claimed) noexcept {
    if (lane_.maybe_readable()) [[unlikely]] {
        std::uint64_t place = 0;
        const Status status = lane_.claim(attachment_.slot(), chunk, &place, claimed);
        if (status == Status::ok) {
            *position = kReturned;
            if (leased_ && !lane_.maybe_readable()) {
                static_cast<void>(look_for_parked());  // there may be more than fitted
            }
            if (leased_ && attachment_.leases().first_time(*chunk)) {
                return status;  // it had been offered for later
            }
            SHM_STEP("queue.returned.count");
            // relaxed: a statistic
            attachment_.directory()
                .entry(found_.entry)
                .redelivered.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
            return status;
        }
        if (status != Status::queue_empty) {
            return status;
        }
    }
    return ring_.claim(attachment_.slot(), chunk, position, claimed);
}

// Killed before the word says OFFERED: the message goes with us, counted as abandoned; after it, the
// reaper brings it into the lane; after the commit it is there.
Status QueueCore::put_back(Delivery& delivery) noexcept {
    if (delivery.held_.memory != &attachment_) {
        return Status::bad_request;
    }
    if (attachment_.forked()) {
        return Status::forked;
    }
    if (leased_) {
        return put_back_lease(delivery);
    }
    const std::uint32_t chunk = delivery.held_.chunk;
    shm::Word& word = attachment_.pool().header(chunk)->word;
    // relaxed: written before it was OFFERED to us, which we claimed
    const std::uint64_t dest =
        attachment_.pool().header(chunk)->dest.load(std::memory_order_relaxed);
    if (shm::dest_entry(dest) != found_.entry || shm::dest_generation(dest) != found_.generation) {
        return Status::bad_request;
    }
    auto context = attachment_.context();
    if (!context) {
        return context.status();
    }
    std::uint64_t place = 0;
    const Status status = lane_.commit(chunk, attachment_.slot(), *(*context)->record, &place);
    if (status != Status::ok) {
        // relaxed: the word is ours
        const std::uint64_t ours = word.load(std::memory_order_relaxed);
        SHM_STEP("queue.return.refused");
        // C2: pairs with shm/reaper.cpp:K1. A delivery again.
        word.store(shm::make_word(
                       shm::ChunkState::claimed, attachment_.slot(), shm::word_generation(ours)),
                   std::memory_order_release);
        return status;
    }
    attachment_.discharge(chunk);
    delivery.held_ = {};
    shm::count_up((*context)->returned);
    shm::wake(ring_.control().items, attachment_.threads(), [this] { return readable(); });
    return Status::ok;
}

// Nobody has read it: this delivery does not count. Killed behind the count and before the word says
// PARKED: the count is one short.
Status QueueCore::put_back_lease(Delivery& delivery) noexcept {
    const shm::Leases leases = attachment_.leases();
    // relaxed: written before it was OFFERED to us, which we claimed
    const std::uint64_t dest =
        attachment_.pool().header(delivery.held_.chunk)->dest.load(std::memory_order_relaxed);
    if (delivery.held_.lease == 0 || dest != found_.dest()) {
        return Status::bad_request;
    }
    shm::Word& count = leases.block(delivery.held_.chunk).count;
    // relaxed, both: the chunk is ours, or kept by our note. A CAS: of a lease that expired another counts.
    std::uint64_t seen = count.load(std::memory_order_relaxed);
    SHM_STEP("queue.unread.count");
    if (shm::count_deliveries(seen) != 0) {
        count.compare_exchange_strong(
            seen, seen - 1, std::memory_order_relaxed);  // relaxed: as above
    }
    const Status status = return_lease(delivery.held_, ReturnReason::unread, 0);
    // In any case it is not ours any more.
    return status == Status::lease_expired || status == Status::queue_not_found ? Status::ok
                                                                                : status;
}

void QueueCore::give_up(Delivery& delivery) noexcept {
    const std::uint64_t deadline = shm::monotonic_ns() + kGiveUpPatienceNs;
    Status status = Status::ok;
    while (delivery && (status = put_back(delivery)) == Status::queue_full &&
           shm::monotonic_ns() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (delivery && status != Status::forked) {
        abandon(delivery);
    }
}

void QueueCore::abandon(Delivery& delivery) noexcept {
    if (leased_) {
        delivery.release();  // comes back
        return;
    }
    // relaxed: a statistic
    attachment_.directory()
        .entry(found_.entry)
        .abandoned.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
    delivery.release();
}

}  // namespace telpher::detail

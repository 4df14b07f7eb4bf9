// The consuming half of QueueCore.

#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"

#include <algorithm>

namespace telpher::detail {
// Looks at a claimed chunk's message, in place: ok, expired, or corrupt with its text.
Status QueueCore::view(std::uint32_t chunk, MessageView& view, Error* error) const {
    const std::span<const std::byte> bytes = message_in(chunk);
    if (!wire::decode_in_place(bytes, view)) [[unlikely]] {
        auto rare = wire::decode(bytes);
        if (!rare) {
            *error = std::move(rare).error();
            return Status::corrupt;
        }
        view = *rare;
    }
    if (view.head().expires_ms != 0 && view.expired(std::chrono::system_clock::now())) {
        return is_dead_letter(chunk) ? Status::ok : Status::expired;
    }
    return Status::ok;
}

// One claim: ok, or why not. A message whose time has passed is released, counted and skipped.
Status QueueCore::take(shm::ThreadContext& context, Delivery& delivery, Error* error) {
    if (attachment_.full()) [[unlikely]] {
        return Status::limit_reached;
    }
    for (;;) {
        std::uint32_t chunk = 0;
        std::uint64_t position = 0;
        std::uint64_t claimed = 0;
        Status status = claim(&chunk, &position, &claimed);
        if (status == Status::queue_empty && leased_ && look_for_parked()) {
            status = claim(&chunk, &position, &claimed);
        }
        if (status != Status::ok) {
            return status;
        }
        wake_producers();
        status = view(chunk, delivery, error);
        if (status == Status::ok) [[likely]] {
            ++context.run;
            shm::count_up(context.taken);
            attachment_.charge(chunk);
            delivery.held_ = {&attachment_, chunk};
            delivery.sequence_ =
                position == kReturned || durable_ ? 0 : found_.info.sequence_base + position + 1;
            delivery.dropped_before_ = circular_ ? tell_dropped() : 0;
            if (leased_) [[unlikely]] {
                begin_lease(delivery, claimed);
            }
            return status;
        }
        if (status != Status::expired) {
            discard(context, chunk, claimed);
            return status;
        }
        // relaxed: a statistic
        attachment_.directory().entry(found_.entry).expired.fetch_add(1, std::memory_order_relaxed);
        discard_expired(context, chunk, claimed);
    }
}

// One place, one producer; but room in bytes may do for any of them, or for none.
void QueueCore::wake_producers() noexcept {
    shm::WaiterMap& space = ring_.control().space;
    if (budget_ == 0) [[likely]] {
        shm::wake(space, attachment_.threads(), [this] { return ring_.writable(); });
        return;
    }
    // W3: pairs with shm/doorbell.hpp:W1.
    if (space.summary.load(std::memory_order_seq_cst) != 0) {
        shm::wake_all(space, attachment_.threads());
    }
}

// The drops that no delivery has told yet: this one does. Killed after the CAS: they go untold with
// the message that would have told them.
std::uint64_t QueueCore::tell_dropped() noexcept {
    shm::DirectoryEntry& entry = attachment_.directory().entry(found_.entry);
    // relaxed, all: two statistics; each drop is told once because the CAS moves `told` once over it
    const std::uint64_t dropped = entry.dropped.load(std::memory_order_relaxed);
    std::uint64_t told = entry.dropped_told.load(std::memory_order_relaxed);  // relaxed: as above
    while (told < dropped) {
        SHM_STEP("queue.drop.tell");
        if (entry.dropped_told.compare_exchange_weak(
                told, dropped, std::memory_order_relaxed)) {  // relaxed: as above
            return dropped - told;
        }
    }
    return 0;
}

// No more than were there at the start, so that it ends beside busy producers.
Result<std::uint64_t> QueueCore::purge() {
    if (const Status status = refuse_consumer({}); status != Status::ok) {
        return explain(status, {});
    }
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    std::uint64_t purged = 0;
    std::uint64_t claimed = 0;
    const auto drop = [&](std::uint32_t chunk) {
        discard(**context, chunk, claimed);
        ++purged;
        wake_producers();
    };
    std::uint32_t chunk = 0;
    std::uint64_t position = 0;
    // No more than fit, whatever damaged hints say: of the lane, then of the queue.
    Status status = Status::ok;
    for (std::uint32_t left = lane_.slots(); left != 0 && status == Status::ok; --left) {
        status = lane_.claim(attachment_.slot(), &chunk, &position, &claimed);
        if (status == Status::ok) {
            drop(chunk);
        }
    }
    if (status == Status::ok || status == Status::queue_empty) {
        const std::uint64_t end = ring_.committed();
        position = ring_.claimed();
        status = Status::ok;
        for (std::uint32_t left = ring_.slots();
             left != 0 && position < end && status == Status::ok;
             --left, ++position) {
            status = ring_.claim(attachment_.slot(), &chunk, &position, &claimed);
            if (status == Status::ok) {
                drop(chunk);
            }
        }
    }
    if (status != Status::ok && status != Status::queue_empty &&
        status != Status::queue_not_found) {
        return explain(status, {});
    }
    return purged;
}

Status QueueCore::poll_into(Delivery& delivery,
                            Error* error,
                            Duration timeout,
                            const std::stop_token& stop) {
    Status status = refuse_consumer(timeout);
    if (status != Status::ok) [[unlikely]] {
        return status;
    }
    shm::ThreadContext* context = attachment_.quick_context();
    if (context == nullptr) [[unlikely]] {
        auto made = attachment_.context();
        if (!made) {
            *error = std::move(made).error();
            return error->status;
        }
        context = *made;
    }
    // relaxed: only this process' handle reads it
    if (!consumer_noted_.load(std::memory_order_relaxed)) [[unlikely]] {
        note_consumer();
    }
    status = take(*context, delivery, error);
    if (status != Status::queue_empty || timeout.count() == 0) [[likely]] {
        return status;
    }
    pace(*context);
    const WaitOptions options = wait_options(timeout, stop);
    Waiter waiter(attachment_, *context, ring_.control().items, options);
    const auto maybe = [this](std::uint32_t /*look*/) { return maybe_readable(); };
    const auto readable = [this] { return this->readable(); };
    while (status == Status::queue_empty) {
        status = waiter.wait(maybe, readable);
        if (status == Status::ok) {
            status = take(*context, delivery, error);
        }
    }
    waiter.leave(readable);
    return status;
}

// The delivery is filled where the caller will find it: one variable, returned on every path.
Result<Delivery> QueueCore::poll(Duration timeout, const std::stop_token& stop) {
    Result<Delivery> result(std::in_place);
    Error error;
    const Status status = poll_into(*result, &error, timeout, stop);
    if (status != Status::ok) [[unlikely]] {
        rearm_watch();
        result = error.status == Status::ok ? explain(status, timeout) : std::move(error);
    }
    return result;
}

Result<Delivery> QueueCore::poll_typed(const TypeTag& tag,
                                       Duration timeout,
                                       const std::stop_token& stop) {
    auto delivery = poll(timeout, stop);
    if (!delivery) {
        return delivery;
    }
    const auto found = delivery->type_tag();
    if (!found || found->id != tag.id || found->size != tag.size ||
        delivery->payload().size() != tag.size) {
        if (leased_) {
            static_cast<void>(delivery->reject());
        }
        return Error{Status::mismatch,
                     0,
                     found ? "the message is of another type (" + std::to_string(found->size) +
                                 " bytes, asked for " + std::to_string(tag.size) + ")"
                           : std::string("the message was not sent as a typed loan")};
    }
    return delivery;
}

void QueueCore::note_consumer() noexcept {
    // relaxed: only this process' handle reads it
    consumer_noted_.store(true, std::memory_order_relaxed);
    const std::uint32_t slot = attachment_.slot();
    // relaxed: a statistic
    attachment_.directory()
        .entry(found_.entry)
        .consumers[slot / 64]
        .fetch_or(1ULL << (slot % 64), std::memory_order_relaxed);  // relaxed: a statistic
}

void QueueCore::close() {
    // Q2: pairs with src/broker/waiter.hpp:Q1: who is rung sees it.
    closed_.store(true, std::memory_order_release);
    if (!attachment_.forked()) {
        attachment_.ring_own_threads();
        close_async();
    }
}

}  // namespace telpher::detail

// Several messages in one call: one look at who waits, one check of the handle, one clock.

#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"

#include <algorithm>

namespace telpher::detail {

// As many consumers as there are messages; who is not woken here is woken by one who was and leaves
// something. Killed before it: sleepers beside messages, rung by the reaper.
void QueueCore::wake_consumers(std::size_t messages) noexcept {
    shm::WaiterMap& items = ring_.control().items;
    // W3: pairs with shm/doorbell.hpp:W1; after the last commit.
    while (messages-- != 0 && items.summary.load(std::memory_order_seq_cst) != 0) {
        shm::wake(items, attachment_.threads(), [this] { return readable(); });
    }
}

// One message into the ring without waking anybody: ok, or why the long way must be taken.
Status QueueCore::offer_quietly(shm::ThreadContext& context, const Message& message) {
    shm::ChunkPool& pool = attachment_.pool();
    ring_.prepare_commit();
    const std::size_t bytes = wire::encoded_bytes(message);
    if (bytes > source_.small_bytes_max()) {
        return Status::queue_full;
    }
    const std::uint32_t chunk = source_.allocate_small(context, bytes);
    if (chunk == shm::kNoChunk) {
        return Status::queue_full;
    }
    wire::encode(message, stamp(context), message_in(chunk).first(bytes));
    if (leased_) {
        attachment_.leases().open(chunk);
    }
    std::uint64_t position = 0;
    const Status status = ring_.commit(chunk, attachment_.slot(), *context.record, &position);
    if (status != Status::ok) [[unlikely]] {
        pool.release(chunk, attachment_.slot(), context.cursor);
    }
    return status;
}

Result<std::size_t> QueueCore::offer_n(std::span<const Message> messages,
                                       Duration timeout,
                                       const std::stop_token& stop) {
    if (const Status status = refuse(timeout); status != Status::ok) {
        return explain(status, timeout);
    }
    if (durable_ && !messages.empty() && budget_ == 0 && !memory_.on() &&
        std::all_of(messages.begin(), messages.end(), [](const Message& message) {
            return message.is_durable();
        })) {
        return offer_n_durable(messages, timeout, stop);
    }
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    std::uint64_t deadline_ns = 0;
    std::size_t accepted = 0;
    std::size_t unannounced = 0;
    for (const Message& message : messages) {
        if (budget_ == 0 && !memory_.on() && message.check() && !message.delay() &&
            !message.is_durable() && offer_quietly(**context, message) == Status::ok) [[likely]] {
            ++accepted;
            ++unannounced;
            continue;
        }
        // Full, large, delayed, or faulty: as a single offer. Who may make room must know what is there.
        wake_consumers(std::exchange(unannounced, 0));
        Duration left = timeout;
        if (timeout.count() != 0) {
            const std::uint64_t now = shm::monotonic_ns();
            deadline_ns =
                deadline_ns != 0
                    ? deadline_ns
                    : now + static_cast<std::uint64_t>(std::min(timeout, kForever).count());
            // Once there is no time left, there is none for the others.
            left = Duration(deadline_ns > now ? deadline_ns - now : 0);
        }
        auto offered = offer(message, left, stop);
        if (!offered) {
            if (accepted == 0) {
                return offered.error();
            }
            break;
        }
        ++accepted;
    }
    wake_consumers(unannounced);
    return accepted;
}

Result<std::vector<Delivery>> QueueCore::poll_n(std::size_t max,
                                                Duration timeout,
                                                const std::stop_token& stop) {
    if (max == 0) {
        return Error{Status::bad_request, 0, "max is 0, allowed are 1 and more"};
    }
    std::vector<Delivery> all;
    all.reserve(std::min<std::size_t>(max, capacity()));
    Error error;
    Status status = poll_into(all.emplace_back(), &error, timeout, stop);
    if (status != Status::ok) {
        rearm_watch();
        return error.status == Status::ok ? explain(status, timeout) : std::move(error);
    }
    shm::ThreadContext& context = *attachment_.known_context();
    while (all.size() < max) {
        status = take(context, all.emplace_back(), &error);
        if (status == Status::queue_empty && context.run != 0 && timeout.count() != 0) {
            // A stream that we keep up with is let run ahead a little, once in a row.
            pace(context);
            for (std::uint32_t p = 0; context.pause > 1 && p < context.pause; ++p) {
                shm::cpu_pause();
            }
            status = take(context, all.back(), &error);
        }
        if (status != Status::ok) {
            all.pop_back();  // the next call tells why
            break;
        }
    }
    return all;
}

}  // namespace telpher::detail

// Offers that are confirmed when they are in the log.

#include "shm/base/clock.hpp"
#include "src/broker/durable_sender.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/domain_log.hpp"
#include "src/store/shared_log.hpp"
#include "src/wire/message_check.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

constexpr std::size_t kSliceMost = 256;  // messages of one commit

}  // namespace

Result<void> QueueCore::check_durable() const {
    if (found_.kind() == shm::Kind::durable) {
        return {};
    }
    return Error{Status::bad_request,
                 0,
                 "the message is durable, and queue '" + name_ +
                     "' is not: make it with kind = durable, in a domain with a log directory"};
}

store::Pending QueueCore::pending(std::uint32_t chunk, std::size_t bytes) const {
    return {.chunk = chunk,
            .offset = static_cast<std::uint32_t>(head_bytes_),
            .bytes = static_cast<std::uint32_t>(bytes),
            .destination = found_.log_number(),
            .sync = (found_.info.durable_log_id & shm::kLogSynced) != 0};
}

// Room first, so that what finds none costs no disk.
Status QueueCore::wait_for_room(shm::ThreadContext& context,
                                std::uint32_t chunk,
                                const WaitOptions& options) {
    const auto writable = [this, chunk] {
        return ring_.writable() && (budget_ == 0 || chunk == shm::kNoChunk || within_budget(chunk));
    };
    if (writable()) [[likely]] {
        return Status::ok;
    }
    if (options.timeout.count() == 0) {
        return Status::queue_full;
    }
    Waiter waiter(attachment_, context, ring_.control().space, options);
    const auto maybe = [&writable](std::uint32_t /*look*/) { return writable(); };
    const Status status = waiter.wait(maybe, writable);
    waiter.leave(writable);
    return status;
}

// Of a message that is in the log: into its queue. Killed before it is there: it is in the log, was not confirmed, and
// our reaper ends it; behind it: it is in its queue. A delayed one is let go of whatever becomes of it.
Status QueueCore::send_logged(shm::ThreadContext& context,
                              store::Pending& message,
                              Duration timeout,
                              const std::stop_token& stop) {
    const auto delay = delay_in(message.chunk);
    std::uint64_t position = 0;
    context.logged = message.lsn;
    Status status = Status::ok;
    if (delay) {
        status = offer_later(context, message.chunk, *delay).status();
        message.chunk = shm::kNoChunk;
    } else {
        status = send(context, message.chunk, timeout, stop, &position);
    }
    context.logged = 0;
    return status;
}

// Behind its way through the log: `sent`, it is the queue's. Otherwise its memory is free, and the log says so.
void QueueCore::settle(shm::ThreadContext& context, const store::Pending& message, bool sent) {
    if (!sent && message.lsn != 0) {
        attachment_.log().note_ended(message.lsn);
    }
    if (!sent && message.chunk != shm::kNoChunk) {
        attachment_.pool().release(message.chunk, attachment_.slot(), context.cursor);
    }
    if (message.lsn != 0) {
        domain_->log_if_open()->finish(message);
    }
}

std::optional<std::chrono::milliseconds> QueueCore::delay_in(std::uint32_t chunk) const {
    MessageView view;
    Error error;
    static_cast<void>(this->view(chunk, view, &error));
    return view.delay();
}

// Timeout 0 waits for the disk, not for room: there is no other way to confirm anything.
Result<std::uint64_t> QueueCore::offer_durable(shm::ThreadContext& context,
                                               Encoded message,
                                               Duration timeout,
                                               const std::stop_token& stop) {
    const std::uint64_t begun = shm::monotonic_ns();
    const auto left = [&] {
        const auto spent = static_cast<std::int64_t>(shm::monotonic_ns() - begun);
        return timeout.count() == 0 ? timeout
                                    : Duration(std::max<std::int64_t>(1, timeout.count() - spent));
    };
    const auto drop = [&] {
        attachment_.pool().release(message.chunk, attachment_.slot(), context.cursor);
    };
    auto log = domain_->log();
    if (!log) {
        drop();
        return log.error();
    }
    const WaitOptions options = wait_options(timeout, stop);
    Status status =
        delay_in(message.chunk) ? Status::ok : wait_for_room(context, message.chunk, options);
    if (status != Status::ok) {
        drop();
        return explain(status, timeout);
    }
    store::Pending one = pending(message.chunk, message.bytes);
    (*log)->commit({&one, 1}, {left(), &stop});
    if (one.status != Status::ok) {
        drop();
        return one.status == Status::storage_failed ? (*log)->failure()
                                                    : explain(one.status, timeout);
    }
    status = send_logged(context, one, left(), stop);
    settle(context, one, status == Status::ok);
    if (status != Status::ok) {
        return explain(status, timeout);
    }
    return one.lsn;
}

// ---- asynchronous offers -----------------------------------------------------------------------

Future<std::uint64_t> QueueCore::offer_durable_async(Message message,
                                                     Duration timeout,
                                                     const std::stop_token& stop) {
    if (auto fits = check_durable(); !fits) {
        return ready_future(Result<std::uint64_t>(fits.error()));
    }
    if (wire::encoded_bytes(message) > source_.bytes_max()) {
        return ready_future(offer(message, {}, {}));  // it hears why at once
    }
    auto sender = domain_->durable_sender();
    auto parker = sender ? domain_->parker() : Result<Parker*>(sender.error());
    if (!parker) {
        return ready_future(Result<std::uint64_t>(parker.error()));
    }
    const bool first = offers_pending_.load(std::memory_order_relaxed) == 0;  // relaxed: as there
    auto* offer = new DurableOffer(shared_from_this(), **parker, **sender);
    offer->message = std::move(message);
    offer->origin = t_origin;
    offer->waits = timeout.count() != 0;
    offer->deadline_ns = deadline_after(timeout);
    if (!offer->waits || first) {
        // Ours, as the parker's otherwise: nobody cancels it before there is a Future, or a stop token is asked.
        if (stop.stop_requested() || !offer->claim()) {
            offer->drop();
            offer->abandon();
            return ready_future(Result<std::uint64_t>(Status::cancelled));
        }
        const Status status = offer->run();
        if (status == Status::ok) {
            offer->hand_over();
            return FutureAccess::make<std::uint64_t>(offer);
        }
        const bool again = status == Status::queue_full || status == Status::out_of_memory;
        if (!again || !offer->waits) {
            if (again) {
                offer->fail(status);
            }
            static_cast<void>(offer->finish());
            offer->drop();
            return FutureAccess::make<std::uint64_t>(offer);
        }
        static_cast<void>(offer->unclaim());
    }
    offer->submit(timeout, stop);
    if (refuse({}) != Status::ok) {
        (*parker)->look_at_all();  // closed meanwhile: its sweep may have been before
    }
    return FutureAccess::make<std::uint64_t>(offer);
}

Result<bool> QueueCore::begin_durable(const Message& message, store::Pending& out) {
    if (const Status status = refuse({}); status != Status::ok) {
        return explain(status, {});
    }
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    const auto delay = message.delay();
    if (delay && !leased_) {
        return wire::delay_refused("a message in queue '" + name_ + "'");
    }
    out = {};
    if (budget_ != 0 || memory_.on()) {
        return false;  // confirmed by itself, with all that such an offer does
    }
    // What is on its way counts as if it were there; read first, so that what arrives meanwhile counts twice.
    // relaxed: others take room in any case
    const std::uint32_t on_way = on_way_.load(std::memory_order_relaxed);
    if (!delay && (room() <= on_way || ring_.closed())) {
        return ring_.closed() ? Status::queue_not_found : Status::queue_full;
    }
    const std::size_t bytes = wire::encoded_bytes(message);
    Duration patience{};
    auto chunk = source_.allocate(**context, bytes, patience, {});
    if (!chunk) {
        return chunk.error();
    }
    wire::encode(message, stamp(**context), message_in(*chunk).first(bytes));
    out = pending(*chunk, bytes);
    if (!delay) {
        on_way_.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
    }
    return !delay.has_value();
}

std::uint64_t QueueCore::room() const noexcept {
    const std::uint64_t depth = ring_.committed() - std::min(ring_.claimed(), ring_.committed());
    return ring_.closed() ? ~0ULL
                          : ring_.capacity() - std::min<std::uint64_t>(depth, ring_.capacity());
}

Result<std::uint64_t> QueueCore::deliver_durable(store::Pending& message) {
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    const Status status = send_logged(**context, message, {}, {});
    return status == Status::ok ? Result<std::uint64_t>(message.lsn) : explain(status, {});
}

// Killed behind the note: it is not in the log any more, and its chunk is ours.
void QueueCore::take_back_durable(store::Pending& message) {
    if (!attachment_.log().note_ended(message.lsn)) {
        relieve_log(attachment_, false);
        return;
    }
    domain_->log_if_open()->finish(message);
    message = pending(message.chunk, message.bytes);
}

void QueueCore::end_durable(const store::Pending& message, bool sent, bool counted) {
    if (counted) {
        on_way_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: as above
    }
    if (auto context = attachment_.context(); context && message.bytes != 0) {
        settle(**context, message, sent);
    }
}

// Several messages with one sync.
Result<std::size_t> QueueCore::offer_n_durable(std::span<const Message> messages,
                                               Duration timeout,
                                               const std::stop_token& stop) {
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    auto log = domain_->log();
    if (!log) {
        return log.error();
    }
    const std::uint64_t begun = shm::monotonic_ns();
    std::size_t accepted = 0;
    std::vector<store::Pending> slice;
    while (accepted < messages.size()) {
        const auto spent = static_cast<std::int64_t>(shm::monotonic_ns() - begun);
        const Duration left = timeout.count() == 0
                                  ? timeout
                                  : Duration(std::max<std::int64_t>(1, timeout.count() - spent));
        slice.clear();
        const WaitOptions options = wait_options(left, stop);
        Result<void> trouble = fill_slice(**context, messages.subspan(accepted), options, slice);
        (*log)->commit(slice, {left, &stop});
        bool whole = true;
        for (store::Pending& one : slice) {
            // Behind one that failed none is sent, so that none is left out.
            whole = whole && trouble && one.status != Status::none;
            Status status = one.status;
            if (whole && status == Status::ok) {
                status = send_logged(**context, one, {}, stop);
            }
            settle(**context, one, whole && status == Status::ok);
            if (whole && status == Status::ok) {
                ++accepted;
            } else if (whole && status == Status::queue_full && timeout.count() != 0) {
                whole = false;  // others took its room: it waits without a place in the log's table
            } else if (whole) {
                trouble =
                    status == Status::storage_failed ? (*log)->failure() : explain(status, timeout);
            }
        }
        if (!trouble) {
            return accepted != 0 ? Result<std::size_t>(accepted) : trouble.error();
        }
    }
    return accepted;
}

// As many as there is room for, at least one after waiting for room. An error: of the first one that is not in it.
Result<void> QueueCore::fill_slice(shm::ThreadContext& context,
                                   std::span<const Message> messages,
                                   const WaitOptions& options,
                                   std::vector<store::Pending>& slice) {
    if (const Status status = wait_for_room(context, shm::kNoChunk, options);
        status != Status::ok) {
        return explain(status, options.timeout);
    }
    const std::uint64_t depth = ring_.committed() - std::min(ring_.claimed(), ring_.committed());
    const std::uint64_t free = ring_.capacity() > depth ? ring_.capacity() - depth : 1;
    const std::size_t most =
        std::min<std::size_t>({messages.size(), kSliceMost, static_cast<std::size_t>(free)});
    slice.reserve(most);
    for (const Message& message : messages.first(most)) {
        if (auto sound = message.check(); !sound) {
            return slice.empty() ? sound : Result<void>();
        }
        const std::size_t bytes = wire::encoded_bytes(message);
        // Only the first one is waited for.
        Duration patience = slice.empty() ? options.timeout : Duration{};
        auto chunk = source_.allocate(context, bytes, patience, *options.stop);
        if (!chunk) {
            return slice.empty() ? Result<void>(chunk.error()) : Result<void>();
        }
        wire::encode(message, stamp(context), message_in(*chunk).first(bytes));
        slice.push_back(pending(*chunk, bytes));
    }
    return {};
}

}  // namespace telpher::detail

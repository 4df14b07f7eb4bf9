// Offers that are confirmed when they are in the log.

#include "shm/base/clock.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"
#include "src/store/shared_log.hpp"

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
Status QueueCore::wait_for_room(shm::ThreadContext& context, const WaitOptions& options) {
    if (ring_.writable()) [[likely]] {
        return Status::ok;
    }
    if (options.timeout.count() == 0) {
        return Status::queue_full;
    }
    Waiter waiter(attachment_, context, ring_.control().space, options);
    const auto writable = [this] { return ring_.writable(); };
    const auto maybe = [&writable](std::uint32_t /*look*/) { return writable(); };
    const Status status = waiter.wait(maybe, writable);
    waiter.leave(writable);
    return status;
}

// Of a message that is in the log: into its queue, or at its end. Killed before it is in its queue: it is in the log,
// was not confirmed, and our reaper ends it; behind it: it is in its queue.
Status QueueCore::send_logged(shm::ThreadContext& context,
                              const store::Pending& message,
                              Duration timeout,
                              const std::stop_token& stop) {
    store::SharedLog& log = *domain_->log_if_open();
    const auto delay = delay_in(message);
    std::uint64_t position = 0;
    context.logged = message.lsn;
    Status status = Status::ok;
    if (delay) {
        status = offer_later(context, message.chunk, *delay).status();
    } else {
        status = send(context, message.chunk, timeout, stop, &position);
    }
    context.logged = 0;
    if (status != Status::ok) {
        attachment_.log().note_ended(message.lsn);
        if (!delay) {
            attachment_.pool().release(message.chunk, attachment_.slot(), context.cursor);
        }
    }
    log.finish(message);
    return status;
}

std::optional<std::chrono::milliseconds> QueueCore::delay_in(const store::Pending& message) const {
    MessageView view;
    Error error;
    static_cast<void>(this->view(message.chunk, view, &error));
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
    Status status = wait_for_room(context, wait_options(timeout, stop));
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
    if (status != Status::ok) {
        return explain(status, timeout);
    }
    return one.lsn;
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
        for (const store::Pending& one : slice) {
            Status status = one.status;
            if (trouble && status == Status::ok) {
                status = send_logged(**context, one, left, stop);
            } else if (status ==
                       Status::ok) {  // behind one that failed: not sent, so that none is left out
                attachment_.log().note_ended(one.lsn);
                (*log)->finish(one);
                attachment_.pool().release(one.chunk, attachment_.slot(), (*context)->cursor);
                continue;
            } else {
                attachment_.pool().release(one.chunk, attachment_.slot(), (*context)->cursor);
            }
            if (status == Status::ok) {
                ++accepted;
            } else if (trouble) {
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
    if (const Status status = wait_for_room(context, options); status != Status::ok) {
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

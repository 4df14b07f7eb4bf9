// Offers that are confirmed when they are in the log.

#include "shm/base/clock.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/domain_log.hpp"
#include "src/store/request_entry.hpp"
#include "src/store/shared_log.hpp"
#include "src/wire/message_check.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

constexpr std::size_t kSliceMost = 256;  // messages of one commit
// An outcome is late behind a second, or behind that share of the time for which it is remembered.
constexpr std::uint64_t kLateNs = 1'000'000'000;
constexpr std::uint64_t kLateShare = 8;
constexpr std::chrono::milliseconds kLatePatience{20};

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
    Status status = writable()                     ? Status::ok
                    : options.timeout.count() == 0 ? Status::queue_full
                                                   : Status::none;
    if (status == Status::none) {
        Waiter waiter(attachment_, context, ring_.control().space, options);
        const auto maybe = [&writable](std::uint32_t /*look*/) { return writable(); };
        status = waiter.wait(maybe, writable);
        waiter.leave(writable);
    }
    // A queue that ended has room, where the next one hears of the end.
    return status == Status::ok && ring_.closed() ? Status::queue_not_found : status;
}

// Of a message that is in the log: into its queue. Killed before it is there: it is in the log, was not confirmed, and
// our reaper ends it; behind it: it is in its queue. A delayed one is let go of whatever becomes of it.
Status QueueCore::send_logged(shm::ThreadContext& context,
                              store::Pending& message,
                              Duration timeout,
                              const std::stop_token& stop) {
    const auto delay = delay_in(message.chunk);
    std::uint64_t position = 0;
    context.logged = shm::make_logged(message.lsn, message.share);
    if (message.request != 0) {
        memory_.store().set_logged(context.note, message.lsn);
    }
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

// Of one that is in the log, and will not come to its queue. Without room for the note it comes when the domain is built
// again. Killed in it: our reaper notes it.
void QueueCore::withdraw_logged(shm::Word* note, const store::Pending& message) noexcept {
    if (message.request != 0) {
        memory_.store().set_logged(note, 0);
    }
    shm::LogTable& table = attachment_.log();
    table.give_up(message.submission);
    if (!table.note_withdrawn(message.lsn)) {
        relieve_log(attachment_, true);
        static_cast<void>(table.note_withdrawn(message.lsn));
    }
    table.finish(message.submission);
}

// A request's time counts from its outcome. Where that is late, behind a slow disk or a wait for room, the log hears of
// it again; killed before, or where that fails, it is remembered for less time.
void QueueCore::log_outcome(const store::Pending& message, std::uint64_t begun_ns) noexcept {
    const auto begun = memory_.store().begun(message.request);
    const std::uint64_t late = begun ? std::max(kLateNs, begun->ttl_ns / kLateShare) : 0;
    if (!begun || shm::monotonic_ns() < begun_ns + late) {
        return;
    }
    try {
        const store::RequestEntry entry = store::entry_of(*begun, found_.log_number(), message.lsn);
        static_cast<void>(domain_->log_if_open()->append(entry.record(), kLatePatience, false));
    } catch (const std::bad_alloc&) {
        // As where it fails.
    }
}

// Behind its way through the log: `sent`, it is the queue's. Otherwise its memory is free, and the log says so.
void QueueCore::settle(shm::ThreadContext& context, const store::Pending& message, bool sent) {
    if (!sent && message.chunk != shm::kNoChunk) {
        attachment_.pool().release(message.chunk, attachment_.slot(), context.cursor);
    }
    if (sent && message.lsn != 0) {
        attachment_.log().finish(message.submission);
    } else if (message.lsn != 0) {
        withdraw_logged(context.note, message);
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
    if (context.note != nullptr && memory_.logged()) {
        one.request = memory_.store().name_of(context.note);
    }
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
    log_outcome(one, begun);
    return one.lsn;
}

std::uint64_t QueueCore::room() const noexcept {
    const std::uint64_t depth = ring_.committed() - std::min(ring_.claimed(), ring_.committed());
    return ring_.closed() ? ~0ULL
                          : ring_.capacity() - std::min<std::uint64_t>(depth, ring_.capacity());
}

Result<void> QueueCore::flush(Duration timeout) {
    if (found_.kind() != shm::Kind::durable) {
        return Error{Status::bad_request,
                     0,
                     "queue '" + name_ + "' is not durable: nothing of it is on a disk"};
    }
    if (const Status status = refuse(timeout); status != Status::ok) {
        return explain(status, timeout);
    }
    auto log = domain_->log();
    return log ? (*log)->sync({timeout, nullptr}) : Result<void>(log.error());
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
                whole = false;  // others took its room: it waits for it without a submission
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
    const auto free = static_cast<std::size_t>(std::max<std::uint64_t>(1, room()));
    const std::size_t most = std::min({messages.size(), kSliceMost, free});
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

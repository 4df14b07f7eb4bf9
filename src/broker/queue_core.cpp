#include "src/broker/queue_core.hpp"

#include "src/client/domain_core.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

constexpr std::uint32_t kFullPause = 32;  // pauses between looks at a full ring
// Nobody loses that many races in a row: the ring is damaged.
constexpr std::uint32_t kDropRoundsMax = 1U << 20;
constexpr auto kMemoryLook = std::chrono::milliseconds(2);

}  // namespace

QueueCore::QueueCore(std::shared_ptr<DomainCore> domain,
                     const shm::Found& found,
                     const shm::Ring& ring,
                     bool created)
    : domain_(std::move(domain)),
      attachment_(domain_->attachment()),
      ring_(ring),
      found_(found),
      name_(found.name()),
      bytes_max_(std::min<std::size_t>(attachment_.pool().message_bytes_max(),
                                       attachment_.segment().message_bytes_max())),
      created_(created),
      circular_(found.info.kind == static_cast<std::uint8_t>(shm::Kind::circular)) {}

QueueCore::~QueueCore() {
    if (!attachment_.forked()) {
        attachment_.directory().detach(found_.entry);
    }
}

Result<Queue> QueueCore::open(std::shared_ptr<DomainCore> domain,
                              const shm::Found& found,
                              bool created) {
    const auto kind = static_cast<shm::Kind>(found.info.kind);
    if (kind != shm::Kind::queue && kind != shm::Kind::circular) {
        return Error{Status::mismatch, 0, "'" + found.name() + "' is not a queue"};
    }
    shm::Directory& directory = domain->attachment().directory();
    const auto ring = directory.ring(found);
    if (!ring) {
        return Error{
            Status::corrupt, 0, "the control block of queue '" + found.name() + "' is damaged"};
    }
    if (!directory.attach(found)) {
        return Error{
            Status::queue_not_found, 0, "queue '" + found.name() + "' was removed meanwhile"};
    }
    return Queue(std::make_shared<QueueCore>(std::move(domain), found, *ring, created));
}

Status QueueCore::refuse(Duration timeout) const noexcept {
    const Status status = attachment_.usable();
    if (status != Status::ok) [[unlikely]] {
        return status;
    }
    // relaxed, both: a close that matters to this call was ordered before it by the caller
    if (closed_.load(std::memory_order_relaxed) ||
        domain_->closed().load(std::memory_order_relaxed)) [[unlikely]] {
        return Status::closed;
    }
    return timeout.count() < 0 ? Status::bad_request : Status::ok;
}

// Expected outcomes carry no text, so that they do not allocate.
Error QueueCore::explain(Status status, Duration timeout) const {
    switch (status) {
        case Status::bad_request:
            return {
                status,
                0,
                "timeout is " + std::to_string(timeout.count()) + " ns, allowed are 0 and more"};
        case Status::queue_not_found:
            return {status, 0, "queue '" + name_ + "' was removed"};
        case Status::domain_removed:
            return {status, 0, "domain '" + domain_->name() + "' was removed"};
        case Status::corrupt:
            return {status,
                    0,
                    "the ring of queue '" + name_ +
                        "' is damaged: positions or references make no sense"};
        default:
            return {status, 0, {}};
    }
}

WaitOptions QueueCore::wait_options(Duration timeout, const std::stop_token& stop) const noexcept {
    return {timeout, &stop, {&closed_, &domain_->closed()}, domain_->strategy()};
}

wire::Stamp QueueCore::stamp(shm::ThreadContext& context) const noexcept {
    return {MessageId{context.id_prefix, ++context.id_counter},
            shm::wall_coarse_ns(),
            MessageType::offer};
}

// ---- offer -------------------------------------------------------------------------------------

Result<std::uint64_t> QueueCore::offer(const Message& message,
                                       Duration timeout,
                                       const std::stop_token& stop) {
    if (auto sound = message.check(); !sound) [[unlikely]] {
        return sound.error();
    }
    Status status = refuse(timeout);
    if (status != Status::ok) [[unlikely]] {
        return explain(status, timeout);
    }
    shm::ThreadContext* context = attachment_.quick_context();
    if (context == nullptr) [[unlikely]] {
        auto made = attachment_.context();
        if (!made) {
            return made.error();
        }
        context = *made;
    }
    shm::ChunkPool& pool = attachment_.pool();
    ring_.prepare_commit();
    const std::size_t bytes = wire::encoded_bytes(message);
    std::uint32_t chunk = shm::kNoChunk;
    if (bytes <= bytes_max_) [[likely]] {
        const std::uint32_t k = pool.class_for(bytes + shm::kMessageOffset);
        chunk = pool.allocate(k, attachment_.slot(), context->cursor);
    }
    if (chunk == shm::kNoChunk) [[unlikely]] {
        auto found = allocate(*context, bytes, timeout, stop);
        if (!found) {
            return found.error();
        }
        chunk = *found;
    }
    wire::encode(message, stamp(*context), pool.message(chunk).first(bytes));
    std::uint64_t position = 0;
    status = send(*context, chunk, timeout, stop, &position);
    if (status == Status::ok) [[likely]] {
        return found_.info.sequence_base + position + 1;
    }
    pool.release(chunk, attachment_.slot(), context->cursor);
    return explain(status, timeout);
}

Result<std::uint64_t> QueueCore::offer(Loan& loan, Duration timeout, const std::stop_token& stop) {
    if (!loan) {
        return Error{
            Status::bad_request, 0, "the loan is empty: it was offered already, or never taken"};
    }
    if (loan.held_.memory != &attachment_) {
        return Error{Status::bad_request, 0, "the loan was taken from another domain"};
    }
    if (const Status status = refuse(timeout); status != Status::ok) {
        return explain(status, timeout);
    }
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    ring_.prepare_commit();
    wire::stamp_loan(loan.bytes_, stamp(**context), loan.payload_.size());
    std::uint64_t position = 0;
    const Status status = send(**context, loan.held_.chunk, timeout, stop, &position);
    if (status != Status::ok) {
        return explain(status, timeout);
    }
    loan.held_ = {};
    loan.bytes_ = {};
    loan.payload_ = {};
    shm::count_up((*context)->returned);
    return found_.info.sequence_base + position + 1;
}

Status QueueCore::commit(shm::ThreadContext& context,
                         std::uint32_t chunk,
                         std::uint64_t* position) {
    const Status status = ring_.commit(chunk, attachment_.slot(), *context.record, position);
    if (status == Status::ok) [[likely]] {
        shm::wake(ring_.control().items, attachment_.threads().data(), [this] {
            return ring_.readable();
        });
    }
    return status;
}

Status QueueCore::send(shm::ThreadContext& context,
                       std::uint32_t chunk,
                       Duration timeout,
                       const std::stop_token& stop,
                       std::uint64_t* position) {
    const Status status = commit(context, chunk, position);
    if (status != Status::queue_full) [[likely]] {
        return status;
    }
    if (circular_) {
        return commit_dropping(context, chunk, position);
    }
    return timeout.count() != 0
               ? commit_later(context, chunk, wait_options(timeout, stop), position)
               : status;
}

// The queue was full: takes the oldest message as a consumer does, until there is room. Lock-free:
// a round that finds it full again had others commit. Killed with the old message CLAIMED: the
// reaper frees it, counted as abandoned; between its release and the count: not counted.
Status QueueCore::commit_dropping(shm::ThreadContext& context,
                                  std::uint32_t chunk,
                                  std::uint64_t* position) {
    for (std::uint32_t round = 0; round < kDropRoundsMax; ++round) {
        std::uint32_t oldest = 0;
        std::uint64_t at = 0;
        Status status = ring_.claim(attachment_.slot(), &oldest, &at);
        if (status == Status::ok) {
            if (!shm::bug(shm::Bug::drop_not_released)) {
                attachment_.pool().release(oldest, attachment_.slot(), context.cursor);
            }
            SHM_STEP("queue.drop.count");
            // relaxed: a statistic, told to consumers when they see it
            attachment_.directory()
                .entry(found_.entry)
                .dropped.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
        } else if (status != Status::queue_empty) {
            return status;
        }
        status = commit(context, chunk, position);
        if (status != Status::queue_full) {
            return status;
        }
    }
    return Status::corrupt;
}

// The queue was full: waits for room, and commits.
Status QueueCore::commit_later(shm::ThreadContext& context,
                               std::uint32_t chunk,
                               const WaitOptions& options,
                               std::uint64_t* position) {
    Status status = Status::queue_full;
    Waiter waiter(attachment_, context, ring_.control().space, options);
    // Spinning looks at the hints until there is room for several; now and then at the truth.
    const std::uint64_t several = ring_.capacity() / 8 + 1;
    const auto maybe = [this, several](std::uint32_t look) {
        return ring_.room_hint() >= several || ((look & 63U) == 63U && ring_.writable());
    };
    const auto writable = [this] { return ring_.writable(); };
    context.pause = kFullPause;  // a full ring is left alone until there is room for several
    while (status == Status::queue_full) {
        status = waiter.wait(maybe, writable);
        if (status == Status::ok) {
            status = commit(context, chunk, position);
        }
    }
    context.pause = 1;
    waiter.leave(writable);
    return status;
}

// Takes what it waits off `timeout`.
Result<std::uint32_t> QueueCore::allocate(shm::ThreadContext& context,
                                          std::size_t message_bytes,
                                          Duration& timeout,
                                          const std::stop_token& stop) {
    shm::ChunkPool& pool = attachment_.pool();
    if (message_bytes > bytes_max_) [[unlikely]] {
        return Error{Status::message_too_large,
                     0,
                     "the message has " + std::to_string(message_bytes) +
                         " bytes with its header, the limit is " + std::to_string(bytes_max_)};
    }
    const std::uint32_t k = pool.class_for(message_bytes + shm::kMessageOffset);
    std::uint32_t chunk = pool.allocate(k, attachment_.slot(), context.cursor);
    if (chunk != shm::kNoChunk) [[likely]] {
        return chunk;
    }
    const Status status = wait_for_memory(context, k, timeout, stop, &chunk);
    if (status == Status::ok) {
        return chunk;
    }
    if (status != Status::out_of_memory) {
        return explain(status, timeout);
    }
    return Error{status,
                 0,
                 "no free chunk of " + std::to_string(pool.chunk_class(k).chunk_bytes) +
                     " bytes or more: limits.pool_bytes is used up by queued messages, loans and "
                     "deliveries"};
}

// Memory that a dead process holds comes back first; then we wait for others, as long as we may.
Status QueueCore::wait_for_memory(shm::ThreadContext& context,
                                  std::uint32_t chunk_class,
                                  Duration& timeout,
                                  const std::stop_token& stop,
                                  std::uint32_t* chunk) {
    shm::ChunkPool& pool = attachment_.pool();
    attachment_.check_deaths();
    *chunk = pool.allocate(chunk_class, attachment_.slot(), context.cursor);
    const std::uint64_t start = shm::monotonic_ns();
    shm::Word& starving = attachment_.segment().header().starving;
    while (*chunk == shm::kNoChunk) {
        if (Duration(shm::monotonic_ns() - start) >= timeout) {
            return Status::out_of_memory;
        }
        if (stop.stop_requested()) {
            return Status::cancelled;
        }
        if (const Status status = refuse(timeout); status != Status::ok) {
            return status;
        }
        // A flag, not a count: a kill would leak a count. Whoever stops starving clears it for all;
        // the others set it again at their next look.
        starving.store(1, std::memory_order_relaxed);  // relaxed: a hint, the look is repeated
        // D2: pairs with shm/doorbell.hpp:D1.
        const std::uint32_t seen = context.record->doorbell.load(std::memory_order_acquire);
        shm::arm(attachment_.pool_waiters(), context.index);
        *chunk = pool.allocate(chunk_class, attachment_.slot(), context.cursor);
        if (*chunk == shm::kNoChunk) {
            shm::futex_wait(
                context.record->doorbell, seen, std::min<Duration>(kMemoryLook, timeout));
            *chunk = pool.allocate(chunk_class, attachment_.slot(), context.cursor);
        }
        static_cast<void>(shm::disarm(attachment_.pool_waiters(), context.index));
        starving.store(0, std::memory_order_relaxed);  // relaxed: a hint
    }
    if (timeout.count() != 0) {
        // Never 0: a full queue is still `timed_out` to who asked to wait.
        timeout = std::max(Duration(1), timeout - Duration(shm::monotonic_ns() - start));
    }
    return Status::ok;
}

Result<Loan> QueueCore::loan(const wire::LoanPlan& plan, Duration timeout) {
    if (const Status status = refuse(timeout); status != Status::ok) {
        return explain(status, timeout);
    }
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    // A size near the end of its range must not wrap around with the header.
    const std::size_t bytes =
        plan.payload_bytes > bytes_max_ ? plan.payload_bytes : wire::encoded_bytes(plan);
    auto chunk = allocate(**context, bytes, timeout, {});
    if (!chunk) {
        return chunk.error();
    }
    Loan loan;
    loan.bytes_ = attachment_.pool().message(*chunk).first(bytes);
    loan.payload_ = loan.bytes_.subspan(wire::encode_loan(plan, loan.bytes_), plan.payload_bytes);
    loan.held_ = {&attachment_, *chunk};
    shm::count_up((*context)->taken);
    return loan;
}

}  // namespace telpher::detail

#include "src/broker/queue_core.hpp"

#include "src/client/domain_core.hpp"
#include "src/wire/message_check.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>

namespace telpher::detail {
namespace {

// Nobody loses that many races in a row: the ring is damaged.
constexpr std::uint32_t kDropRoundsMax = 1U << 20;

}  // namespace

QueueCore::QueueCore(std::shared_ptr<DomainCore> domain,
                     const shm::Found& found,
                     const std::pair<shm::Ring, shm::Ring>& rings,
                     bool created)
    : domain_(std::move(domain)),
      attachment_(domain_->attachment()),
      ring_(rings.first),
      lane_(rings.second),
      found_(found),
      name_(found.name()),
      leased_(found.leased()),
      head_bytes_(leased_ ? sizeof(shm::LeaseBlock) : 0),
      source_(attachment_, {&closed_, &domain_->closed()}, head_bytes_),
      created_(created),
      circular_(found.info.kind == static_cast<std::uint8_t>(shm::Kind::circular)),
      durable_(found.kind() == shm::Kind::durable),
      foreign_(found.info.owner != 0 && found.info.owner != attachment_.identity()),
      budget_(found.info.byte_budget),
      memory_(attachment_, found),
      user_(getuid()) {}

QueueCore::~QueueCore() {
    if (attachment_.forked()) {
        return;
    }
    end_watch();
    if (created_ && found_.info.owner != 0) {
        domain_->end_temporary(found_);  // with the handle that made it
    }
    const bool ended = ring_.closed();
    attachment_.directory().detach(found_.entry);
    if (ended) {
        attachment_.tidy_directory();  // we may have been the last who used it
    }
}

Result<Queue> QueueCore::open(std::shared_ptr<DomainCore> domain,
                              const shm::Found& found,
                              bool created) {
    const auto kind = static_cast<shm::Kind>(found.info.kind);
    if (shm::family_of(kind) != shm::Family::queue || kind == shm::Kind::none) {
        return Error{Status::mismatch, 0, "'" + found.name() + "' is not a queue"};
    }
    shm::Directory& directory = domain->attachment().directory();
    const auto ring = directory.ring(found);
    const auto lane = directory.returns_lane(found);
    if (!ring || !lane) {
        return Error{
            Status::corrupt, 0, "the control block of queue '" + found.name() + "' is damaged"};
    }
    if (!directory.attach(found)) {
        return Error{
            Status::queue_not_found, 0, "queue '" + found.name() + "' was removed meanwhile"};
    }
    return Queue(
        std::make_shared<QueueCore>(std::move(domain), found, std::pair{*ring, *lane}, created));
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

Status QueueCore::refuse_consumer(Duration timeout) const noexcept {
    return foreign_ ? Status::not_permitted : refuse(timeout);
}

WaitOptions QueueCore::wait_options(Duration timeout, const std::stop_token& stop) const noexcept {
    return {timeout, &stop, {&closed_, &domain_->closed()}, domain_->strategy()};
}

// What can never be sent is an error, and does not wait.
Result<void> QueueCore::check_budget(std::size_t message_bytes) const {
    if (budget_ == 0 || message_bytes + head_bytes_ + shm::kMessageOffset <= budget_) {
        return {};
    }
    return Error{Status::message_too_large,
                 0,
                 "the message has " + std::to_string(message_bytes) +
                     " bytes with its header, the byte budget of queue '" + name_ + "' is " +
                     std::to_string(budget_)};
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
    return offer_checked(message, timeout, stop);
}

Result<std::uint64_t> QueueCore::offer(const MessageView& message,
                                       Duration timeout,
                                       const std::stop_token& stop) {
    if (message.topic().empty()) {
        return Message(message).check().error();
    }
    return offer_checked(message, timeout, stop);
}

template <typename Fields>
Result<std::uint64_t> QueueCore::offer_checked(const Fields& message,
                                               Duration timeout,
                                               const std::stop_token& stop) {
    if (const Status status = refuse(timeout); status != Status::ok) [[unlikely]] {
        return explain(status, timeout);
    }
    if (message.is_durable()) [[unlikely]] {
        if (auto fits = check_durable(); !fits) {
            return fits.error();
        }
    }
    if (memory_.on()) [[unlikely]] {
        return offer_once(MessageView(message.parts()), timeout, stop);
    }
    return offer_new(message, timeout, stop);
}

template <typename Fields>
Result<std::uint64_t> QueueCore::offer_new(const Fields& message,
                                           Duration timeout,
                                           const std::stop_token& stop) {
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
    // Not asked for where there cannot be one: an optional is copied whole while its flag is on its way into the
    // cache, and that copy waits for every store before it.
    std::optional<std::chrono::milliseconds> delay;
    if (message.parts().head.extension_bytes != 0) [[unlikely]] {
        delay = message.delay();
    }
    if (delay && !leased_) [[unlikely]] {
        return wire::delay_refused("a message in queue '" + name_ + "'");
    }
    const std::size_t bytes = wire::encoded_bytes(message);
    if (budget_ != 0) [[unlikely]] {
        if (auto fits = check_budget(bytes); !fits) {
            return fits.error();
        }
    }
    std::uint32_t chunk = shm::kNoChunk;
    if (bytes <= source_.small_bytes_max()) [[likely]] {
        chunk = source_.allocate_small(*context, bytes);
    }
    if (chunk == shm::kNoChunk) [[unlikely]] {
        auto found = source_.allocate(*context, bytes, timeout, stop);
        if (!found) {
            return found.error().detail.empty() ? explain(found.status(), timeout) : found.error();
        }
        chunk = *found;
    }
    wire::encode(message, stamp(*context), message_in(chunk).first(bytes));
    if (message.is_durable()) [[unlikely]] {
        return offer_durable(*context, {chunk, bytes}, timeout, stop);
    }
    if (delay) [[unlikely]] {
        return offer_later(*context, chunk, *delay);
    }
    std::uint64_t position = 0;
    const Status status = send(*context, chunk, timeout, stop, &position);
    if (status == Status::ok) [[likely]] {
        // Numbers of a durable queue are the log's.
        return durable_ ? 0 : found_.info.sequence_base + position + 1;
    }
    pool.release(chunk, attachment_.slot(), context->cursor);
    return explain(status, timeout);
}

// For queue_once.cpp.
template Result<std::uint64_t> QueueCore::offer_new(const MessageView& message,
                                                    Duration timeout,
                                                    const std::stop_token& stop);

Result<std::uint64_t> QueueCore::offer(Loan& loan, Duration timeout, const std::stop_token& stop) {
    if (!loan) {
        return Error{
            Status::bad_request, 0, "the loan is empty: it was offered already, or never taken"};
    }
    if (memory_.required()) {
        return RequestMemory::id_missing("queue '" + name_ + "'");  // a loan has none
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
    if (auto fits = check_budget(loan.bytes_.size()); !fits) {
        return fits.error();
    }
    ring_.prepare_commit();
    wire::stamp_loan(loan.bytes_, stamp(**context), loan.payload_.size());
    std::uint64_t position = 0;
    const Status status = send(**context, loan.held_.chunk, timeout, stop, &position);
    if (status != Status::ok) {
        return explain(status, timeout);
    }
    attachment_.discharge(loan.held_.chunk);
    loan.held_ = {};
    loan.bytes_ = {};
    loan.payload_ = {};
    shm::count_up((*context)->returned);
    return durable_ ? 0 : found_.info.sequence_base + position + 1;
}

Result<Loan> QueueCore::loan(const wire::LoanPlan& plan, Duration timeout) {
    Status status = refuse(timeout);
    if (status == Status::ok && attachment_.full()) {
        status = Status::limit_reached;
    }
    // One variable, returned on every path: see ChunkSource::loan.
    Result<Loan> loan = status == Status::ok ? source_.loan(plan, timeout) : Result<Loan>(status);
    if (!loan && loan.error().detail.empty()) [[unlikely]] {
        loan = explain(loan.status(), timeout);
    }
    return loan;
}

Status QueueCore::commit(shm::ThreadContext& context,
                         std::uint32_t chunk,
                         std::uint64_t* position) {
    if (budget_ != 0 && !within_budget(chunk)) [[unlikely]] {
        return Status::queue_full;
    }
    if (leased_) {
        attachment_.leases().open(chunk);
        if (context.logged != 0) [[unlikely]] {
            attachment_.leases().set_logged(
                chunk, shm::logged_lsn(context.logged), shm::logged_share(context.logged));
        }
    }
    const Status status =
        ring_.commit(chunk, attachment_.slot(), *context.record, position, context.note);
    if (status == Status::ok) [[likely]] {
        shm::wake(
            ring_.control().items, attachment_.threads(), [this] { return ring_.readable(); });
    }
    return status;
}

bool QueueCore::within_budget(std::uint32_t chunk) noexcept {
    shm::ChunkPool& pool = attachment_.pool();
    const std::uint64_t there = meter_.measure(ring_, pool);
    // An empty queue takes any message; of a closed one `commit` tells.
    return there == 0 || there + pool.class_of(chunk).chunk_bytes <= budget_ || ring_.closed();
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
        std::uint64_t claimed = 0;
        Status status = ring_.claim(attachment_.slot(), &oldest, &at, &claimed);
        if (status == Status::ok) {
            if (!shm::bug(shm::Bug::drop_not_released)) {
                discard(context, oldest, claimed);
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
    const auto writable = [this, chunk] {
        return ring_.writable() && (budget_ == 0 || within_budget(chunk));
    };
    const auto maybe = [this, several, &writable](std::uint32_t look) {
        return (budget_ == 0 && ring_.room_hint() >= several) ||
               ((look & 63U) == 63U && writable());
    };
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

}  // namespace telpher::detail

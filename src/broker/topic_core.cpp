#include "src/broker/topic_core.hpp"

#include "shm/base/clock.hpp"
#include "src/client/domain_core.hpp"
#include "src/wire/message_check.hpp"

#include <algorithm>
#include <iterator>

namespace telpher::detail {
namespace {

// Messages are taken out of the ring before it is full when those published since would take so much
// memory; in a topic with a byte budget, an eighth of that if it is less.
constexpr std::uint64_t kTrimBytes = 256U << 10U;
constexpr std::uint64_t kSmallChunkBytes = 512;

// Writes a message so that readers may copy it at any moment: word by word.
void store_words(std::span<std::byte> to, const std::byte* from) noexcept {
    auto* words = reinterpret_cast<std::uint64_t*>(to.data());
    for (std::size_t i = 0; i < (to.size() + 7) / 8; ++i) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, from + i * 8, sizeof word);
        // T15: pairs with T14 (shm/topic_ring_inline.hpp:T14). Release, so that a reader that copies a
        // word of this message sees that the chunk is not the old message's any more.
        std::atomic_ref<std::uint64_t>(words[i]).store(word, std::memory_order_release);
    }
}

}  // namespace

const char* policy_name(shm::SlowPolicy policy) noexcept {
    // Read from shared memory, where anything may have been written.
    static constexpr const char* kNames[] = {"drop_oldest", "block", "latest_only", "disconnect"};
    const auto index = static_cast<std::size_t>(policy);
    return index < std::size(kNames) ? kNames[index] : "unknown";
}

Result<std::shared_ptr<TopicCore>> TopicCore::open(DomainCore& domain, const shm::Found& found) {
    shm::Directory& directory = domain.attachment().directory();
    const auto ring = directory.topic(found);
    if (!ring) {
        return Error{
            Status::corrupt, 0, "the control block of topic '" + found.name() + "' is damaged"};
    }
    if (!directory.attach(found)) {
        return Error{
            Status::topic_not_found, 0, "topic '" + found.name() + "' was removed meanwhile"};
    }
    return std::make_shared<TopicCore>(domain, found, *ring);
}

TopicCore::TopicCore(DomainCore& domain, const shm::Found& found, const shm::TopicRing& ring)
    : domain_(domain),
      attachment_(domain.attachment()),
      ring_(ring),
      found_(found),
      name_(found.name()),
      budget_(found.info.byte_budget),
      source_(attachment_, {nullptr, &domain.closed()}) {}

TopicCore::~TopicCore() {
    if (attachment_.forked()) {
        return;
    }
    for (Publisher& publisher : publishers_) {
        ring_.give_back(publisher.retired);
    }
    const bool ended = ring_.closed();
    attachment_.directory().detach(found_.entry);
    if (ended) {
        attachment_.tidy_directory();  // we may have been the last who used it
    }
}

Status TopicCore::usable() const noexcept { return domain_.usable(); }

Status TopicCore::refuse(Duration timeout) const noexcept {
    const Status status = domain_.usable();
    return status != Status::ok || timeout.count() >= 0 ? status : Status::bad_request;
}

// Expected outcomes carry no text, so that they do not allocate.
Error TopicCore::explain(Status status, Duration timeout) const {
    switch (status) {
        case Status::bad_request:
            return {
                status,
                0,
                "timeout is " + std::to_string(timeout.count()) + " ns, allowed are 0 and more"};
        case Status::topic_not_found:
            return {status, 0, "topic '" + name_ + "' was removed"};
        case Status::limit_reached:
            return {status,
                    0,
                    "limits.process_bytes is " +
                        std::to_string(attachment_.segment().process_bytes_max()) +
                        ", and loans and deliveries of this process hold as much"};
        case Status::domain_removed:
            return {status, 0, "domain '" + domain_.name() + "' was removed"};
        case Status::corrupt:
            return {status,
                    0,
                    "the ring of topic '" + name_ +
                        "' is damaged: positions or references make no sense"};
        default:
            return {status, 0, {}};
    }
}

Result<Published> TopicCore::publish(const Message& message,
                                     Duration timeout,
                                     const std::stop_token& stop) {
    if (auto sound = message.check(); !sound) [[unlikely]] {
        return sound.error();
    }
    if (message.delay()) [[unlikely]] {
        return wire::delay_refused("a publish");
    }
    if (message.topic() != name_) [[unlikely]] {
        return Error{Status::bad_request,
                     0,
                     "the message's topic is '" + std::string(message.topic()) +
                         "', published to '" + name_ + "'"};
    }
    if (const Status status = refuse(timeout); status != Status::ok) [[unlikely]] {
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
    ring_.prepare_commit();
    const std::size_t bytes = wire::encoded_bytes(message);
    std::uint32_t chunk = shm::kNoChunk;
    if (bytes <= source_.small_bytes_max()) [[likely]] {
        shm::ChunkPool& pool = attachment_.pool();
        const std::uint32_t k = pool.class_for(bytes + shm::kMessageOffset);
        // What this thread evicted last from here, if it is of that size.
        if (Publisher* mine = publisher_of(*context)) [[likely]] {
            chunk = ring_.take_retired(
                mine->retired, pool.chunk_class(k).chunk_bytes, attachment_.slot());
        }
        if (chunk == shm::kNoChunk) {
            chunk = pool.allocate(k, attachment_.slot(), context->cursor);
        }
    }
    if (chunk == shm::kNoChunk) [[unlikely]] {
        auto found = source_.allocate(*context, bytes, timeout, stop);
        if (!found) {
            return found.error().detail.empty() ? explain(found.status(), timeout) : found.error();
        }
        chunk = *found;
    }
    const std::span<std::byte> memory = attachment_.pool().message(chunk);
    const wire::Stamp stamp{MessageId{context->id_prefix, ++context->id_counter},
                            shm::wall_coarse_ns(),
                            MessageType::publish};
    shm::Lane lane = shm::Lane::main;
    if (memory.size() + shm::kMessageOffset <= shm::kCopiedChunkBytes) [[likely]] {
        alignas(64) std::byte copy[shm::kCopiedChunkBytes];
        wire::encode(message, stamp, {copy, bytes});
        store_words(memory.first(bytes), copy);
        lane = shm::Lane::copied;
    } else {
        wire::encode(message, stamp, memory.first(bytes));
    }
    auto published = send(*context, chunk, lane, timeout, stop);
    if (!published) [[unlikely]] {
        attachment_.pool().release(chunk, attachment_.slot(), context->cursor);
    }
    return published;
}

Result<Published> TopicCore::publish(Loan& loan, Duration timeout, const std::stop_token& stop) {
    if (!loan || loan.held_.memory != &attachment_) {
        return Error{Status::bad_request,
                     0,
                     loan ? "the loan was taken from another domain"
                          : "the loan is empty: it was published already, or never taken"};
    }
    if (const Status status = refuse(timeout); status != Status::ok) {
        return explain(status, timeout);
    }
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    ring_.prepare_commit();
    wire::stamp_loan(loan.bytes_,
                     {MessageId{(*context)->id_prefix, ++(*context)->id_counter},
                      shm::wall_coarse_ns(),
                      MessageType::publish},
                     loan.payload_.size());
    auto published = send(**context, loan.held_.chunk, shm::Lane::main, timeout, stop);
    if (!published) {
        return published;
    }
    attachment_.discharge(loan.held_.chunk);
    loan.held_ = {};
    loan.bytes_ = {};
    loan.payload_ = {};
    shm::count_up((*context)->returned);
    return published;
}

Result<Published> TopicCore::send(shm::ThreadContext& context,
                                  std::uint32_t chunk,
                                  shm::Lane lane,
                                  Duration timeout,
                                  const std::stop_token& stop) {
    std::uint64_t position = 0;
    Status status = try_send(context, chunk, lane, &position);
    if (status == Status::queue_full && timeout.count() != 0) [[unlikely]] {
        status = send_later(context,
                            chunk,
                            lane,
                            {timeout, &stop, {&closed_, &domain_.closed()}, domain_.strategy()},
                            &position);
    }
    if (status != Status::ok) [[unlikely]] {
        return explain(status, timeout);
    }
    // W3: pairs with shm/doorbell.hpp:W1; after the commit. Everybody is to see it.
    if (shm::WaiterMap& items = ring_.control().items;
        items.summary.load(std::memory_order_seq_cst) != 0) [[unlikely]] {
        shm::wake_each(items, attachment_.threads());
    }
    return Published{found_.info.sequence_base + position + 1, subscriber_count()};
}

Status TopicCore::try_send(shm::ThreadContext& context,
                           std::uint32_t chunk,
                           shm::Lane lane,
                           std::uint64_t* position) {
    if (budget_ != 0 && ring_.policy() == shm::SlowPolicy::block && !ring_.has_room(budget_))
        [[unlikely]] {
        return Status::queue_full;
    }
    const std::uint64_t bytes = attachment_.pool().class_of(chunk).chunk_bytes;
    std::uint64_t evicted = shm::kNoRef;
    Publisher* mine = publisher_of(context);
    shm::GateCache nothing_known;
    const Status status = ring_.publish({chunk, lane, attachment_.slot()},
                                        *context.record,
                                        mine != nullptr ? mine->gate : nothing_known,
                                        position,
                                        &evicted);
    if (status == Status::ok) [[likely]] {
        clean_up(mine, evicted, bytes);
    }
    return status;
}

TopicCore::Publisher* TopicCore::publisher_of(const shm::ThreadContext& context) noexcept {
    for (std::uint32_t i = 0; i < kPublishers; ++i) {
        Publisher& candidate = publishers_[(context.index + i) % kPublishers];
        // relaxed: only this thread ever stores its own context there
        const shm::ThreadContext* owner = candidate.owner.load(std::memory_order_relaxed);
        if (owner == &context) [[likely]] {
            return &candidate;
        }
        if (owner == nullptr &&
            candidate.owner.compare_exchange_strong(
                owner, &context, std::memory_order_relaxed)) {  // relaxed: as above
            return &candidate;
        }
    }
    return nullptr;
}

// A subscriber for whom publishers wait was too far behind: waits for it, and commits.
Status TopicCore::send_later(shm::ThreadContext& context,
                             std::uint32_t chunk,
                             shm::Lane lane,
                             const WaitOptions& options,
                             std::uint64_t* position) {
    Waiter waiter(attachment_, context, ring_.control().space, options);
    const auto ready = [this] { return ring_.has_room(budget_); };
    const auto maybe = [this](std::uint32_t look) {
        return (look & 15U) == 15U && ring_.has_room(budget_);
    };
    Status status = Status::queue_full;
    context.pause = kFullPause;
    while (status == Status::queue_full) {
        status = waiter.wait(maybe, ready);
        if (status == Status::ok) {
            status = try_send(context, chunk, lane, position);
        }
    }
    context.pause = 1;
    waiter.leave(ready);
    return status;
}

// Killed in it: retired chunks are freed by others, the floor is raised by the next who trims.
void TopicCore::clean_up(Publisher* mine, std::uint64_t evicted, std::uint64_t bytes) noexcept {
    if (mine == nullptr) [[unlikely]] {
        if (ring_.retire(evicted, shm::kNobodysChunk)) {
            ring_.free_if_unused(evicted, shm::kNobodysChunk);
        }
        return;
    }
    ring_.retire(evicted, attachment_.slot(), mine->retired);
    if (bytes <= kSmallChunkBytes && budget_ == 0) [[likely]] {
        return;  // a ring full of them is little
    }
    mine->untrimmed_bytes += bytes;
    const std::uint64_t enough =
        budget_ != 0 ? std::min<std::uint64_t>(kTrimBytes, budget_ / 8) : kTrimBytes;
    if (mine->untrimmed_bytes >= enough) [[unlikely]] {
        mine->untrimmed_bytes = 0;
        trim(*mine);
    }
}

// What every subscriber has read and is not history goes; beyond a byte budget, the oldest go whoever
// has not read them, but for blocking subscribers.
void TopicCore::trim(Publisher& publisher) noexcept {
    const std::uint64_t tail = ring_.tail();
    const std::uint64_t history = std::min<std::uint64_t>(found_.info.history, tail);
    std::uint64_t end = std::min(ring_.lowest_cursor(false), tail - history);
    if (budget_ != 0) {
        const std::uint64_t blocking = ring_.lowest_cursor(true);
        std::uint64_t from =
            std::max(ring_.floor(), tail - std::min<std::uint64_t>(tail, ring_.slots()));
        std::uint64_t bytes = ring_.bytes_between(from, tail);
        for (; from < std::min(tail, blocking) && bytes > budget_; ++from) {
            bytes -= std::min(bytes, ring_.bytes_between(from, from + 1));
        }
        end = std::max(end, from);
    }
    ring_.trim(end, attachment_.slot(), publisher.retired);
    ring_.free_retired(publisher.retired);
}

std::uint32_t TopicCore::subscriber_count() noexcept {
    // T17: pairs with shm/topic_ring.cpp:T16.
    const std::uint64_t changes =
        (ring_.topic_control().changes.load(std::memory_order_acquire) + 1) & 0xFFFF'FFFF'FFFFULL;
    std::uint64_t counted = counted_.load(std::memory_order_relaxed);  // relaxed: one word of ours
    if (counted >> 16U != changes) [[unlikely]] {
        counted = changes << 16U | ring_.subscriber_count();
        counted_.store(counted, std::memory_order_relaxed);  // relaxed: as above
    }
    return static_cast<std::uint32_t>(counted & 0xFFFFU);
}

Result<Loan> TopicCore::loan(const wire::LoanPlan& plan, Duration timeout) {
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

}  // namespace telpher::detail

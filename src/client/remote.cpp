#include "src/client/remote.hpp"

#include "shm/attachment.hpp"
#include "src/broker/lease.hpp"

#include <cstring>
#include <memory>
#include <new>

namespace telpher::detail {
namespace {

constexpr std::size_t kAlignment = 64;

// Aligned by hand, since allocators are slow with alignments of their own (a quarter of what a sample cost). The
// prefix, which nobody reads in private memory, remembers where the allocation began.
static_assert(sizeof(void*) <= wire::kChunkPrefixBytes);

std::byte* allocate(std::size_t bytes) {
    void* const whole = ::operator new(kAlignment - alignof(std::max_align_t) + bytes);
    void* base = whole;
    std::size_t room = kAlignment - alignof(std::max_align_t) + bytes;
    base = std::align(kAlignment, bytes, base, room);
    std::memcpy(base, &whole, sizeof whole);
    return static_cast<std::byte*>(base);
}

}  // namespace

RemoteMemory::RemoteMemory(std::size_t bytes)
    : base_(allocate(wire::kChunkPrefixBytes + bytes)), bytes_(bytes) {}

void RemoteMemory::free(std::byte* base) noexcept {
    if (base != nullptr) {
        void* whole = nullptr;
        std::memcpy(&whole, base, sizeof whole);
        ::operator delete(whole);
    }
}

// Held has a place for one pointer. It is never followed as what it says, only cast back.
Held RemoteMemory::hold() && noexcept {
    bytes_ = 0;
    return {reinterpret_cast<shm::Attachment*>(std::exchange(base_, nullptr)), kRemoteChunk};
}

void RemoteMemory::end_lease(Held& held) noexcept {
    delete &lease(held);
    held.lease = 0;
    free(held);
}

void RemoteMemory::free(Held& held) noexcept {
    if (held.lease != 0) {
        lease(held).let_go();
        delete &lease(held);
        held.lease = 0;
    }
    free(reinterpret_cast<std::byte*>(std::exchange(held.memory, nullptr)));
}

Client RemoteAccess::client(std::shared_ptr<RemoteClient> remote) {
    Client client;
    client.remote_ = std::move(remote);
    return client;
}
Queue RemoteAccess::queue(std::shared_ptr<RemoteQueue> remote) {
    Queue queue;
    queue.remote_ = std::move(remote);
    return queue;
}
Topic RemoteAccess::topic(std::shared_ptr<RemoteTopic> remote) {
    Topic topic;
    topic.remote_ = std::move(remote);
    return topic;
}
Subscription RemoteAccess::subscription(std::shared_ptr<RemoteSubscription> remote) {
    Subscription subscription;
    subscription.remote_ = std::move(remote);
    return subscription;
}

Delivery RemoteAccess::delivery(RemoteMemory memory,
                                const MessageView& view,
                                std::uint64_t sequence) {
    Delivery delivery;
    static_cast<MessageView&>(delivery) = view;
    delivery.held_ = std::move(memory).hold();
    delivery.sequence_ = sequence;
    return delivery;
}

void RemoteAccess::lend(Delivery& delivery,
                        std::unique_ptr<RemoteLease> lease,
                        std::uint32_t deliveries,
                        ReturnReason reason) noexcept {
    delivery.held_.lease = reinterpret_cast<std::uint64_t>(lease.release());
    delivery.deliveries_ = deliveries;
    delivery.reason_ = reason;
}

void RemoteAccess::consumer_ended(Delivery& delivery) noexcept {
    if (delivery.held_.memory != nullptr && delivery.held_.lease != 0 &&
        !delivery.held_.memory->forked()) {
        static_cast<void>(return_lease(delivery.held_, ReturnReason::consumer_died, 0));
    }
}

Sample RemoteAccess::sample(std::shared_ptr<const RemoteMemory> keeps,
                            const MessageView& view,
                            std::uint64_t sequence,
                            std::uint64_t lost_before) {
    Sample sample;
    static_cast<MessageView&>(sample) = view;
    sample.keeps_ = std::move(keeps);
    sample.sequence_ = sequence;
    sample.lost_before_ = lost_before;
    return sample;
}

Result<Loan> RemoteAccess::loan(const wire::LoanPlan& plan, std::size_t message_bytes_max) {
    // Before the sum, which must not overflow.
    const bool fits = plan.payload_bytes <= message_bytes_max;
    const std::size_t bytes = fits ? wire::encoded_bytes(plan) : 0;
    if (!fits || bytes > message_bytes_max) {
        return Error{Status::message_too_large,
                     0,
                     "a payload of " + std::to_string(plan.payload_bytes) +
                         " bytes is too large for messages of at most " +
                         std::to_string(message_bytes_max)};
    }
    Loan loan;
    try {
        RemoteMemory memory(bytes);
        loan.bytes_ = memory.message();
        loan.held_ = std::move(memory).hold();
    } catch (const std::bad_alloc&) {
        return Status::out_of_memory;
    }
    loan.payload_ =
        loan.bytes_.subspan(wire::encode_loan(plan, loan.bytes_)).first(plan.payload_bytes);
    return loan;
}

Result<std::span<const std::byte>> RemoteAccess::stamp(Loan& loan, const wire::Stamp& stamp) {
    if (!loan) {
        return Error{
            Status::bad_request, 0, "the loan is empty: it was offered already, or never taken"};
    }
    if (loan.held_.chunk != kRemoteChunk) {
        return Error{Status::bad_request, 0, "the loan was taken from another domain"};
    }
    wire::stamp_loan(loan.bytes_, stamp, loan.payload_.size());
    const auto offset = static_cast<std::size_t>(loan.payload_.data() - loan.bytes_.data());
    return std::span<const std::byte>(loan.bytes_).first(offset + loan.payload_.size());
}

}  // namespace telpher::detail

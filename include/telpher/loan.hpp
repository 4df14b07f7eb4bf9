#pragma once
// Messages in place: a Loan is memory inside the segment being filled by its producer, a Delivery
// is a message being read by its consumer where the producer wrote it.

#include "telpher/lease.hpp"
#include "telpher/message.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace telpher {

namespace shm {
class Attachment;
}

namespace detail {
class QueueCore;
class ChunkSource;
class TopicCore;
struct RemoteAccess;

// What a Loan or Delivery must give back. Trivial; empty when `memory` is null.
struct Held {
    shm::Attachment* memory = nullptr;  // with kRemoteChunk: not that, but the message's own memory
    std::uint32_t chunk = 0;
    std::uint64_t lease = 0;  // the chunk's word as our lease left it; 0: it is not a lease
};
// The number of no chunk: the message came from a bridge or goes to one.
inline constexpr std::uint32_t kRemoteChunk = 0xFFFF'FFFF;
void give_back(Held& held) noexcept;
// What a consumer says about a message it has leased. All but a lease that is extended leave `held` empty.
// The errors are those of Delivery::ack, nack, extend and reject.
Result<void> acknowledge(Held& held);
Result<void> give_back_later(Held& held, Duration delay);
Result<void> extend(Held& held, Duration duration);
Result<void> reject(Held& held);
std::optional<DeadLetter> dead_letter(const Held& held);

// FNV-1a of the compiler's spelling of T: equal in all programs built by compilers that spell
// alike.
template <typename T>
constexpr std::uint64_t type_id() {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : std::string_view(__PRETTY_FUNCTION__)) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    }
    return hash;
}
}  // namespace detail

// Memory for one message inside the segment. Move-only; unsent, it goes back by itself.
//
//   Threads   one at a time; may move between threads of the process.
//   Lifetime  must end before the last handle of its domain in this process is closed; one that
//             does not keeps the domain mapped until it ends.
//   Crash     the memory of a killed process' loans returns to the pool within milliseconds.
class Loan {
  public:
    Loan() = default;
    Loan(Loan&& other) noexcept
        : held_(std::exchange(other.held_, {})),
          bytes_(std::exchange(other.bytes_, {})),
          payload_(std::exchange(other.payload_, {})) {}
    Loan& operator=(Loan&& other) noexcept {
        if (this != &other) {
            detail::give_back(held_);
            held_ = std::exchange(other.held_, {});
            bytes_ = std::exchange(other.bytes_, {});
            payload_ = std::exchange(other.payload_, {});
        }
        return *this;
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ~Loan() { detail::give_back(held_); }

    explicit operator bool() const noexcept { return held_.memory != nullptr; }
    // The payload to fill. Not zeroed: it holds what its last user left.
    [[nodiscard]] std::span<std::byte> payload() const noexcept { return payload_; }
    // Says that only the first `size_bytes` of the payload are used. Larger values change nothing.
    void shrink(std::size_t size_bytes) noexcept {
        payload_ = payload_.first(size_bytes < payload_.size() ? size_bytes : payload_.size());
    }

  private:
    friend class detail::QueueCore;
    friend class detail::ChunkSource;
    friend class detail::TopicCore;
    friend struct detail::RemoteAccess;
    detail::Held held_{};
    std::span<std::byte> bytes_{};  // all message bytes
    std::span<std::byte> payload_{};
};

// A Loan that is a T. See Queue::loan<T>.
template <typename T>
class TypedLoan {
    static_assert(std::is_trivially_copyable_v<T>,
                  "a T in shared memory has no constructor and no pointer");

  public:
    TypedLoan() = default;
    explicit TypedLoan(Loan loan) noexcept : loan_(std::move(loan)) {}
    explicit operator bool() const noexcept { return static_cast<bool>(loan_); }
    T* operator->() const noexcept { return get(); }
    T& operator*() const noexcept { return *get(); }
    T* get() const noexcept { return reinterpret_cast<T*>(loan_.payload().data()); }
    Loan& untyped() noexcept { return loan_; }

  private:
    Loan loan_;
};

// A message polled from a queue, read in place. Move-only.
//
//   at_most_once   the message is ours; the destructor releases its memory.
//   at_least_once  the message is leased for the queue's `lease`: `ack` it when it is handled. The
//                  destructor of one that was not gives it back, as `nack()`. A lease that expired, and
//                  that of a process that died, hands the message to another consumer; what is read here
//                  stays readable.
//   Accessors      all of MessageView; views into it end with the Delivery, and with ack, nack, reject
//                  and release.
//   Copy           `to_message()` gives an owning Message.
//   Threads        one at a time, but `extend` may run beside those who only read it; may move between
//                  threads of the process.
//   Crash          at_most_once queues: a message held by a killed process is gone, counted as
//                  abandoned. at_least_once: it is handed out again within milliseconds; killed anywhere in
//                  ack, nack, extend or reject it is either done or not.
class Delivery : public MessageView {
  public:
    // Not defaulted: `Delivery()` would write zeros over all of it first, at every poll.
    Delivery() noexcept {}  // NOLINT(modernize-use-equals-default)
    Delivery(Delivery&& other) noexcept
        : MessageView(static_cast<const MessageView&>(other)),
          held_(std::exchange(other.held_, {})),
          sequence_(other.sequence_),
          dropped_before_(other.dropped_before_),
          deliveries_(other.deliveries_),
          reason_(other.reason_) {}
    Delivery& operator=(Delivery&& other) noexcept {
        if (this != &other) {
            detail::give_back(held_);
            static_cast<MessageView&>(*this) = static_cast<const MessageView&>(other);
            held_ = std::exchange(other.held_, {});
            sequence_ = other.sequence_;
            dropped_before_ = other.dropped_before_;
            deliveries_ = other.deliveries_;
            reason_ = other.reason_;
        }
        return *this;
    }
    Delivery(const Delivery&) = delete;
    Delivery& operator=(const Delivery&) = delete;
    ~Delivery() { detail::give_back(held_); }

    explicit operator bool() const noexcept { return held_.memory != nullptr; }
    // Its number in the queue: 1, 2, 3, ... in the order in which offers were accepted. 0 if it had
    // been polled before and was put back: then it came before all others, out of its order. In an
    // at_least_once queue it keeps its number (0 only if a consumer was killed on the way to it). That of a
    // durable message is the one its offer returned: it rises, with gaps.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }
    // How often it has been handed out, this time counted; 0: its queue does not count.
    [[nodiscard]] std::uint32_t deliveries() const noexcept { return deliveries_; }
    // Why it is handed out again; none: it is not.
    [[nodiscard]] ReturnReason reason() const noexcept { return reason_; }
    // In a dead-letter queue: why it is there, since when, and where it came from.
    [[nodiscard]] std::optional<DeadLetter> dead_letter() const {
        return detail::dead_letter(held_);
    }

    // The message is handled: it is never handed out again. Of an at_most_once queue: releases it.
    //
    //   errors  lease_expired (it was handed to another meanwhile: what was handled here will be handled
    //           again), bad_request (it was acknowledged, given back or released before), forked
    //   cost    one atomic operation on memory that is ours
    Result<void> ack() { return detail::acknowledge(held_); }
    // Gives the message back: it is handed out again after `delay`, before others, or goes to the dead
    // letters if it was delivered `deliveries_max` times.
    //
    //   errors  lease_expired, bad_request (as ack; a negative delay; the queue is at_most_once),
    //           queue_not_found (the queue was removed: the message is dropped and counted), forked
    Result<void> nack(Duration delay = {}) { return detail::give_back_later(held_, delay); }
    // The lease holds for `duration` from now on; 0 = as long as the queue's leases do.
    //
    //   errors  lease_expired, bad_request (as ack; negative; the queue is at_most_once), forked
    Result<void> extend(Duration duration = {}) { return detail::extend(held_, duration); }
    // Refuses the message: it goes to the queue's dead letters, and is dropped and counted where there are
    // none.
    //
    //   errors  as nack, and limit_reached (threads: nothing changed)
    Result<void> reject() { return detail::reject(held_); }

    // Circular queues: how many messages were dropped since the delivery before this one. Each drop
    // is told once, whoever polls; one that happens during the poll, at the next.
    [[nodiscard]] std::uint64_t dropped_before() const noexcept { return dropped_before_; }
    // As the destructor, now: at_most_once: releases the memory; at_least_once: gives the message back.
    void release() noexcept { detail::give_back(held_); }
    // A delivery may stand wherever an owning message is asked for; the copy is made there.
    // NOLINTNEXTLINE(google-explicit-constructor)
    operator Message() const { return to_message(); }

  private:
    friend class detail::QueueCore;
    friend struct detail::RemoteAccess;
    detail::Held held_{};
    std::uint64_t sequence_ = 0;
    std::uint64_t dropped_before_ = 0;
    std::uint32_t deliveries_ = 0;
    ReturnReason reason_ = ReturnReason::none;
};

// A Delivery that is a T, or the reason why there is none. See Queue::poll_as<T>.
template <typename T>
class TypedDelivery {
    static_assert(std::is_trivially_copyable_v<T>,
                  "a T in shared memory has no constructor and no pointer");

  public:
    explicit TypedDelivery(Error error) : error_(std::move(error)) {}
    explicit TypedDelivery(Delivery delivery) : delivery_(std::move(delivery)) {}
    explicit operator bool() const noexcept { return static_cast<bool>(delivery_); }
    const T* operator->() const noexcept { return get(); }
    const T& operator*() const noexcept { return *get(); }
    const T* get() const noexcept { return reinterpret_cast<const T*>(delivery_.payload().data()); }
    // ok, or why there is no T: queue_empty, timed_out, mismatch, queue_not_found, closed,
    // cancelled, ...
    [[nodiscard]] Status status() const noexcept { return error_.status; }
    [[nodiscard]] const Error& error() const noexcept { return error_; }
    [[nodiscard]] const Delivery& delivery() const noexcept { return delivery_; }

  private:
    Delivery delivery_{};
    Error error_{};
};

}  // namespace telpher

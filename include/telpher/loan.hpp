#pragma once
// Messages in place: a Loan is memory inside the segment being filled by its producer, a Delivery
// is a message being read by its consumer where the producer wrote it.

#include "telpher/message.hpp"
#include "telpher/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
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
};
// The number of no chunk: the message came from a bridge or goes to one.
inline constexpr std::uint32_t kRemoteChunk = 0xFFFF'FFFF;
void give_back(Held& held) noexcept;

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

// A message taken from a queue, read in place. Move-only. Its destructor releases the memory.
//
//   Accessors  all of MessageView; views into it end with the Delivery.
//   Copy       `to_message()` gives an owning Message.
//   Crash      at_most_once queues: a message held by a killed process is gone, counted as
//              abandoned.
class Delivery : public MessageView {
  public:
    Delivery() = default;
    Delivery(Delivery&& other) noexcept
        : MessageView(static_cast<const MessageView&>(other)),
          held_(std::exchange(other.held_, {})),
          sequence_(other.sequence_),
          dropped_before_(other.dropped_before_) {}
    Delivery& operator=(Delivery&& other) noexcept {
        if (this != &other) {
            detail::give_back(held_);
            static_cast<MessageView&>(*this) = static_cast<const MessageView&>(other);
            held_ = std::exchange(other.held_, {});
            sequence_ = other.sequence_;
            dropped_before_ = other.dropped_before_;
        }
        return *this;
    }
    Delivery(const Delivery&) = delete;
    Delivery& operator=(const Delivery&) = delete;
    ~Delivery() { detail::give_back(held_); }

    explicit operator bool() const noexcept { return held_.memory != nullptr; }
    // Its number in the queue: 1, 2, 3, ... in the order in which offers were accepted. 0 if it had
    // been polled before and was put back: then it came before all others, out of its order.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }
    // Circular queues: how many messages were dropped since the delivery before this one. Each drop
    // is told once, whoever polls; one that happens during the poll, at the next.
    [[nodiscard]] std::uint64_t dropped_before() const noexcept { return dropped_before_; }
    // Releases the memory now. The views into it end.
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

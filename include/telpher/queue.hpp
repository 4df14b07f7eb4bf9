#pragma once
// A first-in-first-out queue between any number of processes.

#include "telpher/consumer.hpp"
#include "telpher/future.hpp"
#include "telpher/loan.hpp"
#include "telpher/message.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace telpher {

// What `Queue::status` tells: a snapshot, each figure exact at some moment during the call.
struct QueueStatus {
    std::string name;
    std::string kind;            // "bounded", "circular", "durable"
    std::uint32_t capacity = 0;  // messages
    std::uint64_t depth = 0;     // messages committed and not yet polled
    std::uint64_t bytes = 0;     // their payloads
    std::uint64_t offered = 0;   // ever accepted
    std::uint64_t polled = 0;    // ever handed out, skipped as expired and purged included
    std::uint64_t dropped = 0;   // made room for newer ones (circular)
    std::uint64_t expired = 0;   // skipped because their time had passed
    std::uint64_t redelivered = 0;
    std::uint64_t abandoned = 0;  // polled by a process that was killed before it released them
    std::uint32_t consumers = 0;  // attached processes that have polled
    DeliveryMode delivery = DeliveryMode::at_most_once;
    // at_least_once:
    Duration lease{};
    std::uint32_t deliveries_max = 0;  // 0: any number
    std::string dead_letter;           // the queue of its dead letters; empty: it has none
    std::uint64_t leased = 0;          // messages with consumers now
    std::uint64_t delayed = 0;         // given back or offered for later; not in `depth`
    std::uint64_t lease_expired = 0;   // leases whose consumers said nothing in time
    std::uint64_t dead_lettered = 0;   // refused, delivered too often, or their time had passed
    std::optional<std::chrono::milliseconds>
        oldest_age{};  // of the message at the head, none when empty
    bool removed = false;
    IdempotencyFigures idempotency{};
};

// What became of the deliveries that `ack_up_to` or `ack_all` took.
struct Acknowledged {
    std::size_t acknowledged = 0;
    std::size_t lease_expired = 0;  // handed to others meanwhile: they will be handled again
};

class Messages;

namespace detail {
class RemoteQueue;
class Retrier;
struct RetryAccess;
}  // namespace detail

// A handle to one queue. Copies share it. Keeps its connection alive.
//
//   Threads   all members any number at once.
//   Timeouts  measured on the monotonic clock; 0 = do not wait. A negative one is bad_request.
//   Fork      in a forked child every call answers `forked`.
class Queue {
  public:
    Queue() = default;

    // Puts a copy of `message` at the tail and wakes one waiting consumer.
    //
    //   returns  the message's sequence number in this queue (1, 2, 3, ...)
    //   errors   queue_full (timeout 0), timed_out, cancelled, closed, queue_not_found (removed),
    //            bad_request (the message's first violated limit), message_too_large,
    //            out_of_memory, limit_reached (threads), domain_removed, forked, corrupt. All: did
    //            not happen.
    //   delayed  (Message::deliver_after; at_least_once) accepted at once, and handed out later, before
    //            others: it takes no place in the queue until then, whatever its capacity and byte budget, only
    //            memory. It has no number: returns 0, and its sequence() is 0. Its life (expires_in) runs
    //            meanwhile. Comes milliseconds late, and up to 5 s if this process is stopped
    //   circular never full: drops the oldest message first, counted in `status` and told to the
    //            next consumer (Delivery::dropped_before). `timeout` is for memory only.
    //   durable  (Message::durable; a durable queue) returns when the message is in the domain's log, as safe as
    //            QueueOptions::durability says, and in the queue. Its number is that of its record: it rises,
    //            with gaps, and goes on after a restart. `timeout` 0 asks for no patience with a full queue; it
    //            waits for the disk all the same. More errors: bad_request (the queue is not durable),
    //            storage_failed (the disk is full: later offers try again; or it failed: nothing durable is accepted
    //            any more until the domain is built anew from its log). After timed_out, cancelled and
    //            storage_failed the message is in no queue; where it was on its way to the disk it may come out
    //            of the log after a restart
    //   cost     one contended atomic operation, no system call unless a consumer sleeps, no
    //            allocation. Durable: a write and a sync, shared by all processes that wait at the moment
    //   crash    killed before the commit: not sent; after it: sent. Nothing in between. (Killed
    //            while it drops another message: that one is dropped, and may not be counted.) Durable: killed
    //            before it returned, the message may be in the queue or not; afterwards it is
    Result<std::uint64_t> offer(const Message& message,
                                Duration timeout = {},
                                std::stop_token stop = {});
    // The same with retries of its own. Through a bridge, `disconnected` may have happened: it is retried if
    // the options say that a second copy does no harm.
    Result<std::uint64_t> offer(const Message& message,
                                Duration timeout,
                                const RetryOptions& options);

    // Sends a loan without a copy. Moved from only on success: after an error the loan is still
    // yours.
    Result<std::uint64_t> offer(Loan&& loan, Duration timeout = {}, std::stop_token stop = {});
    template <typename T>
    Result<std::uint64_t> offer(TypedLoan<T>&& loan,
                                Duration timeout = {},
                                std::stop_token stop = {}) {
        return offer(std::move(loan.untyped()), timeout, std::move(stop));
    }

    // Takes the oldest message.
    //
    //   errors   queue_empty (timeout 0; also if other consumers took each of tens of thousands
    //            first), timed_out, cancelled, closed, queue_not_found (removed and drained),
    //            domain_removed, limit_reached (threads, process_bytes),
    //            out_of_memory (the message's data segment cannot be mapped here), forked, corrupt.
    //            None takes a message.
    //   cost     one contended atomic operation, no system call unless a producer sleeps, no
    //            allocation
    //   crash    killed before the claim: the message stays; after it: it is gone, counted as
    //            abandoned.
    Result<Delivery> poll(Duration timeout = {}, std::stop_token stop = {});

    // The same two without waiting here: they complete later, or at once if they can.
    //
    //   timeout  of each operation by itself, kept while nobody looks at its future; 0 = as `poll`
    //            and `offer`, the future is ready
    //   errors   in the future, as poll and offer; overloaded (a coroutine keeps the parker busy,
    //            and 1024 others wait for it)
    //   order    those that wait are served first in, first out, at each end of the queue
    //   close    closing the handle, its Server or Client completes them with closed; removal with
    //            queue_not_found, of the domain with domain_removed
    //   threads  any number at once; thousands may be pending, served by one thread ("parker") per
    //            Server or Client, started by the first that has to wait
    //   cost     an allocation; when it has to wait, two hand-overs between threads besides
    //   durable  offer_async waits for the disk behind the call: its future is ready when the message is confirmed,
    //            together with all others that came while the disk was busy. Once there was room for it, it can no
    //            longer be cancelled. Offers that wait (`offer`) may overtake it. Messages with a request
    //            id, and those of a queue with a byte budget, are confirmed one by one
    //   crash    a pending offer is not sent, a pending poll takes nothing; a durable one on its way may be sent
    Future<Delivery> poll_async(Duration timeout, std::stop_token stop = {});
    Future<std::uint64_t> offer_async(Message message, Duration timeout, std::stop_token stop = {});

    // A descriptor for epoll, poll and select: readable when the queue has a message (or may have
    // one), or has ended. Then `poll()` or `poll_n()` until it answers queue_empty: that makes it
    // quiet again. Never read or close it. Belongs to this handle and its copies, and closes with the
    // last. Every call returns the same one.
    //
    //   errors   limit_reached (descriptors, threads), closed, domain_removed, forked
    //   cost     while it is quiet, each message costs its producer a system call, as a sleeping
    //            consumer does; none while it is readable. Through a bridge: a WATCH and its answer for
    //            each time that it becomes quiet
    //   threads  any number at once
    //   crash    nothing of it is shared
    [[nodiscard]] Result<int> fd();

    // Offers `messages` one after another; those of others may come in between.
    //
    //   timeout  for all of them together
    //   returns  how many were accepted, from the first on: all, unless time or room ran out
    //   errors   as offer, when not even the first was accepted
    Result<std::size_t> offer_n(std::span<const Message> messages,
                                Duration timeout = {},
                                std::stop_token stop = {});
    // Waits for one message and takes those with it that are there, at most `max` (1 and more).
    //
    //   errors   as poll, when there is not even one; bad_request (max)
    Result<std::vector<Delivery>> poll_n(std::size_t max,
                                         Duration timeout = {},
                                         std::stop_token stop = {});
    // Acknowledges those of `held`, deliveries of this queue, whose sequence() is at most `sequence`: "I am at
    // 5". What was acknowledged, and what is empty, leaves `held`; the others keep their order. A delivery without
    // a number (sequence() 0) stays: nothing says that it was before the others; `ack` it, or `ack_all`.
    //
    //   returns  how many, and how many of them had lost their leases; at_most_once: releases them
    //   errors   forked (nothing changed); through a bridge as Admin's members: which of them were acknowledged
    //            is not known, those that were not come again
    //   cost     one atomic operation each; through a bridge one round trip for all of a client
    //   crash    killed in it: each is acknowledged, or comes again
    static Result<Acknowledged> ack_up_to(std::vector<Delivery>& held, std::uint64_t sequence);
    // The same of all of them.
    static Result<Acknowledged> ack_all(std::vector<Delivery>& held);
    // Of a durable queue: returns when everything that this process acknowledged, refused or gave back before (through
    // a bridge: the client, by calls that have returned) is on disk, so that none of it comes again after a loss of
    // power. An acknowledgement alone goes to the log with the next message's commit, and is lost with the machine
    // until then. Offers need none: each is confirmed by itself.
    //
    //   timeout  above 0; through a bridge 10 s at most
    //   errors   bad_request (the queue is not durable; timeout), timed_out (a disk that hangs), storage_failed (what
    //            became of it is not known), queue_not_found, closed, domain_removed, forked, limit_reached
    //            (descriptors); through a bridge disconnected
    //   threads  any number at once; they share syncs, with durable offers, too
    //   cost     one sync of the disk, whatever was acknowledged
    //   crash    killed in it: nothing that was acknowledged is undone
    Result<void> flush(Duration timeout = std::chrono::seconds(10));
    // Takes the messages away that were in the queue when it was called, at most; of messages that
    // come or go meanwhile, any. Those that are delayed or leased stay. Returns how many.
    //
    //   errors   closed, domain_removed, limit_reached (threads), forked, corrupt
    //   crash    killed in between: each message is still there, or gone
    Result<std::uint64_t> purge();

    // A copy of the oldest message that has not expired; it stays in the queue.
    //
    //   errors   queue_empty, queue_not_found (removed and drained), timed_out (consumers took the
    //            message away under the copy, a thousand times in a row), closed, domain_removed,
    //            forked, corrupt
    //   cost     copies the message; disturbs nobody
    //   crash    writes nothing
    [[nodiscard]] Result<Message> peek() const;

    // Memory for `payload_bytes` in the segment, under the topic `topic`.
    //
    //   timeout  how long to wait for memory when the domain may not grow; 0 = do not wait
    //   errors   out_of_memory (what is used up, and why the domain cannot grow), message_too_large,
    //            limit_reached (limits.process_bytes), bad_request (topic), and as offer
    //   cost     flat over size, unless the domain must grow: then about 0.3 ms per MiB, and up to
    //            50 ms (or `timeout`) where another process holds the directory lock
    Result<Loan> loan(std::string_view topic, std::size_t payload_bytes, Duration timeout = {});

    // Memory for a T, aligned to 64 bytes; size and type travel with it. T is trivially copyable.
    template <typename T>
    Result<TypedLoan<T>> loan(Duration timeout = {}) {
        static_assert(alignof(T) <= 64, "payloads are aligned to 64 bytes");
        auto loan = loan_typed(detail::type_id<T>(), sizeof(T), timeout);
        if (!loan) {
            return loan.error();
        }
        return TypedLoan<T>(std::move(*loan));
    }

    // Takes the oldest message, which must be a T: anything else is taken and dropped with
    // `mismatch`.
    template <typename T>
    TypedDelivery<T> poll_as(Duration timeout = {}, std::stop_token stop = {}) {
        auto delivery = poll_typed(detail::type_id<T>(), sizeof(T), timeout, std::move(stop));
        return delivery ? TypedDelivery<T>(std::move(*delivery))
                        : TypedDelivery<T>(delivery.error());
    }

    // Everything that arrives, until `stop`, close or removal:  for (auto& message :
    // queue.messages(stop)) ...
    [[nodiscard]] Messages messages(std::stop_token stop = {});

    // Runs `handler` for each message from now on, on threads of its own, until the Consumer is stopped or
    // destroyed. It is called with a `const Delivery&` or a `const Message&`, by several threads at once if
    // there are several, and what it returns says what becomes of the message: nothing or Handled::ack()
    // acknowledges it, Handled::nack(delay) and Handled::reject() are the Delivery's; an error or an exception
    // gives it back after `retry_after` (at_least_once), and is told to `on_error`.
    //
    //   leases   are extended while the handler runs (Consumer)
    //   errors   bad_request (threads, prefetch, retry_after), limit_reached (threads), and as status
    //   cost     a thread for each of `threads`, and one more if the queue is at_least_once; a message costs a
    //            poll and an acknowledgement, through a bridge each a round trip
    //   crash    as Consumer
    template <typename F>
    Result<Consumer> consume(F&& handler, const ConsumeOptions& options = {}) {
        return consume_with(detail::make_consume_handler(std::forward<F>(handler)), options);
    }

    // Wakes every waiter of this handle (all copies) with `closed`. Later calls answer `closed`.
    void close();

    [[nodiscard]] Result<QueueStatus> status() const;
    [[nodiscard]] const std::string& name() const;
    [[nodiscard]] std::uint32_t capacity() const;
    [[nodiscard]] bool created() const;  // whether this handle's call made the queue
    explicit operator bool() const noexcept { return core_ != nullptr || remote_ != nullptr; }

  private:
    friend class detail::QueueCore;
    friend struct detail::RemoteAccess;
    friend struct detail::RetryAccess;
    friend class WaitSet;
    explicit Queue(std::shared_ptr<detail::QueueCore> core) : core_(std::move(core)) {}
    Result<Consumer> consume_with(detail::ConsumeHandler handler, const ConsumeOptions& options);
    Result<Loan> loan_typed(std::uint64_t type_id, std::size_t size_bytes, Duration timeout);
    Result<Delivery> poll_typed(std::uint64_t type_id,
                                std::size_t size_bytes,
                                Duration timeout,
                                std::stop_token stop);

    std::shared_ptr<detail::QueueCore> core_;
    std::shared_ptr<detail::RemoteQueue> remote_;  // instead of the core
    std::shared_ptr<detail::Retrier> retrier_;     // of its Client or Server
    bool retries_ = false;                         // whether that has a policy for all operations
};

// The range of Queue::messages. One pass, one thread.
class Messages {
  public:
    class Iterator {
      public:
        using value_type = Delivery;
        using difference_type = std::ptrdiff_t;
        explicit Iterator(Messages* range) : range_(range) {}
        Delivery& operator*() const { return range_->current_; }
        Delivery* operator->() const { return &range_->current_; }
        Iterator& operator++() {
            range_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.at_end(); }

      private:
        [[nodiscard]] bool at_end() const { return !range_->current_; }
        Messages* range_;
    };

    Messages(Queue queue, std::stop_token stop)
        : queue_(std::move(queue)), stop_(std::move(stop)) {}
    Iterator begin() {
        next();
        return Iterator(this);
    }
    [[nodiscard]] std::default_sentinel_t end() const { return {}; }
    // Why the loop ended: cancelled (stop), closed, queue_not_found, domain_removed, corrupt; ok
    // before.
    [[nodiscard]] Status status() const noexcept { return status_; }

  private:
    void next();

    Queue queue_;
    std::stop_token stop_;
    Delivery current_{};
    Status status_ = Status::ok;
};

inline Messages Queue::messages(std::stop_token stop) { return Messages(*this, std::move(stop)); }

}  // namespace telpher

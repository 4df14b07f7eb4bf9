#pragma once
// A queue as one handle sees it: the ring, the pool, the codec and waiting, put together.
//
//   Threads   any number at once. Copies of a public Queue share one core.
//   Crash     offer: a chunk is OWNED (reaped), or OFFERED and in flight (resolved by the reaper),
//             or committed. poll: the message is in the queue, or CLAIMED by us (reaped: counted as
//             abandoned, or handed out again where there are leases).

#include "telpher/queue.hpp"

#include "shm/attachment.hpp"
#include "shm/ring.hpp"
#include "src/broker/byte_meter.hpp"
#include "src/broker/chunk_source.hpp"
#include "src/broker/durable_way.hpp"
#include "src/broker/operation.hpp"
#include "src/broker/request_memory.hpp"
#include "src/broker/waiter.hpp"
#include "src/broker/watch.hpp"
#include "src/store/shared_log.hpp"
#include "src/wire/codec.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

namespace telpher::detail {

class DomainCore;

class QueueCore : public std::enable_shared_from_this<QueueCore> {
  public:
    // Pins the destination. Error: queue_not_found (gone meanwhile), corrupt.
    static Result<Queue> open(std::shared_ptr<DomainCore> domain,
                              const shm::Found& found,
                              bool created);
    // The core of a handle that is not empty.
    static QueueCore& of(const Queue& queue) { return *queue.core_; }
    QueueCore(std::shared_ptr<DomainCore> domain,
              const shm::Found& found,
              const std::pair<shm::Ring, shm::Ring>& rings,
              bool created);
    QueueCore(const QueueCore&) = delete;
    QueueCore& operator=(const QueueCore&) = delete;
    ~QueueCore();

    Result<std::uint64_t> offer(const Message& message,
                                Duration timeout,
                                const std::stop_token& stop);
    // The same for a message that lies encoded somewhere, decoded and sound: copied once, into its chunk.
    Result<std::uint64_t> offer(const MessageView& message,
                                Duration timeout,
                                const std::stop_token& stop);
    Result<std::uint64_t> offer(Loan& loan, Duration timeout, const std::stop_token& stop);
    Result<Delivery> poll(Duration timeout, const std::stop_token& stop);
    Result<Delivery> poll_typed(const TypeTag& tag, Duration timeout, const std::stop_token& stop);
    Result<std::size_t> offer_n(std::span<const Message> messages,
                                Duration timeout,
                                const std::stop_token& stop);
    Result<std::vector<Delivery>> poll_n(std::size_t max,
                                         Duration timeout,
                                         const std::stop_token& stop);
    Result<Loan> loan(const wire::LoanPlan& plan, Duration timeout);
    // Brings a message that was polled from this queue, and not read, back to where the next poll
    // finds it first. ok (`delivery` is empty), queue_full (the returns lane is; nothing changed),
    // bad_request (not of this queue), limit_reached (threads), forked, corrupt.
    [[nodiscard]] Status put_back(Delivery& delivery) noexcept;
    Result<std::uint64_t> purge();
    Result<Message> peek() const;
    Result<QueueStatus> status() const;
    Result<void> flush(Duration timeout);
    void close();
    Future<Delivery> poll_async(Duration timeout, const std::stop_token& stop);
    // Until there is a message (`end` poll) or room (offer), which is left there; the number is 0.
    Future<std::uint64_t> ready_async(OperationKind end, Duration timeout);
    [[nodiscard]] bool ready(OperationKind end) noexcept {
        return end == OperationKind::poll ? readable() : writable();
    }
    Future<std::uint64_t> offer_async(Message message,
                                      Duration timeout,
                                      const std::stop_token& stop);
    Future<std::uint64_t> offer_durable_async(Message message,
                                              Duration timeout,
                                              const std::stop_token& stop);
    // For durable_sender.hpp. Room, memory, and the message in it. queue_full, out_of_memory: nothing happened; others
    // as offer.
    [[nodiscard]] Status begin_durable(const Message& message, DurableWay& out, Error* why);
    // Of one that is in the log; its number. queue_full: nothing happened.
    [[nodiscard]] Result<std::uint64_t> deliver_durable(DurableWay& way);
    // Out of the log again, as if it had not been there.
    void take_back_durable(DurableWay& way) noexcept;
    // For how many messages; of a queue that ended: for any number, which hear it.
    [[nodiscard]] std::uint64_t room() const noexcept;
    // Its way is over.
    void end_durable(DurableWay& way, bool sent);
    Result<int> fd();
    // The same for a message that nobody will read any more, whatever it takes: where the lane stays
    // full for 100 ms, or this thread gets no record, it is lost, and counted as abandoned.
    void give_up(Delivery& delivery) noexcept;
    // It is lost, and counted as abandoned.
    void abandon(Delivery& delivery) noexcept;

    // ---- for those who wait on many (parker.hpp, WaitSet) ---------------------------------------
    // Whether a poll would find something: a message, the end of the queue, or damage; the cheap and
    // the exact question.
    [[nodiscard]] bool maybe_readable() const noexcept {
        return ring_.maybe_readable() || lane_.maybe_readable();
    }
    [[nodiscard]] bool readable() const noexcept { return lane_.readable() || ring_.readable(); }
    // Whether an offer would find room, or the end.
    [[nodiscard]] bool writable() noexcept { return circular_ || ring_.writable(); }
    [[nodiscard]] shm::RingControl& control() const noexcept { return ring_.control(); }
    // ok, closed, domain_removed, forked.
    [[nodiscard]] Status usable() const noexcept { return refuse({}); }
    [[nodiscard]] shm::Attachment& attachment() const noexcept { return attachment_; }
    [[nodiscard]] const shm::Found& found() const noexcept { return found_; }
    [[nodiscard]] std::atomic<std::uint32_t>& pending(OperationKind kind) noexcept {
        return kind == OperationKind::poll ? polls_pending_ : offers_pending_;
    }

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::uint32_t capacity() const { return ring_.capacity(); }
    [[nodiscard]] bool created() const { return created_; }

  private:
    // Of a queue that remembers its messages.
    Result<std::uint64_t> offer_once(const MessageView& message,
                                     Duration timeout,
                                     const std::stop_token& stop);
    [[nodiscard]] Status pause_for_another(const std::stop_token& stop) const;
    template <typename Fields>
    Result<std::uint64_t> offer_new(const Fields& message,
                                    Duration timeout,
                                    const std::stop_token& stop);
    template <typename Fields>
    Result<std::uint64_t> offer_checked(const Fields& message,
                                        Duration timeout,
                                        const std::stop_token& stop);
    // The checks before every operation; none = go on.
    [[nodiscard]] Status refuse(Duration timeout) const noexcept;
    // The same before those that consume.
    [[nodiscard]] Status refuse_consumer(Duration timeout) const noexcept;
    [[nodiscard]] Error explain(Status status, Duration timeout) const;
    [[nodiscard]] WaitOptions wait_options(Duration timeout,
                                           const std::stop_token& stop) const noexcept;
    [[nodiscard]] Status commit(shm::ThreadContext& context,
                                std::uint32_t chunk,
                                std::uint64_t* position);
    // Commits, and does for a full queue what its kind and `timeout` say.
    [[nodiscard]] Status send(shm::ThreadContext& context,
                              std::uint32_t chunk,
                              Duration timeout,
                              const std::stop_token& stop,
                              std::uint64_t* position);
    [[nodiscard]] Status commit_dropping(shm::ThreadContext& context,
                                         std::uint32_t chunk,
                                         std::uint64_t* position);
    [[nodiscard]] std::uint64_t tell_dropped() noexcept;
    [[nodiscard]] Status offer_quietly(shm::ThreadContext& context, const Message& message);
    void wake_consumers(std::size_t messages) noexcept;
    [[nodiscard]] Status commit_later(shm::ThreadContext& context,
                                      std::uint32_t chunk,
                                      const WaitOptions& options,
                                      std::uint64_t* position);
    [[nodiscard]] Requester requester() const;
    // ---- of durable messages (queue_durable.cpp, queue_durable_async.cpp) ----
    [[nodiscard]] Result<void> begin_request(const Message& message, DurableWay& out);
    [[nodiscard]] Status encode_durable(shm::ThreadContext& context,
                                        const Message& message,
                                        DurableWay& out,
                                        Error* why);
    [[nodiscard]] shm::Word* note_of(const DurableWay& way) noexcept;
    struct Encoded {
        std::uint32_t chunk;
        std::size_t bytes;
    };
    [[nodiscard]] Result<void> check_durable() const;
    [[nodiscard]] store::Pending pending(std::uint32_t chunk, std::size_t bytes) const;
    // For a message in that chunk; kNoChunk: for any.
    [[nodiscard]] Status wait_for_room(shm::ThreadContext& context,
                                       std::uint32_t chunk,
                                       const WaitOptions& options);
    [[nodiscard]] Status send_logged(shm::ThreadContext& context,
                                     store::Pending& message,
                                     Duration timeout,
                                     const std::stop_token& stop);
    void log_outcome(const store::Pending& message, std::uint64_t begun_ns) noexcept;
    void withdraw_logged(shm::Word* note, const store::Pending& message) noexcept;
    void settle(shm::ThreadContext& context, const store::Pending& message, bool sent);
    [[nodiscard]] std::optional<std::chrono::milliseconds> delay_in(std::uint32_t chunk) const;
    [[nodiscard]] Result<std::uint64_t> offer_durable(shm::ThreadContext& context,
                                                      Encoded message,
                                                      Duration timeout,
                                                      const std::stop_token& stop);
    [[nodiscard]] Result<std::size_t> offer_n_durable(std::span<const Message> messages,
                                                      Duration timeout,
                                                      const std::stop_token& stop);
    [[nodiscard]] Result<void> fill_slice(shm::ThreadContext& context,
                                          std::span<const Message> messages,
                                          const WaitOptions& options,
                                          std::vector<store::Pending>& slice);
    [[nodiscard]] Result<void> check_budget(std::size_t message_bytes) const;
    [[nodiscard]] bool within_budget(std::uint32_t chunk) noexcept;
    void wake_producers() noexcept;
    [[nodiscard]] Status claim(std::uint32_t* chunk,
                               std::uint64_t* position,
                               std::uint64_t* claimed) noexcept;
    // Where the message lies in a chunk of this queue.
    [[nodiscard]] std::span<std::byte> message_in(std::uint32_t chunk) const noexcept {
        return attachment_.pool().message(chunk).subspan(head_bytes_);
    }
    // A chunk that we claimed, and whose message we do not want.
    void discard(shm::ThreadContext& context, std::uint32_t chunk, std::uint64_t claimed) noexcept;
    // The same because its time has passed.
    void discard_expired(shm::ThreadContext& context,
                         std::uint32_t chunk,
                         std::uint64_t claimed) noexcept;
    // Dead letters do not expire again.
    [[nodiscard]] bool is_dead_letter(std::uint32_t chunk) const noexcept {
        // relaxed: written before OFFERED, which our claim has seen
        return leased_ &&
               attachment_.leases().block(chunk).dead.load(std::memory_order_relaxed) != 0;
    }
    // An encoded message that is to be handed out after `delay`. The chunk is not ours afterwards.
    [[nodiscard]] Result<std::uint64_t> offer_later(shm::ThreadContext& context,
                                                    std::uint32_t chunk,
                                                    std::chrono::milliseconds delay);
    void begin_lease(Delivery& delivery, std::uint64_t claimed) noexcept;
    void measure_leases(QueueStatus& status) const;
    // Nothing is there: whether a pass over the leases may have brought something.
    [[nodiscard]] bool look_for_parked() noexcept;
    [[nodiscard]] Status view(std::uint32_t chunk, MessageView& view, Error* error) const;
    [[nodiscard]] Status take(shm::ThreadContext& context, Delivery& delivery, Error* error);
    [[nodiscard]] Status poll_into(Delivery& delivery,
                                   Error* error,
                                   Duration timeout,
                                   const std::stop_token& stop);
    [[nodiscard]] wire::Stamp stamp(shm::ThreadContext& context) const noexcept;
    [[nodiscard]] Status put_back_lease(Delivery& delivery) noexcept;
    void note_consumer() noexcept;
    void measure_backlog(const shm::Ring& ring,
                         std::uint64_t from,
                         std::uint64_t to,
                         QueueStatus& status) const;
    void rearm_watch() noexcept;
    void close_async() noexcept;
    void end_watch() noexcept;

    std::shared_ptr<DomainCore> domain_;
    shm::Attachment& attachment_;
    // `position` of a message that came back: it has no place in the queue any more.
    static constexpr std::uint64_t kReturned = ~0ULL;

    shm::Ring ring_;
    shm::Ring lane_;  // of returns
    shm::Found found_;
    std::string name_;
    bool leased_;
    std::size_t head_bytes_;  // what stands before the message in a chunk
    ChunkSource source_;
    bool created_;
    bool circular_;
    bool durable_;
    bool foreign_;  // a temporary queue of another process: not ours to consume
    std::uint64_t budget_;
    ByteMeter meter_;
    RequestMemory memory_;
    const std::uint64_t user_;  // of this process
    std::atomic<bool> consumer_noted_{false};
    std::atomic<bool> closed_{false};
    std::atomic<std::uint32_t> polls_pending_{0};  // asynchronous ones of this handle
    std::atomic<std::uint32_t> offers_pending_{0};
    std::atomic<std::uint32_t> on_way_{0};  // durable messages that are the sender's
    std::mutex watch_mutex_;                // guards the making of watch_
    std::shared_ptr<Watch> watch_;          // of fd(); once made, it stays
    std::atomic<bool> watched_{false};      // whether it is made
};

}  // namespace telpher::detail

#pragma once
// What the public handles ask of a remote client. tcp_bridge implements it; src knows no socket.
//
//   Threads   all members any number at once, unless said otherwise.
//   Errors    as the public members that call them, and disconnected: the connection was cut, and whether
//             it happened is not known (unless the text says that it was not sent).
//   Fork      in a child every call answers `forked`.

#include "telpher/client.hpp"

#include "src/wire/codec.hpp"

#include <bit>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::detail {

// Memory of one message that came from a bridge or goes to one, as a chunk is: the message begins 16 bytes
// behind a multiple of 64, so that its payload is aligned as its header says.
// A message of a bridge's that is leased to us.
class RemoteLease {
  public:
    RemoteLease() = default;
    RemoteLease(const RemoteLease&) = delete;
    RemoteLease& operator=(const RemoteLease&) = delete;
    virtual ~RemoteLease() = default;
    // As the members of Delivery.
    virtual Result<void> ack() = 0;
    virtual Result<void> nack(Duration delay) = 0;
    virtual Result<void> extend(Duration duration) = 0;
    virtual Result<void> reject() = 0;
    // Acknowledges all of `leases` of the same client as this one at once, this one included: what became of
    // each, in their order; `none` of those that are another's.
    virtual Result<std::vector<Status>> ack_with(std::span<RemoteLease* const> leases) = 0;
    [[nodiscard]] virtual std::optional<DeadLetter> dead_letter() const = 0;
    // Gives it back, without waiting for that.
    virtual void let_go() noexcept = 0;
};

class RemoteMemory {
  public:
    RemoteMemory() = default;
    // Of so many bytes, not zeroed. Throws what `new` throws.
    explicit RemoteMemory(std::size_t bytes);
    RemoteMemory(RemoteMemory&& other) noexcept
        : base_(std::exchange(other.base_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    RemoteMemory& operator=(RemoteMemory&& other) noexcept {
        std::swap(base_, other.base_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    RemoteMemory(const RemoteMemory&) = delete;
    RemoteMemory& operator=(const RemoteMemory&) = delete;
    ~RemoteMemory() { free(base_); }

    explicit operator bool() const noexcept { return base_ != nullptr; }
    [[nodiscard]] std::span<std::byte> message() const noexcept {
        return {base_ + wire::kChunkPrefixBytes, bytes_};
    }

    // To a Loan or Delivery, and back from it when that ends.
    [[nodiscard]] Held hold() && noexcept;
    static void free(Held& held) noexcept;
    // The lease of a delivery that is one.
    [[nodiscard]] static RemoteLease& lease(const Held& held) noexcept {
        return *std::bit_cast<RemoteLease*>(held.lease);
    }
    // It was settled: what is left is memory.
    static void end_lease(Held& held) noexcept;

  private:
    static void free(std::byte* base) noexcept;
    std::byte* base_ = nullptr;
    std::size_t bytes_ = 0;
};

class RemoteAdmin;

class RemoteQueue {
  public:
    RemoteQueue() = default;
    RemoteQueue(const RemoteQueue&) = delete;
    RemoteQueue& operator=(const RemoteQueue&) = delete;
    virtual ~RemoteQueue() = default;

    virtual Result<std::uint64_t> offer(const Message& message,
                                        Duration timeout,
                                        const std::stop_token& stop) = 0;
    // The loan is empty afterwards if it was accepted.
    virtual Result<std::uint64_t> offer(Loan& loan,
                                        Duration timeout,
                                        const std::stop_token& stop) = 0;
    virtual Future<std::uint64_t> offer_async(Message message,
                                              Duration timeout,
                                              const std::stop_token& stop) = 0;
    virtual Result<std::size_t> offer_n(std::span<const Message> messages,
                                        Duration timeout,
                                        const std::stop_token& stop) = 0;
    virtual Result<Delivery> poll(Duration timeout, const std::stop_token& stop) = 0;
    virtual Result<Delivery> poll_typed(TypeTag type,
                                        Duration timeout,
                                        const std::stop_token& stop) = 0;
    virtual Future<Delivery> poll_async(Duration timeout, const std::stop_token& stop) = 0;
    virtual Result<std::vector<Delivery>> poll_n(std::size_t max,
                                                 Duration timeout,
                                                 const std::stop_token& stop) = 0;
    virtual Result<Loan> loan(const wire::LoanPlan& plan) = 0;
    virtual Result<int> fd() = 0;
    // For a WaitSet: over when the queue has a message (or room), has ended, or does not answer in time; timeout 0 =
    // only look.
    virtual Future<std::uint64_t> ready_async(bool room, Duration timeout) = 0;
    virtual Result<std::uint64_t> purge() = 0;
    virtual Result<void> flush(Duration timeout) = 0;
    virtual Result<Message> peek() = 0;
    virtual Result<QueueStatus> status() = 0;
    virtual void close() noexcept = 0;
    [[nodiscard]] virtual const std::string& name() const noexcept = 0;
    [[nodiscard]] virtual std::uint32_t capacity() const noexcept = 0;
};

class RemoteTopic {
  public:
    RemoteTopic() = default;
    RemoteTopic(const RemoteTopic&) = delete;
    RemoteTopic& operator=(const RemoteTopic&) = delete;
    virtual ~RemoteTopic() = default;

    virtual Result<Published> publish(const Message& message,
                                      Duration timeout,
                                      const std::stop_token& stop) = 0;
    virtual Result<Published> publish(Loan& loan,
                                      Duration timeout,
                                      const std::stop_token& stop) = 0;
    virtual Future<Published> publish_async(Message message,
                                            Duration timeout,
                                            const std::stop_token& stop) = 0;
    virtual Result<Loan> loan(const wire::LoanPlan& plan) = 0;
    virtual Result<TopicStatus> status() = 0;
    [[nodiscard]] virtual const std::string& name() const noexcept = 0;
};

class RemoteSubscription {
  public:
    RemoteSubscription() = default;
    RemoteSubscription(const RemoteSubscription&) = delete;
    RemoteSubscription& operator=(const RemoteSubscription&) = delete;
    virtual ~RemoteSubscription() = default;

    virtual Result<Sample> next(Duration timeout, const std::stop_token& stop) = 0;
    virtual Result<std::vector<Sample>> next_n(std::size_t max,
                                               Duration timeout,
                                               const std::stop_token& stop) = 0;
    virtual void unsubscribe() noexcept = 0;
    [[nodiscard]] virtual SubscriptionStatus status() const = 0;
};

// Whom a call asks, and for how long.
struct RemoteCall {
    std::string_view function{};  // empty: the one without a name
    Duration timeout{};
    Duration wait_for_server{};
    std::stop_token stop{};
};

class RemoteClient {
  public:
    RemoteClient() = default;
    RemoteClient(const RemoteClient&) = delete;
    RemoteClient& operator=(const RemoteClient&) = delete;
    virtual ~RemoteClient() = default;

    virtual Result<Queue> queue(std::string_view name, const FindOptions& options) = 0;
    virtual Result<Queue> create_temporary_queue(const TemporaryQueueOptions& options) = 0;
    virtual Result<std::uint64_t> reply(const MessageView& request,
                                        Message message,
                                        Duration timeout) = 0;
    virtual Result<Topic> topic(std::string_view name) = 0;
    virtual Result<Published> publish(const Message& message,
                                      Duration timeout,
                                      const std::stop_token& stop) = 0;
    virtual Future<Published> publish_async(Message message,
                                            Duration timeout,
                                            const std::stop_token& stop) = 0;
    virtual Result<Subscription> subscribe(std::vector<std::string> patterns,
                                           SampleHandler handler,
                                           SubscribeOptions options) = 0;
    virtual Result<Message> send(const RemoteCall& call, const Message& request) = 0;
    virtual Future<Message> send_async(const RemoteCall& call, const Message& request) = 0;
    virtual Result<void> send_oneway(const RemoteCall& call, const Message& request) = 0;
    // What `timeout`, which was checked, comes to for this client's calls of that function.
    [[nodiscard]] virtual Duration resolve(std::string_view function, const Timeout& timeout) = 0;
    // Keeps the client.
    [[nodiscard]] virtual std::shared_ptr<RemoteAdmin> admin() = 0;
    [[nodiscard]] virtual bool running() const noexcept = 0;
    virtual void close() noexcept = 0;
};

// Makes public handles of remote ones, and looks into them.
struct RemoteAccess {
    static Client client(std::shared_ptr<RemoteClient> remote);
    static Queue queue(std::shared_ptr<RemoteQueue> remote);
    static Topic topic(std::shared_ptr<RemoteTopic> remote);
    static Subscription subscription(std::shared_ptr<RemoteSubscription> remote);
    // `view` looks into `memory`.
    static Delivery delivery(RemoteMemory memory, const MessageView& view, std::uint64_t sequence);
    static void tell_dropped(Delivery& delivery, std::uint64_t before) noexcept {
        delivery.dropped_before_ = before;
    }
    // From here on it is leased.
    static void lend(Delivery& delivery,
                     std::unique_ptr<RemoteLease> lease,
                     std::uint32_t deliveries,
                     ReturnReason reason) noexcept;
    // Of a lease in this process: whoever had it is gone.
    static void consumer_ended(Delivery& delivery) noexcept;
    // `keeps` holds what `view` looks at.
    static Sample sample(std::shared_ptr<const RemoteMemory> keeps,
                         const MessageView& view,
                         std::uint64_t sequence,
                         std::uint64_t lost_before);
    // Memory for a message, of at most `message_bytes_max`. Errors: message_too_large, out_of_memory.
    static Result<Loan> loan(const wire::LoanPlan& plan, std::size_t message_bytes_max);
    // The message that a remote loan has become. Error: bad_request (empty, or of a domain's memory).
    static Result<std::span<const std::byte>> stamp(Loan& loan, const wire::Stamp& stamp);
    static void end(Loan& loan) noexcept { loan = Loan(); }
    [[nodiscard]] static Held& held(Delivery& delivery) noexcept { return delivery.held_; }
};

}  // namespace telpher::detail

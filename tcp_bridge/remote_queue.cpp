// The remote ends of Queue and Topic.

#include "shm/base/clock.hpp"
#include "tcp_bridge/remote_client.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>

namespace telpher::bridge {
namespace {

// So many polls go out at once behind the first one of poll_n.
constexpr std::size_t kPollsAtOnce = 64;

// Threads: any number at once. A pending operation keeps it, and it the connection.
class QueueEnd final : public detail::RemoteQueue, public std::enable_shared_from_this<QueueEnd> {
  public:
    QueueEnd(std::shared_ptr<RemoteHandle> client,
             std::string name,
             std::uint16_t channel,
             std::uint32_t capacity)
        : client_(std::move(client)),
          name_(std::move(name)),
          channel_(channel),
          capacity_(capacity) {}
    QueueEnd(const QueueEnd&) = delete;
    QueueEnd& operator=(const QueueEnd&) = delete;
    ~QueueEnd() override {
        end();
        if (watch_ != nullptr && !client_->connection()->forked()) {
            watch_->end();
        }
    }

    Result<std::uint64_t> offer(const Message& message,
                                Duration timeout,
                                const std::stop_token& stop) override {
        return offer_bytes(client_->encode(message, MessageType::offer),
                           timeout,
                           stop,
                           Leave::read_by_caller)
            .get(kUntilAnswered);
    }
    Result<std::uint64_t> offer(Loan& loan,
                                Duration timeout,
                                const std::stop_token& stop) override {
        auto offered =
            offer_bytes(
                client_->encode(loan, MessageType::offer), timeout, stop, Leave::read_by_caller)
                .get(kUntilAnswered);
        if (offered) {
            detail::RemoteAccess::end(loan);
        }
        return offered;
    }
    Future<std::uint64_t> offer_async(Message message,
                                      Duration timeout,
                                      const std::stop_token& stop) override {
        return offer_bytes(
            client_->encode(message, MessageType::offer), timeout, stop, Leave::gathered);
    }
    Result<std::size_t> offer_n(std::span<const Message> messages,
                                Duration timeout,
                                const std::stop_token& stop) override;
    Result<Delivery> poll(Duration timeout, const std::stop_token& stop) override {
        auto polled = poll_future(timeout, stop, true, Leave::read_by_caller).get(kUntilAnswered);
        if (polled.status() == Status::queue_empty || polled.status() == Status::timed_out) {
            rearm_watch();
        }
        return polled;
    }
    Result<Delivery> poll_typed(TypeTag type,
                                Duration timeout,
                                const std::stop_token& stop) override;
    Future<Delivery> poll_async(Duration timeout, const std::stop_token& stop) override {
        return poll_future(timeout, stop, false, Leave::gathered);
    }
    Result<std::vector<Delivery>> poll_n(std::size_t max,
                                         Duration timeout,
                                         const std::stop_token& stop) override;
    Result<Loan> loan(const wire::LoanPlan& plan) override {
        if (auto sound = client_->check({}); !sound) {
            return sound.error();
        }
        return detail::RemoteAccess::loan(plan, client_->message_bytes_max());
    }
    Result<int> fd() override;
    Future<std::uint64_t> ready_async(bool room, Duration timeout) override {
        return watch(room, timeout, nullptr);
    }
    Result<std::uint64_t> purge() override { return client_->admin()->purge(name_); }
    Result<Message> peek() override { return client_->admin()->peek(name_); }
    Result<void> flush(Duration timeout) override {
        return client_->admin()->flush(name_, timeout);
    }
    Result<QueueStatus> status() override { return client_->admin()->queue_status(name_); }
    void close() noexcept override { end(); }
    [[nodiscard]] const std::string& name() const noexcept override { return name_; }
    [[nodiscard]] std::uint32_t capacity() const noexcept override { return capacity_; }

  private:
    void end() noexcept {
        if (client_->connection()->forked()) {
            return;  // the descriptor is the parent's, too, and so may be the locks
        }
        Future<std::uint64_t> none;
        {
            const std::lock_guard hold(watch_mutex_);
            closed_ = true;
            std::swap(none, watching_);
            if (watch_ != nullptr) {
                watch_->raise();  // `poll` tells
            }
        }
        client_->connection()->with(
            [this](RemoteSession& session, std::uint64_t /*now*/) { session.close(channel_); });
    }
    [[nodiscard]] Request request(FrameType type, Duration timeout) const {
        Request made;
        made.head.type = type;
        made.head.channel = channel_;
        made.timeout_ns = ns_of(timeout);
        return made;
    }
    Future<std::uint64_t> offer_bytes(Result<Bytes> bytes,
                                      Duration timeout,
                                      const std::stop_token& stop,
                                      Leave how = Leave::now);
    Future<Delivery> poll_future(Duration timeout,
                                 const std::stop_token& stop,
                                 bool at_once,
                                 Leave how);
    Future<std::uint64_t> watch(bool room, Duration timeout, std::shared_ptr<RemoteWatch> raises);
    void rearm_watch();

    const std::shared_ptr<RemoteHandle> client_;
    const std::string name_;
    const std::uint16_t channel_;
    const std::uint32_t capacity_;
    std::mutex watch_mutex_;  // guards closed_, the making of watch_, and watching_
    bool closed_ = false;
    std::shared_ptr<RemoteWatch> watch_;  // of fd(); once made, it stays
    std::atomic<bool> watched_{false};    // whether it is made
    Future<std::uint64_t> watching_;      // the WATCH under way
};

Future<std::uint64_t> QueueEnd::offer_bytes(Result<Bytes> bytes,
                                            Duration timeout,
                                            const std::stop_token& stop,
                                            Leave how) {
    if (auto sound = client_->check(timeout); !sound) {
        return detail::ready_future(Result<std::uint64_t>(sound.error()));
    }
    if (!bytes) {
        return detail::ready_future(Result<std::uint64_t>(bytes.error()));
    }
    Request made = request(FrameType::offer, timeout);
    made.body = std::move(*bytes);
    return start<std::uint64_t>(*client_->connection(),
                                new RemoteOffer(shared_from_this(), client_->connection()),
                                std::move(made),
                                stop,
                                how);
}

Future<Delivery> QueueEnd::poll_future(Duration timeout,
                                       const std::stop_token& stop,
                                       bool at_once,
                                       Leave how) {
    if (auto sound = client_->check(timeout); !sound) {
        return detail::ready_future(Result<Delivery>(sound.error()));
    }
    return start<Delivery>(
        *client_->connection(),
        new RemotePoll(shared_from_this(), client_->connection(), client_, at_once),
        request(FrameType::poll, timeout),
        stop,
        how);
}

// ---- readiness ---------------------------------------------------------------------------------

// Does not keep us: `watching_` would keep itself.
Future<std::uint64_t> QueueEnd::watch(bool room,
                                      Duration timeout,
                                      std::shared_ptr<RemoteWatch> raises) {
    if (auto sound = client_->check(timeout); !sound) {
        if (raises != nullptr) {
            raises->raise();  // `poll` tells
        }
        return detail::ready_future(Result<std::uint64_t>(sound.error()));
    }
    Request made = request(FrameType::watch, timeout);
    made.body = {std::byte{room ? std::uint8_t{1} : std::uint8_t{0}}};
    return start<std::uint64_t>(*client_->connection(),
                                new RemoteReady(client_, client_->connection(), std::move(raises)),
                                std::move(made),
                                {});
}

Result<int> QueueEnd::fd() {
    if (auto sound = client_->check({}); !sound) {
        return sound.error();
    }
    const std::lock_guard hold(watch_mutex_);
    if (closed_) {
        return Status::closed;
    }
    if (watch_ == nullptr) {
        auto made = std::make_shared<RemoteWatch>();
        if (made->descriptor() < 0) {
            return Error{Status::limit_reached, errno, "eventfd"};
        }
        watch_ = std::move(made);
        watching_ = watch(false, Duration::max(), watch_);
        // RW1: pairs with RW2.
        watched_.store(true, std::memory_order_release);
    }
    return watch_->descriptor();
}

// After a poll that took nothing.
void QueueEnd::rearm_watch() {
    // RW2: pairs with RW1.
    if (!watched_.load(std::memory_order_acquire)) {
        return;
    }
    const std::lock_guard hold(watch_mutex_);
    if (!closed_ && watch_->rearm()) {
        watching_ = watch(false, Duration::max(), watch_);
    }
}

// One after another: were several on their way, one that is refused could be overtaken by the next.
Result<std::size_t> QueueEnd::offer_n(std::span<const Message> messages,
                                      Duration timeout,
                                      const std::stop_token& stop) {
    const std::uint64_t began = shm::monotonic_ns();
    std::size_t accepted = 0;
    for (const Message& message : messages) {
        const Duration passed(static_cast<std::int64_t>(shm::monotonic_ns() - began));
        const Duration left =
            timeout.count() < 0 ? timeout : std::max(timeout - passed, Duration{});
        const auto offered = offer(message, left, stop);
        if (!offered && accepted == 0) {
            return offered.error();
        }
        if (!offered) {
            break;
        }
        ++accepted;
    }
    return accepted;
}

Result<Delivery> QueueEnd::poll_typed(TypeTag type, Duration timeout, const std::stop_token& stop) {
    auto delivery = poll(timeout, stop);
    if (!delivery) {
        return delivery;
    }
    const auto found = delivery->type_tag();
    if (!found || *found != type || delivery->payload().size() != type.size) {
        if (delivery->deliveries() != 0) {
            static_cast<void>(delivery->reject());
        }
        return Error{Status::mismatch,
                     0,
                     found ? "the message is of another type (" + std::to_string(found->size) +
                                 " bytes, asked for " + std::to_string(type.size) + ")"
                           : std::string("the message was not sent as a typed loan")};
    }
    return delivery;
}

Result<std::vector<Delivery>> QueueEnd::poll_n(std::size_t max,
                                               Duration timeout,
                                               const std::stop_token& stop) {
    if (max == 0) {
        return Error{Status::bad_request, 0, "max is 0, allowed are 1 and more"};
    }
    auto first = poll(timeout, stop);
    if (!first) {
        return first.error();
    }
    std::vector<Delivery> all;
    all.push_back(std::move(*first));
    for (bool more = true; more && all.size() < max;) {
        std::vector<Future<Delivery>> polls;
        for (std::size_t i = std::min(max - all.size(), kPollsAtOnce); i > 0; --i) {
            polls.push_back(poll_future({}, {}, true, Leave::gathered));
        }
        for (Future<Delivery>& next : polls) {
            auto delivery = next.get(kUntilAnswered);
            more = more && delivery;
            if (delivery) {
                all.push_back(std::move(*delivery));
            }
        }
    }
    return all;
}

class TopicEnd final : public detail::RemoteTopic {
  public:
    TopicEnd(std::shared_ptr<RemoteHandle> client, std::string name)
        : client_(std::move(client)), name_(std::move(name)) {}

    Result<Published> publish(const Message& message,
                              Duration timeout,
                              const std::stop_token& stop) override {
        if (auto ours = check(message); !ours) {
            return ours.error();
        }
        return client_->publish(message, timeout, stop);
    }
    Result<Published> publish(Loan& loan, Duration timeout, const std::stop_token& stop) override {
        auto bytes = client_->encode(loan, MessageType::publish);
        if (!bytes) {
            return bytes.error();
        }
        auto published =
            client_->publish_bytes(name_, std::move(*bytes), timeout, stop, Leave::read_by_caller)
                .get(kUntilAnswered);
        if (published) {
            detail::RemoteAccess::end(loan);
        }
        return published;
    }
    Future<Published> publish_async(Message message,
                                    Duration timeout,
                                    const std::stop_token& stop) override {
        if (auto ours = check(message); !ours) {
            return detail::ready_future(Result<Published>(ours.error()));
        }
        return client_->publish_async(std::move(message), timeout, stop);
    }
    Result<Loan> loan(const wire::LoanPlan& plan) override {
        if (auto sound = client_->check({}); !sound) {
            return sound.error();
        }
        return detail::RemoteAccess::loan(plan, client_->message_bytes_max());
    }
    Result<TopicStatus> status() override { return client_->admin()->topic_status(name_); }
    [[nodiscard]] const std::string& name() const noexcept override { return name_; }

  private:
    [[nodiscard]] Result<void> check(const Message& message) const {
        if (message.topic() == name_) {
            return {};
        }
        return Error{Status::bad_request,
                     0,
                     "the message is of topic '" + std::string(message.topic()) + "', not of '" +
                         name_ + "'"};
    }
    const std::shared_ptr<RemoteHandle> client_;
    const std::string name_;
};

}  // namespace

std::shared_ptr<detail::RemoteQueue> make_remote_queue(std::shared_ptr<RemoteHandle> client,
                                                       std::string name,
                                                       std::uint16_t channel,
                                                       std::uint32_t capacity) {
    return std::make_shared<QueueEnd>(std::move(client), std::move(name), channel, capacity);
}

std::shared_ptr<detail::RemoteTopic> make_remote_topic(std::shared_ptr<RemoteHandle> client,
                                                       std::string name) {
    return std::make_shared<TopicEnd>(std::move(client), std::move(name));
}

}  // namespace telpher::bridge

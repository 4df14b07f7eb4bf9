#pragma once
// The remote end of Client: what its handles share.
//
//   Threads   any number at once.
//   Life      queues, subscriptions and pending futures keep it; the last one ends the connection.
//   Channels  a queue handle has one of its own; those of topics and functions are found by name, and stay.

#include "src/client/remote.hpp"
#include "src/client/remote_admin.hpp"
#include "tcp_bridge/command_fields.hpp"
#include "tcp_bridge/remote_connection.hpp"
#include "tcp_bridge/remote_latency.hpp"
#include "tcp_bridge/remote_operations.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace telpher::bridge {

class RemoteHandle final : public detail::RemoteClient,
                           public std::enable_shared_from_this<RemoteHandle> {
  public:
    explicit RemoteHandle(std::shared_ptr<RemoteConnection> connection)
        : connection_(std::move(connection)),
          message_bytes_max_(connection_->welcome().message_bytes_max) {}
    RemoteHandle(const RemoteHandle&) = delete;
    RemoteHandle& operator=(const RemoteHandle&) = delete;
    ~RemoteHandle() override { connection_->end(); }

    Result<Queue> queue(std::string_view name, const FindOptions& options) override;
    Result<Queue> create_temporary_queue(const TemporaryQueueOptions& options) override;
    Result<std::uint64_t> reply(const MessageView& request,
                                Message message,
                                Duration timeout) override;
    Result<Topic> topic(std::string_view name) override;
    Result<Published> publish(const Message& message,
                              Duration timeout,
                              const std::stop_token& stop) override;
    Future<Published> publish_async(Message message,
                                    Duration timeout,
                                    const std::stop_token& stop) override;
    Result<Subscription> subscribe(std::vector<std::string> patterns,
                                   detail::SampleHandler handler,
                                   SubscribeOptions options) override;
    Result<Message> send(const detail::RemoteCall& call, const Message& request) override;
    Future<Message> send_async(const detail::RemoteCall& call, const Message& request) override;
    Result<void> send_oneway(const detail::RemoteCall& call, const Message& request) override;
    [[nodiscard]] Duration resolve(std::string_view function, const Timeout& timeout) override {
        // In a forked child the call will say so, and a thread that is not there may have the lock.
        return connection_->forked() ? timeout.max() : latencies_.resolve(function, timeout);
    }
    [[nodiscard]] std::shared_ptr<detail::RemoteAdmin> admin() override;
    [[nodiscard]] bool running() const noexcept override;
    void close() noexcept override { connection_->end(); }

    // ---- for queues, topics and subscriptions ----
    [[nodiscard]] const std::shared_ptr<RemoteConnection>& connection() const noexcept {
        return connection_;
    }
    [[nodiscard]] std::size_t message_bytes_max() const noexcept { return message_bytes_max_; }
    // ok, forked, bad_request (negative).
    [[nodiscard]] Result<void> check(Duration timeout) const;
    // The message as it travels. Errors: bad_request (its first violated limit), message_too_large.
    Result<Bytes> encode(const Message& message, MessageType type);
    Result<Bytes> encode(Loan& loan, MessageType type);
    // Asks the bridge itself (commands.hpp): its reply. At most 10 s.
    Result<Message> command(std::string_view name, const FieldWriter& arguments);
    // The topic's or function's channel, opened without waiting for the answer if there is none.
    Result<std::uint16_t> channel_of(Kind kind, std::string_view name);
    Future<Published> publish_bytes(std::string_view topic,
                                    Bytes bytes,
                                    Duration timeout,
                                    const std::stop_token& stop,
                                    Leave how);
    Future<Message> begin_call(const detail::RemoteCall& call, const Message& request, Leave how);

  private:
    Result<std::uint64_t> open(std::uint16_t* channel, Open what, Duration wait);
    Result<Request> call_request(const detail::RemoteCall& call, const Message& request);

    const std::shared_ptr<RemoteConnection> connection_;
    const std::size_t message_bytes_max_;
    RemoteLatencies latencies_;
    std::mutex names_mutex_;  // guards the next one; taken before the connection's
    std::map<std::pair<Kind, std::string>, std::uint16_t> names_;
};

// An operation's answer comes in its time: the session sees to it.
inline constexpr Duration kUntilAnswered = std::chrono::hours(24 * 365);

[[nodiscard]] std::uint64_t ns_of(Duration timeout) noexcept;

// A queue behind `channel`, which it closes.
std::shared_ptr<detail::RemoteQueue> make_remote_queue(std::shared_ptr<RemoteHandle> client,
                                                       std::string name,
                                                       std::uint16_t channel,
                                                       std::uint32_t capacity);
std::shared_ptr<detail::RemoteTopic> make_remote_topic(std::shared_ptr<RemoteHandle> client,
                                                       std::string name);
Result<std::shared_ptr<detail::RemoteSubscription>> make_remote_subscription(
    std::shared_ptr<RemoteHandle> client,
    Subscribe what,
    detail::SampleHandler handler,
    SubscribeOptions options);

// `connect` for the schemes `tcp` and `unix`.
Result<Client> connect_remote(std::string_view uri, const ConnectOptions& options);

}  // namespace telpher::bridge

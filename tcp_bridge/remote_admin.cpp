// What a remote client asks of the bridge itself.

#include "src/client/remote_admin.hpp"

#include "src/wire/names.hpp"
#include "tcp_bridge/commands.hpp"
#include "tcp_bridge/remote_client.hpp"

namespace telpher::bridge {
namespace {

using namespace commands;  // NOLINT(google-build-using-namespace): their names, of this directory

constexpr auto kPatience = std::chrono::seconds(10);

Error bad_reply(std::string_view command) {
    return {Status::server_error,
            0,
            "the bridge's reply to " + std::string(command) + " ends too soon"};
}

// Threads: any number at once.
class AdminEnd final : public detail::RemoteAdmin {
  public:
    explicit AdminEnd(std::shared_ptr<RemoteHandle> client)
        : client_(std::move(client)), domain_(client_->connection()->welcome().domain) {}

    Result<bool> create_queue(std::string_view name, const QueueOptions& options) override {
        return create(kCreateQueue, name, options);
    }
    Result<void> remove_queue(std::string_view name) override { return done(kRemoveQueue, name); }
    Result<bool> create_topic(std::string_view name, const TopicOptions& options) override {
        return create(kCreateTopic, name, options);
    }
    Result<void> remove_topic(std::string_view name) override { return done(kRemoveTopic, name); }
    Result<std::vector<QueueStatus>> queues() override {
        return get<std::vector<QueueStatus>>(kQueues, {});
    }
    Result<std::vector<TopicStatus>> topics() override {
        return get<std::vector<TopicStatus>>(kTopics, {});
    }
    Result<QueueStatus> queue_status(std::string_view name) override {
        return get<QueueStatus>(kQueueStatus, named(name));
    }
    Result<TopicStatus> topic_status(std::string_view name) override {
        return get<TopicStatus>(kTopicStatus, named(name));
    }
    Result<FunctionStatus> function_status(std::string_view name) override {
        return get<FunctionStatus>(kFunctionStatus, named(name));
    }
    Result<DomainStatus> status() override { return get<DomainStatus>(kStatus, {}); }
    Result<std::vector<ProcessInfo>> processes() override {
        return get<std::vector<ProcessInfo>>(kProcesses, {});
    }
    Result<VerifyReport> verify() override { return get<VerifyReport>(kVerify, {}); }
    Result<void> set(std::string_view name, std::string_view value) override {
        FieldWriter out = named(name);
        out.field(std::string(value));
        const auto reply = client_->command(kSet, out);
        return reply ? Result<void>() : reply.error();
    }
    Result<std::vector<DomainSetting>> settings() override {
        return get<std::vector<DomainSetting>>(kSettings, {});
    }
    Result<bool> exists(std::string_view name) override { return get<bool>(kExists, named(name)); }
    Result<std::uint64_t> purge(std::string_view queue) override {
        return get<std::uint64_t>(kPurge, named(queue));
    }
    Result<void> flush(std::string_view queue, Duration timeout) override {
        FieldWriter out = named(queue);
        out.field(timeout);
        const auto reply = client_->command(kFlush, out);
        return reply ? Result<void>() : reply.error();
    }
    Result<Message> peek(std::string_view queue) override {
        return client_->command(kPeek, named(queue));
    }
    [[nodiscard]] const std::string& domain() const noexcept override { return domain_; }

  private:
    static FieldWriter named(std::string_view name) {
        FieldWriter out;
        out.field(std::string(name));
        return out;
    }
    template <typename Options>
    Result<bool> create(std::string_view command, std::string_view name, const Options& options) {
        FieldWriter out = named(name);
        fields(out, options);
        return get<bool>(command, out);
    }
    Result<void> done(std::string_view command, std::string_view name) {
        const auto reply = client_->command(command, named(name));
        return reply ? Result<void>() : reply.error();
    }
    template <typename T>
    Result<T> get(std::string_view command, const FieldWriter& arguments) {
        const auto reply = client_->command(command, arguments);
        if (!reply) {
            return reply.error();
        }
        FieldReader in(reply->view().payload());
        T value{};
        if constexpr (requires { in.field(value); }) {
            in.field(value);
        } else {
            fields(in, value);
        }
        return in.ok() ? Result<T>(std::move(value)) : Result<T>(bad_reply(command));
    }

    const std::shared_ptr<RemoteHandle> client_;
    const std::string domain_;
};

}  // namespace

std::shared_ptr<detail::RemoteAdmin> RemoteHandle::admin() {
    return std::make_shared<AdminEnd>(shared_from_this());
}

Result<Message> RemoteHandle::command(std::string_view name, const FieldWriter& arguments) {
    if (auto sound = check({}); !sound) {
        return sound.error();
    }
    auto bytes = encode(command_message(name, arguments), MessageType::request);
    if (!bytes) {
        return bytes.error();
    }
    Request request;
    request.head.type = FrameType::command;
    request.body = std::move(*bytes);
    request.timeout_ns = ns_of(kPatience);
    request.travels = false;
    return start<Message>(*connection_,
                          new RemoteCallOperation(shared_from_this(), connection_),
                          std::move(request),
                          {})
        .get(kUntilAnswered);
}

// The session has it: it ends with the first handle to it, or with the session.
Result<Queue> RemoteHandle::create_temporary_queue(const TemporaryQueueOptions& options) {
    FieldWriter arguments;
    arguments.field(options.capacity);
    const auto reply = command(kTemporaryQueue, arguments);
    if (!reply) {
        return reply.error();
    }
    FieldReader in(reply->view().payload());
    std::string name;
    in.field(name);
    return in.ok() ? queue(name, {}) : Result<Queue>(bad_reply(kTemporaryQueue));
}

}  // namespace telpher::bridge

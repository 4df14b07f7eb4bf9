#include "tcp_bridge/commands.hpp"

#include <array>

namespace telpher::bridge {
namespace {

using namespace commands;  // NOLINT(google-build-using-namespace): their names, of this directory

constexpr std::string_view kMimetype = "application/octet-stream";

Error bad_arguments(std::string_view command) {
    return {Status::bad_request, 0, "the arguments of " + std::string(command) + " end too soon"};
}

template <typename T>
Result<Message> reply_with(const Result<T>& value) {
    if (!value) {
        return value.error();
    }
    FieldWriter out;
    if constexpr (requires { out.field(*value); }) {
        out.field(*value);
    } else {
        fields(out, *value);
    }
    return reply_message(out);
}

Result<Message> reply_with(const Result<void>& done) {
    return done ? Result<Message>(reply_message({})) : Result<Message>(done.error());
}

// The name alone, or behind it `Options`.
template <typename Options>
struct Named {
    std::string name{};
    Options options{};
};

template <typename Options>
Result<Named<Options>> named(const MessageView& command) {
    FieldReader in(command.payload());
    Named<Options> what;
    in.field(what.name);
    fields(in, what.options);
    return in.ok() ? Result<Named<Options>>(std::move(what))
                   : Result<Named<Options>>(bad_arguments(command.topic()));
}

Error no_such(std::string_view field, std::uint8_t value) {
    return {
        Status::bad_request,
        0,
        std::string(field) + " is " + std::to_string(value) + ", which this bridge does not know"};
}

Result<Message> create_queue(Admin& admin, const MessageView& command) {
    const auto what = named<QueueOptions>(command);
    if (!what) {
        return what.error();
    }
    const auto kind = what->options.kind;
    if (kind > QueueKind::durable) {
        return no_such("kind", static_cast<std::uint8_t>(kind));
    }
    if (what->options.delivery > DeliveryMode::at_least_once) {
        return no_such("delivery", static_cast<std::uint8_t>(what->options.delivery));
    }
    if (what->options.durability > Durability::process) {
        return no_such("durability", static_cast<std::uint8_t>(what->options.durability));
    }
    return reply_with(admin.create_queue(what->name, what->options));
}

Result<Message> create_topic(Admin& admin, const MessageView& command) {
    const auto what = named<TopicOptions>(command);
    if (!what) {
        return what.error();
    }
    if (what->options.slow > SlowSubscriber::disconnect) {
        return no_such("slow", static_cast<std::uint8_t>(what->options.slow));
    }
    return reply_with(admin.create_topic(what->name, what->options));
}

Result<Queue> queue_of(Admin& admin, const std::string& name) {
    Client client = admin.client();
    return client.queue(name);
}

Result<Message> purge(Admin& admin, const std::string& name) {
    auto queue = queue_of(admin, name);
    return queue ? reply_with(queue->purge()) : Result<Message>(queue.error());
}

Result<Message> flush(Admin& admin, const MessageView& command) {
    FieldReader in(command.payload());
    std::string name;
    Duration timeout{};
    in(name, timeout);
    if (!in.ok()) {
        return bad_arguments(command.topic());
    }
    auto queue = queue_of(admin, name);
    return queue ? reply_with(queue->flush(timeout)) : Result<Message>(queue.error());
}

Result<Message> peek(Admin& admin, const std::string& name) {
    const auto queue = queue_of(admin, name);
    return queue ? queue->peek() : Result<Message>(queue.error());
}

Result<Message> set(Admin& admin, const MessageView& command) {
    FieldReader in(command.payload());
    std::string name;
    std::string value;
    in(name, value);
    return in.ok() ? reply_with(admin.set(name, value))
                   : Result<Message>(bad_arguments(command.topic()));
}

using Run = Result<Message> (*)(Admin& admin, const MessageView& command);
using RunNamed = Result<Message> (*)(Admin& admin, const std::string& name);

struct Command {
    std::string_view name;
    std::string_view verb;  // what `authorize` is asked
    bool has_name;          // of a destination, its first argument
    Run run = nullptr;
    RunNamed run_named = nullptr;  // where the name is all
};

constexpr Command of_domain(std::string_view name, Run run) {
    return {name, "inspect", false, run, nullptr};
}
constexpr Command of_destination(std::string_view name, std::string_view verb, RunNamed run) {
    return {name, verb, true, nullptr, run};
}

constexpr std::array kCommands{
    Command{kCreateQueue, "manage", true, create_queue, nullptr},
    Command{kCreateTopic, "manage", true, create_topic, nullptr},
    Command{kSet, "manage", false, set, nullptr},
    Command{kFlush, "poll", true, flush, nullptr},
    // Of the session (server_commands.cpp).
    Command{kTemporaryQueue, "temporary", false, nullptr, nullptr},
    of_destination(
        kRemoveQueue,
        "manage",
        [](Admin& admin, const std::string& name) { return reply_with(admin.remove_queue(name)); }),
    of_destination(
        kRemoveTopic,
        "manage",
        [](Admin& admin, const std::string& name) { return reply_with(admin.remove_topic(name)); }),
    of_destination(kPurge, "manage", purge),
    of_destination(kPeek, "browse", peek),
    of_destination(
        kQueueStatus,
        "inspect",
        [](Admin& admin, const std::string& name) { return reply_with(admin.queue_status(name)); }),
    of_destination(
        kTopicStatus,
        "inspect",
        [](Admin& admin, const std::string& name) { return reply_with(admin.topic_status(name)); }),
    of_destination(kFunctionStatus,
                   "inspect",
                   [](Admin& admin, const std::string& name) {
                       return reply_with(admin.client().function_status(name));
                   }),
    of_destination(kExists,
                   "inspect",
                   [](Admin& admin, const std::string& name) {
                       return reply_with(admin.client().exists(name));
                   }),
    of_domain(kQueues, [](Admin& admin, const MessageView&) { return reply_with(admin.queues()); }),
    of_domain(kTopics, [](Admin& admin, const MessageView&) { return reply_with(admin.topics()); }),
    of_domain(kStatus, [](Admin& admin, const MessageView&) { return reply_with(admin.status()); }),
    of_domain(kProcesses,
              [](Admin& admin, const MessageView&) { return reply_with(admin.processes()); }),
    of_domain(kSettings,
              [](Admin& admin, const MessageView&) { return reply_with(admin.settings()); }),
    of_domain(kVerify, [](Admin& admin, const MessageView&) { return reply_with(admin.verify()); }),
};

const Command* find(std::string_view name) noexcept {
    for (const Command& command : kCommands) {
        if (command.name == name) {
            return &command;
        }
    }
    return nullptr;
}

}  // namespace

std::string_view verb_of_command(std::string_view command) noexcept {
    const Command* const known = find(command);
    return known != nullptr ? known->verb : std::string_view{};
}

std::string destination_of(const MessageView& command) {
    const Command* const known = find(command.topic());
    std::string name;
    if (known != nullptr && known->has_name) {
        FieldReader(command.payload()).field(name);
    }
    return name;
}

Result<Message> run_command(Admin& admin, const MessageView& command) {
    const Command* const known = find(command.topic());
    if (known != nullptr && known->run != nullptr) {
        return known->run(admin, command);
    }
    if (known == nullptr || known->run_named == nullptr) {
        return Error{Status::bad_request,
                     0,
                     "there is no command '" + std::string(command.topic()) + "' in this version"};
    }
    FieldReader in(command.payload());
    std::string name;
    in.field(name);
    return in.ok() ? known->run_named(admin, name) : Result<Message>(bad_arguments(known->name));
}

Message command_message(std::string_view name, const FieldWriter& arguments) {
    return Message::bytes(name, kMimetype, arguments.take());
}

Message reply_message(const FieldWriter& reply) {
    return Message::bytes("reply", kMimetype, reply.take())
        .with_type(MessageType::response)
        .with_response_status(Status::ok);
}

}  // namespace telpher::bridge

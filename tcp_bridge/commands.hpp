#pragma once
// What a client asks of the bridge itself (PROTOCOL.md, Commands): a message whose topic is the command and
// whose payload its arguments, answered by one whose payload is the reply.

#include "telpher/admin.hpp"

#include "tcp_bridge/command_fields.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace telpher::bridge {

namespace commands {
inline constexpr std::string_view kCreateQueue = "create_queue";
inline constexpr std::string_view kRemoveQueue = "remove_queue";
inline constexpr std::string_view kCreateTopic = "create_topic";
inline constexpr std::string_view kRemoveTopic = "remove_topic";
inline constexpr std::string_view kQueues = "queues";
inline constexpr std::string_view kTopics = "topics";
inline constexpr std::string_view kQueueStatus = "queue_status";
inline constexpr std::string_view kTopicStatus = "topic_status";
inline constexpr std::string_view kFunctionStatus = "function_status";
inline constexpr std::string_view kStatus = "status";
inline constexpr std::string_view kProcesses = "processes";
inline constexpr std::string_view kVerify = "verify";
inline constexpr std::string_view kExists = "exists";
inline constexpr std::string_view kSet = "set";
inline constexpr std::string_view kSettings = "settings";
inline constexpr std::string_view kPurge = "purge";
inline constexpr std::string_view kPeek = "peek";
inline constexpr std::string_view kFlush = "flush";
inline constexpr std::string_view kTemporaryQueue = "temporary_queue";
inline constexpr std::string_view kSettle = "settle";  // of the session, as the one before
inline constexpr std::string_view kSettleMany = "settle_many";
}  // namespace commands

// What `authorize` is asked about a command: create and remove, purge and set are "manage", peek is "browse",
// flush is "poll", the others "inspect". Empty: there is no such command.
[[nodiscard]] std::string_view verb_of_command(std::string_view command) noexcept;

// The first argument of most: the destination's name. Empty if there is none.
[[nodiscard]] std::string destination_of(const MessageView& command);

// Does what `command` says in the domain of `admin`; may take milliseconds, and longer while another process
// holds the directory. All but temporary_queue, which belongs to a session.
//   errors   bad_request (no such command, arguments that are none), and those of Admin's members
//   threads  one at a time for each Admin handle; copies run beside one another
//   crash    as the members of Admin
[[nodiscard]] Result<Message> run_command(Admin& admin, const MessageView& command);

[[nodiscard]] Message command_message(std::string_view name, const FieldWriter& arguments);
[[nodiscard]] Message reply_message(const FieldWriter& reply);

}  // namespace telpher::bridge

#include "tools/telpher/name_of.hpp"

#include <algorithm>
#include <vector>

namespace telpher::cli {
namespace {

Result<bool> is_among(const Result<std::vector<std::string>>& names, const std::string& name) {
    return names ? Result<bool>(std::binary_search(names->begin(), names->end(), name))
                 : Result<bool>(names.error());
}

}  // namespace

void add_name_of(CLI::App& command, NameOf& value) {
    auto* const queue = command.add_flag_callback(
        "--queue", [&value] { value = NameOf::queue; }, "NAME is a queue's");
    command
        .add_flag_callback(
            "--topic", [&value] { value = NameOf::topic; }, "NAME is a topic's")
        ->excludes(queue);
}

Result<NameOf> what_is(const Server& server, const std::string& name, NameOf asked) {
    if (asked != NameOf::either) {
        return asked;
    }
    const auto queue = is_among(server.queues(), name);
    const auto topic = is_among(server.topics(), name);
    if (!queue || !topic) {
        return queue ? topic.error() : queue.error();
    }
    if (*queue && *topic) {
        return Error{Status::bad_request,
                     0,
                     "there are both a queue and a topic '" + name + "' in domain '" +
                         server.name() + "': say --queue or --topic"};
    }
    if (!*queue && !*topic) {
        return Error{Status::queue_not_found,
                     0,
                     "no queue and no topic '" + name + "' in domain '" + server.name() + "'"};
    }
    return *topic ? NameOf::topic : NameOf::queue;
}

}  // namespace telpher::cli

#include "tools/telpher/name_of.hpp"

namespace telpher::cli {
namespace {

// Whether there is what was asked for. Error: any but `absent`.
template <typename AnyStatus>
Result<bool> is_there(const Result<AnyStatus>& status, Status absent) {
    return status                      ? Result<bool>(true)
           : status.status() == absent ? Result<bool>(false)
                                       : Result<bool>(status.error());
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

Result<NameOf> what_is(const Admin& admin, const std::string& name, NameOf asked) {
    if (asked != NameOf::either) {
        return asked;
    }
    const auto queue = is_there(admin.queue_status(name), Status::queue_not_found);
    const auto topic = is_there(admin.topic_status(name), Status::topic_not_found);
    if (!queue || !topic) {
        return queue ? topic.error() : queue.error();
    }
    if (*queue && *topic) {
        return Error{Status::bad_request,
                     0,
                     "there are both a queue and a topic '" + name + "' in domain '" +
                         admin.domain() + "': say --queue or --topic"};
    }
    if (!*queue && !*topic) {
        return Error{Status::queue_not_found,
                     0,
                     "no queue and no topic '" + name + "' in domain '" + admin.domain() + "'"};
    }
    return *topic ? NameOf::topic : NameOf::queue;
}

}  // namespace telpher::cli

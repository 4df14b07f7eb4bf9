// What a name on the command line stands for: queues and topics have names of their own, so that one
// name may stand for both.
#pragma once

#include "telpher/admin.hpp"
#include "telpher/result.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace telpher::cli {

enum class NameOf { either, queue, topic };

// --queue and --topic.
void add_name_of(CLI::App& command, NameOf& value);

// Which of the two `name` is the name of; `asked`, if that says one.
//   errors  bad_request (there is both a queue and a topic of that name), queue_not_found (neither),
//           and those of Admin's members
[[nodiscard]] Result<NameOf> what_is(const Admin& admin, const std::string& name, NameOf asked);

}  // namespace telpher::cli

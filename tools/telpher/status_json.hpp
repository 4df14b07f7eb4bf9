// The figures of queues, topics and domains as JSON: the stable names that scripts rely on.
#pragma once

#include "telpher/queue.hpp"
#include "telpher/server.hpp"

#include "tools/telpher/output.hpp"

#include <string>
#include <string_view>

namespace telpher::cli {

[[nodiscard]] std::string_view name_of(Lifetime lifetime);
[[nodiscard]] Json to_json(const QueueStatus& status);
[[nodiscard]] Json to_json(const TopicStatus& status);
// The mode as the option --delivery spells it: "at-least-once".
[[nodiscard]] std::string delivery_text(DeliveryMode mode);
// The policy as the option --slow spells it: "drop-oldest".
[[nodiscard]] std::string slow_text(const TopicStatus& status);
// Its processes without the one that looks.
[[nodiscard]] Json to_json(const DomainStatus& status);

}  // namespace telpher::cli

// telpher explain: cause and fix of every status.

#include "telpher/status.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"

#include <charconv>
#include <memory>
#include <string>

namespace telpher::cli {
namespace {

struct ExplainOptions {
    Common common;
    std::string status;
};

Json status_info_json(const StatusInfo& info) {
    return Json{{"status", info.name},
                {"number", static_cast<int>(info.status)},
                {"outcome", to_string(info.outcome)},
                {"cause", info.cause},
                {"fix", info.fix},
                {"exit_code", static_cast<int>(exit_code(info.status))}};
}

// By name or number.
std::optional<Status> find_status(const std::string& text) {
    if (const auto status = parse_status(text)) {
        return status;
    }
    int number = -1;
    const auto* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    if (parsed.ec == std::errc{} && parsed.ptr == end) {
        for (const auto& info : all_statuses()) {
            if (static_cast<int>(info.status) == number) {
                return info.status;
            }
        }
    }
    return std::nullopt;
}

ExitCode explain_all(bool json) {
    if (json) {
        Json statuses = Json::array();
        for (const auto& info : all_statuses()) {
            statuses.push_back(status_info_json(info));
        }
        return print_json(Json{{"statuses", statuses}});
    }
    Table table({"NUMBER", "STATUS", "OPERATION", "CAUSE"});
    table.align_right({0});
    for (const auto& info : all_statuses()) {
        table.add({std::to_string(static_cast<int>(info.status)),
                   std::string(info.name),
                   std::string(to_string(info.outcome)),
                   std::string(info.cause)});
    }
    return print_text(table.text());
}

ExitCode explain(const ExplainOptions& options) {
    if (options.status.empty()) {
        return explain_all(options.common.json);
    }
    const auto status = find_status(options.status);
    if (!status) {
        return print_usage_error("there is no status \"" + options.status + "\"",
                                 "run `telpher explain` to see all of them",
                                 options.common.json);
    }
    const auto& info = describe(*status);
    if (options.common.json) {
        return print_json(status_info_json(info));
    }
    std::string text =
        std::string(info.name) + " (" + std::to_string(static_cast<int>(*status)) + ")\n";
    text += "  operation  " + std::string(to_string(info.outcome)) + "\n";
    text += "  cause      " + std::string(info.cause) + "\n";
    text += "  fix        " + std::string(info.fix) + "\n";
    text += "  exit code  " + std::to_string(static_cast<int>(exit_code(info.status))) + "\n";
    return print_text(text);
}

}  // namespace

void add_explain_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<ExplainOptions>();
    auto* const explain_command = add_command(app,
                                              "explain",
                                              "Say what a status means and what to do",
                                              "  telpher explain queue_full\n"
                                              "  telpher explain --json");
    explain_command->add_option("STATUS", options->status, "Name or number; none = list all");
    finish_command(
        *explain_command, options->common, TargetNeed::none, command, [options](Interrupt&) {
            return explain(*options);
        });
}

}  // namespace telpher::cli

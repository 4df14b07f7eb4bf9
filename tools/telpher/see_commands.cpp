// telpher info, ps, verify: what a domain holds, who is in it, and whether it is sound.
//
// Each attaches for the time of a look; what they count leaves out the command itself.

#include "telpher/admin.hpp"

#include "tools/telpher/name_of.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/snapshot.hpp"
#include "tools/telpher/status_json.hpp"
#include "tools/telpher/units.hpp"

#include <memory>
#include <string>
#include <vector>

namespace telpher::cli {
namespace {

struct SeeOptions {
    Common common;
    std::string object;
    NameOf name_of = NameOf::either;
};

ExitCode print_fields(const Json& object) {
    Table table({"FIELD", "VALUE"});
    for (const auto& [name, value] : object.items()) {
        table.add({name,
                   value.is_null()     ? "-"
                   : value.is_string() ? value.get<std::string>()
                                       : value.dump()});
    }
    return print_text(table.text());
}

template <typename AnyStatus>
Result<Json> status_json(const Result<AnyStatus>& status) {
    return status ? Result<Json>(to_json(*status)) : Result<Json>(status.error());
}

Result<Json> figures(const Admin& admin, const SeeOptions& options) {
    if (options.object.empty()) {
        auto status = admin.status();
        if (status && admin.remote()) {
            ++status->processes;  // to_json takes the one that looks away, and it is not there
        }
        return status_json(status);
    }
    const auto meant = what_is(admin, options.object, options.name_of);
    if (!meant) {
        return meant.error();
    }
    if (*meant == NameOf::topic) {
        return status_json(admin.topic_status(options.object));
    }
    return status_json(admin.queue_status(options.object));
}

ExitCode run_info(const SeeOptions& options) {
    const bool json = options.common.json;
    const auto admin = options.common.admin();
    const auto object = admin ? figures(*admin, options) : Result<Json>(admin.error());
    if (!object) {
        return print_error(object.error(), json);
    }
    return json ? print_json(*object) : print_fields(*object);
}

ExitCode run_ps(const SeeOptions& options) {
    const bool json = options.common.json;
    const auto admin = options.common.admin();
    const auto processes =
        admin ? other_processes(*admin) : Result<std::vector<ProcessInfo>>(admin.error());
    if (!processes) {
        return print_error(processes.error(), json);
    }
    Json list = Json::array();
    Table table({"PID", "COMMAND", "STATE", "ATTACHED", "SLOT"});
    table.align_right({0, 3, 4});
    for (const auto& process : *processes) {
        list.push_back(to_json(process));
        table.add({std::to_string(process.pid),
                   process.command,
                   process.state,
                   format_duration(process.attached_for),
                   std::to_string(process.slot)});
    }
    return json ? print_json(Json{{"domain", admin->domain()}, {"processes", list}})
                : print_text(table.text());
}

ExitCode run_verify(const SeeOptions& options) {
    const bool json = options.common.json;
    const auto admin = options.common.admin();
    const auto report = admin ? admin->verify() : Result<VerifyReport>(admin.error());
    if (!report) {
        return print_error(report.error(), json);
    }
    const std::uint32_t own = admin->remote() ? 0 : 1;  // the process that looks
    const bool ok = report->problems.empty();
    std::string text = admin->domain() + ": ";
    text += ok ? "every invariant holds" : std::to_string(report->problems.size()) + " broken";
    text += " (" + format_count(report->chunks) + " chunks: " + format_count(report->chunks_free) +
            " free, " + format_count(report->chunks_owned) + " owned, " +
            format_count(report->chunks_offered) + " in queues, " +
            format_count(report->chunks_claimed) + " being read; queues and topics " +
            std::to_string(report->queues) + ")\n";
    for (const auto& problem : report->problems) {
        text += "  " + printable(problem) + "\n";
    }
    const Json object{{"domain", admin->domain()},
                      {"ok", ok},
                      {"problems", report->problems},
                      {"chunks", report->chunks},
                      {"chunks_free", report->chunks_free},
                      {"chunks_owned", report->chunks_owned},
                      {"chunks_offered", report->chunks_offered},
                      {"chunks_claimed", report->chunks_claimed},
                      {"queues", report->queues},
                      {"processes", report->processes > own ? report->processes - own : 0}};
    const auto printed = json ? print_json(object) : print_text(text);
    return ok ? printed : kExitError;
}

}  // namespace

void add_see_commands(CLI::App& app, Command& command) {
    const auto add = [&app, &command](const char* name,
                                      const char* description,
                                      const char* examples,
                                      ExitCode (*run)(const SeeOptions&)) {
        auto options = std::make_shared<SeeOptions>();
        auto* const added = add_command(app, name, description, examples);
        if (std::string_view(name) == "info") {
            added->add_option(
                "OBJECT", options->object, "Queue or topic; none = the domain itself");
            add_name_of(*added, options->name_of);
        }
        finish_command(
            *added, options->common, TargetNeed::required, command, [options, run](Interrupt&) {
                return run(*options);
            });
    };
    add("info",
        "Show the figures of a queue, a topic or the domain",
        "  telpher info orders -d cafe\n  telpher info prices.espresso -d cafe --topic --json",
        run_info);
    add("ps",
        "List the processes attached to a domain",
        "  telpher ps -d cafe\n  telpher ps -d cafe --json",
        run_ps);
    add("verify",
        "Check every invariant of a domain; exit 1 and a list if one is broken",
        "  telpher verify -d cafe\n  telpher verify -d cafe --json",
        run_verify);
}

}  // namespace telpher::cli

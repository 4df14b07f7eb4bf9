// telpher ls, info, ps, verify: what a domain holds and who is in it.
//
// Each attaches for the time of a look; what they count leaves out the command itself.

#include "telpher/server.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/units.hpp"

#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

namespace telpher::cli {
namespace {

struct Options {
    Common common;
    std::string object;
};

std::string_view name_of(Lifetime lifetime) {
    return lifetime == Lifetime::ephemeral ? "ephemeral" : "persistent";
}

std::string age_text(const QueueStatus& status) {
    return status.oldest_age ? format_duration(*status.oldest_age) : "-";
}

Json to_json(const QueueStatus& status) {
    Json json{{"name", status.name},
              {"kind", status.kind},
              {"capacity", status.capacity},
              {"depth", status.depth},
              {"bytes", status.bytes},
              {"offered", status.offered},
              {"polled", status.polled},
              {"dropped", status.dropped},
              {"expired", status.expired},
              {"redelivered", status.redelivered},
              {"abandoned", status.abandoned},
              {"consumers", status.consumers}};
    json["oldest_age_ms"] = status.oldest_age ? Json(status.oldest_age->count()) : Json(nullptr);
    json["removed"] = status.removed;
    return json;
}

Json to_json(const DomainStatus& status) {
    return Json{{"name", status.name},
                {"kind", "domain"},
                {"uuid", status.uuid},
                {"lifetime", name_of(status.lifetime)},
                {"segment_bytes", status.segment_bytes},
                {"processes", status.processes > 0 ? status.processes - 1 : 0},
                {"destinations", status.destinations},
                {"reaped", status.reaped}};
}

// One domain of the list. One that cannot be looked at says why, and does not spoil the list.
void list_domain(const std::string& name, Json& domains, Table& table) {
    const auto server = Server::open(name, {.mode = OpenMode::attach});
    const auto status = server ? server->status() : Result<DomainStatus>(server.error());
    if (!status) {
        domains.push_back({{"name", name}, {"state", to_string(status.status())}});
        table.add({name, std::string(to_string(status.status())), "-", "-", "-", "-", "-"});
        return;
    }
    Json entry = to_json(*status);
    entry["state"] = "ok";
    table.add({name,
               "ok",
               std::string(name_of(status->lifetime)),
               entry["processes"].dump(),
               std::to_string(status->destinations),
               format_size(status->segment_bytes),
               format_count(status->reaped)});
    domains.push_back(std::move(entry));
}

ExitCode list_all_domains(bool json) {
    const auto names = list_domains();
    if (!names) {
        return print_error(names.error(), json);
    }
    Json domains = Json::array();
    Table table({"DOMAIN", "STATE", "LIFETIME", "PROCESSES", "QUEUES", "SIZE", "REAPED"});
    table.align_right({3, 4, 5, 6});
    for (const auto& name : *names) {
        list_domain(name, domains, table);
    }
    return json ? print_json(Json{{"domains", domains}}) : print_text(table.text());
}

Result<std::vector<QueueStatus>> all_queues(Server& server) {
    const auto names = server.queues();
    if (!names) {
        return names.error();
    }
    std::vector<QueueStatus> all;
    for (const auto& name : *names) {
        auto queue = server.queue(name);
        auto status = queue ? queue->status() : Result<QueueStatus>(queue.error());
        if (status) {
            all.push_back(std::move(*status));
        } else if (status.status() !=
                   Status::queue_not_found) {  // removed while we look: not there
            return status.error();
        }
    }
    return all;
}

ExitCode list_queues(const Options& options) {
    const bool json = options.common.json;
    auto server = options.common.attach();
    if (!server) {
        return print_error(server.error(), json);
    }
    const auto queues = all_queues(*server);
    if (!queues) {
        return print_error(queues.error(), json);
    }
    Json list = Json::array();
    Table table({"QUEUE",
                 "KIND",
                 "CAPACITY",
                 "DEPTH",
                 "BYTES",
                 "OFFERED",
                 "POLLED",
                 "CONSUMERS",
                 "OLDEST"});
    table.align_right({2, 3, 4, 5, 6, 7, 8});
    for (const auto& queue : *queues) {
        list.push_back(to_json(queue));
        table.add({queue.name,
                   queue.kind,
                   format_count(queue.capacity),
                   format_count(queue.depth),
                   format_size(queue.bytes),
                   format_count(queue.offered),
                   format_count(queue.polled),
                   std::to_string(queue.consumers),
                   age_text(queue)});
    }
    return json ? print_json(Json{{"domain", server->name()}, {"queues", list}})
                : print_text(table.text());
}

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

ExitCode run_info(const Options& options) {
    const bool json = options.common.json;
    auto server = options.common.attach();
    if (!server) {
        return print_error(server.error(), json);
    }
    Json object;
    if (options.object.empty()) {
        const auto status = server->status();
        if (!status) {
            return print_error(status.error(), json);
        }
        object = to_json(*status);
    } else {
        auto queue = server->queue(options.object);
        const auto status = queue ? queue->status() : Result<QueueStatus>(queue.error());
        if (!status) {
            return print_error(status.error(), json);
        }
        object = to_json(*status);
    }
    return json ? print_json(object) : print_fields(object);
}

ExitCode run_ps(const Options& options) {
    const bool json = options.common.json;
    auto server = options.common.attach();
    const auto processes =
        server ? server->processes() : Result<std::vector<ProcessInfo>>(server.error());
    if (!processes) {
        return print_error(processes.error(), json);
    }
    Json list = Json::array();
    Table table({"PID", "COMMAND", "STATE", "ATTACHED", "SLOT"});
    table.align_right({0, 3, 4});
    for (const auto& process : *processes) {
        if (process.pid == static_cast<std::uint32_t>(::getpid())) {
            continue;
        }
        list.push_back({{"pid", process.pid},
                        {"command", process.command},
                        {"state", process.state},
                        {"attached_ms", process.attached_for.count()},
                        {"slot", process.slot}});
        table.add({std::to_string(process.pid),
                   process.command,
                   process.state,
                   format_duration(process.attached_for),
                   std::to_string(process.slot)});
    }
    return json ? print_json(Json{{"domain", server->name()}, {"processes", list}})
                : print_text(table.text());
}

ExitCode run_verify(const Options& options) {
    const bool json = options.common.json;
    auto server = options.common.attach();
    const auto report = server ? server->verify() : Result<VerifyReport>(server.error());
    if (!report) {
        return print_error(report.error(), json);
    }
    const bool ok = report->problems.empty();
    std::string text = server->name() + ": ";
    text += ok ? "every invariant holds" : std::to_string(report->problems.size()) + " broken";
    text += " (" + format_count(report->chunks) + " chunks: " + format_count(report->chunks_free) +
            " free, " + format_count(report->chunks_owned) + " owned, " +
            format_count(report->chunks_offered) + " in queues, " +
            format_count(report->chunks_claimed) + " being read; queues " +
            std::to_string(report->queues) + ")\n";
    for (const auto& problem : report->problems) {
        text += "  " + printable(problem) + "\n";
    }
    const Json object{{"domain", server->name()},
                      {"ok", ok},
                      {"problems", report->problems},
                      {"chunks", report->chunks},
                      {"chunks_free", report->chunks_free},
                      {"chunks_owned", report->chunks_owned},
                      {"chunks_offered", report->chunks_offered},
                      {"chunks_claimed", report->chunks_claimed},
                      {"queues", report->queues},
                      {"processes", report->processes > 0 ? report->processes - 1 : 0}};
    const auto printed = json ? print_json(object) : print_text(text);
    return ok ? printed : kExitError;
}

}  // namespace

void add_see_commands(CLI::App& app, Command& command) {
    const auto add = [&app, &command](const char* name,
                                      const char* description,
                                      const char* examples,
                                      TargetNeed need,
                                      ExitCode (*run)(const Options&)) {
        auto options = std::make_shared<Options>();
        auto* const added = add_command(app, name, description, examples);
        if (std::string_view(name) == "info") {
            added->add_option("OBJECT", options->object, "Queue; none = the domain itself");
        }
        finish_command(*added, options->common, need, command, [options, run](Interrupt&) {
            return run(*options);
        });
    };
    add("ls",
        "List the domains of this machine, or the queues of one",
        "  telpher ls\n  telpher ls -d cafe --json",
        TargetNeed::optional,
        [](const Options& options) {
            return options.common.target_uri().empty() ? list_all_domains(options.common.json)
                                                       : list_queues(options);
        });
    add("info",
        "Show a queue's or a domain's figures",
        "  telpher info orders -d cafe\n  telpher info orders -d cafe --json",
        TargetNeed::required,
        run_info);
    add("ps",
        "List the processes attached to a domain",
        "  telpher ps -d cafe\n  telpher ps -d cafe --json",
        TargetNeed::required,
        run_ps);
    add("verify",
        "Check every invariant of a domain; exit 1 and a list if one is broken",
        "  telpher verify -d cafe\n  telpher verify -d cafe --json",
        TargetNeed::required,
        run_verify);
}

}  // namespace telpher::cli

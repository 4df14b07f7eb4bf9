// telpher rm, peek, purge, gc: what manages a domain.

#include "telpher/server.hpp"

#include "tools/telpher/message_line.hpp"
#include "tools/telpher/name_of.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/units.hpp"

#include <memory>
#include <string>

namespace telpher::cli {
namespace {

struct RemoveOptions {
    Common common;
    std::string name;
    bool domain = false;
    bool force = false;
    NameOf name_of = NameOf::either;
};

struct CollectOptions {
    Common common;
    bool dry_run = false;
};

ExitCode run_remove_domain(const RemoveOptions& options) {
    const bool json = options.common.json;
    // `rm --domain cafe` says the same as `rm --domain -d cafe`.
    const auto name =
        options.name.empty() ? options.common.domain_name() : Result<std::string>(options.name);
    const auto removed = name ? remove_domain(*name, options.force) : Result<void>(name.error());
    if (!removed) {
        return print_error(removed.error(), json);
    }
    return json ? print_json(Json{{"domain", *name}, {"removed", true}})
                : print_text("removed domain " + *name + "\n");
}

ExitCode remove_destination(const RemoveOptions& options) {
    const bool json = options.common.json;
    auto admin = options.common.admin();
    const auto meant =
        admin ? what_is(*admin, options.name, options.name_of) : Result<NameOf>(admin.error());
    if (!meant) {
        return print_error(meant.error(), json);
    }
    const bool topic = *meant == NameOf::topic;
    const auto removed =
        topic ? admin->remove_topic(options.name) : admin->remove_queue(options.name);
    if (!removed) {
        return print_error(removed.error(), json);
    }
    const char* const kind = topic ? "topic" : "queue";
    return json ? print_json(
                      Json{{"domain", admin->domain()}, {kind, options.name}, {"removed", true}})
                : print_text("removed " + std::string(kind) + " " + options.name + "\n");
}

ExitCode run_remove(const RemoveOptions& options) {
    const bool json = options.common.json;
    const bool has_target = !options.common.target_uri().empty();
    if (options.domain ? options.name.empty() != has_target : options.name.empty() || !has_target) {
        return print_usage_error(
            "rm needs NAME -d DOMAIN for a queue or topic, or --domain -d DOMAIN",
            "run `telpher rm --help` to see examples",
            json);
    }
    if (options.domain) {
        return run_remove_domain(options);
    }
    return remove_destination(options);
}

ExitCode run_peek(const RemoveOptions& options) {
    const bool json = options.common.json;
    const auto queue = options.common.queue(options.name);
    const auto message = queue ? queue->peek() : Result<Message>(queue.error());
    if (!message) {
        return print_error(message.error(), json);
    }
    return print_text(json ? json_line(*message) : payload_line(*message));
}

ExitCode run_purge(const RemoveOptions& options) {
    const bool json = options.common.json;
    auto queue = options.common.queue(options.name);
    const auto purged = queue ? queue->purge() : Result<std::uint64_t>(queue.error());
    if (!purged) {
        return print_error(purged.error(), json);
    }
    return json ? print_json(Json{{"queue", options.name}, {"purged", *purged}})
                : print_text("purged " + format_count(*purged) + " messages from queue " +
                             options.name + "\n");
}

ExitCode run_collect(const CollectOptions& options) {
    const bool json = options.common.json;
    const auto garbage = collect_garbage(options.dry_run);
    if (!garbage) {
        return print_error(garbage.error(), json);
    }
    Json list = Json::array();
    Table table({options.dry_run ? "WOULD REMOVE" : "REMOVED", "BECAUSE"});
    for (const auto& entry : *garbage) {
        list.push_back({{"file", entry.file}, {"reason", entry.reason}});
        table.add({entry.file, entry.reason});
    }
    if (json) {
        return print_json(Json{{"dry_run", options.dry_run}, {"garbage", list}});
    }
    return print_text(table.empty() ? "nothing to collect\n" : table.text());
}

void add_remove(CLI::App& app, Command& command) {
    auto options = std::make_shared<RemoveOptions>();
    auto* const remove = add_command(app,
                                     "rm",
                                     "Remove a queue, a topic, or a whole domain",
                                     "  telpher rm orders -d cafe\n"
                                     "  telpher rm prices.espresso -d cafe --topic\n"
                                     "  telpher rm --domain -d cafe --force");
    remove->add_option("NAME", options->name, "Queue or topic; with --domain, the domain");
    add_name_of(*remove, options->name_of);
    remove->add_flag(
        "--domain", options->domain, "Remove the whole domain; the folder of its log stays");
    remove->add_flag("--force", options->force, "Also while processes are attached");
    finish_command(*remove, options->common, TargetNeed::optional, command, [options](Interrupt&) {
        return run_remove(*options);
    });
}

void add_peek(CLI::App& app, Command& command) {
    auto options = std::make_shared<RemoveOptions>();
    auto* const peek = add_command(app,
                                   "peek",
                                   "Print the oldest message of a queue and leave it there",
                                   "  telpher peek orders -d cafe\n"
                                   "  telpher peek orders -d cafe --json");
    peek->add_option("QUEUE", options->name, "Queue")->required();
    finish_command(*peek, options->common, TargetNeed::required, command, [options](Interrupt&) {
        return run_peek(*options);
    });
}

void add_purge(CLI::App& app, Command& command) {
    auto options = std::make_shared<RemoveOptions>();
    auto* const purge = add_command(app,
                                    "purge",
                                    "Throw away the messages that are in a queue",
                                    "  telpher purge orders -d cafe\n"
                                    "  telpher purge orders -d cafe --json");
    purge->add_option("QUEUE", options->name, "Queue")->required();
    finish_command(*purge, options->common, TargetNeed::required, command, [options](Interrupt&) {
        return run_purge(*options);
    });
}

void add_collect(CLI::App& app, Command& command) {
    auto options = std::make_shared<CollectOptions>();
    auto* const collect = add_command(app,
                                      "gc",
                                      "Remove what killed processes left behind",
                                      "  telpher gc --dry-run\n"
                                      "  telpher gc --json");
    collect->add_flag("--dry-run", options->dry_run, "Only list it");
    finish_command(*collect, options->common, TargetNeed::none, command, [options](Interrupt&) {
        return run_collect(*options);
    });
}

}  // namespace

void add_manage_commands(CLI::App& app, Command& command) {
    add_remove(app, command);
    add_peek(app, command);
    add_purge(app, command);
    add_collect(app, command);
}

}  // namespace telpher::cli

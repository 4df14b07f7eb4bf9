// telpher demo, and the hidden command that its processes run.

#include "tools/telpher/demo.hpp"

#include "tools/telpher/demo_durable.hpp"
#include "tools/telpher/demo_parent.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace telpher::cli {

namespace {

ExitCode run_demo(const DemoOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    if (options.durable) {
        return run_demo_durable(json, interrupt);
    }
    Demo demo(options, interrupt);
    const auto report = demo.run();
    if (!report) {
        return print_error(report.error(), json);
    }
    const auto printed = json ? print_json((*report)->to_json()) : print_text((*report)->to_text());
    return (*report)->ok() ? printed : kExitError;
}

}  // namespace

void add_demo_commands(CLI::App& app, Command& command) {
    auto options = std::make_shared<DemoOptions>();
    auto* const demo = add_command(
        app,
        "demo",
        "Show queue, topic, function and bridge at work on real messages, two processes killed",
        "  telpher demo\n"
        "  telpher demo --input orders.jsonl --messages 50000 --json\n"
        "  telpher demo --durable");
    demo->add_option(
            "--input", options->input, "Orders: one JSON object per line; default: its own")
        ->type_name("FILE");
    demo->add_option("--messages", options->messages, "How many to send; the file is repeated")
        ->check(CLI::Range(std::uint64_t{100}, std::uint64_t{50'000'000}))
        ->type_name("N");
    demo->add_flag("--no-progress", options->no_progress, "No progress bar");
    demo->add_flag("--durable",
                   options->durable,
                   "Instead: a durable queue whose processes are all killed and whose memory is "
                   "removed; every "
                   "confirmed message is there again");
    finish_command(
        *demo, options->common, TargetNeed::none, command, [options](Interrupt& interrupt) {
            return run_demo(*options, interrupt);
        });

    auto durable = std::make_shared<DurableRole>();
    auto* const one = add_command(app, "demo-durable-role", "A process of the demo", "");
    one->group("");
    one->add_option("DOMAIN", durable->domain)->required();
    one->add_option("NOTES", durable->notes)->required();
    one->add_option("NUMBER", durable->number)->required();
    finish_command(
        *one, durable->common, TargetNeed::none, command, [durable](Interrupt& interrupt) {
            return run_durable_role(*durable, interrupt);
        });

    auto role = std::make_shared<RoleOptions>();
    auto* const hidden = add_command(app, "demo-role", "A process of the demo", "");
    hidden->group("");
    hidden->add_option("DOMAIN", role->domain)->required();
    hidden->add_option("PARENT", role->parent_pid)->required();
    hidden->add_option("ACCOUNT", role->account_fd)->required();
    hidden->add_option("ORDERS", role->orders_fd)->required();
    hidden->add_option("ROLE", role->role)
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>(kRoleNames.begin(), kRoleNames.end())));
    hidden->add_option("KEYS", role->keys)->required();
    finish_command(*hidden, role->common, TargetNeed::none, command, [role](Interrupt& interrupt) {
        return run_demo_role(*role, interrupt);
    });
}

}  // namespace telpher::cli

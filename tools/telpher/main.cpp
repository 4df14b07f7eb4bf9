// telpher: the command line.

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#ifndef TELPHER_VERSION
#define TELPHER_VERSION "0"
#endif

namespace telpher::cli {
namespace {

// Commands of later versions: named, so that a script learns why it fails.
constexpr std::array<std::string_view, 6> kLaterCommands{
    "replay", "user", "web", "metrics", "completion", "record"};

bool wants_json(const std::vector<std::string>& arguments) {
    return std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
}

// The command that the arguments name, as far as they name one, and how it is called.
const CLI::App& named_command(const CLI::App& app, std::string& call) {
    const CLI::App* command = &app;
    call = app.get_name();
    while (!command->get_subcommands().empty()) {
        command = command->get_subcommands().front();
        call += ' ' + command->get_name();
    }
    return *command;
}

std::string help(const CLI::App& app) {
    std::string call;
    const auto& command = named_command(app, call);
    // CLI11 writes the name after its first argument.
    const auto last = call.rfind(' ');
    return command.help(last == std::string::npos ? "" : call.substr(0, last));
}

ExitCode usage_error(const CLI::App& app,
                     const CLI::ParseError& error,
                     const std::vector<std::string>& arguments) {
    std::string detail = error.what();
    if (app.get_subcommands().empty() && !arguments.empty()) {
        const auto& name = arguments.front();
        if (std::find(kLaterCommands.begin(), kLaterCommands.end(), name) != kLaterCommands.end()) {
            detail = "the command " + name + " is not in this version of telpher";
        } else if (!name.starts_with('-')) {
            detail = "there is no command \"" + name + "\"";
        }
    }
    std::string call;
    named_command(app, call);
    return print_usage_error(
        detail, "run `" + call + " --help` to see what is possible", wants_json(arguments));
}

void add_all(CLI::App& app, Command& command) {
    app.require_subcommand(1);
    app.set_version_flag("--version", "telpher " TELPHER_VERSION);
    app.footer(
        "Examples:\n"
        "  telpher demo\n"
        "  telpher create queue orders -d cafe --capacity 100\n"
        "  telpher offer orders \"2 espressos\" -d cafe\n"
        "  telpher poll orders -d cafe\n"
        "  telpher sub 'prices.>' -d cafe --timeout 1s\n\n"
        "Exit codes: 0 ok, 1 error, 2 usage, 3 timeout or empty, 4 not found, 5 denied.\n"
        "Every command has --help with examples, and --json.");
    add_demo_commands(app, command);
    add_offer_command(app, command);
    add_poll_command(app, command);
    add_publish_command(app, command);
    add_subscribe_commands(app, command);
    add_function_commands(app, command);
    add_bridge_command(app, command);
    add_list_command(app, command);
    add_see_commands(app, command);
    add_top_command(app, command);
    add_events_command(app, command);
    add_create_command(app, command);
    add_manage_commands(app, command);
    add_dlq_command(app, command);
    add_set_command(app, command);
    add_access_commands(app, command);
    add_tls_probe_command(app, command);
    add_log_command(app, command);
    add_doctor_command(app, command);
    add_bench_command(app, command);
    add_chaos_command(app, command);
    add_explain_command(app, command);
}

int run(std::vector<std::string> arguments) {
    Interrupt interrupt;  // first: see its header
    CLI::App app("Messages between processes that share a host.", "telpher");
    Command command;
    add_all(app, command);
    try {
        // CLI11 takes them from the back.
        app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::CallForHelp&) {
        return print_text(help(app));
    } catch (const CLI::CallForVersion& version) {
        return print_text(std::string(version.what()) + "\n");
    } catch (const CLI::ParseError& error) {
        return usage_error(app, error, arguments);
    }
    return command.run(interrupt);
}

}  // namespace
}  // namespace telpher::cli

int main(int argc, char** argv) {
    try {
        return telpher::cli::run({argv + 1, argv + argc});
    } catch (const std::exception& failure) {
        // Only the standard library throws here: no memory, no thread.
        return telpher::cli::print_error({telpher::Status::out_of_memory, 0, failure.what()},
                                         false);
    }
}

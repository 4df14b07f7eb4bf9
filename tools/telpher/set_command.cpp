// telpher set: changes what can be changed in a running domain, and shows it.

#include "telpher/admin.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"

#include <memory>
#include <string>
#include <vector>

namespace telpher::cli {
namespace {

struct SetOptions {
    Common common;
    std::vector<std::string> arguments;
};

// As JSON a number where it is one.
Json value_of(const DomainSetting& setting) {
    if (setting.value.empty()) {
        return nullptr;
    }
    const Json number = Json::parse(setting.value, nullptr, false);
    return number.is_number() ? number : Json(setting.value);
}

ExitCode show(const Admin& admin, bool json) {
    const auto settings = admin.settings();
    if (!settings) {
        return print_error(settings.error(), json);
    }
    Json list = Json::array();
    Table table({"SETTING", "VALUE", "ALLOWED"});
    for (const DomainSetting& setting : *settings) {
        list.push_back(
            {{"name", setting.name}, {"value", value_of(setting)}, {"allowed", setting.allowed}});
        table.add({printable(setting.name),
                   setting.value.empty() ? "-" : printable(setting.value),
                   printable(setting.allowed)});
    }
    return json ? print_json(Json{{"domain", admin.domain()}, {"settings", list}})
                : print_text(table.text());
}

ExitCode run_set(SetOptions& options) {
    const bool json = options.common.json;
    auto& arguments = options.arguments;
    if (options.common.target_uri().empty() && !arguments.empty() &&
        arguments.front().find('=') == std::string::npos) {
        options.common.domain = arguments.front();
        arguments.erase(arguments.begin());
    }
    if (options.common.target_uri().empty()) {
        return print_usage_error("set needs a domain: its name first, or -d NAME or -u URI",
                                 "run `telpher set --help` to see examples",
                                 json);
    }
    for (const std::string& argument : arguments) {
        if (argument.find('=') == std::string::npos) {
            return print_usage_error("\"" + argument + "\" is not KEY=VALUE",
                                     "run `telpher set --help` to see examples",
                                     json);
        }
    }
    auto admin = options.common.admin();
    if (!admin) {
        return print_error(admin.error(), json);
    }
    for (const std::string& argument : arguments) {
        const std::size_t equals = argument.find('=');
        const auto done = admin->set(argument.substr(0, equals), argument.substr(equals + 1));
        if (!done) {
            return print_error(done.error(), json);
        }
    }
    return show(*admin, json);
}

}  // namespace

void add_set_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<SetOptions>();
    auto* const set = add_command(app,
                                  "set",
                                  "Change the settings of a running domain, and show them",
                                  "  telpher set cafe retry.attempts_max=7 call.timeout_ms=2000\n"
                                  "  telpher set -u tcp://127.0.0.1:33333 retry.jitter= --json");
    set->add_option("DOMAIN",
                    options->arguments,
                    "The domain, unless -d or -u names it; then KEY=VALUE, one after another until "
                    "one is wrong; KEY= takes it back; none: only show them")
        ->type_name("[DOMAIN] [KEY=VALUE ...]");
    finish_command(*set, options->common, TargetNeed::optional, command, [options](Interrupt&) {
        return run_set(*options);
    });
}

}  // namespace telpher::cli

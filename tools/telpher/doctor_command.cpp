// telpher doctor: whether this machine has what telpher needs, and how to mend what it lacks.

#include "tools/telpher/host_checks.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#ifndef TELPHER_VERSION
#define TELPHER_VERSION "0"
#endif

namespace telpher::cli {
namespace {

const char* name_of_health(Health health) {
    switch (health) {
        case Health::ok:
            return "ok";
        case Health::warning:
            return "warning";
        case Health::failure:
            return "failure";
    }
    return "unknown";
}

ExitCode run_doctor(const Common& common) {
    const std::vector<HostCheck> checks = judge(look_at_host());
    const bool works = std::none_of(checks.begin(), checks.end(), [](const HostCheck& check) {
        return check.health == Health::failure;
    });
    Json list = Json::array();
    Table table({"CHECK", "RESULT", "FOUND"});
    std::string fixes;
    for (const HostCheck& check : checks) {
        const char* const health = name_of_health(check.health);
        list.push_back(Json{
            {"check", check.name}, {"result", health}, {"found", check.found}, {"fix", check.fix}});
        table.add({check.name, health, printable(check.found)});
        if (check.health != Health::ok) {
            fixes += "\n" + check.name + ": " + printable(check.fix) + "\n";
        }
    }
    const ExitCode printed =
        common.json
            ? print_json(Json{{"ok", works}, {"version", TELPHER_VERSION}, {"checks", list}})
            : print_text(table.text() + fixes);
    return printed != kExitOk || works ? printed : kExitError;
}

}  // namespace

void add_doctor_command(CLI::App& app, Command& command) {
    auto common = std::make_shared<Common>();
    auto* const doctor = add_command(
        app,
        "doctor",
        "Check whether this machine has what telpher needs: shared memory, kernel, limits, clock, "
        "encryption, and what killed processes left; say how to mend it. Exits with 1 if something "
        "does not work",
        "  telpher doctor\n"
        "  telpher doctor --json");
    finish_command(*doctor, *common, TargetNeed::none, command, [common](Interrupt&) {
        return run_doctor(*common);
    });
}

}  // namespace telpher::cli

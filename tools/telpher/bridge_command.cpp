// telpher bridge: serves a domain to clients of other hosts.

#include "telpher/bridge.hpp"
#include "telpher/client.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <poll.h>

#include <memory>
#include <string>

namespace telpher::cli {
namespace {

struct BridgeCommand {
    Common common;
    BridgeOptions options;
};

ExitCode run_bridge(const BridgeCommand& command, Interrupt& interrupt) {
    const bool json = command.common.json;
    BridgeOptions options = command.options;
    if (options.listen.empty() && options.unix_path.empty()) {
        return print_usage_error("bridge needs --listen, --unix, or both",
                                 "telpher bridge -d cafe --listen 127.0.0.1:33333",
                                 json);
    }
    options.on_log = [json](std::string_view line) {
        print_note(std::string(line), {{"log", line}}, json);
    };
    auto client = connect(command.common.target_uri());
    if (!client) {
        return print_error(client.error(), json);
    }
    auto bridge = Bridge::start(std::move(*client), options);
    if (!bridge) {
        return print_error(bridge.error(), json);
    }
    // Told at once, for whoever waits for it: where it can be reached.
    const std::string tcp = options.listen.empty()
                                ? ""
                                : "tcp://" + options.listen.substr(0, options.listen.rfind(':')) +
                                      ":" + std::to_string(bridge->port());
    const std::string local = options.unix_path.empty() ? "" : "unix:" + options.unix_path;
    const ExitCode printed =
        json ? print_json({{"tcp", tcp}, {"unix", local}})
             : print_text("serving " + command.common.target_uri() + " at " + tcp +
                          (tcp.empty() || local.empty() ? "" : " and ") + local + "\n");
    if (printed != kExitOk) {
        return printed;
    }
    // It ends by a signal, or with its domain.
    while (!interrupt.stopped() && bridge->running()) {
        pollfd stop{interrupt.fd(), POLLIN, 0};
        static_cast<void>(::poll(&stop, 1, 200));
    }
    const bool running = bridge->running();
    bridge->stop();
    return running ? kExitOk : print_error(Error{Status::domain_removed, 0, {}}, json);
}

}  // namespace

void add_bridge_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<BridgeCommand>();
    auto* const bridge = add_command(app,
                                     "bridge",
                                     "Serve a domain over TCP or a Unix socket",
                                     "  telpher bridge -d cafe --listen 127.0.0.1:33333\n"
                                     "  telpher bridge -d cafe --unix /run/user/1000/cafe.sock");
    bridge->add_option("--listen", options->options.listen, "Address; port 0: a free one")
        ->type_name("HOST:PORT");
    bridge->add_option("--unix", options->options.unix_path, "Unix socket, for its owner")
        ->type_name("PATH");
    bridge->add_flag("--insecure",
                     options->options.insecure,
                     "Listen beyond loopback although nothing is encrypted");
    finish_command(
        *bridge, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_bridge(*options, interrupt);
        });
}

}  // namespace telpher::cli

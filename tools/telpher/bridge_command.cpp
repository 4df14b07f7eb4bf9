// telpher bridge: serves a domain to clients of other hosts.

#include "telpher/bridge.hpp"
#include "telpher/client.hpp"

#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/identity.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <poll.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace telpher::cli {
namespace {

// What was begun may end before the process does; a service manager that waits 10 s for it is in no hurry yet.
constexpr auto kDrainPatience = std::chrono::seconds(3);

struct BridgeCommand {
    Common common;
    BridgeOptions options;
    std::optional<Duration> heartbeat;
    std::optional<Duration> grace;
};

// A bridge that may encrypt has an identity: it is made at its first start.
Result<void> have_identity(const BridgeOptions& options, bool json) {
    const bool own = options.tls.certificate.empty() && options.tls.peers != Peers::psk;
    if (options.encryption == Encryption::off || !own) {
        return {};
    }
    const auto dir = bridge::config_dir(options.tls.config_dir);
    if (!dir) {
        return dir.error();
    }
    auto made = bridge::make_identity(*dir, "telpher-bridge");
    if (made) {
        const std::string pin = made->text();
        print_note(
            "made an identity in " + *dir + ": clients may pin " + pin, {{"pin", pin}}, json);
    } else if (made.status() != Status::already_exists) {
        return made.error();
    }
    return {};
}

void reload(Bridge& bridge, bool json) {
    const auto reloaded = bridge.reload();
    const std::string line =
        reloaded ? "reloaded for new connections: " + *reloaded
                 : "not reloaded, all stays as it was: " + to_string(reloaded.error());
    print_note(line, {{"log", line}}, json);
}

ExitCode run_bridge(const BridgeCommand& command, Interrupt& interrupt) {
    const bool json = command.common.json;
    BridgeOptions options = command.options;
    options.heartbeat = command.heartbeat.value_or(options.heartbeat);
    options.grace = command.grace.value_or(options.grace);
    if (options.listen.empty() && options.unix_path.empty()) {
        return print_usage_error("bridge needs --listen, --unix, or both",
                                 "telpher bridge -d cafe --listen 127.0.0.1:33333",
                                 json);
    }
    options.on_log = [json](std::string_view line) {
        print_note(std::string(line), {{"log", line}}, json);
    };
    if (auto identity = have_identity(options, json); !identity) {
        return print_error(identity.error(), json);
    }
    interrupt.watch_hangup();
    auto client = command.common.connect();
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
        pollfd signals[] = {{interrupt.fd(), POLLIN, 0}, {interrupt.hangup_fd(), POLLIN, 0}};
        static_cast<void>(::poll(signals, 2, 200));
        if (interrupt.take_hangup()) {
            reload(*bridge, json);
        }
    }
    const bool running = bridge->running();
    bridge->drain(kDrainPatience);
    return running ? kExitOk : print_error(Error{Status::domain_removed, 0, {}}, json);
}

void add_limits(CLI::App& bridge, const std::shared_ptr<BridgeCommand>& options) {
    bridge.add_option("--threads", options->options.threads, "I/O threads, 1 to 64; default 1")
        ->type_name("N");
    bridge
        .add_option("--connections-max",
                    options->options.connections_max,
                    "Clients served at once; more are refused; default 1024")
        ->check(at_least_one())
        ->type_name("N");
    bridge
        .add_option(
            "--greeting-max",
            options->options.greeting_max,
            "Connections that have not said HELLO; beyond it the oldest one goes; default 64")
        ->check(at_least_one())
        ->type_name("N");
    bridge
        .add_option("--connects-per-second",
                    options->options.connects_per_second,
                    "New connections of one address, 0: any number; default 1000")
        ->type_name("N");
    bridge
        .add_option("--connects-burst",
                    options->options.connects_burst,
                    "So many of them at once; default 2000")
        ->check(at_least_one())
        ->type_name("N");
    add_duration(bridge,
                 "--heartbeat",
                 options->heartbeat,
                 "Who says nothing for three of them is dropped; default 5s");
    add_duration(bridge,
                 "--grace",
                 options->grace,
                 "How long the session of a cut connection is kept; default 10s");
}

}  // namespace

void add_bridge_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<BridgeCommand>();
    auto* const bridge =
        add_command(app,
                    "bridge",
                    "Serve a domain over TCP or a Unix socket",
                    "  telpher bridge -d cafe --listen 127.0.0.1:33333\n"
                    "  telpher bridge -d cafe --unix /run/user/1000/cafe.sock\n\n"
                    "Signals: SIGHUP reads keys and authorities again, for new connections;\n"
                    "SIGTERM ends it within 5 s, when what was begun has ended.");
    bridge->add_option("--listen", options->options.listen, "Address; port 0: a free one")
        ->type_name("HOST:PORT");
    bridge->add_option("--unix", options->options.unix_path, "Unix socket, for its owner")
        ->type_name("PATH");
    // As the library's default, but that a bridge of the command line can encrypt at once.
    options->options.encryption = Encryption::allowed;
    add_choice(
        *bridge,
        "--encrypt",
        {"allowed", "required", "off"},
        [options](std::size_t index) {
            constexpr Encryption kChoices[] = {
                Encryption::allowed, Encryption::required, Encryption::off};
            options->options.encryption = kChoices[index];
        },
        "Whether TCP clients may encrypt (TLS 1.3), or must");
    add_choice(
        *bridge,
        "--peers",
        {"anyone", "authorized", "authority", "psk"},
        [options](std::size_t index) { options->options.tls.peers = static_cast<Peers>(index); },
        "Who is served: with --encrypt required also keys of `telpher trust`, those whom --ca "
        "vouches for, or "
        "who has the pre-shared key");
    bridge
        ->add_option(
            "--ca", options->options.tls.ca, "Certificates of authorities, with --peers authority")
        ->type_name("FILE");
    bridge
        ->add_option("--identity",
                     options->options.tls.config_dir,
                     "Folder of keys; default: the user's own")
        ->type_name("DIR");
    add_limits(*bridge, options);
    add_cutoff(
        *bridge,
        "--compress-from",
        options->options.compress_from_bytes,
        "Messages of at least so many bytes travel compressed; default -1: none, unless a client "
        "wants it");
    bridge->add_flag("--insecure",
                     options->options.insecure,
                     "Listen beyond loopback although nothing is encrypted");
    finish_command(
        *bridge, options->common, TargetNeed::local, command, [options](Interrupt& interrupt) {
            return run_bridge(*options, interrupt);
        });
}

}  // namespace telpher::cli

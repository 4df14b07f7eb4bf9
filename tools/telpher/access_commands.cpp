// telpher keygen, trust: who this side is, and whom a bridge admits.

#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/identity.hpp"
#include "tcp_bridge/known_peers.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"

#include <memory>
#include <string>

namespace telpher::cli {
namespace {

struct KeygenOptions {
    Common common;
    std::string name = "telpher";
    bool psk = false;
};

struct TrustOptions {
    Common common;
    std::string name;
    std::string pin;
};

Result<std::string> authorized_peers() {
    const auto dir = bridge::config_dir();
    return dir ? Result<std::string>(bridge::authorized_peers_path(*dir)) : dir.error();
}

ExitCode make_psk(const std::string& dir, bool json) {
    auto made = bridge::make_config_dir(dir);
    const std::string path = bridge::psk_path(dir);
    if (made) {
        made = bridge::make_psk(path);
    }
    if (!made) {
        return print_error(made.error(), json);
    }
    return json ? print_json(Json{{"psk", path}})
                : print_text("psk  " + path + "\n" +
                             "Both ends need this file: copy it over a channel that you trust.\n");
}

ExitCode run_keygen(const KeygenOptions& options) {
    const bool json = options.common.json;
    const auto dir = bridge::config_dir();
    if (!dir) {
        return print_error(dir.error(), json);
    }
    if (options.psk) {
        return make_psk(*dir, json);
    }
    const auto pin = bridge::make_identity(*dir, options.name);
    if (!pin) {
        return print_error(pin.error(), json);
    }
    const std::string key = bridge::identity_key_path(*dir);
    const std::string certificate = bridge::identity_certificate_path(*dir);
    return json ? print_json(Json{{"name", options.name},
                                  {"pin", pin->text()},
                                  {"key", key},
                                  {"certificate", certificate}})
                : print_text("pin          " + pin->text() + "\nkey          " + key +
                             "\ncertificate  " + certificate + "\n");
}

ExitCode run_trust_add(const TrustOptions& options) {
    const bool json = options.common.json;
    const auto pin = bridge::Pin::parse(options.pin);
    if (!pin) {
        return print_usage_error(
            "\"" + options.pin + "\" is no pin",
            "a pin is sha256: and 64 hexadecimal digits, as `telpher keygen` prints it",
            json);
    }
    const auto path = authorized_peers();
    const auto added =
        path ? bridge::add_peer(*path, options.name, *pin) : Result<bool>(path.error());
    if (!added) {
        return print_error(added.error(), json);
    }
    return json ? print_json(Json{{"name", options.name},
                                  {"pin", pin->text()},
                                  {"added", *added},
                                  {"file", *path}})
                : print_text((*added ? "added " : "has already ") + options.name + " " +
                             pin->text() + "\n");
}

ExitCode run_trust_list(const TrustOptions& options) {
    const bool json = options.common.json;
    const auto path = authorized_peers();
    const auto peers =
        path ? bridge::load_peers(*path) : Result<std::vector<bridge::KnownPeer>>(path.error());
    if (!peers) {
        return print_error(peers.error(), json);
    }
    Json list = Json::array();
    Table table({"NAME", "PIN"});
    for (const auto& peer : *peers) {
        list.push_back({{"name", peer.name}, {"pin", peer.pin.text()}, {"line", peer.line}});
        table.add({peer.name, peer.pin.text()});
    }
    return json ? print_json(Json{{"file", *path}, {"peers", list}}) : print_text(table.text());
}

ExitCode run_trust_remove(const TrustOptions& options) {
    const bool json = options.common.json;
    const auto path = authorized_peers();
    const auto removed =
        path ? bridge::remove_peer(*path, options.name) : Result<std::size_t>(path.error());
    if (!removed) {
        return print_error(removed.error(), json);
    }
    if (*removed == 0) {
        return print_not_found(*path + " has no peer \"" + options.name + "\"",
                               "run `telpher trust ls` to see all of them",
                               json);
    }
    return json ? print_json(Json{{"name", options.name}, {"removed", true}})
                : print_text("removed " + options.name + "\n");
}

void add_keygen(CLI::App& app, Command& command) {
    auto options = std::make_shared<KeygenOptions>();
    auto* const keygen = add_command(app,
                                     "keygen",
                                     "Make this user's identity for encrypted connections",
                                     "  telpher keygen --name till-1\n"
                                     "  telpher keygen --psk --json");
    auto* const name = keygen->add_option(
        "--name", options->name, "Name in the certificate: letters, digits and . _ - @");
    keygen->add_flag("--psk", options->psk, "Make a pre-shared key instead")->excludes(name);
    finish_command(*keygen, options->common, TargetNeed::none, command, [options](Interrupt&) {
        return run_keygen(*options);
    });
}

void add_trust(CLI::App& app, Command& command) {
    auto* const trust = add_command(app,
                                    "trust",
                                    "Say whom a bridge of this user admits",
                                    "  telpher trust add till-1 sha256:HEX\n"
                                    "  telpher trust ls --json");
    trust->require_subcommand(1);
    const auto finish = [&command](
                            CLI::App& app_, auto options, ExitCode (*run)(const TrustOptions&)) {
        finish_command(
            app_, options->common, TargetNeed::none, command, [options, run](Interrupt&) {
                return run(*options);
            });
    };
    auto added = std::make_shared<TrustOptions>();
    auto* const add = add_command(*trust,
                                  "add",
                                  "Admit the peer with this key",
                                  "  telpher trust add till-1 sha256:HEX\n"
                                  "  telpher trust add till-1 sha256:HEX --json");
    add->add_option("NAME", added->name, "What the peer is called here")->required();
    add->add_option("PIN", added->pin, "Its key, as its `telpher keygen` prints it")->required();
    finish(*add, added, &run_trust_add);
    auto* const list = add_command(*trust,
                                   "ls",
                                   "List the admitted peers",
                                   "  telpher trust ls\n"
                                   "  telpher trust ls --json");
    finish(*list, std::make_shared<TrustOptions>(), &run_trust_list);
    auto removed = std::make_shared<TrustOptions>();
    auto* const remove = add_command(*trust,
                                     "rm",
                                     "Admit a peer no longer, from its next connection on",
                                     "  telpher trust rm till-1\n"
                                     "  telpher trust rm till-1 --json");
    remove->add_option("NAME", removed->name, "The peer's name here")->required();
    finish(*remove, removed, &run_trust_remove);
}

}  // namespace

void add_access_commands(CLI::App& app, Command& command) {
    add_keygen(app, command);
    add_trust(app, command);
}

}  // namespace telpher::cli

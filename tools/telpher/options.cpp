#include "tools/telpher/options.hpp"

#include "src/wire/size_text.hpp"
#include "tools/telpher/units.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace telpher::cli {

namespace {

constexpr std::string_view kSharedMemory = "shm:";

}  // namespace

std::string Common::target_uri() const {
    return domain.empty() ? uri : std::string(kSharedMemory) + domain;
}

Result<std::string> Common::domain_name() const {
    if (!domain.empty()) {
        return domain;
    }
    if (uri.starts_with(kSharedMemory)) {
        return uri.substr(kSharedMemory.size());
    }
    return Error{Status::bad_request,
                 0,
                 "target \"" + uri +
                     "\" is not in shared memory: this command needs -d NAME or -u shm:NAME"};
}

Result<Server> Common::attach() const {
    const auto name = domain_name();
    if (!name) {
        return name.error();
    }
    return Server::open(*name, {.mode = OpenMode::attach});
}

Result<Client> Common::connect() const {
    ConnectOptions options = connection;
    const bool trusts = !tls.pin.empty() || !tls.ca.empty() || !tls.psk.empty() ||
                        !tls.certificate.empty() || !tls.config_dir.empty();
    if (trusts) {
        options.tls = tls;
    }
    return telpher::connect(target_uri(), options);
}

Result<Admin> Common::admin() const {
    const auto client = connect();
    return client ? Admin::of(*client) : Result<Admin>(client.error());
}

Result<Queue> Common::queue(const std::string& name) const {
    auto client = connect();
    return client ? client->queue(name) : Result<Queue>(client.error());
}

CLI::App* add_command(CLI::App& parent,
                      const std::string& name,
                      const std::string& description,
                      const std::string& examples) {
    auto* const command = parent.add_subcommand(name, description);
    command->footer("Examples:\n" + examples);
    return command;
}

namespace {

// Of a target by TCP (SECURITY.md); with others they are a usage error of `connect`.
void add_connection_options(CLI::App& app, Common& common) {
    const char* const group = "Connection (-u tcp://...)";
    const auto file = [&](const char* name, std::string& value, const char* description) {
        app.add_option(name, value, description)->type_name("FILE")->group(group);
    };
    app.add_flag("--encrypt", common.connection.encrypt, "TLS 1.3; implied by the following")
        ->group(group);
    app.add_option(
           "--pin", common.tls.pin, "The bridge's key: sha256:HEX, as `telpher trust` shows it")
        ->type_name("PIN")
        ->group(group);
    file("--ca", common.tls.ca, "PEM file of the authorities that may vouch for the bridge");
    file("--psk", common.tls.psk, "File of a pre-shared key, made by `telpher keygen --psk`");
    app.add_option("--psk-identity", common.tls.psk_identity, "The name of that key")
        ->type_name("NAME")
        ->group(group);
    file("--certificate",
         common.tls.certificate,
         "Who we are; default: the identity of `telpher keygen`");
    file("--key", common.tls.key, "Its private key");
    add_cutoff(app,
               "--compress-from",
               common.connection.compress_from_bytes,
               "Messages of at least so many bytes travel compressed; -1: as the bridge says")
        ->group(group);
    app.add_option("--config-dir", common.tls.config_dir, "Where identity and known_hosts lie")
        ->type_name("DIR")
        ->group(group);
}

}  // namespace

void finish_command(CLI::App& app,
                    Common& common,
                    TargetNeed need,
                    Command& command,
                    std::function<ExitCode(Interrupt&)> run) {
    if (need != TargetNeed::none) {
        const bool local = need == TargetNeed::local;
        auto* const domain = app.add_option("-d", common.domain, "Domain on this machine");
        auto* const uri = app.add_option(
            "-u,--uri",
            common.uri,
            local ? "Target as URI: shm:NAME"
                  : "Target as URI: shm:NAME, or a bridge: unix:/PATH, tcp://HOST:PORT");
        domain->type_name("NAME");
        uri->type_name("URI")->excludes(domain);
        if (!local) {
            add_connection_options(app, common);
        }
    }
    app.add_flag("--json", common.json, "JSON instead of text");
    app.callback([&common, need, &command, run = std::move(run)] {
        if ((need == TargetNeed::required || need == TargetNeed::local) &&
            common.target_uri().empty()) {
            throw CLI::RequiredError("A target: -d NAME or -u URI");
        }
        command.run = run;
    });
}

CLI::Option* add_duration(CLI::App& command,
                          const std::string& name,
                          std::optional<Duration>& value,
                          const std::string& description) {
    auto* const option = command.add_option_function<std::string>(
        name,
        [&value, name](const std::string& text) {
            value = parse_duration(text);
            if (!value) {
                throw CLI::ValidationError(
                    name,
                    "\"" + text + "\" is no duration: a number and a unit, as 300ms, 2s, 5m, 1h");
            }
        },
        description);
    option->type_name("DURATION");
    return option;
}

CLI::Option* add_size(CLI::App& command,
                      const std::string& name,
                      std::uint64_t& value,
                      const std::string& description) {
    auto* const option = command.add_option_function<std::string>(
        name,
        [&value, name](const std::string& text) {
            const auto size = parse_size(text);
            if (!size) {
                throw CLI::ValidationError(
                    name, "\"" + text + "\" is no size: a number and a unit, as 512B, 4KB, 20MB");
            }
            value = *size;
        },
        description);
    option->type_name("SIZE");
    return option;
}

CLI::Option* add_cutoff(CLI::App& command,
                        const std::string& name,
                        std::int64_t& value,
                        const std::string& description) {
    auto* const option = command.add_option_function<std::string>(
        name,
        [&value, name](const std::string& text) {
            const auto bytes = wire::parse_size_option(text);
            if (!bytes) {
                throw CLI::ValidationError(
                    name, "\"" + text + "\" is no size: as 512B, 1KB, 2MB; 0 = all, -1 = none");
            }
            value = *bytes;
        },
        description);
    option->type_name("SIZE");
    return option;
}

CLI::Option* add_rate(CLI::App& command,
                      const std::string& name,
                      std::optional<double>& value,
                      const std::string& description) {
    auto* const option = command.add_option_function<std::string>(
        name,
        [&value, name](const std::string& text) {
            value = parse_rate(text);
            if (!value) {
                throw CLI::ValidationError(
                    name, "\"" + text + "\" is no rate: a number and a unit, as 500/s, 60/m");
            }
        },
        description);
    option->type_name("N/s");
    return option;
}

CLI::Validator at_least_one() {
    return CLI::Validator(
        [](const std::string& text) {
            const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
            const bool zero = text.find_first_not_of('0') == std::string::npos;
            return digits && !zero ? std::string() : "\"" + text + "\" is no count of at least 1";
        },
        "");
}

CLI::Option* add_choice(CLI::App& command,
                        const std::string& name,
                        const std::vector<std::string>& values,
                        const std::function<void(std::size_t index)>& chosen,
                        const std::string& description) {
    return command
        .add_option_function<std::string>(
            name,
            [name, values, chosen](const std::string& text) {
                const auto found = std::find(values.begin(), values.end(), text);
                if (found == values.end()) {
                    throw CLI::ValidationError(name,
                                               "\"" + text +
                                                   "\" is not in this version of telpher, only " +
                                                   CLI::detail::join(values, " and ") +
                                                   (values.size() == 1 ? " is" : " are"));
                }
                chosen(static_cast<std::size_t>(found - values.begin()));
            },
            description + "; default " + values.front())
        ->type_name(CLI::detail::join(values, "|"));
}

void add_slow(CLI::App& command,
              std::optional<SlowSubscriber>& value,
              const std::string& description) {
    static const std::vector<std::string> kNames{
        "drop-oldest", "block", "latest-only", "disconnect"};  // in the order of SlowSubscriber
    command
        .add_option_function<std::string>(
            "--slow",
            [&value](const std::string& text) {
                const auto found = std::find(kNames.begin(), kNames.end(), text);
                if (found == kNames.end()) {
                    throw CLI::ValidationError(
                        "--slow", "\"" + text + "\" is none of " + CLI::detail::join(kNames, ", "));
                }
                value = static_cast<SlowSubscriber>(found - kNames.begin());
            },
            description)
        ->type_name(CLI::detail::join(kNames, "|"));
}

void add_from(CLI::App& command, From& value, const std::string& description) {
    command
        .add_option_function<std::string>(
            "--from",
            [&value](const std::string& text) {
                std::uint64_t number = 0;
                const char* const end = text.data() + text.size();
                const auto parsed = std::from_chars(text.data(), end, number);
                if (text == "latest") {
                    value = From::latest();
                } else if (text == "earliest") {
                    value = From::earliest();
                } else if (parsed.ec == std::errc{} && parsed.ptr == end && number > 0) {
                    value = From::sequence(number);
                } else {
                    throw CLI::ValidationError(
                        "--from",
                        "\"" + text +
                            "\" is neither latest nor earliest nor a message's number from 1 on");
                }
            },
            description)
        ->type_name("latest|earliest|N");
}

}  // namespace telpher::cli

// Options that several commands share, and how a command gets from its arguments to its exit code.
#pragma once

#include "telpher/admin.hpp"
#include "telpher/client.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"
#include "telpher/server.hpp"

#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::cli {

// What parsing leaves behind: the command to run, with its options bound.
struct Command {
    std::function<ExitCode(Interrupt&)> run;
};

struct Common {
    std::string domain;  // -d NAME
    std::string uri;     // -u URI
    bool json = false;
    ConnectOptions connection{};  // --encrypt, --pin, ...: of a target by TCP
    Tls tls{};

    // The URI of the target; `shm:NAME` for -d. Empty when none was given.
    [[nodiscard]] std::string target_uri() const;
    // The name of the target. Errors: bad_request (a target that is not in shared memory, or none).
    [[nodiscard]] Result<std::string> domain_name() const;
    // The target, which must exist: for messages, to look after it, or to serve functions in it (shm: only).
    [[nodiscard]] Result<Client> connect() const;
    [[nodiscard]] Result<Admin> admin() const;
    [[nodiscard]] Result<Server> attach() const;
    // A queue of the target, which must exist.
    [[nodiscard]] Result<Queue> queue(const std::string& name) const;
};

// `local`: required, and of this host.
enum class TargetNeed { none, optional, required, local };

// A subcommand with help and its two examples.
CLI::App* add_command(CLI::App& parent,
                      const std::string& name,
                      const std::string& description,
                      const std::string& examples);
// Adds --json and, where `need` says so, -d and -u to `app`, and makes it run `run`. `common` must
// live as long as `run`: both belong to the same options.
void finish_command(CLI::App& app,
                    Common& common,
                    TargetNeed need,
                    Command& command,
                    std::function<ExitCode(Interrupt&)> run);

// Options with units. A text that is none is a usage error that shows one that is.
CLI::Option* add_duration(CLI::App& command,
                          const std::string& name,
                          std::optional<Duration>& value,
                          const std::string& description);
CLI::Option* add_size(CLI::App& command,
                      const std::string& name,
                      std::uint64_t& value,
                      const std::string& description);
// As a size, or a number of bytes, or -1: off.
CLI::Option* add_cutoff(CLI::App& command,
                        const std::string& name,
                        std::int64_t& value,
                        const std::string& description);
CLI::Option* add_rate(CLI::App& command,
                      const std::string& name,
                      std::optional<double>& value,
                      const std::string& description);

// An option that is one of `values`, the first by default; `chosen` gets its index. Others are said
// to be not in this version.
CLI::Option* add_choice(CLI::App& command,
                        const std::string& name,
                        const std::vector<std::string>& values,
                        const std::function<void(std::size_t index)>& chosen,
                        const std::string& description);

// drop-oldest, block, latest-only or disconnect. `value` stays as it is without the option.
void add_slow(CLI::App& command,
              std::optional<SlowSubscriber>& value,
              const std::string& description);
// latest, earliest or a message's number.
void add_from(CLI::App& command, From& value, const std::string& description);

// A count of at least 1, named N in the help.
[[nodiscard]] CLI::Validator at_least_one();

// The commands, each file its own.
void add_offer_command(CLI::App& app, Command& command);
void add_poll_command(CLI::App& app, Command& command);
void add_publish_command(CLI::App& app, Command& command);     // pub
void add_subscribe_commands(CLI::App& app, Command& command);  // sub tail
void add_function_commands(CLI::App& app, Command& command);   // send serve
void add_bridge_command(CLI::App& app, Command& command);      // bridge
void add_create_command(CLI::App& app, Command& command);      // create
void add_manage_commands(CLI::App& app, Command& command);     // rm peek purge gc
void add_dlq_command(CLI::App& app, Command& command);         // dlq
void add_set_command(CLI::App& app, Command& command);         // set
void add_list_command(CLI::App& app, Command& command);        // ls
void add_see_commands(CLI::App& app, Command& command);        // info ps verify
void add_top_command(CLI::App& app, Command& command);         // top
void add_events_command(CLI::App& app, Command& command);      // events
void add_access_commands(CLI::App& app, Command& command);     // keygen trust
void add_tls_probe_command(CLI::App& app, Command& command);   // tls-probe
void add_log_command(CLI::App& app, Command& command);         // log
void add_chaos_command(CLI::App& app, Command& command);       // chaos, and its hidden processes
void add_doctor_command(CLI::App& app, Command& command);      // doctor
void add_bench_command(CLI::App& app, Command& command);       // bench
void add_explain_command(CLI::App& app, Command& command);     // explain
void add_demo_commands(CLI::App& app, Command& command);       // demo, and its hidden processes

}  // namespace telpher::cli

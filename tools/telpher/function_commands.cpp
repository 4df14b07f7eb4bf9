// telpher send: asks a function. telpher serve: is one, by a program or by echoing.

#include "telpher/function.hpp"
#include "telpher/server.hpp"

#include "tools/telpher/message_line.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/payload.hpp"
#include "tools/telpher/run_program.hpp"
#include "tools/telpher/signals.hpp"
#include "tools/telpher/units.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace telpher::cli {
namespace {

constexpr Duration kAnswerPatience = std::chrono::seconds(5);

struct SendCommand {
    Common common;
    std::string function;
    PayloadOptions payload;
    std::optional<Duration> timeout;
    std::optional<Duration> wait;
    bool oneway = false;
};

// How long calls took, as people and scripts want it.
class Times {
  public:
    void add(std::chrono::nanoseconds took) {
        ns_.push_back(static_cast<std::uint64_t>(took.count()));
    }
    [[nodiscard]] Json json() const {
        return Json{{"p50_us", at(50)}, {"p99_us", at(99)}, {"max_us", at(100)}};
    }
    [[nodiscard]] std::string text() const {
        const auto show = [this](std::size_t percent) {
            return std::to_string(static_cast<std::uint64_t>(at(percent) * 10) / 10) + " us";
        };
        return "p50 " + show(50) + ", p99 " + show(99) + ", max " + show(100);
    }

  private:
    [[nodiscard]] double at(std::size_t percent) const {
        std::vector<std::uint64_t> sorted = ns_;
        std::sort(sorted.begin(), sorted.end());
        return sorted.empty()
                   ? 0
                   : static_cast<double>(sorted[(sorted.size() - 1) * percent / 100]) / 1000;
    }
    std::vector<std::uint64_t> ns_;
};

ExitCode run_send(const SendCommand& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    if (!options.payload.one_source()) {
        return print_payload_usage("send", json);
    }
    auto client = options.common.connect();
    if (!client) {
        return print_error(client.error(), json);
    }
    interrupt.watch_stdout();
    SendOptions how;
    how.stop = interrupt.token();
    how.wait_for_server = options.wait.value_or(Duration{});
    const bool times_only = options.payload.repeat > 1 && !options.oneway;
    Times times;
    std::uint64_t sent = 0;
    const auto done = send_payloads(
        options.payload, options.function, interrupt, [&](const Message& message) -> Result<void> {
            if (options.oneway) {
                auto accepted = client->send_oneway(
                    options.function, message, options.timeout.value_or(Duration{}), how);
                sent += accepted ? 1U : 0U;
                return accepted;
            }
            const auto before = std::chrono::steady_clock::now();
            auto response = client->send(
                options.function, message, options.timeout.value_or(kAnswerPatience), how);
            if (!response) {
                return response.error();
            }
            times.add(std::chrono::steady_clock::now() - before);
            ++sent;
            if (!times_only && !write_out(json ? json_line(*response) : payload_line(*response))) {
                return Error{Status::disconnected, errno, "the reader of stdout has gone"};
            }
            return {};
        });
    ExitCode printed = kExitOk;
    if (options.oneway || times_only) {
        Json account{{"function", options.function}, {"sent", sent}};
        if (times_only) {
            account.update(times.json());
        }
        printed = json ? print_json(account)
                       : print_text("sent " + format_count(sent) + " to " + options.function +
                                    (times_only ? ": " + times.text() : "") + "\n");
    }
    return done ? printed : print_error(done.error(), json);
}

struct ServeCommand {
    Common common;
    std::string function;
    bool echo = false;
    std::string command;
    std::uint32_t threads = 1;
    bool idempotent = false;
    std::string dead_letter;
};

ExitCode run_serve(const ServeCommand& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    if (options.echo == !options.command.empty()) {
        return print_usage_error("serve takes one of --echo and --exec CMD",
                                 "telpher serve orders --exec 'tr a-z A-Z' -d cafe",
                                 json);
    }
    auto server = options.common.attach();
    if (!server) {
        return print_error(server.error(), json);
    }
    ServeOptions how;
    how.threads = options.threads;
    how.idempotent = options.idempotent;
    how.dead_letter = options.dead_letter;
    how.on_error = [json](const HandlerFailure& failure) {
        // Several threads may fail at once; print_note writes a line at a time.
        print_note("request failed: " + failure.text,
                   {{"failure",
                     {{"function", failure.function},
                      {"error_id", failure.error_id},
                      {"text", failure.text}}}},
                   json);
    };
    const auto handler = [&options](const Message& request) -> Result<Message> {
        if (!options.echo) {
            return run_program(options.command, request);
        }
        return request;
    };
    auto function = server->serve(options.function, handler, how);
    if (!function) {
        return print_error(function.error(), json);
    }
    // It ends by a signal, or with its domain.
    while (!interrupt.stopped() && function->running()) {
        pollfd stop{interrupt.fd(), POLLIN, 0};
        static_cast<void>(::poll(&stop, 1, 200));
    }
    const auto status = function->status();
    const bool running = function->running();
    function->stop();
    if (!running) {
        return print_error(server->running() ? Error{Status::function_not_found, 0, "it was ended"}
                                             : Error{Status::domain_removed, 0, {}},
                           json);
    }
    if (!status) {
        return kExitOk;
    }
    return json ? print_json({{"function", status->name},
                              {"calls", status->calls},
                              {"errors", status->errors},
                              {"dead_lettered", status->dead_lettered}})
                : print_text("served " + format_count(status->calls) + " requests of " +
                             options.function + ", " + format_count(status->errors) + " failed\n");
}

}  // namespace

void add_function_commands(CLI::App& app, Command& command) {
    auto send = std::make_shared<SendCommand>();
    auto* const ask = add_command(app,
                                  "send",
                                  "Ask a function and print its response",
                                  "  telpher send echo hello -d cafe --timeout 1s\n"
                                  "  telpher send echo hello -d cafe --repeat 1000");
    ask->add_option("FUNCTION", send->function, "Function")->required();
    add_payload_options(*ask, send->payload);
    add_duration(*ask, "--timeout", send->timeout, "Wait so long for the response; default 5s");
    add_duration(*ask, "--wait", send->wait, "Wait so long for somebody who serves it");
    ask->add_flag("--oneway", send->oneway, "Want no response");
    finish_command(*ask, send->common, TargetNeed::required, command, [send](Interrupt& interrupt) {
        return run_send(*send, interrupt);
    });

    auto serve = std::make_shared<ServeCommand>();
    auto* const answer =
        add_command(app,
                    "serve",
                    "Serve a function: every request's payload is a program's input",
                    "  telpher serve upper --exec 'tr a-z A-Z' -d cafe\n"
                    "  telpher serve echo --echo -d cafe --threads 2");
    answer->add_option("FUNCTION", serve->function, "Function")->required();
    answer->add_flag("--echo", serve->echo, "Answer with the request");
    answer->add_option("--exec", serve->command, "Program, run by /bin/sh for each request")
        ->type_name("CMD");
    answer->add_option("--threads", serve->threads, "Requests that are served at once")
        ->check(CLI::Range(1U, 64U))
        ->type_name("N");
    answer->add_flag("--idempotent",
                     serve->idempotent,
                     "A request may run twice: another server gets it when this one dies");
    answer
        ->add_option("--dead-letter",
                     serve->dead_letter,
                     "Queue for one-way requests that nobody handles, made unless it exists")
        ->type_name("QUEUE");
    finish_command(
        *answer, serve->common, TargetNeed::local, command, [serve](Interrupt& interrupt) {
            return run_serve(*serve, interrupt);
        });
}

}  // namespace telpher::cli

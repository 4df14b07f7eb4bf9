// telpher poll: takes messages from a queue and prints them.

#include "telpher/client.hpp"

#include "tools/telpher/message_line.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace telpher::cli {
namespace {

// Longer than any process lives, short enough that "now + timeout" does not overflow.
constexpr Duration kForEver = std::chrono::hours{24 * 365 * 10};

struct PollOptions {
    Common common;
    std::string queue;
    std::optional<std::uint64_t> count;
    bool follow = false;
    std::optional<Duration> timeout;
};

std::string line_of(const Delivery& delivery, bool json) {
    if (!json) {
        return payload_line(delivery);
    }
    std::string own = "\"sequence\":" + std::to_string(delivery.sequence()) + ",";
    if (delivery.dropped_before() != 0) {
        own += "\"dropped_before\":" + std::to_string(delivery.dropped_before()) + ",";
    }
    return json_line(delivery, own);
}

ExitCode run_poll(const PollOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    auto queue = options.common.queue(options.queue);
    if (!queue) {
        return print_error(queue.error(), json);
    }
    interrupt.watch_stdout();
    const auto count = options.count.value_or(options.follow ? UINT64_MAX : 1);
    const auto timeout = options.timeout.value_or(options.follow ? kForEver : Duration{});
    for (std::uint64_t printed = 0; printed < count; ++printed) {
        // Looked at before each poll: a message taken for a reader that has gone would be lost.
        if (stdout_is_gone()) {
            return kExitOk;
        }
        auto delivery = queue->poll(timeout, interrupt.token());
        if (!delivery) {
            const bool by_stop = delivery.status() == Status::cancelled && interrupt.stopped();
            return by_stop && (options.follow || !interrupt.interrupted())
                       ? kExitOk
                       : print_error(delivery.error(), json);
        }
        if (!write_out(line_of(*delivery, json))) {
            return print_error({Status::disconnected,
                                errno,
                                "message " + std::to_string(delivery->sequence()) +
                                    " was taken, but the reader of stdout has gone"},
                               json);
        }
    }
    return kExitOk;
}

}  // namespace

void add_poll_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<PollOptions>();
    auto* const poll = add_command(app,
                                   "poll",
                                   "Take messages from a queue and print their payloads",
                                   "  telpher poll orders -d cafe --timeout 2s\n"
                                   "  telpher poll orders -d cafe --follow --json");
    poll->add_option("QUEUE", options->queue, "Queue")->required();
    poll->add_option("--count", options->count, "Take so many; default 1")
        ->check(at_least_one())
        ->type_name("N");
    poll->add_flag("--follow", options->follow, "Go on until interrupted");
    add_duration(*poll,
                 "--timeout",
                 options->timeout,
                 "Wait so long for each message; default 0: do not wait, for ever with --follow");
    add_later_option(*poll, "--ack", "acknowledgements");
    add_later_option(*poll, "--hold", "leases");
    finish_command(
        *poll, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_poll(*options, interrupt);
        });
}

}  // namespace telpher::cli

// telpher poll: takes messages from a queue and prints them.
//
// Of an at_least_once queue a message is acknowledged after it was printed: killed in between, it is
// handed out again, and never lost.

#include "telpher/client.hpp"

#include "tools/telpher/message_line.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"
#include "tools/telpher/snapshot.hpp"
#include "tools/telpher/status_json.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace telpher::cli {
namespace {

// Longer than any process lives, short enough that "now + timeout" does not overflow.
constexpr Duration kPollForEver = std::chrono::hours{24 * 365 * 10};
// What a lease has beyond --hold, however busy the machine is.
constexpr Duration kHoldMargin = std::chrono::seconds{30};

struct PollOptions {
    Common common;
    std::string queue;
    std::optional<std::uint64_t> count;
    bool follow = false;
    std::optional<Duration> timeout;
    bool ack = false;  // the default, said aloud
    bool nack = false;
    bool reject = false;
    std::optional<Duration> delay;
    std::optional<Duration> hold;
};

// Its queue counts deliveries only where it lends messages.
bool is_leased(const Delivery& delivery) { return delivery.deliveries() != 0; }

// What its lease and, of a dead letter, its death add to a message's JSON; each member with its comma.
std::string lease_members(const Delivery& delivery) {
    const auto quoted = [](std::string_view text) { return dump(Json(text)) + ","; };
    std::string own = "\"deliveries\":" + std::to_string(delivery.deliveries()) + ",";
    own += "\"reason\":" + quoted(to_string(delivery.reason()));
    if (const auto death = delivery.dead_letter()) {
        own += "\"dead_reason\":" + quoted(to_string(death->reason));
        own += "\"dead_origin\":" + (death->origin.empty() ? "null," : quoted(death->origin));
        own += "\"dead_time\":" + std::to_string(wall_ms(death->time)) + ",";
    }
    return own;
}

std::string line_of(const Delivery& delivery, bool json) {
    if (!json) {
        return payload_line(delivery);
    }
    std::string own = "\"sequence\":" + std::to_string(delivery.sequence()) + ",";
    if (delivery.dropped_before() != 0) {
        own += "\"dropped_before\":" + std::to_string(delivery.dropped_before()) + ",";
    }
    return json_line(delivery, is_leased(delivery) ? own + lease_members(delivery) : own);
}

// Before anything is polled: of another queue the message would be gone before the error is there.
Result<void> check_answers(const Queue& queue, const PollOptions& options) {
    if (options.nack || options.reject || options.hold) {
        const auto status = queue.status();
        if (!status) {
            return status.error();
        }
        if (status->delivery != DeliveryMode::at_least_once) {
            return Error{Status::bad_request,
                         0,
                         "--nack, --reject and --hold need a queue of delivery at-least-once; " +
                             options.queue + " is " + delivery_text(status->delivery)};
        }
    }
    return {};
}

Error not_written(Delivery& delivery) {
    const int why = errno;
    const bool back = is_leased(delivery);
    const std::string number = std::to_string(delivery.sequence());
    delivery.release();
    return {Status::disconnected,
            why,
            "message " + number + (back ? " was given back" : " was taken") +
                ", but the reader of stdout has gone"};
}

// Keeps a message that was printed for --hold. False: the command was stopped in it.
Result<bool> hold(Delivery& delivery, const PollOptions& options, const Interrupt& interrupt) {
    if (!options.hold) {
        return true;
    }
    const auto until = std::chrono::steady_clock::now() + *options.hold;
    if (auto extended = delivery.extend(*options.hold + kHoldMargin); !extended) {
        return extended.error();
    }
    return sleep_until(interrupt, until);
}

// Says what the options say of a message that was printed. A lease that has expired is no failure: the
// message will be handled again, and that is told.
Result<void> answer(Delivery& delivery, const PollOptions& options) {
    const std::uint64_t sequence = delivery.sequence();
    auto said = options.nack     ? delivery.nack(options.delay.value_or(Duration{}))
                : options.reject ? delivery.reject()
                                 : delivery.ack();
    if (said.status() != Status::lease_expired) {
        return said;
    }
    print_note("the lease of message " + std::to_string(sequence) +
                   " expired before it was answered: it is handed out again",
               Json{{"lease_expired", {{"sequence", sequence}}}},
               options.common.json);
    return {};
}

ExitCode run_poll(const PollOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    auto queue = options.common.queue(options.queue);
    const auto able = queue ? check_answers(*queue, options) : Result<void>(queue.error());
    if (!able) {
        return print_error(able.error(), json);
    }
    interrupt.watch_stdout();
    const auto stopped = [&](const Error& error) {
        const bool by_stop = error.status == Status::cancelled && interrupt.stopped();
        return by_stop && (options.follow || !interrupt.interrupted()) ? kExitOk
                                                                       : print_error(error, json);
    };
    const auto count = options.count.value_or(options.follow ? UINT64_MAX : 1);
    const auto timeout = options.timeout.value_or(options.follow ? kPollForEver : Duration{});
    for (std::uint64_t printed = 0; printed < count; ++printed) {
        // Looked at before each poll: a message taken for a reader that has gone would be lost.
        if (stdout_is_gone()) {
            return kExitOk;
        }
        auto delivery = queue->poll(timeout, interrupt.token());
        if (!delivery) {
            return stopped(delivery.error());
        }
        if (!write_out(line_of(*delivery, json))) {
            return print_error(not_written(*delivery), json);
        }
        const auto held = hold(*delivery, options, interrupt);
        if (held && !*held) {
            return stopped({Status::cancelled, 0, "the message held was given back"});
        }
        const auto answered = held ? answer(*delivery, options) : Result<void>(held.error());
        if (!answered) {
            return print_error(answered.error(), json);
        }
    }
    return kExitOk;
}

// What is said of a message of an at_least_once queue.
void add_answers(CLI::App& poll, const std::shared_ptr<PollOptions>& options) {
    const char* const group = "Queues of delivery at-least-once";
    auto* const ack = poll.add_flag(
        "--ack", options->ack, "Acknowledge each message when it is printed; the default");
    auto* const nack = poll.add_flag(
        "--nack",
        options->nack,
        "Give it back instead: it is handed out again, to the next poll or after --delay");
    auto* const reject = poll.add_flag(
        "--reject", options->reject, "Refuse it instead: it goes to the queue's dead letters");
    auto* const delay =
        add_duration(poll, "--delay", options->delay, "With --nack: handed out again after it");
    auto* const hold = add_duration(
        poll,
        "--hold",
        options->hold,
        "Keep it so long before that; its lease lasts as long. Killed or stopped in it, "
        "it is handed out again");
    nack->excludes(ack)->excludes(reject);
    reject->excludes(ack);
    delay->needs(nack);
    for (auto* const option : {ack, nack, reject, delay, hold}) {
        option->group(group);
    }
}

}  // namespace

void add_poll_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<PollOptions>();
    auto* const poll = add_command(app,
                                   "poll",
                                   "Take messages from a queue and print their payloads",
                                   "  telpher poll orders -d cafe --timeout 2s\n"
                                   "  telpher poll orders -d cafe --follow --json\n"
                                   "  telpher poll bills -d cafe --nack --delay 5s");
    poll->add_option("QUEUE", options->queue, "Queue")->required();
    poll->add_option("--count", options->count, "Take so many; default 1")
        ->check(at_least_one())
        ->type_name("N");
    poll->add_flag("--follow", options->follow, "Go on until interrupted");
    add_duration(*poll,
                 "--timeout",
                 options->timeout,
                 "Wait so long for each message; default 0: do not wait, for ever with --follow");
    add_answers(*poll, options);
    finish_command(
        *poll, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_poll(*options, interrupt);
        });
}

}  // namespace telpher::cli

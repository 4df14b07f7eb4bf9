// telpher offer: puts messages into a queue.

#include "telpher/client.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/payload.hpp"
#include "tools/telpher/signals.hpp"
#include "tools/telpher/units.hpp"

#include <memory>
#include <optional>
#include <string>

namespace telpher::cli {
namespace {

struct OfferOptions {
    Common common;
    std::string queue;
    PayloadOptions payload;
    std::optional<Duration> timeout;
};

ExitCode print_account(const OfferOptions& options, const SentNumbers& numbers) {
    if (options.common.json) {
        Json json{{"queue", options.queue}, {"offered", numbers.count()}};
        numbers.put_into(json);
        return print_json(json);
    }
    return print_text("offered " + format_count(numbers.count()) + " to " + options.queue +
                      numbers.text() + "\n");
}

ExitCode run_offer(const OfferOptions& options, Interrupt& interrupt) {
    if (!options.payload.one_source()) {
        return print_payload_usage("offer", options.common.json);
    }
    auto queue = options.common.queue(options.queue);
    if (!queue) {
        return print_error(queue.error(), options.common.json);
    }
    SentNumbers numbers;
    const auto done = send_payloads(
        options.payload, options.queue, interrupt, [&](const Message& message) -> Result<void> {
            const auto sequence =
                queue->offer(message, options.timeout.value_or(Duration{}), interrupt.token());
            if (!sequence) {
                return sequence.error();
            }
            numbers.add(*sequence);
            return {};
        });
    // What was offered is offered, also when the next one failed: the account comes first.
    const auto printed = print_account(options, numbers);
    return done ? printed : print_error(done.error(), options.common.json);
}

}  // namespace

void add_offer_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<OfferOptions>();
    auto* const offer =
        add_command(app,
                    "offer",
                    "Put messages into a queue",
                    "  telpher offer orders \"2 espressos\" -d cafe --timeout 300ms\n"
                    "  seq 1000 | telpher offer orders - -d cafe --rate 100/s");
    offer->add_option("QUEUE", options->queue, "Queue")->required();
    add_payload_options(*offer, options->payload);
    add_duration(
        *offer, "--timeout", options->timeout, "Wait so long for room; default 0: do not wait");
    add_duration(*offer,
                 "--delay",
                 options->payload.delay,
                 "Hand it out after this time, not before (at_least_once queues)");
    offer->add_flag(
        "--durable", options->payload.durable, "Confirmed when it is on disk (durable queues)");
    finish_command(
        *offer, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_offer(*options, interrupt);
        });
}

}  // namespace telpher::cli

// telpher pub: publishes messages to a topic.

#include "telpher/client.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/payload.hpp"
#include "tools/telpher/signals.hpp"
#include "tools/telpher/units.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace telpher::cli {
namespace {

struct PublishOptions {
    Common common;
    std::string topic;
    PayloadOptions payload;
    std::optional<Duration> timeout;
};

ExitCode print_publish_account(const PublishOptions& options,
                               const SentNumbers& numbers,
                               std::uint32_t subscribers) {
    if (options.common.json) {
        Json json{{"topic", options.topic}, {"published", numbers.count()}};
        numbers.put_into(json);
        json["subscribers"] = numbers.count() > 0 ? Json(subscribers) : Json(nullptr);
        return print_json(json);
    }
    std::string text =
        "published " + format_count(numbers.count()) + " to " + options.topic + numbers.text();
    if (numbers.count() > 0) {
        text += ", subscribers " + std::to_string(subscribers);
    }
    return print_text(text + "\n");
}

ExitCode run_publish(const PublishOptions& options, Interrupt& interrupt) {
    if (!options.payload.one_source()) {
        return print_payload_usage("pub", options.common.json);
    }
    auto client = options.common.connect();
    if (!client) {
        return print_error(client.error(), options.common.json);
    }
    SentNumbers numbers;
    std::uint32_t subscribers = 0;  // when the last message was published
    Topic topic;  // made with the first message: a message that is refused leaves no topic behind
    const auto done = send_payloads(
        options.payload, options.topic, interrupt, [&](const Message& message) -> Result<void> {
            if (!topic) {
                auto made = client->topic(options.topic);
                if (!made) {
                    return made.error();
                }
                topic = std::move(*made);
            }
            const auto published =
                topic.publish(message, options.timeout.value_or(Duration{}), interrupt.token());
            if (!published) {
                return published.error();
            }
            numbers.add(published->sequence);
            subscribers = published->subscribers;
            return {};
        });
    // What was published is published, also when the next one failed: the account comes first.
    const auto printed = print_publish_account(options, numbers, subscribers);
    return done ? printed : print_error(done.error(), options.common.json);
}

}  // namespace

void add_publish_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<PublishOptions>();
    auto* const pub =
        add_command(app,
                    "pub",
                    "Publish messages to a topic, which comes into being at its first use",
                    "  telpher pub prices.espresso 3.20 -d cafe\n"
                    "  seq 1000 | telpher pub prices.espresso - -d cafe --rate 100/s --json");
    pub->add_option("TOPIC", options->topic, "Topic: levels with . between them")->required();
    add_payload_options(*pub, options->payload);
    add_duration(*pub,
                 "--timeout",
                 options->timeout,
                 "Wait so long for subscribers that block; default 0: do not wait");
    finish_command(
        *pub, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_publish(*options, interrupt);
        });
}

}  // namespace telpher::cli

// telpher offer: puts messages into a queue.

#include "telpher/client.hpp"

#include "src/wire/utf8.hpp"
#include "tools/telpher/line_reader.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"
#include "tools/telpher/units.hpp"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace telpher::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct OfferOptions {
    Common common;
    std::string queue;
    std::optional<std::string> text;  // "-" = lines of stdin
    std::string file;
    std::uint64_t repeat = 1;
    std::optional<double> rate;
    std::string request_id;
    std::optional<Duration> ttl;
    std::string reply_to;
    std::string mimetype;
    std::optional<Duration> timeout;
};

// Without --mimetype, bytes that are no text are not called one.
std::string type_of(const OfferOptions& options, std::string_view payload) {
    if (!options.mimetype.empty()) {
        return options.mimetype;
    }
    while (const auto bytes = wire::utf8_character_bytes(payload)) {
        payload.remove_prefix(bytes);
    }
    return payload.empty() ? "text/plain" : "application/octet-stream";
}

Message message_of_type(const std::string& topic,
                        const std::string& type,
                        std::string_view payload) {
    if (type == "application/json") {
        return Message::json(topic, payload);
    }
    if (type.starts_with("text/")) {
        return Message::text(topic, type, "UTF-8", payload);
    }
    return Message::bytes(topic, type, std::as_bytes(std::span(payload)));
}

Message build_message(const OfferOptions& options, std::string_view payload) {
    Message message = message_of_type(options.queue, type_of(options, payload), payload);
    if (!options.request_id.empty()) {
        message.with_request_id(options.request_id);
    }
    if (!options.reply_to.empty()) {
        message.reply_to(options.reply_to);
    }
    if (options.ttl) {
        message.expires_in(std::chrono::ceil<std::chrono::milliseconds>(*options.ttl));
    }
    return message;
}

// Offers messages one after the other, at the rate that was asked for, and keeps the account.
class Offering {
  public:
    Offering(const OfferOptions& options, Queue queue, Interrupt& interrupt)
        : options_(options), queue_(std::move(queue)), interrupt_(interrupt) {}

    Result<void> offer_repeated(std::string_view payload) {
        const Message message = build_message(options_, payload);
        for (std::uint64_t round = 0; round < options_.repeat; ++round) {
            wait_for_turn();
            if (interrupt_.stopped()) {
                return Status::cancelled;
            }
            const auto sequence =
                queue_.offer(message, options_.timeout.value_or(Duration{}), interrupt_.token());
            if (!sequence) {
                return sequence.error();
            }
            first_ = offered_ == 0 ? *sequence : first_;
            last_ = *sequence;
            ++offered_;
        }
        return {};
    }

    Result<void> offer_lines() {
        LineReader lines(STDIN_FILENO, interrupt_.fd(), limits::kMessageBytesMaxHighest);
        for (;;) {
            const auto line = lines.next();
            if (!line) {
                return line.error();
            }
            if (!line->has_value()) {
                return {};
            }
            if (auto offered = offer_repeated(**line); !offered) {
                return offered;
            }
        }
    }

    [[nodiscard]] Json to_json() const {
        Json json{{"queue", options_.queue}, {"offered", offered_}};
        json["first_sequence"] = offered_ > 0 ? Json(first_) : Json(nullptr);
        json["last_sequence"] = offered_ > 0 ? Json(last_) : Json(nullptr);
        return json;
    }

    [[nodiscard]] std::string to_text() const {
        std::string text = "offered " + format_count(offered_) + " to " + options_.queue;
        if (offered_ > 0) {
            text += first_ == last_
                        ? ", number " + std::to_string(first_)
                        : ", numbers " + std::to_string(first_) + " to " + std::to_string(last_);
        }
        return text + "\n";
    }

  private:
    // Turns are counted from the first one, so that a slow offer does not lower the rate for ever.
    void wait_for_turn() {
        if (!options_.rate) {
            return;
        }
        const auto period =
            std::chrono::duration<double>(static_cast<double>(turn_++) / *options_.rate);
        const auto at = start_ + std::chrono::duration_cast<Clock::duration>(period);
        while (!interrupt_.stopped()) {
            const auto left =
                std::chrono::duration_cast<std::chrono::nanoseconds>(at - Clock::now());
            if (left.count() <= 0) {
                return;
            }
            const timespec pause{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
            pollfd fd{interrupt_.fd(), POLLIN, 0};
            ::ppoll(&fd, 1, &pause, nullptr);
        }
    }

    const OfferOptions& options_;
    Queue queue_;
    Interrupt& interrupt_;
    const Clock::time_point start_ = Clock::now();
    std::uint64_t turn_ = 0;
    std::uint64_t offered_ = 0;
    std::uint64_t first_ = 0;
    std::uint64_t last_ = 0;
};

Result<void> offer_from_source(const OfferOptions& options, Offering& offering) {
    if (!options.file.empty()) {
        const auto content = read_file(options.file, limits::kMessageBytesMaxHighest);
        return content ? offering.offer_repeated(*content) : content.error();
    }
    return *options.text == "-" ? offering.offer_lines() : offering.offer_repeated(*options.text);
}

ExitCode run_offer(const OfferOptions& options, Interrupt& interrupt) {
    if (options.text.has_value() == !options.file.empty()) {
        return print_usage_error("offer needs one payload: TEXT, - (lines of stdin) or --file FILE",
                                 "run `telpher offer --help` to see examples",
                                 options.common.json);
    }
    auto queue = options.common.queue(options.queue);
    if (!queue) {
        return print_error(queue.error(), options.common.json);
    }
    Offering offering(options, std::move(*queue), interrupt);
    const auto done = offer_from_source(options, offering);
    // What was offered is offered, also when the next one failed: the account comes first.
    const auto printed =
        options.common.json ? print_json(offering.to_json()) : print_text(offering.to_text());
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
    offer->add_option("TEXT", options->text, "Payload; - = one message per line of stdin");
    offer->add_option("--file", options->file, "Payload = the whole file")->type_name("FILE");
    offer->add_option("--repeat", options->repeat, "Offer each message so often")
        ->check(at_least_one())
        ->type_name("N");
    add_rate(*offer, "--rate", options->rate, "Not faster than this, as 100/s");
    offer->add_option("--request-id", options->request_id, "Idempotency key")->type_name("ID");
    add_duration(*offer, "--ttl", options->ttl, "The message expires after this");
    offer->add_option("--reply-to", options->reply_to, "Queue that wants the reply")
        ->type_name("QUEUE");
    offer->add_option("--mimetype", options->mimetype, "As application/json; default text/plain")
        ->type_name("TYPE");
    add_duration(
        *offer, "--timeout", options->timeout, "Wait so long for room; default 0: do not wait");
    add_later_option(*offer, "--durable", "durable queues");
    finish_command(
        *offer, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_offer(*options, interrupt);
        });
}

}  // namespace telpher::cli

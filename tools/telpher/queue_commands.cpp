// telpher offer, telpher poll.

#include "telpher/client.hpp"

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
#include <string>
#include <string_view>

namespace telpher::cli {
namespace {

using Clock = std::chrono::steady_clock;

// Longer than any process lives, short enough that "now + timeout" does not overflow.
constexpr Duration kForEver = std::chrono::hours{24 * 365 * 10};

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

struct PollOptions {
    Common common;
    std::string queue;
    std::optional<std::uint64_t> count;
    bool follow = false;
    std::optional<Duration> timeout;
};

Result<Queue> open_queue(const Common& common, const std::string& name) {
    auto client = connect(common.target_uri());
    return client ? client->queue(name) : Result<Queue>(client.error());
}

Message build_message(const OfferOptions& options, std::string_view payload) {
    const auto& mimetype = options.mimetype;
    Message message =
        mimetype.empty()                 ? Message::text(options.queue, payload)
        : mimetype == "application/json" ? Message::json(options.queue, payload)
        : mimetype.starts_with("text/")
            ? Message::text(options.queue, mimetype, "UTF-8", payload)
            : Message::bytes(options.queue, mimetype, std::as_bytes(std::span(payload)));
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
    auto queue = open_queue(options.common, options.queue);
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

std::string line_of(const Delivery& delivery, bool json) {
    if (json) {
        // to_json writes one object; the number in the queue belongs to the delivery.
        std::string object = delivery.to_json();
        return object.insert(1, "\"sequence\":" + std::to_string(delivery.sequence()) + ",") + '\n';
    }
    const auto payload = delivery.payload();
    std::string line(reinterpret_cast<const char*>(payload.data()), payload.size());
    return line += '\n';
}

ExitCode run_poll(const PollOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    auto queue = open_queue(options.common, options.queue);
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

void add_offer(CLI::App& app, Command& command) {
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
        ->check(CLI::PositiveNumber)
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

void add_poll(CLI::App& app, Command& command) {
    auto options = std::make_shared<PollOptions>();
    auto* const poll = add_command(app,
                                   "poll",
                                   "Take messages from a queue and print their payloads",
                                   "  telpher poll orders -d cafe --timeout 2s\n"
                                   "  telpher poll orders -d cafe --follow --json");
    poll->add_option("QUEUE", options->queue, "Queue")->required();
    poll->add_option("--count", options->count, "Take so many; default 1")
        ->check(CLI::PositiveNumber)
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

}  // namespace

void add_queue_commands(CLI::App& app, Command& command) {
    add_offer(app, command);
    add_poll(app, command);
}

}  // namespace telpher::cli

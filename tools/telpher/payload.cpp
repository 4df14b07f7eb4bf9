#include "tools/telpher/payload.hpp"

#include "src/wire/utf8.hpp"
#include "tools/telpher/line_reader.hpp"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <span>
#include <string_view>

namespace telpher::cli {
namespace {

using WallClock = std::chrono::steady_clock;

// Without --mimetype, bytes that are no text are not called one.
std::string type_of(const PayloadOptions& options, std::string_view payload) {
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

Message build_message(const PayloadOptions& options,
                      const std::string& topic,
                      std::string_view payload) {
    Message message = message_of_type(topic, type_of(options, payload), payload);
    if (!options.request_id.empty()) {
        message.with_request_id(options.request_id);
    }
    if (!options.reply_to.empty()) {
        message.reply_to(options.reply_to);
    }
    if (options.ttl) {
        message.expires_in(std::chrono::ceil<std::chrono::milliseconds>(*options.ttl));
    }
    message.durable(options.durable);
    if (options.delay) {
        message.deliver_after(std::chrono::ceil<std::chrono::milliseconds>(*options.delay));
    }
    return message;
}

// One run of a command, from its first message to its last.
class Sending {
  public:
    Sending(const PayloadOptions& options,
            const std::string& topic,
            Interrupt& interrupt,
            const std::function<Result<void>(const Message&)>& send)
        : options_(options), topic_(topic), interrupt_(interrupt), send_(send) {}

    Result<void> send_repeated(std::string_view payload) {
        const Message message = build_message(options_, topic_, payload);
        if (auto sound = message.check(); !sound) {
            return sound;
        }
        for (std::uint64_t round = 0; round < options_.repeat; ++round) {
            wait_for_turn();
            if (interrupt_.stopped()) {
                return Status::cancelled;
            }
            if (auto sent = send_(message); !sent) {
                return sent;
            }
        }
        return {};
    }

    Result<void> send_lines() {
        LineReader lines(STDIN_FILENO, interrupt_.fd(), limits::kMessageBytesMaxHighest);
        for (;;) {
            const auto line = lines.next();
            if (!line) {
                return line.error();
            }
            if (!line->has_value()) {
                return {};
            }
            if (auto sent = send_repeated(**line); !sent) {
                return sent;
            }
        }
    }

  private:
    // Turns are counted from the first one, so that a slow send does not lower the rate for ever.
    void wait_for_turn() {
        if (!options_.rate) {
            return;
        }
        const auto period =
            std::chrono::duration<double>(static_cast<double>(turn_++) / *options_.rate);
        const auto at = start_ + std::chrono::duration_cast<WallClock::duration>(period);
        while (!interrupt_.stopped()) {
            const auto left =
                std::chrono::duration_cast<std::chrono::nanoseconds>(at - WallClock::now());
            if (left.count() <= 0) {
                return;
            }
            const timespec pause{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
            pollfd fd{interrupt_.fd(), POLLIN, 0};
            ::ppoll(&fd, 1, &pause, nullptr);
        }
    }

    const PayloadOptions& options_;
    const std::string& topic_;
    Interrupt& interrupt_;
    const std::function<Result<void>(const Message&)>& send_;
    const WallClock::time_point start_ = WallClock::now();
    std::uint64_t turn_ = 0;
};

}  // namespace

void add_payload_options(CLI::App& command, PayloadOptions& options) {
    command.add_option("TEXT", options.text, "Payload; - = one message per line of stdin");
    command.add_option("--file", options.file, "Payload = the whole file")->type_name("FILE");
    command.add_option("--repeat", options.repeat, "Send each message so often")
        ->check(at_least_one())
        ->type_name("N");
    add_rate(command, "--rate", options.rate, "Not faster than this, as 100/s");
    command.add_option("--request-id", options.request_id, "Idempotency key")->type_name("ID");
    add_duration(command, "--ttl", options.ttl, "The message expires after this");
    command.add_option("--reply-to", options.reply_to, "Queue that wants the reply")
        ->type_name("QUEUE");
    command.add_option("--mimetype", options.mimetype, "As application/json; default text/plain")
        ->type_name("TYPE");
}

ExitCode print_payload_usage(const std::string& command, bool json) {
    return print_usage_error(
        command + " needs one payload: TEXT, - (lines of stdin) or --file FILE",
        "run `telpher " + command + " --help` to see examples",
        json);
}

Result<void> send_payloads(const PayloadOptions& options,
                           const std::string& topic,
                           Interrupt& interrupt,
                           const std::function<Result<void>(const Message&)>& send) {
    Sending sending(options, topic, interrupt, send);
    if (!options.file.empty()) {
        const auto content = read_file(options.file, limits::kMessageBytesMaxHighest);
        return content ? sending.send_repeated(*content) : Result<void>(content.error());
    }
    return *options.text == "-" ? sending.send_lines() : sending.send_repeated(*options.text);
}

void SentNumbers::put_into(Json& object) const {
    // What was offered for later has no number.
    object["first_sequence"] = first_ > 0 ? Json(first_) : Json(nullptr);
    object["last_sequence"] = last_ > 0 ? Json(last_) : Json(nullptr);
}

std::string SentNumbers::text() const {
    if (last_ == 0) {
        return {};
    }
    return first_ == last_ ? ", number " + std::to_string(first_)
                           : ", numbers " + std::to_string(first_) + " to " + std::to_string(last_);
}

}  // namespace telpher::cli

// telpher dlq: looks at dead letters, offers them again, or drops them.
//
// Each works through the letters that were there when it began, oldest first, and holds what it leaves
// there until the end: what it has seen it does not meet again.

#include "telpher/client.hpp"

#include "tools/telpher/letters.hpp"
#include "tools/telpher/message_line.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"
#include "tools/telpher/units.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace telpher::cli {
namespace {

constexpr std::uint64_t kShownDefault = 100;
// What a letter's lease has beyond --timeout, however busy the machine is.
constexpr Duration kOfferMargin = std::chrono::seconds{30};

struct DeadLetterOptions {
    Common common;
    std::string queue;
    std::optional<std::uint64_t> max;
    std::string to;                   // requeue
    std::string to_function;          // requeue
    std::optional<Duration> timeout;  // requeue
};

Result<Letters> open_letters(Client& client, const DeadLetterOptions& options) {
    auto queue = client.queue(options.queue);
    return queue ? Letters::of(std::move(*queue), options.max.value_or(UINT64_MAX))
                 : Result<Letters>(queue.error());
}

// How often it was handed out before this look.
std::uint32_t deliveries_before(const Delivery& letter) {
    return letter.deliveries() - (letter.deliveries() != 0 ? 1 : 0);
}

std::vector<std::string> row_of(const Delivery& letter) {
    const auto death = letter.dead_letter();
    const bool homeless = !death || death->origin.empty();
    return {std::to_string(letter.sequence()),
            death ? std::string(to_string(death->reason)) : "-",
            death ? format_date(death->time) : "-",
            homeless ? "-" : death->origin,
            format_count(deliveries_before(letter)),
            format_size(letter.payload().size()),
            to_string(FieldValue{letter.id()})};
}

Json letter_json(const Delivery& letter) {
    const auto death = letter.dead_letter();
    const bool homeless = !death || death->origin.empty();
    const std::string_view request_id = letter.request_id();
    return Json{{"sequence", letter.sequence()},
                {"dead_reason", death ? Json(to_string(death->reason)) : Json(nullptr)},
                {"dead_time", death ? Json(wall_ms(death->time)) : Json(nullptr)},
                {"dead_origin", homeless ? Json(nullptr) : Json(death->origin)},
                {"deliveries", deliveries_before(letter)},
                {"bytes", letter.payload().size()},
                {"id", to_string(FieldValue{letter.id()})},
                {"topic", letter.topic()},
                {"request-id", request_id.empty() ? Json(nullptr) : Json(request_id)}};
}

// Nobody waits for who reads what is printed: the letters are back before that.
ExitCode list_letters(const DeadLetterOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    if (options.max > Letters::kKeptMax) {
        return print_usage_error("--max is " + std::to_string(*options.max) + ", but at most " +
                                     std::to_string(Letters::kKeptMax) + " are held for a look",
                                 "run `telpher dlq ls --help` to see what is possible",
                                 json);
    }
    auto client = options.common.connect();
    auto letters = client ? open_letters(*client, options) : Result<Letters>(client.error());
    if (!letters) {
        return print_error(letters.error(), json);
    }
    Table table({"SEQUENCE", "REASON", "TIME", "ORIGIN", "DELIVERIES", "SIZE", "ID"});
    table.align_right({0, 4, 5});
    Json list = Json::array();
    std::optional<Error> error;
    while (!interrupt.stopped()) {
        auto letter = letters->next();
        if (!letter) {
            error = letter.error();
        }
        if (!letter || !*letter) {
            break;
        }
        table.add(row_of(**letter));
        list.push_back(letter_json(**letter));
        letters->keep(std::move(**letter));
    }
    letters->put_back();
    if (error) {
        return print_error(*error, json);
    }
    if (json) {
        return print_json(Json{
            {"queue", options.queue}, {"depth", letters->depth()}, {"letters", std::move(list)}});
    }
    const bool more = list.size() == options.max && letters->depth() > list.size();
    return print_text(table.text() +
                      (more ? "the oldest " + format_count(list.size()) + " of " +
                                  format_count(letters->depth()) + "; --max shows more, at most " +
                                  format_count(Letters::kKeptMax) + "\n"
                            : ""));
}

// What became of letters that were to be requeued or dropped.
struct Account {
    std::uint64_t done = 0;
    std::uint64_t kept = 0;      // met, and still there
    std::uint64_t homeless = 0;  // of them: the queue, or function, they came from is not there
    std::uint64_t others = 0;    // of them: no dead letters
    std::optional<Error> error{};
};

// What was done is done, also when the rest failed: the account comes first.
ExitCode print_letters_account(const char* verb,
                               const DeadLetterOptions& options,
                               Account account) {
    const bool json = options.common.json;
    const auto printed =
        json ? print_json(
                   Json{{"queue", options.queue}, {verb, account.done}, {"kept", account.kept}})
             : print_text(std::string(verb) + " " + format_count(account.done) + " of " +
                          options.queue + "\n");
    if (!account.error && account.homeless != 0) {
        account.error = Error{
            Status::queue_not_found,
            0,
            format_count(account.homeless) + " stay in " + options.queue +
                ": what they came from was removed; --to names another queue, --to-function a "
                "function"};
    }
    if (!account.error && account.others != 0) {
        account.error = Error{Status::bad_request,
                              0,
                              format_count(account.others) + " stay in " + options.queue +
                                  ": they are no dead letters, but were offered to it"};
    }
    return account.error ? print_error(*account.error, json) : printed;
}

// Does `handle` with each letter until it fails; it says whether the letter is done with, and leaves it
// as it is otherwise.
template <typename Handle>
Account work_through(Letters& letters, const Interrupt& interrupt, Handle handle) {
    Account account;
    while (!account.error) {
        if (interrupt.stopped()) {
            account.error = Error{Status::cancelled, 0, "the others stay where they are"};
            break;
        }
        auto letter = letters.next();
        if (!letter) {
            account.error = letter.error();
        }
        if (!letter || !*letter) {
            break;
        }
        if (!(*letter)->dead_letter()) {
            ++account.others;
            ++account.kept;
            letters.keep(std::move(**letter));
            continue;
        }
        const Result<bool> done = handle(**letter);
        account.done += done && *done ? 1U : 0U;
        account.homeless += done && !*done ? 1U : 0U;
        if (!done) {
            account.error = done.error();
        }
        if (**letter) {
            ++account.kept;
            letters.keep(std::move(**letter));
        }
    }
    letters.put_back();
    return account;
}

// Offers letters to the queues that they came from, or to --to; sends one-way requests to their functions, or
// to --to-function.
class Requeue {
  public:
    Requeue(Client client, const DeadLetterOptions& options, const Interrupt& interrupt)
        : client_(std::move(client)), options_(options), interrupt_(interrupt) {}

    // False: it has nowhere to go to. Killed between the offer and the acknowledgement, it is there
    // twice, and never lost.
    Result<bool> operator()(Delivery& letter) {
        const bool elsewhere = !options_.to.empty() || !options_.to_function.empty();
        const std::string name = !options_.to.empty()            ? options_.to
                                 : !options_.to_function.empty() ? options_.to_function
                                                                 : letter.dead_letter()->origin;
        if (name.empty()) {
            return false;
        }
        const Duration timeout = options_.timeout.value_or(Duration{});
        if (auto extended = letter.extend(timeout + kOfferMargin); !extended) {
            return extended.error();
        }
        Message message = letter.to_message();
        if (const auto lifetime = message.lifetime()) {
            message.expires_in(*lifetime);  // begins again: as it is, its time may have passed
        }
        const bool request =
            elsewhere ? options_.to.empty() : letter.type() == MessageType::request;
        const auto done = request ? send(name, message, timeout) : offer(name, message, timeout);
        if (done.status() == Status::queue_not_found ||
            done.status() == Status::function_not_found) {
            return elsewhere ? Result<bool>(done.error()) : Result<bool>(false);
        }
        if (!done) {
            return done.error();
        }
        if (const auto acknowledged = letter.ack(); !acknowledged) {
            return Error{
                acknowledged.status(),
                0,
                "a letter was offered to " + name + ", and is in " + options_.queue + " as well"};
        }
        return true;
    }

  private:
    Result<void> offer(const std::string& name, const Message& message, Duration timeout) {
        auto known = queues_.find(name);
        if (known == queues_.end()) {
            auto queue = client_.queue(name);
            if (!queue) {
                return queue.error();
            }
            known = queues_.emplace(name, std::move(*queue)).first;
        }
        const auto offered = known->second.offer(message, timeout, interrupt_.token());
        return offered ? Result<void>() : Result<void>(offered.error());
    }
    // "*": the function without a name.
    Result<void> send(const std::string& name, const Message& message, Duration timeout) {
        const SendOptions how{.stop = interrupt_.token()};
        return name == "*" ? client_.send_oneway(message, timeout, how)
                           : client_.send_oneway(name, message, timeout, how);
    }

    Client client_;
    const DeadLetterOptions& options_;
    const Interrupt& interrupt_;
    std::map<std::string, Queue> queues_{};
};

ExitCode run_requeue(const DeadLetterOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    auto client = options.common.connect();
    const auto to =
        client && !options.to.empty() ? client->queue(options.to) : Result<Queue>(Queue());
    auto letters = !client ? Result<Letters>(client.error())
                   : !to   ? Result<Letters>(to.error())
                           : open_letters(*client, options);
    if (!letters) {
        return print_error(letters.error(), json);
    }
    return print_letters_account(
        "requeued",
        options,
        work_through(*letters, interrupt, Requeue(*client, options, interrupt)));
}

ExitCode run_drop(const DeadLetterOptions& options, Interrupt& interrupt) {
    auto client = options.common.connect();
    auto letters = client ? open_letters(*client, options) : Result<Letters>(client.error());
    if (!letters) {
        return print_error(letters.error(), options.common.json);
    }
    const auto drop = [](Delivery& letter) -> Result<bool> {
        const auto acknowledged = letter.ack();
        return acknowledged ? Result<bool>(true) : Result<bool>(acknowledged.error());
    };
    return print_letters_account("dropped", options, work_through(*letters, interrupt, drop));
}

using Run = ExitCode (*)(const DeadLetterOptions&, Interrupt&);

std::shared_ptr<DeadLetterOptions> add_letters(CLI::App& action,
                                               Command& command,
                                               const char* max,
                                               std::optional<std::uint64_t> max_default,
                                               Run run) {
    auto options = std::make_shared<DeadLetterOptions>();
    options->max = max_default;
    action.add_option("QUEUE", options->queue, "Queue of dead letters")->required();
    action.add_option("--max", options->max, max)->check(at_least_one())->type_name("N");
    finish_command(action,
                   options->common,
                   TargetNeed::required,
                   command,
                   [options, run](Interrupt& interrupt) { return run(*options, interrupt); });
    return options;
}

}  // namespace

void add_dlq_command(CLI::App& app, Command& command) {
    auto* const dlq = add_command(app,
                                  "dlq",
                                  "Show dead letters, offer them again, or drop them",
                                  "  telpher dlq ls bills.dead -d cafe --json\n"
                                  "  telpher dlq requeue bills.dead -d cafe --max 10");
    dlq->require_subcommand(1);
    auto* const ls = add_command(
        *dlq,
        "ls",
        "List dead letters, oldest first, and leave them there. Each is leased for the look and "
        "given back: others do not get it meanwhile, and its deliveries count one more, which "
        "matters in a queue that has --deliveries-max itself. DELIVERIES are those before this "
        "look",
        "  telpher dlq ls bills.dead -d cafe\n"
        "  telpher dlq ls bills.dead -d cafe --max 5 --json");
    add_letters(
        *ls, command, "Show so many, at most 1000; default 100", kShownDefault, list_letters);
    auto* const requeue = add_command(
        *dlq,
        "requeue",
        "Offer dead letters to the queues they came from, oldest first; send one-way requests to "
        "their functions. Each is acknowledged when it was accepted: killed in between, it is in "
        "both places, and never lost. It gets a new number and id there, and its life span, if it "
        "has one, begins again",
        "  telpher dlq requeue bills.dead -d cafe --max 10\n"
        "  telpher dlq requeue bills.dead -d cafe --to bills.again --json");
    const auto requeued =
        add_letters(*requeue, command, "So many; default: all", std::nullopt, run_requeue);
    auto* const to = requeue->add_option("--to", requeued->to, "Offer all of them to this queue")
                         ->type_name("QUEUE");
    requeue
        ->add_option("--to-function",
                     requeued->to_function,
                     "Send all of them to this function, as one-way requests")
        ->type_name("FUNCTION")
        ->excludes(to);
    add_duration(*requeue,
                 "--timeout",
                 requeued->timeout,
                 "Wait so long for room for each; default 0: do not wait");
    auto* const drop = add_command(*dlq,
                                   "drop",
                                   "Throw dead letters away, oldest first",
                                   "  telpher dlq drop bills.dead -d cafe --max 10\n"
                                   "  telpher dlq drop bills.dead -d cafe --json");
    add_letters(*drop, command, "So many; default: all", std::nullopt, run_drop);
}

}  // namespace telpher::cli

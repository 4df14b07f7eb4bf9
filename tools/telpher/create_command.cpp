// telpher create: makes queues and topics, and the domain for the first of them.

#include "telpher/server.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/status_json.hpp"
#include "tools/telpher/units.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace telpher::cli {
namespace {

struct QueueCommand {
    Common common;
    std::string name;
    QueueOptions options;
    std::optional<Duration> lease;
    bool remembers = false;  // requests, said by any of its options
    Idempotency idempotency;
    std::optional<Duration> remembered_for;
    ServerOptions log;  // where it is, and what it compresses
};

struct TopicCommand {
    Common common;
    std::string name;
    TopicOptions options;
    std::optional<SlowSubscriber> slow;
};

// The domain, made if it is one of this host and there is none.
struct Opened {
    Admin admin;
    std::optional<Server> made;
};

Result<Opened> open_domain(const Common& common, const ServerOptions& options = {}) {
    const auto name = common.domain_name();
    if (!name) {
        if (!options.log_directory.empty()) {
            return Error{
                Status::bad_request,
                0,
                "--log-dir is for domains of this host: the log lies with the domain, not with a "
                "remote client"};
        }
        auto admin = common.admin();
        return admin ? Result<Opened>({std::move(*admin), {}}) : Result<Opened>(admin.error());
    }
    auto server = Server::open(*name, options);
    auto admin = server ? Admin::of(*server) : Result<Admin>(server.error());
    if (!admin) {
        return admin.error();
    }
    Opened opened{std::move(*admin), {}};
    if (server->created()) {
        opened.made = std::move(*server);
    }
    return opened;
}

ExitCode give_up(Opened& opened, const Error& error, bool json) {
    if (opened.made) {
        [[maybe_unused]] const auto removed = opened.made->remove_domain();
    }
    return print_error(error, json);
}

std::string made_text(const char* what,
                      const std::string& name,
                      bool created,
                      std::uint64_t capacity,
                      const Opened& opened) {
    return (created ? "created " : "there already is the ") + std::string(what) + " " + name +
           " for " + format_count(capacity) + " messages in " +
           (opened.made ? "the new domain " : "domain ") + opened.admin.domain() + "\n";
}

ExitCode run_create_queue(const QueueCommand& command) {
    const bool json = command.common.json;
    auto opened = open_domain(command.common, command.log);
    if (!opened) {
        return print_error(opened.error(), json);
    }
    QueueOptions options = command.options;
    options.lease = command.lease.value_or(options.lease);
    if (command.remembers || command.remembered_for) {
        options.idempotency = command.idempotency;
        options.idempotency->ttl = command.remembered_for.value_or(command.idempotency.ttl);
    }
    const auto created = opened->admin.create_queue(command.name, options);
    const auto status =
        created ? opened->admin.queue_status(command.name) : Result<QueueStatus>(created.error());
    if (!status) {
        return give_up(*opened, status.error(), json);
    }
    if (json) {
        return print_json(Json{{"domain", opened->admin.domain()},
                               {"queue", command.name},
                               {"capacity", status->capacity},
                               {"created", *created},
                               {"domain_created", opened->made.has_value()}});
    }
    return print_text(made_text("queue", command.name, *created, status->capacity, *opened));
}

ExitCode run_create_topic(const TopicCommand& command) {
    const bool json = command.common.json;
    auto opened = open_domain(command.common);
    if (!opened) {
        return print_error(opened.error(), json);
    }
    TopicOptions options = command.options;
    options.slow = command.slow.value_or(options.slow);
    const auto created = opened->admin.create_topic(command.name, options);
    const auto status =
        created ? opened->admin.topic_status(command.name) : Result<TopicStatus>(created.error());
    if (!status) {
        return give_up(*opened, status.error(), json);
    }
    if (json) {
        return print_json(Json{{"domain", opened->admin.domain()},
                               {"topic", command.name},
                               {"slow", slow_text(*status)},
                               {"capacity", status->capacity},
                               {"history", status->history},
                               {"created", *created},
                               {"domain_created", opened->made.has_value()}});
    }
    return print_text(made_text("topic", command.name, *created, status->capacity, *opened));
}

// Each of these says --idempotency, too.
void add_idempotency(CLI::App& queue, QueueCommand& command) {
    const char* const group = "Messages offered twice";
    Idempotency& values = command.idempotency;
    const auto flag = [&](const char* name, const std::function<void()>& set, const char* text) {
        queue
            .add_flag_callback(
                name,
                [&command, set] {
                    command.remembers = true;
                    set();
                },
                text)
            ->group(group);
    };
    flag(
        "--idempotency",
        [] {},
        "Remember request ids: a message that is offered again under its id is accepted again, "
        "with the first one's number, and not enqueued (offer --request-id). The options below "
        "imply it");
    add_duration(
        queue, "--idempotency-ttl", command.remembered_for, "How long, 1ms to 720h; default 10m")
        ->group(group);
    add_choice(
        queue,
        "--idempotency-scope",
        {"principal", "client", "global"},
        [&command](std::size_t index) {
            command.remembers = true;
            command.idempotency.scope = static_cast<IdempotencyScope>(index);
        },
        "Whose ids are told apart: those of different users, of different processes, or nobody's")
        ->group(group);
    queue
        .add_option_function<std::uint32_t>(
            "--idempotency-entries",
            [&command](std::uint32_t entries) {
                command.remembers = true;
                command.idempotency.entries_max = entries;
            },
            "Ids remembered; default 0: a quarter of what the domain has room for")
        ->type_name("N")
        ->group(group);
    flag(
        "--idempotency-evict",
        [&values] { values.when_full = WhenFull::evict_oldest; },
        "When as many are remembered as may be: forget the oldest; default: refuse new ones");
    flag(
        "--idempotency-required",
        [&values] { values.required = true; },
        "Refuse messages without a request id");
}

void add_queue(CLI::App& create, Command& command) {
    auto options = std::make_shared<QueueCommand>();
    auto* const queue = add_command(
        create,
        "queue",
        "Create a queue, and its domain if there is none",
        "  telpher create queue orders -d cafe --capacity 100\n"
        "  telpher create queue prices -u shm:cafe --kind circular --json\n"
        "  telpher create queue bills -d cafe --delivery at-least-once --lease 10s "
        "--deliveries-max 5 --dead-letter bills.dead\n"
        "  telpher create queue payments -d cafe --idempotency-ttl 24h --idempotency-required\n"
        "  telpher create queue bills -d cafe --kind durable --log-dir /var/lib/cafe");
    queue->add_option("NAME", options->name, "Name: letters, digits and . _ / -")->required();
    queue->add_option("--capacity", options->options.capacity, "Messages; default 1024")
        ->type_name("N");
    add_choice(
        *queue,
        "--kind",
        {"bounded", "circular", "durable"},
        [options](std::size_t index) {
            options->options.kind = static_cast<QueueKind>(index);
            if (options->options.kind == QueueKind::durable) {
                options->options.delivery = DeliveryMode::at_least_once;
            }
        },
        "bounded: an offer to a full queue waits or fails; circular: it drops the oldest message; "
        "durable: as bounded, at-least-once, and durable messages are on disk when they are "
        "confirmed");
    add_size(*queue,
             "--byte-budget",
             options->options.byte_budget,
             "Memory that queued messages may take; default: no limit");
    add_choice(
        *queue,
        "--delivery",
        {"at-most-once", "at-least-once"},
        [options](std::size_t index) {
            options->options.delivery = static_cast<DeliveryMode>(index);
        },
        "at-most-once: a poll takes the message; at-least-once: it lends it, and the message comes "
        "back unless its consumer acknowledges it");
    const char* const group = "With --delivery at-least-once";
    add_duration(*queue,
                 "--lease",
                 options->lease,
                 "How long a consumer has for a message, 10ms to 24h; default 30s. Its death is "
                 "noticed at once")
        ->group(group);
    queue
        ->add_option("--deliveries-max",
                     options->options.deliveries_max,
                     "How often a message is handed out before it is a dead letter; default 0: any "
                     "number of times")
        ->type_name("N")
        ->group(group);
    queue
        ->add_option(
            "--dead-letter",
            options->options.dead_letter,
            "The queue of dead letters: messages that were refused or delivered too often, "
            "or whose time has passed. Made unless it exists, circular; see `telpher dlq`. "
            "Default: they are dropped, and counted")
        ->type_name("QUEUE")
        ->group(group);
    add_idempotency(*queue, *options);
    add_choice(
        *queue,
        "--durability",
        {"power", "process"},
        [options](std::size_t index) {
            options->options.durability = static_cast<Durability>(index);
        },
        "What durable messages survive: power: also a loss of power (synced); process: the end of "
        "all "
        "processes")
        ->group("With --kind durable");
    auto* const folder =
        queue
            ->add_option(
                "--log-dir",
                options->log.log_directory,
                "Folder of the domain's log; a new domain is built from what is in it. An existing "
                "domain keeps its own")
            ->type_name("DIR")
            ->group("With --kind durable");
    add_cutoff(*queue,
               "--log-compress-from",
               options->log.log_compress_from_bytes,
               "Messages of at least so many bytes are compressed in the log of a new domain; "
               "default -1: none")
        ->needs(folder)
        ->group("With --kind durable");
    finish_command(*queue, options->common, TargetNeed::required, command, [options](Interrupt&) {
        return run_create_queue(*options);
    });
}

void add_topic(CLI::App& create, Command& command) {
    auto options = std::make_shared<TopicCommand>();
    auto* const topic =
        add_command(create,
                    "topic",
                    "Create a topic with options of its own, and its domain if there is none",
                    "  telpher create topic prices.espresso -d cafe --history 10\n"
                    "  telpher create topic alarms -u shm:cafe --capacity 64 --slow block --json");
    topic->add_option("NAME", options->name, "Name: letters, digits and . _ / -")->required();
    topic
        ->add_option("--capacity",
                     options->options.capacity,
                     "Messages that a subscriber may be behind; default 1024. Rounded up to a "
                     "power of two unless subscribers block")
        ->type_name("N");
    topic
        ->add_option("--history",
                     options->options.history,
                     "Messages kept for those who subscribe later; default 0")
        ->type_name("N");
    add_slow(*topic,
             options->slow,
             "A subscriber that is farther behind: it loses the oldest messages, publishers wait "
             "for it, it is given the newest alone, or it is ended; default drop-oldest");
    topic
        ->add_option("--disconnect-after",
                     options->options.disconnect_after,
                     "With --slow disconnect: not before it has lost so many; default 0")
        ->type_name("N");
    topic->add_option("--subscribers", options->options.subscribers, "At once; default 64")
        ->type_name("N");
    add_size(*topic,
             "--byte-budget",
             options->options.byte_budget,
             "Memory that the messages kept may take; default: no limit");
    finish_command(*topic, options->common, TargetNeed::required, command, [options](Interrupt&) {
        return run_create_topic(*options);
    });
}

}  // namespace

void add_create_command(CLI::App& app, Command& command) {
    auto* const create =
        add_command(app,
                    "create",
                    "Create a queue or a topic, and its domain if there is none",
                    "  telpher create queue orders -d cafe --capacity 100\n"
                    "  telpher create topic prices.espresso -d cafe --history 10 --json");
    create->require_subcommand(1);
    add_queue(*create, command);
    add_topic(*create, command);
}

}  // namespace telpher::cli

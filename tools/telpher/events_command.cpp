// telpher events: who comes and goes in a domain, and which queues and topics are made and
// removed.
//
// Nobody writes events down: they are the differences between two looks. What comes and goes again
// between two of them is not seen, but for deaths, which the domain counts.

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/snapshot.hpp"
#include "tools/telpher/status_json.hpp"
#include "tools/telpher/units.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace telpher::cli {
namespace {

constexpr Duration kEventsEvery = std::chrono::milliseconds(20);

struct EventsOptions {
    Common common;
    std::optional<std::uint64_t> count;
    std::optional<Duration> timeout;
};

struct Event {
    std::string
        what;    // join, leave, death, reap, queue_ and topic_created and _removed, domain_removed
    Json facts;  // besides what, time and domain
    std::string text;  // the same for people
};

bool same_life(const ProcessInfo& a, const ProcessInfo& b) {
    // One that left and came back has been attached for a shorter time than before.
    return a.slot == b.slot && a.pid == b.pid && a.attached_for <= b.attached_for;
}

// Whether the system still knows the process: one that left may live on, one that died does not.
bool exists(const ProcessInfo& process) {
    return ::kill(static_cast<pid_t>(process.pid), 0) == 0 || errno != ESRCH;
}

Event process_event(const char* what, const char* verb, const ProcessInfo& process) {
    return {what,
            {{"pid", process.pid}, {"command", process.command}, {"slot", process.slot}},
            std::string(verb) + " process " + std::to_string(process.pid) + " (" + process.command +
                ") in slot " + std::to_string(process.slot)};
}

// Not yet reaped, or not yet seen to have died.
bool queue_is_there(const ProcessInfo& process) {
    return process.state == "live" || process.state == "dead";
}

// The looks before and after, compared. Deaths are those of the vanished that the domain counts as
// reaped; when it counts fewer than vanished, rather those that the system does not know any more.
class Comparison {
  public:
    // `reaped_early`: how many the last look counted as reaped and had still seen in the table; kept
    // for the next.
    Comparison(const Snapshot& before, const Snapshot& after, std::uint64_t& reaped_early)
        : before_(before), after_(after), reaped_early_(reaped_early) {}

    std::vector<Event> events() {
        add_vanished();
        for (const ProcessInfo& process : after_.processes) {
            if (process.state == "live" && !was_there(process)) {
                events_.push_back(process_event("join", "joined:", process));
            }
        }
        add_queues();
        add_topics();
        return std::move(events_);
    }

  private:
    void add_vanished() {
        std::vector<ProcessInfo> vanished;
        for (const ProcessInfo& process : before_.processes) {
            if (queue_is_there(process) &&
                std::none_of(
                    after_.processes.begin(), after_.processes.end(), [&](const ProcessInfo& now) {
                        return queue_is_there(now) && same_life(process, now);
                    })) {
                vanished.push_back(process);
            }
        }
        std::stable_partition(vanished.begin(), vanished.end(), [](const ProcessInfo& process) {
            return !exists(process);
        });
        const std::uint64_t reaped = after_.domain.reaped - before_.domain.reaped;
        const std::uint64_t deaths =
            std::min<std::uint64_t>(vanished.size(), reaped + reaped_early_);
        reaped_early_ = std::min(reaped, reaped + reaped_early_ - deaths);
        for (std::size_t i = 0; i < vanished.size(); ++i) {
            events_.push_back(i < deaths ? process_event("death", "died:", vanished[i])
                                         : process_event("leave", "left:", vanished[i]));
        }
        if (reaped != 0) {
            events_.push_back({"reap",
                               {{"count", reaped}, {"reaped", after_.domain.reaped}},
                               "reaped: " + std::to_string(reaped) + ", " +
                                   format_count(after_.domain.reaped) + " in all"});
        }
    }
    void add_queues() {
        for (const QueueStatus& queue : before_.queues) {
            if (!is_among(after_.queues, [&](const auto& now) { return same(queue, now); })) {
                events_.push_back(
                    {"queue_removed", {{"queue", queue.name}}, "removed: queue " + queue.name});
            }
        }
        for (const QueueStatus& queue : after_.queues) {
            if (!is_among(before_.queues, [&](const auto& old) { return same(old, queue); })) {
                events_.push_back(
                    {"queue_created",
                     {{"queue", queue.name}, {"kind", queue.kind}, {"capacity", queue.capacity}},
                     "created: queue " + queue.name + ", " + queue.kind + ", capacity " +
                         format_count(queue.capacity)});
            }
        }
    }
    void add_topics() {
        for (const TopicStatus& topic : before_.topics) {
            if (!is_among(after_.topics, [&](const auto& now) { return same(topic, now); })) {
                events_.push_back(
                    {"topic_removed", {{"topic", topic.name}}, "removed: topic " + topic.name});
            }
        }
        for (const TopicStatus& topic : after_.topics) {
            if (!is_among(before_.topics, [&](const auto& old) { return same(old, topic); })) {
                events_.push_back({"topic_created",
                                   {{"topic", topic.name},
                                    {"slow", slow_text(topic)},
                                    {"capacity", topic.capacity},
                                    {"history", topic.history}},
                                   "created: topic " + topic.name + ", " + slow_text(topic) +
                                       ", capacity " + format_count(topic.capacity)});
            }
        }
    }
    [[nodiscard]] bool was_there(const ProcessInfo& process) const {
        return std::any_of(
            before_.processes.begin(), before_.processes.end(), [&process](const ProcessInfo& old) {
                return queue_is_there(old) && same_life(old, process);
            });
    }
    // The same queue, not one of the same name that was made anew: its figures only grow.
    static bool same(const QueueStatus& old, const QueueStatus& now) {
        return old.name == now.name && old.kind == now.kind && old.capacity == now.capacity &&
               old.offered <= now.offered && old.polled <= now.polled;
    }
    static bool same(const TopicStatus& old, const TopicStatus& now) {
        return old.name == now.name && old.slow == now.slow && old.capacity == now.capacity &&
               old.history == now.history && old.published <= now.published;
    }
    template <typename Status, typename Predicate>
    static bool is_among(const std::vector<Status>& all, const Predicate& predicate) {
        return std::any_of(all.begin(), all.end(), predicate);
    }

    const Snapshot& before_;
    const Snapshot& after_;
    std::uint64_t& reaped_early_;
    std::vector<Event> events_;
};

bool print_event(const Event& event, const std::string& domain, bool json) {
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    if (json) {
        Json object{{"event", event.what}, {"time_ms", now.count()}, {"domain", domain}};
        object.update(event.facts);
        return write_out(dump(object) + '\n');
    }
    const std::time_t seconds = now.count() / 1000;
    std::tm local{};
    ::localtime_r(&seconds, &local);
    char clock[32];
    const std::size_t length = std::strftime(clock, sizeof clock, "%H:%M:%S", &local);
    const std::string fraction = std::to_string(1000 + now.count() % 1000).substr(1);
    return write_out(std::string(clock, length) + "." + fraction + "  " + printable(event.text) +
                     '\n');
}

// Prints what happened between two looks, until enough was printed. False: it was, or nobody reads.
bool print_all(const std::vector<Event>& events,
               const std::string& domain,
               bool json,
               std::uint64_t& left) {
    for (const Event& event : events) {
        if (!print_event(event, domain, json) || --left == 0) {
            return false;
        }
    }
    return true;
}

ExitCode run_events(const EventsOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    const auto admin = options.common.admin();
    auto before = admin ? take_snapshot(*admin) : Result<Snapshot>(admin.error());
    if (!before) {
        return print_error(before.error(), json);
    }
    interrupt.watch_stdout();
    const std::string domain = before->domain.name;
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t left = options.count.value_or(UINT64_MAX);
    std::uint64_t reaped_early = 0;
    while (!keeps_alive(*before)) {
        if (options.timeout && std::chrono::steady_clock::now() - start >= *options.timeout) {
            return options.count
                       ? print_error({Status::timed_out,
                                      0,
                                      std::to_string(left) + " of the events have not come"},
                                     json)
                       : kExitOk;
        }
        if (!sleep_until(interrupt, before->taken + kEventsEvery)) {
            return kExitOk;
        }
        auto after = take_snapshot(*admin);
        if (!after) {
            if (after.status() != Status::domain_removed) {
                return print_error(after.error(), json);
            }
            static_cast<void>(print_event(
                {"domain_removed", Json::object(), "removed: the domain"}, domain, json));
            return kExitOk;
        }
        if (!print_all(Comparison(*before, *after, reaped_early).events(), domain, json, left)) {
            return kExitOk;
        }
        before = std::move(after);
    }
    return kExitOk;
}

}  // namespace

void add_events_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<EventsOptions>();
    auto* const events =
        add_command(app,
                    "events",
                    "Follow joins, leaves, deaths, and queues and topics made and removed",
                    "  telpher events -d cafe --timeout 1s\n"
                    "  telpher events -d cafe --count 1 --timeout 1s --json");
    events->add_option("--count", options->count, "End after so many; default: when interrupted")
        ->check(at_least_one())
        ->type_name("N");
    add_duration(*events, "--timeout", options->timeout, "End after this time");
    finish_command(
        *events, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_events(*options, interrupt);
        });
}

}  // namespace telpher::cli

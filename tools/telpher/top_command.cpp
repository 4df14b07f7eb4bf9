// telpher top: the figures of a domain, again and again.
//
// It reads what others count and adds nothing to it: rates are differences between two looks.

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/queue_table.hpp"
#include "tools/telpher/snapshot.hpp"
#include "tools/telpher/status_json.hpp"
#include "tools/telpher/units.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace telpher::cli {
namespace {

constexpr Duration kInterval = std::chrono::seconds(1);
constexpr Duration kIntervalMin = std::chrono::milliseconds(10);

struct TopOptions {
    Common common;
    std::optional<Duration> interval;
    std::optional<std::uint64_t> count;
};

struct Rates {
    std::optional<double> offered;  // per second; none at the first look
    std::optional<double> polled;
};

// A queue that was made anew between two looks counts from 0 again.
Rates rates_of(const QueueStatus& now, const Snapshot& snapshot, const Snapshot* before) {
    if (before == nullptr) {
        return {};
    }
    const double seconds = std::chrono::duration<double>(snapshot.taken - before->taken).count();
    const auto old = std::find_if(before->queues.begin(),
                                  before->queues.end(),
                                  [&now](const QueueStatus& q) { return q.name == now.name; });
    const bool same =
        old != before->queues.end() && old->offered <= now.offered && old->polled <= now.polled;
    const auto rate = [&](std::uint64_t count, std::uint64_t count_before) {
        return seconds > 0 ? static_cast<double>(count - (same ? count_before : 0)) / seconds : 0;
    };
    return {rate(now.offered, same ? old->offered : 0), rate(now.polled, same ? old->polled : 0)};
}

// The same for a topic: published per second.
std::optional<double> rate_of(const TopicStatus& now,
                              const Snapshot& snapshot,
                              const Snapshot* before) {
    if (before == nullptr) {
        return {};
    }
    const double seconds = std::chrono::duration<double>(snapshot.taken - before->taken).count();
    const auto old = std::find_if(before->topics.begin(),
                                  before->topics.end(),
                                  [&now](const TopicStatus& t) { return t.name == now.name; });
    const bool same = old != before->topics.end() && old->published <= now.published;
    const std::uint64_t published = now.published - (same ? old->published : 0);
    return seconds > 0 ? static_cast<double>(published) / seconds : 0;
}

std::string rate_text(const std::optional<double>& rate) {
    return rate ? format_count(static_cast<std::uint64_t>(std::llround(*rate))) : "-";
}
Json rate_json(const std::optional<double>& rate) { return rate ? Json(*rate) : Json(nullptr); }

std::string queues_block(const Snapshot& snapshot, const Snapshot* before) {
    QueueTable table(snapshot.queues,
                     {"QUEUE",
                      "OFFERED/s",
                      "POLLED/s",
                      "DEPTH",
                      "CAPACITY",
                      "BYTES",
                      "CONSUMERS",
                      "OLDEST",
                      "DROPPED",
                      "EXPIRED",
                      "ABANDONED"},
                     1);
    for (const QueueStatus& queue : snapshot.queues) {
        const Rates rates = rates_of(queue, snapshot, before);
        table.add(queue,
                  {queue.name,
                   rate_text(rates.offered),
                   rate_text(rates.polled),
                   format_count(queue.depth),
                   format_count(queue.capacity),
                   format_size(queue.bytes),
                   std::to_string(queue.consumers),
                   queue.oldest_age ? format_duration(*queue.oldest_age) : "-",
                   format_count(queue.dropped),
                   format_count(queue.expired),
                   format_count(queue.abandoned)});
    }
    return table.text();
}

std::string topics_block(const Snapshot& snapshot, const Snapshot* before) {
    Table table(
        {"TOPIC", "PUBLISHED/s", "SUBSCRIBERS", "BEHIND", "LOST", "DEPTH", "CAPACITY", "BYTES"});
    table.align_right({1, 2, 3, 4, 5, 6, 7});
    for (const TopicStatus& topic : snapshot.topics) {
        table.add({topic.name,
                   rate_text(rate_of(topic, snapshot, before)),
                   std::to_string(topic.subscribers),
                   format_count(topic.slowest_lag),
                   format_count(topic.lost),
                   format_count(topic.depth),
                   format_count(topic.capacity),
                   format_size(topic.bytes)});
    }
    return table.text();
}

std::string processes_text(const Snapshot& snapshot) {
    Table table({"PID", "COMMAND", "STATE", "ATTACHED", "SLOT"});
    table.align_right({0, 3, 4});
    for (const ProcessInfo& process : snapshot.processes) {
        table.add({std::to_string(process.pid),
                   process.command,
                   process.state,
                   format_duration(process.attached_for),
                   std::to_string(process.slot)});
    }
    return table.text();
}

std::string snapshot_text(const Snapshot& snapshot, const Snapshot* before) {
    const DomainStatus& domain = snapshot.domain;
    return domain.name + ": " + std::string(name_of(domain.lifetime)) + ", " +
           format_size(domain.segment_bytes) + ", processes " +
           std::to_string(snapshot.processes.size()) + ", reaped " + format_count(domain.reaped) +
           "\n\n" +
           joined(queues_block(snapshot, before),
                  snapshot.queues.size(),
                  topics_block(snapshot, before),
                  snapshot.topics.size()) +
           "\n" + processes_text(snapshot);
}

Json snapshot_json(const Snapshot& snapshot, const Snapshot* before) {
    Json queues = Json::array();
    for (const QueueStatus& queue : snapshot.queues) {
        const Rates rates = rates_of(queue, snapshot, before);
        Json object = to_json(queue);
        object["offered_per_s"] = rate_json(rates.offered);
        object["polled_per_s"] = rate_json(rates.polled);
        queues.push_back(std::move(object));
    }
    Json topics = Json::array();
    for (const TopicStatus& topic : snapshot.topics) {
        Json object = to_json(topic);
        object["published_per_s"] = rate_json(rate_of(topic, snapshot, before));
        topics.push_back(std::move(object));
    }
    Json processes = Json::array();
    for (const ProcessInfo& process : snapshot.processes) {
        processes.push_back(to_json(process));
    }
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return Json{{"domain", snapshot.domain.name},
                {"time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now).count()},
                {"segment_bytes", snapshot.domain.segment_bytes},
                {"reaped", snapshot.domain.reaped},
                {"queues", std::move(queues)},
                {"topics", std::move(topics)},
                {"processes", std::move(processes)}};
}

// Over what was drawn before, without a flicker: each line and what is below is cleared as we go.
std::string redrawn(const std::string& text) {
    std::string drawn = "\x1b[H";
    for (const char c : text) {
        drawn += c == '\n' ? std::string("\x1b[K\n") : std::string(1, c);
    }
    return drawn + "\x1b[J";
}

// One look on paper. False: nobody reads it any more.
bool print_snapshot(const Snapshot& snapshot, const Snapshot* before, bool json, bool first) {
    if (json) {
        return write_out(dump(snapshot_json(snapshot, before)) + '\n');
    }
    const std::string text = snapshot_text(snapshot, before);
    if (is_terminal(STDOUT_FILENO)) {
        return write_out((first ? "\x1b[2J" : "") + redrawn(text));
    }
    return write_out((first ? "" : "\n") + text);
}

ExitCode run_top(const TopOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    const Duration interval = std::max(options.interval.value_or(kInterval), kIntervalMin);
    const auto admin = options.common.admin();
    auto before = admin ? take_snapshot(*admin) : Result<Snapshot>(admin.error());
    if (!before) {
        return print_error(before.error(), json);
    }
    interrupt.watch_stdout();
    // A person looks at once, and at rates later; a script gets only objects with rates.
    bool first = true;
    if (!json && is_terminal(STDOUT_FILENO)) {
        static_cast<void>(print_snapshot(*before, nullptr, json, true));
        first = false;
    }
    const auto count = options.count.value_or(UINT64_MAX);
    for (std::uint64_t printed = 0; printed < count && !keeps_alive(*before); ++printed) {
        if (!sleep_until(interrupt, before->taken + interval)) {
            return kExitOk;
        }
        auto snapshot = take_snapshot(*admin);
        if (!snapshot) {
            return print_error(snapshot.error(), json);
        }
        if (!print_snapshot(*snapshot, &*before, json, std::exchange(first, false))) {
            return kExitOk;
        }
        before = std::move(snapshot);
    }
    return kExitOk;
}

}  // namespace

void add_top_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<TopOptions>();
    auto* const top =
        add_command(app,
                    "top",
                    "Show a domain's rates, queues, topics and processes again and again",
                    "  telpher top -d cafe\n"
                    "  telpher top -d cafe --interval 500ms --count 1 --json");
    add_duration(*top,
                 "--interval",
                 options->interval,
                 "Between two looks, at least 10ms; default 1s. Rates are over it");
    top->add_option("--count", options->count, "End after so many; default: when interrupted")
        ->check(at_least_one())
        ->type_name("N");
    finish_command(
        *top, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_top(*options, interrupt);
        });
}

}  // namespace telpher::cli

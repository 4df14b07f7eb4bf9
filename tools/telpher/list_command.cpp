// telpher ls: the domains of this machine, or the queues and topics of one.

#include "telpher/server.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/queue_table.hpp"
#include "tools/telpher/snapshot.hpp"
#include "tools/telpher/status_json.hpp"
#include "tools/telpher/units.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace telpher::cli {

std::string_view name_of(Lifetime lifetime) {
    return lifetime == Lifetime::ephemeral ? "ephemeral" : "persistent";
}

namespace {

// A name of an enumeration as options spell it.
std::string as_option(std::string_view name) {
    std::string text(name);
    std::replace(text.begin(), text.end(), '_', '-');
    return text;
}

}  // namespace

std::string delivery_text(DeliveryMode mode) { return as_option(to_string(mode)); }

Json to_json(const QueueStatus& status) {
    Json json{{"name", status.name},
              {"kind", status.kind},
              {"capacity", status.capacity},
              {"depth", status.depth},
              {"bytes", status.bytes},
              {"offered", status.offered},
              {"polled", status.polled},
              {"dropped", status.dropped},
              {"expired", status.expired},
              {"redelivered", status.redelivered},
              {"abandoned", status.abandoned},
              {"consumers", status.consumers},
              {"delivery", delivery_text(status.delivery)},
              {"leased", status.leased},
              {"delayed", status.delayed},
              {"lease_expired", status.lease_expired},
              {"dead_lettered", status.dead_lettered},
              {"idempotency", status.idempotency.on},
              {"remembered", status.idempotency.entries},
              {"duplicates", status.idempotency.duplicates},
              {"replays", status.idempotency.replays},
              {"conflicts", status.idempotency.conflicts},
              {"evicted", status.idempotency.evicted}};
    json["oldest_age_ms"] = status.oldest_age ? Json(status.oldest_age->count()) : Json(nullptr);
    json["removed"] = status.removed;
    return json;
}

std::string slow_text(const TopicStatus& status) { return as_option(status.slow); }

Json to_json(const TopicStatus& status) {
    return Json{{"name", status.name},
                {"kind", "topic"},
                {"slow", slow_text(status)},
                {"capacity", status.capacity},
                {"history", status.history},
                {"depth", status.depth},
                {"bytes", status.bytes},
                {"published", status.published},
                {"subscribers", status.subscribers},
                {"slowest_lag", status.slowest_lag},
                {"lost", status.lost},
                {"removed", status.removed}};
}

Json to_json(const DomainStatus& status) {
    return Json{{"name", status.name},
                {"kind", "domain"},
                {"uuid", status.uuid},
                {"lifetime", name_of(status.lifetime)},
                {"segment_bytes", status.segment_bytes},
                {"processes", status.processes > 0 ? status.processes - 1 : 0},
                {"destinations", status.destinations},
                {"reaped", status.reaped}};
}

namespace {

std::string age_text(const QueueStatus& status) {
    return status.oldest_age ? format_duration(*status.oldest_age) : "-";
}

// One domain of the list. One that cannot be looked at says why, and does not spoil the list.
void list_domain(const std::string& name, Json& domains, Table& table) {
    const auto server = Server::open(name, {.mode = OpenMode::attach});
    const auto status = server ? server->status() : Result<DomainStatus>(server.error());
    if (!status) {
        domains.push_back({{"name", name}, {"state", to_string(status.status())}});
        table.add({name, std::string(to_string(status.status())), "-", "-", "-", "-", "-"});
        return;
    }
    Json entry = to_json(*status);
    entry["state"] = "ok";
    table.add({name,
               "ok",
               std::string(name_of(status->lifetime)),
               entry["processes"].dump(),
               std::to_string(status->destinations),
               format_size(status->segment_bytes),
               format_count(status->reaped)});
    domains.push_back(std::move(entry));
}

ExitCode list_all_domains(bool json) {
    const auto names = list_domains();
    if (!names) {
        return print_error(names.error(), json);
    }
    Json domains = Json::array();
    Table table({"DOMAIN", "STATE", "LIFETIME", "PROCESSES", "DESTINATIONS", "SIZE", "REAPED"});
    table.align_right({3, 4, 5, 6});
    for (const auto& name : *names) {
        list_domain(name, domains, table);
    }
    return json ? print_json(Json{{"domains", domains}}) : print_text(table.text());
}

std::string queues_text(const std::vector<QueueStatus>& queues) {
    QueueTable table(
        queues,
        {"QUEUE", "KIND", "CAPACITY", "DEPTH", "BYTES", "OFFERED", "POLLED", "CONSUMERS", "OLDEST"},
        2);
    for (const auto& queue : queues) {
        table.add(queue,
                  {queue.name,
                   queue.kind,
                   format_count(queue.capacity),
                   format_count(queue.depth),
                   format_size(queue.bytes),
                   format_count(queue.offered),
                   format_count(queue.polled),
                   std::to_string(queue.consumers),
                   age_text(queue)});
    }
    return table.text();
}

std::string topics_text(const std::vector<TopicStatus>& topics) {
    Table table({"TOPIC",
                 "SLOW",
                 "CAPACITY",
                 "HISTORY",
                 "DEPTH",
                 "BYTES",
                 "PUBLISHED",
                 "SUBSCRIBERS",
                 "BEHIND",
                 "LOST"});
    table.align_right({2, 3, 4, 5, 6, 7, 8, 9});
    for (const auto& topic : topics) {
        table.add({topic.name,
                   slow_text(topic),
                   format_count(topic.capacity),
                   format_count(topic.history),
                   format_count(topic.depth),
                   format_size(topic.bytes),
                   format_count(topic.published),
                   std::to_string(topic.subscribers),
                   format_count(topic.slowest_lag),
                   format_count(topic.lost)});
    }
    return table.text();
}

ExitCode list_destinations(const Common& common) {
    const bool json = common.json;
    const auto admin = common.admin();
    const auto queues = admin ? admin->queues() : Result<std::vector<QueueStatus>>(admin.error());
    const auto topics = queues ? admin->topics() : Result<std::vector<TopicStatus>>(queues.error());
    if (!topics) {
        return print_error(topics.error(), json);
    }
    if (!json) {
        return print_text(
            joined(queues_text(*queues), queues->size(), topics_text(*topics), topics->size()));
    }
    Json object{{"domain", admin->domain()}, {"queues", Json::array()}, {"topics", Json::array()}};
    for (const auto& queue : *queues) {
        object["queues"].push_back(to_json(queue));
    }
    for (const auto& topic : *topics) {
        object["topics"].push_back(to_json(topic));
    }
    return print_json(object);
}

}  // namespace

void add_list_command(CLI::App& app, Command& command) {
    auto common = std::make_shared<Common>();
    auto* const ls =
        add_command(app,
                    "ls",
                    "List the domains of this machine, or the queues and topics of one",
                    "  telpher ls\n"
                    "  telpher ls -d cafe --json");
    finish_command(*ls, *common, TargetNeed::optional, command, [common](Interrupt&) {
        return common->target_uri().empty() ? list_all_domains(common->json)
                                            : list_destinations(*common);
    });
}

}  // namespace telpher::cli

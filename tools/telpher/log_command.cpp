// telpher log: looks at the files of a log, without the domain they belong to, and saves what can be read of a
// damaged one. This file has ls, verify and salvage; dump and diff are files of their own.

#include "src/store/posix_storage.hpp"
#include "src/store/salvage.hpp"
#include "tools/telpher/log_folder.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/units.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace telpher::cli {
namespace {

struct LogOptions {
    Common common;
    std::string folder;
    std::string to;  // salvage
};

// What the live messages and entries of a destination come to.
struct Holding {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;  // of the messages' payloads, as they are on disk
    std::uint64_t entries = 0;
};

// Also those that have no definition: their messages are there nevertheless.
std::map<std::uint32_t, Holding> holdings_of(const store::Contents& contents) {
    std::map<std::uint32_t, Holding> holdings;
    for (const auto& [id, destination] : contents.destinations()) {
        holdings[id];
    }
    for (const auto& [origin, message] : contents.messages()) {
        Holding& holding = holdings[message.destination];
        ++holding.messages;
        holding.bytes += message.payload_bytes;
    }
    for (const auto& [id, entry] : contents.entries()) {
        ++holdings[id.first].entries;
    }
    return holdings;
}

std::uint64_t record_bytes_of(const store::SegmentReport& segment) {
    return segment.end - std::min<std::uint64_t>(segment.end, store::kSegmentHeaderBytes);
}

// What the next cleaning may give back: records of which nothing is needed any more.
std::uint64_t garbage_bytes(const LogView& view) {
    std::uint64_t bytes = 0;
    for (const auto& segment : view.report.segments) {
        bytes += record_bytes_of(segment);
    }
    return bytes - std::min(bytes, view.contents.live_bytes());
}

Json segments_json(const LogView& view) {
    Json list = Json::array();
    for (const auto& segment : view.report.segments) {
        const auto read = view.read.find(segment.facts.number);
        const bool any = read != view.read.end();
        list.push_back(Json{{"number", segment.facts.number},
                            {"file", store::segment_name(segment.facts.number)},
                            {"file_bytes", segment.file_bytes},
                            {"record_bytes", record_bytes_of(segment)},
                            {"needed_bytes", view.contents.live_bytes(segment.facts.number)},
                            {"records", segment.records},
                            {"first_lsn", any ? Json(read->second.first) : Json(nullptr)},
                            {"last_lsn", any ? Json(read->second.last) : Json(nullptr)},
                            {"created_ms", segment.facts.created_ms}});
    }
    return list;
}

Json destinations_json(const LogView& view) {
    Json list = Json::array();
    for (const auto& [id, holding] : holdings_of(view.contents)) {
        list.push_back(Json{{"id", id},
                            {"name", view.name_of(id)},
                            {"messages", holding.messages},
                            {"bytes", holding.bytes},
                            {"entries", holding.entries}});
    }
    return list;
}

Json list_json(const LogOptions& options, const LogView& view, bool in_use) {
    return Json{{"folder", options.folder},
                {"log", view.facts().name},
                {"uuid", shm::to_string(view.facts().log)},
                {"in_use", in_use},
                {"closed", view.report.closed},
                {"records", view.records()},
                {"next_lsn", view.report.next_lsn},
                {"needed_bytes", view.contents.live_bytes()},
                {"garbage_bytes", garbage_bytes(view)},
                {"torn_bytes", view.report.torn_bytes},
                {"damages", view.report.damages.size()},
                {"segments", segments_json(view)},
                {"destinations", destinations_json(view)}};
}

std::string end_text(const LogView& view, bool in_use) {
    std::string text = in_use               ? "in use by a process"
                       : view.report.closed ? "closed in good order"
                                            : "not closed: its process was killed, or the machine";
    if (view.report.torn_bytes != 0) {
        text += "; torn end of " + format_size(view.report.torn_bytes);
    }
    return text;
}

std::string date_of(std::uint64_t created_ms) {
    return format_date(std::chrono::system_clock::time_point(std::chrono::milliseconds(
        static_cast<std::int64_t>(std::min<std::uint64_t>(created_ms, 1ULL << 42U)))));
}

std::string list_text(const LogOptions& options, const LogView& view, bool in_use) {
    std::string text = printable(options.folder) + ": the log of " + printable(view.facts().name) +
                       ", " + end_text(view, in_use) + "\n" + format_count(view.records()) +
                       " records, " + format_size(view.contents.live_bytes()) + " needed, " +
                       format_size(garbage_bytes(view)) + " garbage\n\n";
    Table segments({"SEGMENT", "FILE SIZE", "RECORDS", "LSN", "SIZE", "NEEDED", "MADE"});
    segments.align_right({1, 2, 4, 5});
    for (const auto& segment : view.report.segments) {
        const std::uint64_t number = segment.facts.number;
        const auto read = view.read.find(number);
        segments.add({store::segment_name(number),
                      format_size(segment.file_bytes),
                      format_count(segment.records),
                      read == view.read.end() ? "-"
                                              : std::to_string(read->second.first) + "-" +
                                                    std::to_string(read->second.last),
                      format_size(record_bytes_of(segment)),
                      format_size(view.contents.live_bytes(number)),
                      date_of(segment.facts.created_ms)});
    }
    Table destinations({"DESTINATION", "ID", "MESSAGES", "SIZE", "ENTRIES"});
    destinations.align_right({1, 2, 3, 4});
    for (const auto& [id, holding] : holdings_of(view.contents)) {
        destinations.add({view.name_of(id),
                          std::to_string(id),
                          format_count(holding.messages),
                          format_size(holding.bytes),
                          format_count(holding.entries)});
    }
    return text + segments.text() + "\n" + destinations.text();
}

ExitCode list_log(const LogOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    const OpenedLog log = open_log(options.folder, json);
    if (log.storage == nullptr) {
        return log.refused;
    }
    const auto view = view_log(*log.storage, interrupt);
    if (!view) {
        return print_error(view.error(), json);
    }
    const bool in_use = log_in_use(options.folder);
    const auto printed = json ? print_json(list_json(options, *view, in_use))
                              : print_text(list_text(options, *view, in_use));
    return print_damage(options.folder, view->report, printed, json);
}

std::string damage_lines(const std::vector<store::Damage>& damages, const store::Storage& storage) {
    std::string text;
    for (const auto& damage : damages) {
        text += "  " + printable(text_of(damage, storage)) + "\n";
    }
    return text;
}

ExitCode verify_log(const LogOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    const OpenedLog log = open_log(options.folder, json);
    if (log.storage == nullptr) {
        return log.refused;
    }
    const auto view = view_log(*log.storage, interrupt);
    if (!view) {
        return print_error(view.error(), json);
    }
    const auto& report = view->report;
    const bool ok = report.damages.empty();
    std::string text =
        options.folder + ": the log of " + printable(view->facts().name) +
        (ok ? " is whole (" : " is damaged (") + format_count(report.segments.size()) +
        " segments, " + format_count(view->records()) + " readable records, torn end " +
        format_size(report.torn_bytes) + ")\n" + damage_lines(report.damages, *log.storage);
    if (!ok) {
        text += "`telpher log salvage " + printable(options.folder) +
                " --to NEW_DIR` copies what can be read into another folder\n";
    }
    const Json object{{"folder", options.folder},
                      {"log", view->facts().name},
                      {"ok", ok},
                      {"damages", json_of(report.damages, *log.storage)},
                      {"segments", report.segments.size()},
                      {"records", view->records()},
                      {"torn_bytes", report.torn_bytes},
                      {"closed", report.closed}};
    const auto printed = json ? print_json(object) : print_text(text);
    return ok ? printed : exit_code(Status::corrupt);
}

// A folder that is made for a copy, and goes again if there is none.
class NewFolder {
  public:
    explicit NewFolder(std::string path) : path_(std::move(path)) {
        std::error_code ignored;
        made_ = !std::filesystem::exists(path_, ignored);
    }
    NewFolder(const NewFolder&) = delete;
    NewFolder& operator=(const NewFolder&) = delete;
    ~NewFolder() {
        if (made_) {
            ::rmdir(path_.c_str());  // fails if anything is in it: that is for a person to look at
        }
    }
    void keep() { made_ = false; }

  private:
    std::string path_;
    bool made_ = false;
};

Error salvage_failed(Error error, const std::string& to) {
    if (error.status == Status::bad_request) {
        error.status = Status::corrupt;  // there are segments, and the header of none can be read
    }
    std::error_code ignored;
    if (error.status != Status::already_exists && std::filesystem::exists(to + "/lock", ignored)) {
        error.detail += "; what is in " + to + " is not complete: remove it";
    }
    return error;
}

ExitCode print_salvaged(const LogOptions& options,
                        const store::Salvaged& saved,
                        const store::Storage& from) {
    const auto& damages = saved.read.damages;
    if (options.common.json) {
        return print_json(Json{{"from", options.folder},
                               {"to", options.to},
                               {"messages", saved.messages},
                               {"entries", saved.entries},
                               {"messages_lost", saved.lost},
                               {"damages", json_of(damages, from)},
                               {"torn_bytes", saved.read.torn_bytes}});
    }
    std::string text = printable(options.to) + ": saved " + format_count(saved.messages) +
                       " messages and " + format_count(saved.entries) + " entries of " +
                       printable(options.folder) + ", which is as it was\n";
    if (!damages.empty() || saved.lost != 0) {
        text += "lost: what was in " + format_count(damages.size()) + " damaged places, and " +
                format_count(saved.lost) + " messages that could not be read a second time\n" +
                damage_lines(damages, from) +
                "a message whose end was noted there is in the new log again\n";
    }
    return print_text(text);
}

ExitCode run_salvage(const LogOptions& options, Interrupt& /*interrupt*/) {
    const bool json = options.common.json;
    const OpenedLog from = open_log(options.folder, json);
    if (from.storage == nullptr) {
        return from.refused;
    }
    NewFolder made(options.to);
    const auto to = store::open_folder(options.to, store::FolderMode::create);
    const auto saved =
        to ? store::salvage(*from.storage, **to) : Result<store::Salvaged>(to.error());
    if (!saved) {
        return print_error(salvage_failed(saved.error(), options.to), json);
    }
    made.keep();
    return print_salvaged(options, *saved, *from.storage);
}

std::shared_ptr<LogOptions> add_action(CLI::App& action,
                                       Command& command,
                                       ExitCode (*run)(const LogOptions&, Interrupt&)) {
    auto options = std::make_shared<LogOptions>();
    action.add_option("DIR", options->folder, "Folder of the log")->required();
    finish_command(
        action, options->common, TargetNeed::none, command, [options, run](Interrupt& interrupt) {
            return run(*options, interrupt);
        });
    return options;
}

}  // namespace

void add_log_command(CLI::App& app, Command& command) {
    auto* const log = add_command(app,
                                  "log",
                                  "Look at the files of a log, and save what is readable of them",
                                  "  telpher log ls /var/lib/telpher/cafe\n"
                                  "  telpher log verify /var/lib/telpher/cafe --json");
    log->require_subcommand(1);
    auto* const ls = add_command(
        *log,
        "ls",
        "Show whose log it is, its segments, and what each destination has in it. NEEDED is what a "
        "cleaning would keep, the rest of SIZE is garbage. Works while the log is in use",
        "  telpher log ls /var/lib/telpher/cafe\n"
        "  telpher log ls /var/lib/telpher/cafe --json");
    add_action(*ls, command, list_log);
    add_log_dump(*log, command);
    auto* const verify = add_command(*log,
                                     "verify",
                                     "Read everything and list all damage; exit 1 if there is any. "
                                     "A torn end, as a crash leaves "
                                     "it, is none. Works while the log is in use",
                                     "  telpher log verify /var/lib/telpher/cafe\n"
                                     "  telpher log verify /var/lib/telpher/cafe --json");
    add_action(*verify, command, verify_log);
    add_log_diff(*log, command);
    auto* const salvage = add_command(
        *log,
        "salvage",
        "Write all that is readable and needed into a new log. DIR stays as it is, and must not be "
        "in use. What was noted as done by a record that is lost comes back",
        "  telpher log salvage /var/lib/telpher/cafe --to /var/lib/telpher/cafe.saved\n"
        "  telpher log salvage ./cafe --to ./saved --json");
    const auto salvaged = add_action(*salvage, command, run_salvage);
    salvage->add_option("--to", salvaged->to, "Folder for the new log; made if it is not there")
        ->required()
        ->type_name("NEW_DIR");
}

}  // namespace telpher::cli

// telpher log dump: one line for each record of a log, oldest first.

#include "src/store/definition_name.hpp"
#include "src/wire/utf8.hpp"
#include "tools/telpher/log_folder.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace telpher::cli {
namespace {

using store::Lsn;
using store::Place;
using store::Record;
using store::RecordKind;

constexpr std::size_t kShownBytes = 60;          // of a payload
constexpr std::size_t kBatchBytes = 64U << 10U;  // are written at once

struct DumpOptions {
    Common common;
    std::string folder;
    Lsn from = 1;
    Lsn to = std::numeric_limits<Lsn>::max();
    std::string destination;  // name or number; empty: all
};

std::string_view name_of(RecordKind kind) {
    switch (kind) {
        case RecordKind::destination:
            return "destination";
        case RecordKind::removed:
            return "removed";
        case RecordKind::message:
            return "message";
        case RecordKind::state:
            return "state";
        case RecordKind::done:
            return "done";
        case RecordKind::entry:
            return "entry";
        case RecordKind::closed:
            return "closed";
        case RecordKind::withdrawn:
            return "withdrawn";
    }
    return "unknown";
}

// As much of a text as a line has room for, without half a character.
std::string_view start_of(std::string_view text) {
    std::size_t end = 0;
    while (end < text.size()) {
        const std::size_t step =
            std::max<std::size_t>(1, wire::utf8_character_bytes(text.substr(end)));
        if (end + step > kShownBytes) {
            break;
        }
        end += step;
    }
    return text.substr(0, end);
}

// Who may be asked for by name: what the first definition of each says, for records before it, and later the newest.
class Names {
  public:
    void learn(const Record& record) {
        names_.try_emplace(record.header.destination, name_in(record));
        all_.emplace(name_in(record), record.header.destination);
    }
    void update(const Record& record) { names_[record.header.destination] = name_in(record); }

    [[nodiscard]] std::string of(std::uint32_t id) const {
        const auto found = names_.find(id);
        return found != names_.end() ? found->second : store::name_of_definition({}, id);
    }
    // Every destination that ever had that name, or else the one with that number; none: there is no such.
    [[nodiscard]] std::set<std::uint32_t> called(const std::string& text) const {
        std::set<std::uint32_t> ids;
        const auto [first, last] = all_.equal_range(text);
        for (auto named = first; named != last; ++named) {
            ids.insert(named->second);
        }
        std::uint32_t id = 0;
        const auto* const end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, id);
        if (ids.empty() && parsed.ec == std::errc() && parsed.ptr == end) {
            ids.insert(id);
        }
        return ids;
    }

  private:
    static std::string name_in(const Record& record) {
        return store::name_of_definition(record.payload, record.header.destination);
    }

    std::map<std::uint32_t, std::string> names_;
    std::multimap<std::string, std::uint32_t> all_;
};

bool is_packed(const store::RecordHeader& header) {
    return (header.flags & store::kPackedPayload) != 0;
}

// Of several destinations, or of none.
bool of_no_destination(RecordKind kind) {
    return kind == RecordKind::done || kind == RecordKind::withdrawn || kind == RecordKind::closed;
}

Json done_json(store::Bytes payload) {
    Json list = Json::array();
    for (; payload.size() >= sizeof(store::DoneRange);
         payload = payload.subspan(sizeof(store::DoneRange))) {
        store::DoneRange range{};
        std::memcpy(&range, payload.data(), sizeof range);
        list.push_back(Json::array({range.first, range.last}));
    }
    return list;
}

// null: it is no encoded message.
Json message_json(store::Bytes payload) {
    const auto message = message_of(payload);
    if (!message) {
        return nullptr;
    }
    const auto text = message->try_text();
    return Json{{"id", to_string(FieldValue{message->id()})},
                {"type", to_string(message->type())},
                {"topic", message->topic()},
                {"timestamp", message->timestamp_ms()},
                {"mimetype", message->mimetype()},
                {"payload_bytes", message->payload().size()},
                {"text_start", text ? Json(start_of(*text)) : Json(nullptr)}};
}

Json record_json(const Record& record, const Place& place, const Names& names) {
    const auto& header = record.header;
    const RecordKind kind = record.kind();
    Json object{{"lsn", header.lsn},
                {"kind", name_of(kind)},
                {"destination", nullptr},
                {"destination_id", nullptr},
                {"origin", header.origin != 0 ? Json(header.origin) : Json(nullptr)},
                {"bytes", header.payload_bytes},
                {"compressed", is_packed(header)},
                {"segment", place.segment},
                {"offset", place.offset}};
    if (!of_no_destination(kind)) {
        object["destination"] = names.of(header.destination);
        object["destination_id"] = header.destination;
    }
    if (kind == RecordKind::message) {
        object["message"] = message_json(record.payload);
    } else if (kind == RecordKind::done || kind == RecordKind::withdrawn) {
        object["done"] = done_json(record.payload);
    } else if (kind == RecordKind::entry) {
        object["key"] =
            hex(record.payload.first(std::min(record.payload.size(), sizeof(store::EntryKey))));
    }
    return object;
}

std::string message_text(store::Bytes payload) {
    const auto message = message_of(payload);
    if (!message) {
        return "no encoded message";
    }
    std::string text = "id=" + to_string(FieldValue{message->id()}) +
                       " topic=" + printable(message->topic()) +
                       " mimetype=" + printable(message->mimetype()) +
                       " size=" + std::to_string(message->payload().size());
    if (const auto payload_text = message->try_text()) {
        const std::string_view start = start_of(*payload_text);
        text += " \"" + printable(start) + (start.size() < payload_text->size() ? "\"..." : "\"");
    }
    return text;
}

std::string done_text(store::Bytes payload) {
    std::string text;
    for (const Json& range : done_json(payload)) {
        const auto first = range[0].get<Lsn>();
        const auto last = range[1].get<Lsn>();
        text += (text.empty() ? "" : " ") + std::to_string(first) +
                (last != first ? "-" + std::to_string(last) : "");
    }
    return text;
}

std::string detail_of(const Record& record) {
    switch (record.kind()) {
        case RecordKind::message:
            return message_text(record.payload);
        case RecordKind::done:
        case RecordKind::withdrawn:
            return done_text(record.payload);
        case RecordKind::entry: {
            constexpr std::size_t kKeyBytes = sizeof(store::EntryKey);
            const store::Bytes key =
                record.payload.first(std::min(record.payload.size(), kKeyBytes));
            return "key=" + hex(key) + (record.payload.size() == kKeyBytes ? " removed" : "");
        }
        default:
            return "";
    }
}

// Columns as wide as most need them: all of a log is not known when its first line is printed.
std::string padded(const std::string& text, std::size_t width, bool right = false) {
    const std::string gap(width - std::min(width, text.size()), ' ');
    return (right ? gap + text : text + gap) + "  ";
}

std::string record_line(const Record& record, const Names& names) {
    const auto& header = record.header;
    const RecordKind kind = record.kind();
    const bool of_one = !of_no_destination(kind);
    std::string line =
        padded(std::to_string(header.lsn), 8, true) + padded(std::string(name_of(kind)), 11) +
        padded(of_one ? printable(names.of(header.destination)) : "-", 16) +
        padded(header.origin != 0 ? std::to_string(header.origin) : "-", 8, true) +
        padded(std::to_string(header.payload_bytes) + (is_packed(header) ? " B*" : " B"), 8, true) +
        detail_of(record);
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
}

class Dump {
  public:
    Dump(const DumpOptions& options, Names names, std::set<std::uint32_t> wanted)
        : options_(options), names_(std::move(names)), wanted_(std::move(wanted)) {}

    // The log is read from its beginning, perhaps once more.
    void begin() {
        previous_ = 0;
        doubtful_ = false;
    }
    // Errors: closed (what was asked for is printed, or nobody reads it any more), server_error (stdout).
    Result<void> take(const Record& record, const Place& place) {
        const Lsn lsn = record.header.lsn;
        // Records that are missing in one reading may be there in the next: what comes behind them waits for that.
        if (previous_ != 0 && lsn != previous_ + 1) {
            doubtful_ = gaps_.insert(previous_ + 1).second || doubtful_;
        }
        previous_ = lsn;
        if (doubtful_ || lsn <= taken_) {
            return {};
        }
        if (lsn > options_.to) {
            // With a gap the report is wanted, which comes at the end.
            return gaps_.empty() ? Result<void>(Status::closed) : Result<void>();
        }
        taken_ = lsn;
        if (record.kind() == RecordKind::destination) {
            names_.update(record);
        }
        const bool wanted = wanted_.empty() || (!of_no_destination(record.kind()) &&
                                                wanted_.contains(record.header.destination));
        if (lsn < options_.from || !wanted) {
            return {};
        }
        batch_ += options_.common.json ? dump(record_json(record, place, names_)) + "\n"
                                       : record_line(record, names_);
        return batch_.size() < kBatchBytes ? Result<void>() : write();
    }
    Result<void> write() {
        const bool written = write_out(batch_);
        batch_.clear();
        if (written) {
            return {};
        }
        return errno == EPIPE ? Error{Status::closed}
                              : Error{Status::server_error, errno, "cannot write to stdout"};
    }

  private:
    const DumpOptions& options_;
    Names names_;
    std::set<std::uint32_t> wanted_;
    Lsn taken_ = 0;
    Lsn previous_ = 0;       // in this reading
    bool doubtful_ = false;  // there was a gap in it that no earlier one had
    std::set<Lsn> gaps_;
    std::string batch_;
};

// Read before anything is printed: a definition may lie behind the messages of its destination.
Result<Names> read_names(store::Storage& storage, const Interrupt& interrupt) {
    Names names;
    const auto report = read_settled(storage,
                                     interrupt,
                                     {.begin = [&] { names = {}; },
                                      .visit =
                                          [&](const Record& record, const Place& /*place*/) {
                                              if (record.kind() == RecordKind::destination) {
                                                  names.learn(record);
                                              }
                                              return Result<void>();
                                          }});
    return report ? Result<Names>(std::move(names)) : Result<Names>(report.error());
}

ExitCode run_dump(const DumpOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    const OpenedLog log = open_log(options.folder, json);
    if (log.storage == nullptr) {
        return log.refused;
    }
    auto names = read_names(*log.storage, interrupt);
    if (!names) {
        return print_error(names.error(), json);
    }
    std::set<std::uint32_t> wanted;
    if (!options.destination.empty()) {
        wanted = names->called(options.destination);
        if (wanted.empty()) {
            return print_not_found(
                "the log in " + options.folder + " has no destination " + options.destination,
                "`telpher log ls " + options.folder + "` lists those with messages",
                json);
        }
    }
    interrupt.watch_stdout();
    Dump dump(options, std::move(*names), std::move(wanted));
    const auto report =
        read_settled(*log.storage,
                     interrupt,
                     {.begin = [&] { dump.begin(); },
                      .visit = [&](const Record& record,
                                   const Place& place) { return dump.take(record, place); }});
    const auto written =
        report || report.status() != Status::server_error ? dump.write() : Result<void>();
    const bool reader_gone = interrupt.stopped() && !interrupt.interrupted();
    if (reader_gone || written.status() == Status::closed || report.status() == Status::closed) {
        return kExitOk;
    }
    if (!report || !written) {
        return print_error(!report ? report.error() : written.error(), json);
    }
    return print_damage(options.folder, *report, kExitOk, json);
}

}  // namespace

void add_log_dump(CLI::App& log, Command& command) {
    auto options = std::make_shared<DumpOptions>();
    auto* const dump = add_command(
        log,
        "dump",
        "Print one line for each record: its number (LSN), kind, destination, origin (the number "
        "that its message had first), bytes (*: compressed), and what is in it. Works while the "
        "log is in use",
        "  telpher log dump /var/lib/telpher/cafe --destination orders\n"
        "  telpher log dump /var/lib/telpher/cafe --from 1000 --to 1999 --json");
    dump->add_option("DIR", options->folder, "Folder of the log")->required();
    dump->add_option("--from", options->from, "The first record")->type_name("LSN");
    dump->add_option("--to", options->to, "The last record")->type_name("LSN");
    dump->add_option(
            "--destination", options->destination, "Only records of that queue, topic or function")
        ->type_name("NAME|ID");
    finish_command(
        *dump, options->common, TargetNeed::none, command, [options](Interrupt& interrupt) {
            return run_dump(*options, interrupt);
        });
}

}  // namespace telpher::cli

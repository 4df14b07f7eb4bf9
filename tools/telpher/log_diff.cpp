// telpher log diff: what is live in one log and not in another.
//
// Numbers of records and of destinations differ between a log and its copy by salvage: destinations are compared by their
// names, messages by their ids. What is no encoded message has only its origin and its bytes to tell it by.

#include "src/store/record_reader.hpp"
#include "tools/telpher/log_folder.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/units.hpp"

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace telpher::cli {
namespace {

constexpr int kReadingsMax = 6;
constexpr store::Seed kNoSeed = 0;  // sums of two logs are to be the same

struct DiffOptions {
    Common common;
    std::string a;
    std::string b;
};

// What tells a message: its id, or else its origin and the sum of its bytes.
struct MessageKey {
    bool by_id = false;
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    // NOLINTNEXTLINE(modernize-use-nullptr): the comparison is the compiler's own
    auto operator<=>(const MessageKey&) const = default;
};

std::string to_text(const MessageKey& key) {
    return key.by_id ? to_string(FieldValue{MessageId{key.first, key.second}})
                     : "origin " + std::to_string(key.first) + " sum " +
                           hex(std::as_bytes(std::span(&key.second, 1)));
}

// What is live of a name. Several destinations may have one: they count as one.
struct Side {
    std::vector<std::uint64_t> definitions;            // their sums, sorted
    std::vector<MessageKey> messages;                  // sorted; one may be there twice
    std::map<store::EntryKey, std::uint64_t> entries;  // sums of their values
};
using Sides = std::map<std::string, Side>;

struct LoadedLog {
    Sides sides;
    store::LogReport report;
};

Result<void> load_messages(store::Storage& storage, const LogView& view, Sides& sides) {
    store::RecordReader reader(storage, store::seed_of(view.facts().log));
    for (const auto& [origin, message] : view.contents.messages()) {
        const auto payload = reader.payload(message.place);
        if (!payload) {
            return payload.error();
        }
        const auto decoded = message_of(*payload);
        const bool by_id = decoded && decoded->id() != MessageId{};
        sides[view.name_of(message.destination)].messages.push_back(
            by_id ? MessageKey{true, decoded->id().prefix, decoded->id().counter}
                  : MessageKey{false, origin, store::payload_sum(*payload, kNoSeed)});
    }
    return {};
}

Result<LoadedLog> load(store::Storage& storage, const Interrupt& interrupt) {
    for (int reading = 1;; ++reading) {
        auto view = view_log(storage, interrupt);
        if (!view) {
            return view.error();
        }
        LoadedLog loaded;
        const auto messages = load_messages(storage, *view, loaded.sides);
        if (!messages && segment_went(messages.error()) && reading < kReadingsMax) {
            continue;
        }
        if (!messages) {
            return messages.error();
        }
        for (const auto& [id, destination] : view->contents.destinations()) {
            loaded.sides[view->name_of(id)].definitions.push_back(
                store::payload_sum(destination.definition, kNoSeed));
        }
        for (const auto& [id, entry] : view->contents.entries()) {
            loaded.sides[view->name_of(id.first)].entries[id.second] =
                store::payload_sum(entry.value, kNoSeed);
        }
        for (auto& [name, side] : loaded.sides) {
            std::sort(side.definitions.begin(), side.definitions.end());
            std::sort(side.messages.begin(), side.messages.end());
        }
        loaded.report = std::move(view->report);
        return loaded;
    }
}

std::vector<MessageKey> only_in(const Side& one, const Side& other) {
    std::vector<MessageKey> only;
    std::set_difference(one.messages.begin(),
                        one.messages.end(),
                        other.messages.begin(),
                        other.messages.end(),
                        std::back_inserter(only));
    return only;
}

std::vector<store::EntryKey> keys_only_in(const Side& one, const Side& other) {
    std::vector<store::EntryKey> only;
    for (const auto& [key, value] : one.entries) {
        if (!other.entries.contains(key)) {
            only.push_back(key);
        }
    }
    return only;
}

// How what is called `name` differs.
struct Difference {
    std::string name;
    std::string_view only{};  // "a" or "b": the other log has nothing of that name
    bool definition = false;
    std::array<std::vector<MessageKey>, 2> messages{};  // only in A, only in B
    std::array<std::vector<store::EntryKey>, 2> entries{};
    std::vector<store::EntryKey> values{};  // entries that both have, with other values

    [[nodiscard]] bool any() const {
        return !only.empty() || definition || !messages[0].empty() || !messages[1].empty() ||
               !entries[0].empty() || !entries[1].empty() || !values.empty();
    }
};

Difference compare(const std::string& name, const Side* a, const Side* b) {
    const Side none;
    Difference difference{.name = name, .only = a == nullptr ? "b" : b == nullptr ? "a" : ""};
    const Side& left = a != nullptr ? *a : none;
    const Side& right = b != nullptr ? *b : none;
    difference.definition = difference.only.empty() && left.definitions != right.definitions;
    difference.messages = {only_in(left, right), only_in(right, left)};
    difference.entries = {keys_only_in(left, right), keys_only_in(right, left)};
    for (const auto& [key, value] : left.entries) {
        const auto other = right.entries.find(key);
        if (other != right.entries.end() && other->second != value) {
            difference.values.push_back(key);
        }
    }
    return difference;
}

std::vector<Difference> compare(const Sides& a, const Sides& b) {
    std::set<std::string> names;
    for (const Sides* sides : {&a, &b}) {
        for (const auto& [name, side] : *sides) {
            names.insert(name);
        }
    }
    std::vector<Difference> differences;
    const auto side_of = [](const Sides& sides, const std::string& name) {
        const auto found = sides.find(name);
        return found != sides.end() ? &found->second : nullptr;
    };
    for (const std::string& name : names) {
        auto difference = compare(name, side_of(a, name), side_of(b, name));
        if (difference.any()) {
            differences.push_back(std::move(difference));
        }
    }
    return differences;
}

template <class Keys, class Text>
Json json_list(const Keys& keys, Text text) {
    Json list = Json::array();
    for (const auto& key : keys) {
        list.push_back(text(key));
    }
    return list;
}

Json differences_json(const std::vector<Difference>& differences) {
    Json list = Json::array();
    for (const Difference& difference : differences) {
        list.push_back(
            Json{{"name", difference.name},
                 {"only", difference.only.empty() ? Json(nullptr) : Json(difference.only)},
                 {"definition_differs", difference.definition},
                 {"messages_only_a", json_list(difference.messages[0], to_text)},
                 {"messages_only_b", json_list(difference.messages[1], to_text)},
                 {"entries_only_a", json_list(difference.entries[0], hex)},
                 {"entries_only_b", json_list(difference.entries[1], hex)},
                 {"entries_differ", json_list(difference.values, hex)}});
    }
    return list;
}

// "< NAME  message ID": only in A; ">": only in B; "!": in both, and not the same.
std::string difference_text(const Difference& difference) {
    std::string text;
    const auto line = [&](char sign, const std::string& what) {
        text += std::string(1, sign) + " " + printable(difference.name) + "  " + what + "\n";
    };
    if (!difference.only.empty()) {
        line(difference.only == "a" ? '<' : '>', "destination");
    }
    if (difference.definition) {
        line('!', "destination is defined otherwise");
    }
    for (const std::size_t side : {0U, 1U}) {
        for (const MessageKey& key : difference.messages.at(side)) {
            line("<>"[side], "message " + to_text(key));
        }
        for (const store::EntryKey& key : difference.entries.at(side)) {
            line("<>"[side], "entry " + hex(key));
        }
    }
    for (const store::EntryKey& key : difference.values) {
        line('!', "entry " + hex(key) + " has another value");
    }
    return text;
}

std::string summary(const DiffOptions& options,
                    const Sides& a,
                    const std::vector<Difference>& differences) {
    if (!differences.empty()) {
        return "< only in " + printable(options.a) + ", > only in " + printable(options.b) +
               ", ! in both; " + format_count(differences.size()) + " destinations differ\n";
    }
    std::size_t messages = 0;
    std::size_t entries = 0;
    for (const auto& [name, side] : a) {
        messages += side.messages.size();
        entries += side.entries.size();
    }
    return "the same: " + format_count(a.size()) + " destinations, " + format_count(messages) +
           " messages, " + format_count(entries) + " entries\n";
}

ExitCode run_diff(const DiffOptions& options, Interrupt& interrupt) {
    const bool json = options.common.json;
    std::array<LoadedLog, 2> logs;
    for (const std::size_t side : {0U, 1U}) {
        const OpenedLog log = open_log(side == 0 ? options.a : options.b, json);
        if (log.storage == nullptr) {
            return log.refused;
        }
        auto loaded = load(*log.storage, interrupt);
        if (!loaded) {
            return print_error(loaded.error(), json);
        }
        logs.at(side) = std::move(*loaded);
    }
    const auto differences = compare(logs[0].sides, logs[1].sides);
    std::string text;
    for (const Difference& difference : differences) {
        text += difference_text(difference);
    }
    const auto printed = json ? print_json(Json{{"a", options.a},
                                                {"b", options.b},
                                                {"same", differences.empty()},
                                                {"destinations", differences_json(differences)}})
                              : print_text(text + summary(options, logs[0].sides, differences));
    const auto damaged = print_damage(
        options.b, logs[1].report, print_damage(options.a, logs[0].report, printed, json), json);
    return damaged == kExitOk && !differences.empty() ? kExitError : damaged;
}

}  // namespace

void add_log_diff(CLI::App& log, Command& command) {
    auto options = std::make_shared<DiffOptions>();
    auto* const diff = add_command(
        log,
        "diff",
        "Compare what is live in two logs, by the names of destinations and the ids of messages; "
        "exit 1 if they differ. Works while they are in use, each as of some moment",
        "  telpher log diff /var/lib/telpher/cafe /mnt/copy/cafe\n"
        "  telpher log diff ./cafe ./saved --json");
    diff->add_option("DIR_A", options->a, "Folder of a log")->required();
    diff->add_option("DIR_B", options->b, "Folder of another log")->required();
    finish_command(
        *diff, options->common, TargetNeed::none, command, [options](Interrupt& interrupt) {
            return run_diff(*options, interrupt);
        });
}

}  // namespace telpher::cli

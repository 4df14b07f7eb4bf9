#include "tools/telpher/log_folder.hpp"

#include "shm/base/os.hpp"
#include "src/store/definition_name.hpp"
#include "src/store/log_chain.hpp"
#include "src/store/posix_storage.hpp"
#include "src/wire/codec.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <tuple>
#include <utility>

namespace telpher::cli {

namespace {

// A log that is written may look wrong in a few readings; who writes it needs far less than this for one change.
constexpr int kFolderReadingsMax = 6;
constexpr auto kPause = std::chrono::milliseconds(50);

bool same(const store::Damage& left, const store::Damage& right) {
    return left.place == right.place && left.first == right.first && left.last == right.last;
}

// What is in both.
std::vector<store::Damage> common(const std::vector<store::Damage>& damages,
                                  const std::vector<store::Damage>& others) {
    std::vector<store::Damage> both;
    for (const auto& damage : damages) {
        if (std::any_of(others.begin(), others.end(), [&](const auto& other) {
                return same(damage, other);
            })) {
            both.push_back(damage);
        }
    }
    return both;
}

Error explained(Error error) {
    if (error.os_error == EACCES || error.os_error == EPERM) {
        error.status = Status::not_permitted;
        error.detail += "; the files of a log belong to the user who runs its server";
    }
    return error;
}

}  // namespace

OpenedLog open_log(const std::string& folder, bool json) {
    auto storage = store::open_folder(folder, store::FolderMode::read);
    if (!storage) {
        const int error = storage.error().os_error;
        if (error == ENOENT || error == ENOTDIR) {
            return {nullptr,
                    print_not_found(
                        error == ENOENT ? "there is no folder " + folder : folder + " is no folder",
                        "name the folder that has the files log.NUMBER",
                        json)};
        }
        return {nullptr, print_error(explained(storage.error()), json)};
    }
    const auto segments = store::list_segments(**storage);
    if (!segments) {
        return {nullptr, print_error(explained(segments.error()), json)};
    }
    if (segments->empty()) {
        return {nullptr,
                print_not_found(folder + " holds no log: no file in it is called log.NUMBER",
                                "name the folder that has these files",
                                json)};
    }
    return {std::move(*storage), kExitOk};
}

bool log_in_use(const std::string& folder) {
    const std::string path = folder + "/lock";
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) {
        return false;
    }
    const bool held = shm::byte_is_locked(file, 0);
    ::close(file);
    return held;
}

bool segment_went(const Error& error) {
    return error.status == Status::storage_failed && error.os_error == ENOENT;
}

Result<store::LogReport> read_settled(store::Storage& storage,
                                      const Interrupt& interrupt,
                                      const LogPass& pass) {
    const store::ReadOptions options{
        .visit = [&](const store::Record& record, const store::Place& place) -> Result<void> {
            return interrupt.stopped() ? Result<void>(Status::cancelled)
                                       : pass.visit(record, place);
        },
        .list_damage = true};
    std::vector<store::Damage> before;
    for (int reading = 1;; ++reading) {
        pass.begin();
        auto report = store::read_log(storage, options);
        const bool last = reading == kFolderReadingsMax;
        if (!report && (last || !segment_went(report.error()))) {
            return explained(report.error());
        }
        if (report) {
            auto both = common(report->damages, before);
            if (last || both.size() == report->damages.size()) {
                report->damages = std::move(both);
                return report;
            }
            before = std::move(report->damages);
        }
        std::this_thread::sleep_for(kPause);
    }
}

const store::SegmentFacts& LogView::facts() const {
    const auto known =
        std::find_if(report.segments.begin(), report.segments.end(), [](const auto& segment) {
            return segment.facts.log != shm::Uuid{};
        });
    return known != report.segments.end() ? known->facts : report.segments.front().facts;
}

std::string LogView::name_of(std::uint32_t destination) const {
    const auto found = contents.destinations().find(destination);
    return store::name_of_definition(found != contents.destinations().end()
                                         ? store::Bytes(found->second.definition)
                                         : store::Bytes(),
                                     destination);
}

std::uint64_t LogView::records() const {
    std::uint64_t count = 0;
    for (const auto& segment : report.segments) {
        count += segment.records;
    }
    return count;
}

Result<LogView> view_log(store::Storage& storage, const Interrupt& interrupt) {
    LogView view;
    std::vector<store::Damage> senseless;
    auto report = read_settled(
        storage,
        interrupt,
        {.begin =
             [&] {
                 view = {};
                 senseless.clear();
             },
         .visit = [&](const store::Record& record, const store::Place& place) -> Result<void> {
             const store::Lsn lsn = record.header.lsn;
             auto& range = view.read[place.segment];
             range.first = range.first == 0 ? lsn : range.first;
             range.last = lsn;
             if (auto applied = view.contents.apply(record, place); !applied) {
                 senseless.push_back({place, lsn, lsn, applied.error().detail});
             }
             return {};
         }});
    if (!report) {
        return report.error();
    }
    if (report->segments.empty()) {
        return Error{Status::storage_failed, 0, storage.path_of("") + " holds no log any more"};
    }
    view.report = std::move(*report);
    auto& damages = view.report.damages;
    damages.insert(damages.end(), senseless.begin(), senseless.end());
    std::stable_sort(damages.begin(), damages.end(), [](const auto& left, const auto& right) {
        return std::tie(left.place.segment, left.place.offset) <
               std::tie(right.place.segment, right.place.offset);
    });
    return view;
}

std::string text_of(const store::Damage& damage, const store::Storage& storage) {
    std::string text = storage.path_of(store::segment_name(damage.place.segment)) + ": offset " +
                       std::to_string(damage.place.offset);
    if (damage.first != 0 && damage.last > damage.first) {
        text += ", records " + std::to_string(damage.first) + " to " + std::to_string(damage.last);
    } else if (damage.first != 0) {
        text += (damage.last == 0 ? ", from record " : ", record ") + std::to_string(damage.first) +
                (damage.last == 0 ? " on" : "");
    } else if (damage.last != 0) {
        text += ", up to record " + std::to_string(damage.last);
    }
    return text + ": " + damage.why;
}

Json json_of(const std::vector<store::Damage>& damages, const store::Storage& storage) {
    Json list = Json::array();
    const auto known = [](store::Lsn lsn) { return lsn != 0 ? Json(lsn) : Json(nullptr); };
    for (const auto& damage : damages) {
        list.push_back(Json{{"file", storage.path_of(store::segment_name(damage.place.segment))},
                            {"segment", damage.place.segment},
                            {"offset", damage.place.offset},
                            {"first_lsn", known(damage.first)},
                            {"last_lsn", known(damage.last)},
                            {"why", damage.why}});
    }
    return list;
}

ExitCode print_damage(const std::string& folder,
                      const store::LogReport& report,
                      ExitCode printed,
                      bool json) {
    if (report.damages.empty() || printed != kExitOk) {
        return printed;
    }
    return print_error(
        Error{Status::corrupt,
              0,
              folder + " is damaged (" + std::to_string(report.damages.size()) +
                  "), and what is damaged is not shown: `telpher log verify " + folder +
                  "` lists it, `telpher log salvage` copies what can be read into another folder"},
        json);
}

Result<MessageView> message_of(store::Bytes payload) { return wire::decode(payload); }

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes) {
        const auto number = std::to_integer<unsigned>(byte);
        text += "0123456789abcdef"[number / 16];
        text += "0123456789abcdef"[number % 16];
    }
    return text;
}

}  // namespace telpher::cli

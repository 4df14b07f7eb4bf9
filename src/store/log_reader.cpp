#include "src/store/log_reader.hpp"

#include "src/store/segment_scan.hpp"

#include <algorithm>
#include <deque>
#include <memory>
#include <new>
#include <span>
#include <utility>

namespace telpher::store {
namespace {

class Reading {
  public:
    Reading(Storage& storage, const ReadOptions& options) : storage_(storage), options_(options) {}

    Result<LogReport> run() {
        auto numbers = list_segments(storage_);
        if (!numbers) {
            return numbers.error();
        }
        for (const std::uint64_t number : *numbers) {
            if (auto looked = look_at(number); !looked) {
                return looked.error();
            }
        }
        if (auto checked = check_chain(); !checked) {
            return checked.error();
        }
        for (std::size_t i = 0; i < report_.segments.size(); ++i) {
            if (auto scanned = scan(i); !scanned) {
                return scanned.error();
            }
        }
        return std::move(report_);
    }

  private:
    // Damage ends the reading, or is noted.
    Result<void> damaged(Damage damage) {
        if (options_.list_damage) {
            report_.damages.push_back(std::move(damage));
            return {};
        }
        return Error{
            Status::corrupt,
            0,
            path_of(damage.place.segment) + ": offset " + std::to_string(damage.place.offset) +
                ", record " + std::to_string(damage.first) + ": " + damage.why +
                "; nothing was changed: `telpher log verify` lists all damage, `telpher log "
                "salvage` copies what can be read into another folder"};
    }

    [[nodiscard]] std::string path_of(std::uint64_t number) const {
        return storage_.path_of(segment_name(number));
    }

    Result<void> look_at(std::uint64_t number) {
        auto file = storage_.open(segment_name(number), Access::read);
        if (!file) {
            return file.error();
        }
        auto bytes = (*file)->size_bytes();
        if (!bytes) {
            return bytes.error();
        }
        SegmentHeader header{};
        auto got = (*file)->read(0, std::as_writable_bytes(std::span(&header, 1)));
        if (!got) {
            return got.error();
        }
        SegmentReport segment{.facts = {.number = number}, .file_bytes = *bytes};
        auto facts = check_segment_header(header, path_of(number));
        if (facts && facts->number == number) {
            segment.facts = *facts;
        } else if (facts || facts.status() == Status::corrupt) {
            const std::string why = facts ? "it is a copy of segment " + segment_name(facts->number)
                                          : facts.error().detail;
            if (auto noted = damaged({{number, 0}, 0, 0, why}); !noted) {
                return noted;
            }
        } else {
            return facts.error();
        }
        report_.segments.push_back(std::move(segment));
        return {};
    }

    // One log, and no segment missing between two others.
    Result<void> check_chain() {
        const shm::Uuid none{};
        const SegmentFacts* first = nullptr;
        for (std::size_t i = 0; i < report_.segments.size(); ++i) {
            const SegmentFacts& facts = report_.segments[i].facts;
            if (i != 0 && facts.number != report_.segments[i - 1].facts.number + 1) {
                const std::uint64_t missing = report_.segments[i - 1].facts.number + 1;
                if (auto noted = damaged({{missing, 0}, 0, 0, "this segment is missing"}); !noted) {
                    return noted;
                }
            }
            if (facts.log == none) {
                continue;
            }
            first = first != nullptr ? first : &facts;
            if (!options_.name.empty() && facts.name != options_.name) {
                return Error{Status::mismatch,
                             0,
                             path_of(facts.number) + " belongs to the log of \"" + facts.name +
                                 "\", not of \"" + options_.name + "\"; use another folder"};
            }
            if (facts.log != first->log || facts.name != first->name) {
                return Error{Status::mismatch,
                             0,
                             path_of(facts.number) + " belongs to another log (of \"" + facts.name +
                                 "\") than " + path_of(first->number) + " (of \"" + first->name +
                                 "\"); move the files of one of them away"};
            }
        }
        seed_ = first != nullptr ? seed_of(first->log) : 0;
        return {};
    }

    // What the segment behind it says of the end of this one, if it is there and says it.
    [[nodiscard]] const SegmentFacts* after(std::size_t i) const {
        if (i + 1 >= report_.segments.size()) {
            return nullptr;
        }
        const SegmentFacts& next = report_.segments[i + 1].facts;
        const bool says = next.number == report_.segments[i].facts.number + 1 &&
                          next.previous_end >= kSegmentHeaderBytes;
        return says ? &next : nullptr;
    }

    Result<void> scan(std::size_t i) {
        SegmentReport& segment = report_.segments[i];
        const SegmentFacts* next = after(i);
        if (next != nullptr && next->previous_end > segment.file_bytes) {
            if (auto noted = damaged({{segment.facts.number, segment.file_bytes},
                                      0,
                                      next->first_lsn - 1,
                                      "the file ends before its records do"});
                !noted) {
                return noted;
            }
            next = nullptr;
        }
        auto file = storage_.open(segment_name(segment.facts.number), Access::read);
        if (!file) {
            return file.error();
        }
        const Lsn expected =
            segment.facts.first_lsn != 0 ? segment.facts.first_lsn : report_.next_lsn;
        SegmentScan scan(**file,
                         seed_,
                         {segment.file_bytes, next != nullptr ? next->previous_end : 0},
                         expected);
        last_ = i + 1 == report_.segments.size();
        report_.confirmed = std::max(report_.confirmed, expected - 1);
        report_.closed = false;
        unconfirmed_.clear();
        auto ended = step_through(scan, segment, next);
        segment.end = scan.offset();
        report_.next_lsn = std::max(report_.next_lsn, scan.next_lsn());
        report_.tail = unconfirmed_.empty() ? segment.end : unconfirmed_.front().offset;
        return ended;
    }

    Result<void> step_through(SegmentScan& scan, SegmentReport& segment, const SegmentFacts* next) {
        for (;;) {
            auto record = scan.next();
            if (!record) {
                return record.error();
            }
            if (*record) {
                ++segment.records;
                if (auto visited = visit(**record, {segment.facts.number, scan.record_offset()});
                    !visited) {
                    return visited;
                }
                continue;
            }
            const bool stated = next != nullptr;
            if (stated && scan.offset() == scan.limit() && scan.next_lsn() == next->first_lsn) {
                return {};
            }
            auto goes_on = end_or_damage(scan, segment.facts.number, next);
            if (!goes_on || !*goes_on) {
                return goes_on ? Result<void>() : goes_on.error();
            }
        }
    }

    Result<void> visit(const Record& record, const Place& place) {
        const RecordHeader& header = record.header;
        report_.closed = record.kind() == RecordKind::closed;
        report_.confirmed = std::max(report_.confirmed, header.confirmed);
        unconfirmed_.push_back({header.lsn, place.offset});
        while (!unconfirmed_.empty() && unconfirmed_.front().lsn <= report_.confirmed) {
            unconfirmed_.pop_front();
        }
        auto visited = options_.visit ? options_.visit(record, place) : Result<void>();
        if (!visited) {
            Error error = std::move(visited).error();
            error.detail = path_of(place.segment) + ": offset " + std::to_string(place.offset) +
                           ": " + error.detail;
            return error;
        }
        return visited;
    }

    // There is no record where one could be. True if the scan goes on behind damage.
    Result<bool> end_or_damage(SegmentScan& scan, std::uint64_t number, const SegmentFacts* next) {
        auto behind = scan.look_behind();
        if (!behind) {
            return behind.error();
        }
        const bool stated = next != nullptr;
        if (!stated && !behind->confirmed) {
            if (last_) {
                report_.torn_bytes = behind->written;
            }
            return false;
        }
        const Lsn lost = behind->offset ? behind->lsn - 1 : stated ? next->first_lsn - 1 : 0;
        auto noted =
            damaged({{number, scan.offset()},
                     scan.next_lsn(),
                     lost,
                     "it is damaged, and what comes behind it says that it was whole on disk"});
        if (!noted) {
            return noted.error();
        }
        if (behind->offset) {
            scan.resume(*behind->offset, behind->lsn);
        }
        return behind->offset.has_value();
    }

    struct Unconfirmed {
        Lsn lsn;
        std::uint64_t offset;
    };

    Storage& storage_;
    const ReadOptions& options_;
    LogReport report_;
    Seed seed_ = 0;
    bool last_ = false;                    // the segment that is being read is the newest
    std::deque<Unconfirmed> unconfirmed_;  // of that segment
};

}  // namespace

Result<std::vector<std::uint64_t>> list_segments(Storage& storage) {
    auto names = storage.list();
    if (!names) {
        return names.error();
    }
    std::vector<std::uint64_t> numbers;
    for (const std::string& name : *names) {
        if (const auto number = segment_number(name)) {
            numbers.push_back(*number);
        }
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

Result<LogReport> read_log(Storage& storage, const ReadOptions& options) try {
    return Reading(storage, options).run();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

}  // namespace telpher::store

#include "src/store/log_reader.hpp"

#include "src/store/log_chain.hpp"
#include "src/store/packed_payload.hpp"
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
        auto chain = read_chain(storage_);
        if (!chain) {
            return chain.error();
        }
        if (auto checked = check(*chain); !checked) {
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

    // Whole headers, no segment missing between two others, and all of one log.
    Result<void> check(const Chain& chain) {
        for (const ChainLink& link : chain.links) {
            const std::uint64_t number = link.facts.number;
            auto noted = link.missing == 0
                             ? Result<void>()
                             : damaged({{link.missing, 0}, 0, 0, "this segment is missing"});
            noted = noted && !link.why.empty() ? damaged({{number, 0}, 0, 0, link.why}) : noted;
            noted = noted ? check_owner(link.facts) : noted;
            if (!noted) {
                return noted;
            }
            report_.segments.push_back({.facts = link.facts, .file_bytes = link.file_bytes});
        }
        // Those are removed by whoever opens the log: then they must be of this one, too.
        for (const ChainLink& link : chain.overtaken) {
            if (auto checked = check_owner(link.facts); !checked) {
                return checked;
            }
            report_.overtaken.push_back(link.facts.number);
        }
        seed_ = first_.number != 0 ? seed_of(first_.log) : 0;
        return {};
    }

    Result<void> check_owner(const SegmentFacts& facts) {
        if (facts.log == shm::Uuid{}) {
            return {};
        }
        first_ = first_.number != 0 ? first_ : facts;
        if (!options_.name.empty() && facts.name != options_.name) {
            return Error{Status::mismatch,
                         0,
                         path_of(facts.number) + " belongs to the log of \"" + facts.name +
                             "\", not of \"" + options_.name + "\"; use another folder"};
        }
        if (facts.log != first_.log || facts.name != first_.name) {
            return Error{Status::mismatch,
                         0,
                         path_of(facts.number) + " belongs to another log (of \"" + facts.name +
                             "\") than " + path_of(first_.number) + " (of \"" + first_.name +
                             "\"); move the files of one of them away"};
        }
        return {};
    }

    // What the segment behind it says of the end of this one, if it is there and says it.
    [[nodiscard]] const SegmentFacts* after(std::size_t i) const {
        if (i + 1 >= report_.segments.size()) {
            return nullptr;
        }
        const SegmentFacts& next = report_.segments[i + 1].facts;
        const bool says = next.previous == report_.segments[i].facts.number &&
                          next.previous_end >= kSegmentHeaderBytes;
        return says ? &next : nullptr;
    }

    // The number of a segment's first record.
    [[nodiscard]] Lsn first_of(const SegmentFacts& facts, const SegmentFacts* next) const {
        const bool known = facts.log != shm::Uuid{};
        if (!known && next != nullptr && next->previous_end == kSegmentHeaderBytes) {
            return next->first_lsn;  // it holds none
        }
        return facts.first_lsn != 0 ? facts.first_lsn : report_.next_lsn;
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
        SegmentScan scan(**file,
                         seed_,
                         {segment.file_bytes, next != nullptr ? next->previous_end : 0},
                         first_of(segment.facts, next));
        if (segment.facts.log == shm::Uuid{}) {
            // It may begin with a copy of what was read in the one before it: that is read twice, and nothing is lost.
            if (auto begun = scan.begin_at_any(); !begun) {
                return begun;
            }
        }
        last_ = i + 1 == report_.segments.size();
        report_.confirmed = std::max(report_.confirmed, scan.next_lsn() - 1);
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
        if (!options_.visit) {
            return {};
        }
        auto payload = unpacker_.unpack(record.header, record.payload, unpacked_);
        if (!payload) {
            return payload.status() == Status::corrupt
                       ? damaged({place, header.lsn, header.lsn, payload.error().detail})
                       : payload.error();
        }
        auto visited = options_.visit({header, *payload}, place);
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
    SegmentFacts first_;  // the first of them that is known; number 0: none
    Seed seed_ = 0;
    bool last_ = false;                    // the segment that is being read is the newest
    std::deque<Unconfirmed> unconfirmed_;  // of that segment
    Unpacker unpacker_;
    std::vector<std::byte> unpacked_;
};

}  // namespace

Result<LogReport> read_log(Storage& storage, const ReadOptions& options) try {
    return Reading(storage, options).run();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

}  // namespace telpher::store

// The files of a log from outside: whatever is in them, reading ends, stays in bounds, and tells damage from an end.
//
//   input     := segments u8 | op*
//   segments     bits 0-1 how many; bits 2-4 what is wrong with the header of the last; bit 5 numbers have gaps, and a
//                segment that was overtaken lies before the last; bit 6 the one before the last is missing; bit 7 its header
//                is damaged
//   op        := how u8 | value u8 | size u8 | that many bytes
//   how          bits 0-1 a record, a record with a wrong sum, bytes as they are, zeros; bits 2-4 the record's kind, 0 the
//                last; bit 5 ends the segment; bits 6-7 which field is `value`: none, lsn, confirmed, origin
//   value        of a message, bit 7: it says that it is compressed; bit 6: and is
#include "src/store/contents.hpp"
#include "src/store/log_reader.hpp"
#include "src/store/packed_payload.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace telpher;         // NOLINT(google-build-using-namespace)
using namespace telpher::store;  // NOLINT(google-build-using-namespace)
using telpher::fuzz::require;
using Data = std::vector<std::byte>;

constexpr Status kReadOnly = Status::storage_failed;

class MemoryFile final : public File {
  public:
    explicit MemoryFile(const Data& data) : data_(data) {}
    Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) override {
        const std::size_t from = std::min<std::uint64_t>(offset, data_.size());
        const std::size_t size = std::min(out.size(), data_.size() - from);
        std::copy_n(data_.begin() + static_cast<std::ptrdiff_t>(from), size, out.begin());
        return size;
    }
    Result<void> write(std::uint64_t, std::span<const Bytes>) override { return kReadOnly; }
    Result<void> reserve(std::uint64_t) override { return kReadOnly; }
    Result<void> truncate(std::uint64_t) override { return kReadOnly; }
    Result<void> sync() override { return kReadOnly; }
    Result<std::uint64_t> size_bytes() override { return std::uint64_t{data_.size()}; }

  private:
    const Data& data_;
};

class MemoryFolder final : public Storage {
  public:
    std::map<std::string, Data> files;

    Result<void> lock() override { return {}; }
    Result<std::unique_ptr<File>> create(const std::string&) override { return kReadOnly; }
    Result<std::unique_ptr<File>> open(const std::string& name, Access) override {
        return std::unique_ptr<File>(std::make_unique<MemoryFile>(files.at(name)));
    }
    Result<std::vector<std::string>> list() override {
        std::vector<std::string> names;
        for (const auto& [name, data] : files) {
            names.push_back(name);
        }
        return names;
    }
    Result<void> rename(const std::string&, const std::string&) override { return kReadOnly; }
    Result<void> remove(const std::string&) override { return kReadOnly; }
    Result<void> sync_names() override { return kReadOnly; }
    [[nodiscard]] std::string path_of(std::string_view name) const override {
        return std::string(name);
    }
};

// Builds segments out of the fuzzer's bytes, with sums that hold where they shall.
class Script {
  public:
    explicit Script(Bytes bytes) : left_(bytes) {}

    void build(MemoryFolder& folder) {
        const std::uint8_t head = take();
        const unsigned segments = 1 + head % 4U;
        const unsigned rise = (head & 32U) != 0 ? 5 : 1;
        std::uint64_t previous_end = 0;
        for (unsigned number = 1; number <= segments; ++number) {
            SegmentFacts facts{.log = {1},
                               .name = "fuzz",
                               .number = number * rise,
                               .first_lsn = lsn_,
                               .previous = (number - 1) * rise,
                               .previous_end = previous_end};
            if (rise != 1 && number == segments) {
                SegmentFacts overtaken = facts;
                --overtaken.number;
                folder.files[segment_name(overtaken.number)] = data_of(overtaken);
            }
            if (number == segments) {
                spoil(facts, head >> 2U & 7U);
            }
            Data data = data_of(facts);
            add_records(data);
            previous_end = data.size();
            folder.files[segment_name(std::uint64_t{number} * rise)] = std::move(data);
        }
        const std::string before = segment_name(std::uint64_t{segments - 1} * rise);
        if (segments > 1 && (head & 64U) != 0) {
            folder.files.erase(before);
        } else if (segments > 1 && (head & 128U) != 0) {
            folder.files[before][48] ^= std::byte{1};
        }
    }

  private:
    static Data data_of(const SegmentFacts& facts) {
        const SegmentHeader header = make_segment_header(facts);
        Data data(sizeof header);
        std::memcpy(data.data(), &header, sizeof header);
        return data;
    }
    static void spoil(SegmentFacts& facts, unsigned how) {
        switch (how) {
            case 1:
                facts.previous_end += 8;
                break;
            case 2:
                facts.previous_end = ~0ULL;
                break;
            case 3:
                ++facts.first_lsn;
                break;
            case 4:
                facts.first_lsn = ~0ULL;
                break;
            case 5:
                facts.log = {2};
                break;
            case 6:
                facts.number = 99;
                break;
            case 7:
                ++facts.previous;
                break;
            default:
                break;
        }
    }
    std::uint8_t take() {
        if (left_.empty()) {
            return 0;
        }
        const auto byte = static_cast<std::uint8_t>(left_[0]);
        left_ = left_.subspan(1);
        return byte;
    }
    Bytes take(std::size_t size) {
        const Bytes taken = left_.first(std::min(size, left_.size()));
        left_ = left_.subspan(taken.size());
        return taken;
    }
    void add_records(Data& data) {
        for (bool more = true; more && !left_.empty();) {
            const std::uint8_t how = take();
            const std::uint8_t value = take();
            const Bytes bytes = take(take());
            more = (how & 32U) == 0;
            switch (how & 3U) {
                case 0:
                case 1:
                    add_record(data, how, value, bytes);
                    break;
                case 2:
                    data.insert(data.end(), bytes.begin(), bytes.end());
                    break;
                default:
                    data.resize(data.size() + value);
            }
            data.resize(aligned(data.size()));
        }
    }
    void add_record(Data& data, std::uint8_t how, std::uint8_t value, Bytes payload) {
        const RecordKind kind =
            (how >> 2U & 7U) == 0 ? kLastKind : static_cast<RecordKind>(how >> 2U & 7U);
        const bool packed = kind == RecordKind::message && (value & 128U) != 0;
        if (packed && (value & 64U) != 0) {
            payload = packer_.pack(0, payload).value_or(payload);
        }
        RecordHeader header = make_header({.kind = kind,
                                           .destination = value % 4U,
                                           .origin = value,
                                           .payload = payload,
                                           .packed = packed},
                                          lsn_,
                                          lsn_ - 1,
                                          kSeed);
        switch (how >> 6U) {
            case 1:
                header.lsn += value;
                break;
            case 2:
                header.confirmed = value;
                break;
            case 3:
                header.payload_bytes += value;
                break;
            default:
                break;
        }
        ++lsn_;
        seal(header, kSeed);
        header.payload_sum ^= how & 1U;
        const Bytes head = std::as_bytes(std::span(&header, 1));
        data.insert(data.end(), head.begin(), head.end());
        data.insert(data.end(), payload.begin(), payload.end());
    }

    const Seed kSeed = seed_of(shm::Uuid{1});  // NOLINT(readability-identifier-naming)
    Bytes left_;
    Lsn lsn_ = 1;
    Packer packer_{0};
};

struct Reading {
    bool ok = false;
    std::vector<Lsn> lsns;
    LogReport report;
};

Reading read(MemoryFolder& folder, bool list_damage) {
    Reading reading;
    Contents contents;
    const ReadOptions options{
        .visit =
            [&](const Record& record, const Place& place) {
                require(place.offset >= kSegmentHeaderBytes &&
                            place.offset + record_bytes(record.header.payload_bytes) <=
                                folder.files.at(segment_name(place.segment)).size(),
                        "a record lies in its file");
                reading.lsns.push_back(record.header.lsn);
                static_cast<void>(contents.apply(record, place));
                return Result<void>();
            },
        .list_damage = list_damage};
    auto report = read_log(folder, options);
    reading.ok = report.has_value();
    if (report) {
        reading.report = std::move(*report);
    } else {
        require(!report.error().detail.empty(), "it is said why");
    }
    // What takes room is the sum of what is there.
    std::uint64_t live = 0;
    for (const auto& [id, destination] : contents.destinations()) {
        live += record_bytes(destination.definition.size());
    }
    for (const auto& [origin, message] : contents.messages()) {
        live += record_bytes(message.payload_bytes);
        live += message.state_place.segment != 0 ? record_bytes(message.state.size()) : 0;
    }
    for (const auto& [id, entry] : contents.entries()) {
        live += record_bytes(sizeof(EntryKey) + entry.value.size());
    }
    require(live == contents.live_bytes(), "every live record is counted once");
    return reading;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    MemoryFolder folder;
    Script(fuzz::as_bytes(data, size)).build(folder);
    const Reading strict = read(folder, false);
    const Reading lenient = read(folder, true);
    if (!strict.ok) {
        require(!lenient.ok || !lenient.report.damages.empty(), "what is refused is listed");
        return 0;
    }
    require(lenient.ok && lenient.report.damages.empty() && strict.lsns == lenient.lsns,
            "where nothing is damaged both read the same");
    for (std::size_t i = 1; i < strict.lsns.size(); ++i) {
        require(strict.lsns[i] == strict.lsns[i - 1] + 1, "no number is missing");
    }
    const auto& segments = strict.report.segments;
    require(segments.empty() || (strict.report.tail <= segments.back().end &&
                                 segments.back().end <= segments.back().file_bytes),
            "it ends in its file");
    return 0;
}

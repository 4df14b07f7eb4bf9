#include "src/store/record.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace telpher::store {
namespace {

constexpr std::string_view kSegmentPrefix = "log.";
constexpr std::size_t kNumberDigits = 16;

std::uint64_t sum_of(const RecordHeader& header, Seed seed) {
    constexpr std::size_t kBehind = sizeof header.header_sum;
    std::array<std::byte, sizeof header> bytes{};
    std::memcpy(bytes.data(), &header, sizeof header);
    return XXH3_64bits_withSeed(bytes.data() + kBehind, sizeof header - kBehind, seed);
}

std::uint64_t sum_of(const SegmentHeader& header) {
    return XXH3_64bits(&header, offsetof(SegmentHeader, sum));
}

// Whether its flags are such as its kind has.
bool may_have(const RecordHeader& header) {
    return header.flags == 0 || (header.flags == kPackedPayload &&
                                 header.kind == static_cast<std::uint8_t>(RecordKind::message));
}

Error damaged(const std::string& path, const std::string& why) {
    return Error{Status::corrupt, 0, path + ": " + why};
}

}  // namespace

Seed seed_of(const shm::Uuid& log) { return XXH3_64bits(log.data(), log.size()); }

std::uint64_t payload_sum(Bytes payload, Seed seed) {
    return XXH3_64bits_withSeed(payload.data(), payload.size(), seed);
}

RecordHeader unsummed_header(const NewRecord& record, Lsn lsn) {
    RecordHeader header{};
    header.lsn = lsn;
    header.origin = record.kind == RecordKind::message && record.origin == 0 ? lsn : record.origin;
    header.payload_bytes = static_cast<std::uint32_t>(record.payload.size());
    header.destination = record.destination;
    header.kind = static_cast<std::uint8_t>(record.kind);
    header.flags = record.packed ? kPackedPayload : std::uint8_t{0};
    return header;
}

RecordHeader make_header(const NewRecord& record, Lsn lsn, Lsn confirmed, Seed seed) {
    RecordHeader header = unsummed_header(record, lsn);
    header.payload_sum = payload_sum(record.payload, seed);
    header.confirmed = confirmed;
    seal(header, seed);
    return header;
}

void seal(RecordHeader& header, Seed seed) { header.header_sum = sum_of(header, seed); }

bool header_holds(const RecordHeader& header, Seed seed) {
    // The cheap part first: whoever looks for records in damaged bytes asks at every eighth of them.
    return header.kind >= static_cast<std::uint8_t>(RecordKind::destination) &&
           header.kind <= static_cast<std::uint8_t>(kLastKind) && may_have(header) &&
           header.reserved == 0 && header.reserved2 == 0 && header.confirmed < header.lsn &&
           header.header_sum == sum_of(header, seed);
}

std::string segment_name(std::uint64_t number) {
    std::array<char, kNumberDigits> digits{};
    for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, number /= 16) {
        *digit = "0123456789abcdef"[number % 16];
    }
    return std::string(kSegmentPrefix) + std::string(digits.data(), digits.size());
}

std::optional<std::uint64_t> segment_number(std::string_view name) {
    if (name.size() != kSegmentPrefix.size() + kNumberDigits || !name.starts_with(kSegmentPrefix)) {
        return std::nullopt;
    }
    std::uint64_t number = 0;
    const char* end = name.data() + name.size();
    const auto read = std::from_chars(name.data() + kSegmentPrefix.size(), end, number, 16);
    const bool ours = read.ec == std::errc() && read.ptr == end && segment_name(number) == name;
    return ours ? std::optional(number) : std::nullopt;
}

SegmentHeader make_segment_header(const SegmentFacts& facts) {
    SegmentHeader header{};
    header.magic = kLogMagic;
    header.version = kLogVersion;
    header.header_bytes = kSegmentHeaderBytes;
    header.log = facts.log;
    header.number = facts.number;
    header.first_lsn = facts.first_lsn;
    header.previous = facts.previous;
    header.previous_end = facts.previous_end;
    header.size_bytes = facts.size_bytes;
    header.created_ms = facts.created_ms;
    header.name_bytes = static_cast<std::uint32_t>(std::min(facts.name.size(), kLogNameBytesMax));
    std::memcpy(header.name.data(), facts.name.data(), header.name_bytes);
    header.sum = sum_of(header);
    return header;
}

Result<SegmentFacts> check_segment_header(const SegmentHeader& header, const std::string& path) {
    if (header.magic != kLogMagic) {
        return damaged(path, "this is no segment of a log, or its first bytes are damaged");
    }
    // Before the checksum: another version may have another one.
    if (header.version != kLogVersion) {
        return Error{Status::version_mismatch,
                     0,
                     path + " has format version " + std::to_string(header.version) +
                         ", this program reads version " + std::to_string(kLogVersion)};
    }
    if (header.sum != sum_of(header) || header.header_bytes != kSegmentHeaderBytes ||
        header.name_bytes > kLogNameBytesMax) {
        return damaged(path, "its header is damaged (its checksum does not match)");
    }
    // Numbers only rise: who follows them from one segment to the one before it comes to an end, and there is always a
    // next one.
    if (header.previous >= header.number || header.number > kSegmentNumberMost) {
        return damaged(path,
                       "its header names segment " + std::to_string(header.previous) +
                           " as the one before segment " + std::to_string(header.number));
    }
    return SegmentFacts{header.log,
                        std::string(header.name.data(), header.name_bytes),
                        header.number,
                        header.first_lsn,
                        header.previous,
                        header.previous_end,
                        header.size_bytes,
                        header.created_ms};
}

}  // namespace telpher::store

#include "src/store/segment_scan.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::store {
namespace {

constexpr std::size_t kBlockBytes = 1U << 20U;
// Behind a bad record so many headers are believed until their payloads are read: bytes made for it would cost the
// square of their number.
constexpr int kPayloadTriesMost = 64;

// Up to the last byte that is not 0. Most blocks behind a log's end are 0 throughout, which is compared at memory speed.
std::size_t written_bytes(Bytes block) {
    if (block.empty() || (block[0] == std::byte{0} &&
                          std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0)) {
        return 0;
    }
    const auto last = std::find_if(
        block.rbegin(), block.rend(), [](std::byte byte) { return byte != std::byte{0}; });
    return static_cast<std::size_t>(block.rend() - last);
}

bool may_be_header(Bytes bytes) {
    constexpr auto kMost = static_cast<std::byte>(kLastKind);
    const std::byte kind = bytes[offsetof(RecordHeader, kind)];
    return kind != std::byte{0} && kind <= kMost;
}

}  // namespace

Result<Bytes> BlockReader::view(std::uint64_t offset, std::size_t size) {
    const std::uint64_t left = offset < file_bytes_ ? file_bytes_ - offset : 0;
    size = static_cast<std::size_t>(std::min<std::uint64_t>(size, left));
    if (offset < begin_ || offset + size > begin_ + filled_) {
        const std::size_t wanted = std::max(size, kBlockBytes);
        block_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(wanted, left)));
        auto got = file_->read(offset, block_);
        if (!got) {
            return got.error();
        }
        begin_ = offset;
        filled_ = *got;
        // It became shorter since it was measured.
        size = std::min(size, filled_);
    }
    return Bytes(block_).subspan(static_cast<std::size_t>(offset - begin_), size);
}

Result<std::optional<RecordHeader>> SegmentScan::header_at(std::uint64_t offset) {
    if (offset > limit_ || limit_ - offset < sizeof(RecordHeader)) {
        return std::optional<RecordHeader>();
    }
    auto bytes = reader_.view(offset, sizeof(RecordHeader));
    if (!bytes) {
        return bytes.error();
    }
    if (bytes->size() < sizeof(RecordHeader) || !may_be_header(*bytes)) {
        return std::optional<RecordHeader>();
    }
    RecordHeader header{};
    std::memcpy(&header, bytes->data(), sizeof header);
    return header_holds(header, seed_) ? std::optional(header) : std::nullopt;
}

Result<std::optional<Record>> SegmentScan::record_at(std::uint64_t offset,
                                                     const RecordHeader& header) {
    if (limit_ - offset < record_bytes(header.payload_bytes)) {
        return std::optional<Record>();
    }
    const auto padded = static_cast<std::size_t>(aligned(header.payload_bytes));
    auto bytes = reader_.view(offset + sizeof header, padded);
    if (!bytes) {
        return bytes.error();
    }
    if (bytes->size() != padded) {
        return std::optional<Record>();
    }
    const Bytes payload = bytes->first(header.payload_bytes);
    const bool whole = header.payload_sum == payload_sum(payload, seed_) &&
                       written_bytes(bytes->subspan(payload.size())) == 0;
    return whole ? std::optional(Record{header, payload}) : std::nullopt;
}

Result<void> SegmentScan::begin_at_any() {
    auto header = header_at(offset_);
    if (header && *header) {
        next_lsn_ = (*header)->lsn;
    }
    return header ? Result<void>() : header.error();
}

Result<std::optional<Record>> SegmentScan::next() {
    auto header = header_at(offset_);
    if (!header || !*header || (*header)->lsn != next_lsn_) {
        return header ? Result<std::optional<Record>>(std::optional<Record>()) : header.error();
    }
    auto record = record_at(offset_, **header);
    if (record && *record) {
        record_offset_ = offset_;
        offset_ += record_bytes((*header)->payload_bytes);
        ++next_lsn_;
    }
    return record;
}

Result<SegmentScan::Behind> SegmentScan::look_behind() {
    Behind behind;
    int tries = 0;
    for (std::uint64_t at = offset_; at < limit_;) {
        auto block = reader_.view(at, kBlockBytes);
        if (!block) {
            return block.error();
        }
        if (block->empty()) {
            break;
        }
        const std::uint64_t block_end = at + block->size();
        if (const std::size_t written = written_bytes(*block); written != 0) {
            behind.written = at + written - offset_;
        } else {
            at = block_end;
            continue;
        }
        // Reading a record may replace the block.
        const std::vector<std::byte> copy(block->begin(), block->end());
        for (; at < block_end; at += kRecordAlign) {
            const Bytes rest = Bytes(copy).subspan(copy.size() - (block_end - at));
            if (rest.size() >= sizeof(RecordHeader) && !may_be_header(rest)) {
                continue;
            }
            auto header = header_at(at);
            if (!header) {
                return header.error();
            }
            if (!*header || (*header)->lsn <= next_lsn_) {
                continue;
            }
            behind.confirmed = behind.confirmed || (*header)->confirmed >= next_lsn_;
            if (behind.offset || ++tries > kPayloadTriesMost) {
                continue;
            }
            auto record = record_at(at, **header);
            if (!record) {
                return record.error();
            }
            if (*record) {
                behind.offset = at;
                behind.lsn = (*header)->lsn;
            }
        }
    }
    return behind;
}

}  // namespace telpher::store

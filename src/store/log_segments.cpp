#include "src/store/log_segments.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <new>
#include <string_view>
#include <vector>

namespace telpher::store {
namespace {

constexpr std::size_t kCopyBytes = 1U << 20U;
constexpr std::string_view kUnfinished = ".new";

std::uint64_t wall_ms() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

Result<void> copy_tail(Storage& storage, const TailCopy& tail, File& to) {
    auto from = storage.open(segment_name(tail.segment), Access::read);
    if (!from) {
        return from.error();
    }
    std::vector<std::byte> block(
        static_cast<std::size_t>(std::min<std::uint64_t>(kCopyBytes, tail.bytes())));
    for (std::uint64_t at = tail.begin; at < tail.end;) {
        const auto size =
            static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), tail.end - at));
        auto got = (*from)->read(at, std::span(block).first(size));
        if (!got || *got == 0) {
            return got ? Error{Status::corrupt, 0, "a segment became shorter while it was read"}
                       : got.error();
        }
        const Bytes part = Bytes(block).first(*got);
        const std::uint64_t offset = kSegmentHeaderBytes + (at - tail.begin);
        if (auto written = to.write(offset, std::span(&part, 1)); !written) {
            return written;
        }
        at += *got;
    }
    return {};
}

Result<void> write_zeros(File& file, std::uint64_t begin, std::uint64_t end) {
    static constexpr std::array<std::byte, 65536> kZeros{};
    std::array<Bytes, kZeroStretch / kZeros.size()> parts;
    Result<void> done;
    while (done && begin < end) {
        std::size_t count = 0;
        std::uint64_t at = begin;
        for (; count < parts.size() && at < end; ++count) {
            const std::uint64_t size = std::min<std::uint64_t>(end - at, kZeros.size());
            parts[count] = Bytes(kZeros).first(static_cast<std::size_t>(size));
            at += size;
        }
        done = file.write(begin, std::span(parts).first(count));
        begin = at;
    }
    return done;
}

}  // namespace

void zero_ahead(File& file,
                std::uint64_t begin,
                std::uint64_t end,
                std::uint64_t size_bytes) noexcept {
    if (begin / kZeroStretch == end / kZeroStretch) {
        return;
    }
    const std::uint64_t next = std::min((end / kZeroStretch + 1) * kZeroStretch, size_bytes);
    try {
        static_cast<void>(write_zeros(file, next, std::min(next + kZeroStretch, size_bytes)));
    } catch (const std::bad_alloc&) {
        // For the text of an error that nobody reads: records were written, and must be published.
        return;
    }
}

std::string unfinished_name(std::uint64_t number) {
    return segment_name(number) + std::string(kUnfinished);
}

Result<std::unique_ptr<File>> reserve_file(Storage& storage,
                                           const std::string& name,
                                           std::uint64_t size_bytes) {
    auto file = storage.create(name);
    if (file.status() == Status::already_exists) {  // an earlier call could not remove it
        auto removed = storage.remove(name);
        file = removed ? storage.create(name) : removed.error();
    }
    if (file) {
        auto reserved = (*file)->reserve(size_bytes);
        reserved =
            reserved ? write_zeros(**file, 0, std::min(2 * kZeroStretch, size_bytes)) : reserved;
        if (!reserved) {
            static_cast<void>(storage.remove(name));
            return reserved.error();
        }
    }
    return file;
}

Result<void> begin_segment(Storage& storage,
                           File& file,
                           const SegmentFacts& facts,
                           const TailCopy* tail) {
    SegmentFacts dated = facts;
    dated.created_ms = wall_ms();
    const SegmentHeader header = make_segment_header(dated);
    const Bytes bytes = std::as_bytes(std::span(&header, 1));
    Result<void> done = file.write(0, std::span(&bytes, 1));
    done = done && tail != nullptr && tail->bytes() != 0 ? copy_tail(storage, *tail, file) : done;
    return done ? file.sync() : done;
}

Result<void> name_segment(Storage& storage, const std::string& from, std::uint64_t number) {
    auto renamed = storage.rename(from, segment_name(number));
    return renamed ? storage.sync_names() : renamed;
}

Result<std::unique_ptr<File>> make_segment(Storage& storage,
                                           const SegmentFacts& facts,
                                           const TailCopy* tail) {
    const std::string name = unfinished_name(facts.number);
    auto file = reserve_file(storage, name, facts.size_bytes);
    if (!file) {
        return file;
    }
    Result<void> done = begin_segment(storage, **file, facts, tail);
    done = done ? name_segment(storage, name, facts.number) : done;
    return done ? std::move(file) : done.error();
}

Result<void> remove_leftovers(Storage& storage) {
    auto names = storage.list();
    if (!names) {
        return names.error();
    }
    for (const std::string& name : *names) {
        const bool unfinished =
            name.ends_with(kUnfinished) &&
            segment_number(std::string_view(name).substr(0, name.size() - kUnfinished.size()))
                .has_value();
        if (unfinished || name == kSpareName) {
            if (auto removed = storage.remove(name); !removed) {
                return removed;
            }
        }
    }
    return {};
}

Result<void> remove_overtaken(Storage& storage, std::span<const std::uint64_t> numbers) {
    for (const std::uint64_t number : numbers) {
        if (auto removed = storage.remove(segment_name(number)); !removed) {
            return removed;
        }
    }
    return {};
}

}  // namespace telpher::store

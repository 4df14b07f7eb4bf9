// Goal:   zeros go ahead of the records, a stretch at a time, never over what was written and never beyond the segment; where
//         they cannot be written, nothing is told and nothing is lost.
// Method: a file that keeps what it was asked to write; a log of real files, of several stretches a segment.
#include "src/store/log_segments.hpp"

#include "src/store/posix_storage.hpp"
#include "src/store/store.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

using store::Bytes;
using store::kZeroStretch;
using Range = std::pair<std::uint64_t, std::uint64_t>;

class NotedFile final : public store::File {
  public:
    Result<std::size_t> read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) override {
        return std::size_t{0};
    }
    Result<void> write(std::uint64_t offset, std::span<const Bytes> parts) override {
        if (fails) {
            return Error{Status::storage_failed, 0, {}};
        }
        if (out_of_memory) {
            throw std::bad_alloc();
        }
        std::uint64_t end = offset;
        for (const Bytes part : parts) {
            end += part.size();
            zeros = zeros && std::all_of(part.begin(), part.end(), [](std::byte byte) {
                        return byte == std::byte{0};
                    });
        }
        ranges.emplace_back(offset, end);
        return {};
    }
    Result<void> reserve(std::uint64_t /*size_bytes*/) override { return {}; }
    Result<void> truncate(std::uint64_t /*size_bytes*/) override { return {}; }
    Result<void> sync() override { return {}; }
    Result<std::uint64_t> size_bytes() override { return std::uint64_t{0}; }

    std::vector<Range> ranges;
    bool zeros = true;
    bool fails = false;
    bool out_of_memory = false;
};

TEST(LogZeros, are_written_where_records_come_into_the_next_stretch) {
    constexpr std::uint64_t kSegment = 4 * kZeroStretch + 4096;
    NotedFile file;
    store::zero_ahead(file, 4096, 8192, kSegment);
    store::zero_ahead(file, 8192, kZeroStretch - 8, kSegment);
    EXPECT_EQ(file.ranges, std::vector<Range>{});
    store::zero_ahead(file, kZeroStretch - 8, kZeroStretch + 8, kSegment);
    store::zero_ahead(file, kZeroStretch + 8, 2 * kZeroStretch - 8, kSegment);
    EXPECT_EQ(file.ranges, (std::vector<Range>{{2 * kZeroStretch, 3 * kZeroStretch}}));
    store::zero_ahead(file, 2 * kZeroStretch - 8, 3 * kZeroStretch + 8, kSegment);
    EXPECT_EQ(file.ranges.back(), Range(4 * kZeroStretch, kSegment))
        << "no further than the segment";
    const std::size_t written = file.ranges.size();
    store::zero_ahead(file, 3 * kZeroStretch + 8, kSegment, kSegment);
    EXPECT_EQ(file.ranges.size(), written) << "there is nothing behind its end";
    EXPECT_TRUE(file.zeros);
}

TEST(LogZeros, that_cannot_be_written_are_nobodys_trouble) {
    NotedFile file;
    file.fails = true;
    store::zero_ahead(file, 0, kZeroStretch, 4 * kZeroStretch);
    file.fails = false;
    file.out_of_memory = true;
    store::zero_ahead(file, 0, kZeroStretch, 4 * kZeroStretch);
    EXPECT_EQ(file.ranges, std::vector<Range>{});
}

TEST(LogZeros, leave_every_record_as_it_was_written) {
    constexpr std::size_t kMessages = 300;
    const ScratchFolder folder;
    const auto payload = [](std::size_t number) {
        return std::string(20'000 + number * 7, static_cast<char>('a' + number % 26));
    };
    const auto storage = store::open_folder(folder.path(), store::FolderMode::existing).value();
    const auto opened = [&] {
        store::LogReport report;
        return store::Store::open(
                   *storage, {.name = "zeros", .segment_bytes = 4 * kZeroStretch}, report)
            .value();
    };
    std::vector<store::Lsn> origins;
    {
        auto store = opened();
        for (std::size_t i = 0; i < kMessages; ++i) {
            const std::string text = payload(i);
            origins.push_back(store->put(1, std::as_bytes(std::span(text))).value());
            ASSERT_TRUE(store->commit());
        }
    }
    auto store = opened();
    for (std::size_t i = 0; i < kMessages; ++i) {
        const auto read = store->payload(origins[i]).value();
        const std::string expected = payload(i);
        ASSERT_TRUE(std::ranges::equal(read, std::as_bytes(std::span(expected)))) << i;
    }
}

}  // namespace
}  // namespace telpher::test

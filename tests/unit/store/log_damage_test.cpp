// Goal:   damaged files are told from torn ones: nothing wrong is ever read, and nothing that was confirmed goes
//         without a word.
// Method: a log of some 64 KiB that was closed in good order; each of its bits flipped, one at a time (fewer
//         under a sanitizer, and every fifth of a compressed one, unless TELPHER_SOAK=1), then whole sectors, cuts, swaps and foreign files.

#include "src/store/salvage.hpp"
#include "src/store/store.hpp"
#include "tests/unit/compression/json_like.hpp"
#include "tests/unit/store/simulated_disk.hpp"
#include "tests/unit/store/store_model.hpp"
#include "tests/unit/support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using store::Place;
using store::ReadOptions;
using store::Record;

class LogDamage : public ::testing::Test {
  protected:
    explicit LogDamage(std::int64_t compress_from = -1, std::size_t bytes = 900) {
        store::LogReport report;
        auto store = store::Store::open(disk_, StoreWork::options(), report, compress_from).value();
        const std::vector<std::byte> payload = compression::json_like(bytes);
        while (store->log().segments().back().number < 4) {
            EXPECT_TRUE(store->put(1, payload));
            EXPECT_TRUE(store->commit());
        }
        EXPECT_TRUE(store->close());
        store.reset();
        disk_.restart();
        whole_ = read().records;
        EXPECT_GE(whole_.size(), 40U);
    }

    struct Outcome {
        Status status = Status::ok;
        std::string text;
        std::vector<std::uint64_t> records;  // what each holds, in order
        store::LogReport report;
    };
    Outcome read(bool list_damage = false) {
        Outcome outcome;
        const ReadOptions options{
            .visit =
                [&](const Record& record, const Place& /*place*/) {
                    outcome.records.push_back(record.header.lsn);
                    outcome.records.push_back(store::payload_sum(record.payload, 1));
                    return Result<void>();
                },
            .list_damage = list_damage};
        auto report = store::read_log(disk_, options);
        outcome.status = report.status();
        outcome.text = report ? "" : to_string(report.error());
        outcome.report = report ? std::move(*report) : store::LogReport{};
        return outcome;
    }
    // Each so many bits; with TELPHER_SOAK=1 each.
    void flip_bits(std::size_t usual);
    static std::string name(std::uint64_t number) { return store::segment_name(number); }
    // What is read is the beginning of what was there.
    void expect_beginning(const Outcome& outcome) {
        ASSERT_LE(outcome.records.size(), whole_.size());
        EXPECT_TRUE(std::equal(outcome.records.begin(), outcome.records.end(), whole_.begin()));
    }

    SimulatedDisk disk_;
    std::vector<std::uint64_t> whole_;
};

// Of records that are compressed.
class CompressedLogDamage : public LogDamage {
  protected:
    CompressedLogDamage() : LogDamage(0, 2700) {}
};

void LogDamage::flip_bits(std::size_t usual) {
    const std::size_t step = std::getenv("TELPHER_SOAK") != nullptr ? 1 : usual;
    const auto segments = read().report.segments;
    std::uint64_t refused = 0;
    std::uint64_t told = 0;
    for (const store::SegmentReport& segment : segments) {
        SimulatedDisk::Data& bytes = disk_.bytes_of(name(segment.facts.number));
        for (std::size_t bit = 0; bit < segment.end * 8; bit += step) {
            const auto mask = static_cast<std::byte>(1U << (bit % 8));
            bytes[bit / 8] ^= mask;
            const Outcome outcome = read();
            bytes[bit / 8] ^= mask;
            if (outcome.status != Status::ok) {
                ++refused;
                continue;
            }
            // The record that says that the log was closed has no other behind it: it is torn, and that is told.
            ++told;
            ASSERT_TRUE(outcome.report.torn_bytes != 0 && !outcome.report.closed)
                << "segment " << segment.facts.number << " bit " << bit;
            ASSERT_NO_FATAL_FAILURE(expect_beginning(outcome));
            ASSERT_GE(outcome.records.size() + 2, whole_.size());
        }
    }
    std::printf("  %llu flips: %llu refused, %llu told as torn\n",
                static_cast<unsigned long long>(refused + told),
                static_cast<unsigned long long>(refused),
                static_cast<unsigned long long>(told));
    EXPECT_EQ(read().records, whole_);
    EXPECT_LE(told, sizeof(store::RecordHeader) * 8);
}

TEST_F(LogDamage, of_every_bit_is_noticed_and_never_read_as_something_else) {
    flip_bits(kSanitizer ? 997 : 1);
}

TEST_F(CompressedLogDamage, of_every_fifth_bit_is_noticed_and_never_read_as_something_else) {
    flip_bits(kSanitizer ? 997 : 5);
}

TEST_F(LogDamage, names_the_file_the_offset_and_what_to_do) {
    disk_.bytes_of(name(2))[5000] ^= std::byte{1};
    const Outcome outcome = read();
    EXPECT_EQ(outcome.status, Status::corrupt);
    for (const char* part :
         {"disk/log.0000000000000002", "offset", "salvage", "nothing was changed"}) {
        EXPECT_NE(outcome.text.find(part), std::string::npos) << outcome.text;
    }
    store::LogReport report;
    const std::uint64_t changes = disk_.changes();
    EXPECT_EQ(store::Store::open(disk_, StoreWork::options(), report).status(), Status::corrupt);
    EXPECT_EQ(disk_.changes(), changes);
}

TEST_F(LogDamage, is_listed_and_what_lies_behind_it_is_read) {
    disk_.bytes_of(name(2))[5000] ^= std::byte{1};
    std::fill_n(disk_.bytes_of(name(3)).begin() + 8192, 2048, std::byte{0});
    const Outcome outcome = read(true);
    ASSERT_EQ(outcome.status, Status::ok) << outcome.text;
    ASSERT_EQ(outcome.report.damages.size(), 2U);
    EXPECT_EQ(outcome.report.damages[0].place.segment, 2U);
    EXPECT_EQ(outcome.report.damages[0].first, outcome.report.damages[0].last) << "one record";
    const std::uint64_t lost =
        1 + outcome.report.damages[1].last - outcome.report.damages[1].first + 1;
    EXPECT_EQ(outcome.records.size() + 2 * lost, whole_.size());
    EXPECT_GE(lost, 3U);
    EXPECT_LE(lost, 5U);
}

TEST_F(LogDamage, is_left_out_when_the_rest_is_salvaged) {
    store::LogReport report;
    {
        auto store = store::Store::open(disk_, StoreWork::options(), report).value();
        const std::vector<std::byte> text(20, std::byte{'d'});
        ASSERT_TRUE(store->define(1, text));
        ASSERT_TRUE(store->set_state(30, 2, text));
        ASSERT_TRUE(store->set_entry(2, {}, text));
        ASSERT_TRUE(store->done(std::vector<store::Lsn>{31, 32}));
        ASSERT_TRUE(store->commit());
    }
    disk_.restart();
    const std::uint64_t before = disk_.changes();
    disk_.bytes_of(name(2))[5000] ^= std::byte{1};
    SimulatedDisk to;
    const auto salvaged = store::salvage(disk_, to);
    ASSERT_TRUE(salvaged) << to_string(salvaged.error());
    EXPECT_EQ(disk_.changes(), before) << "nothing was changed";
    EXPECT_EQ(salvaged->read.damages.size(), 1U);
    EXPECT_EQ(salvaged->lost, 0U);
    EXPECT_EQ(salvaged->entries, 1U);
    EXPECT_GE(salvaged->messages, 30U);
    EXPECT_EQ(store::salvage(disk_, to).status(), Status::not_permitted) << "it is in use";
    disk_.restart();
    EXPECT_EQ(store::salvage(disk_, to).status(), Status::already_exists);
    to.restart();
    auto copy = store::Store::open(to, {.name = "test"}, report).value();
    const StoreModel model = StoreModel::of(*copy);
    EXPECT_EQ(model.messages.size(), salvaged->messages);
    EXPECT_EQ(model.destinations.size() + model.entries.size(), 2U);
    EXPECT_TRUE(std::any_of(model.messages.begin(), model.messages.end(), [](const auto& message) {
        return message.second.destination == 2 && message.second.state.size() == 20;
    }));
    SimulatedDisk empty;
    SimulatedDisk nothing;
    EXPECT_EQ(store::salvage(empty, nothing).status(), Status::bad_request);
}

TEST_F(LogDamage, of_headers_and_missing_files_is_noticed) {
    SimulatedDisk::Data header(disk_.bytes_of(name(2)).begin(),
                               disk_.bytes_of(name(2)).begin() + 4096);
    std::fill_n(disk_.bytes_of(name(2)).begin(), 4096, std::byte{0});
    EXPECT_EQ(read().status, Status::corrupt);
    const Outcome listed = read(true);
    EXPECT_EQ(listed.report.damages.size(), 1U);
    EXPECT_EQ(listed.records, whole_) << "its records are there";
    std::copy(header.begin(), header.end(), disk_.bytes_of(name(2)).begin());

    // A file under another file's name.
    SimulatedDisk::Data third = disk_.bytes_of(name(3));
    disk_.bytes_of(name(3)) = disk_.bytes_of(name(2));
    EXPECT_EQ(read().status, Status::corrupt);
    disk_.bytes_of(name(3)) = third;
    EXPECT_EQ(read().status, Status::ok);

    ASSERT_TRUE(disk_.remove(name(2)));
    EXPECT_EQ(read().status, Status::corrupt);
    EXPECT_NE(read().text.find("missing"), std::string::npos);
    EXPECT_GE(read(true).records.size(), whole_.size() / 2);
    ASSERT_TRUE(disk_.remove(name(1)));
    EXPECT_EQ(read().status, Status::ok)
        << "the oldest ones were dropped: that is how a log goes on";
}

TEST_F(LogDamage, a_file_that_was_cut_is_noticed_or_torn) {
    auto& third = disk_.bytes_of(name(3));
    third.resize(third.size() / 2);
    EXPECT_EQ(read().status, Status::corrupt);
    EXPECT_GE(read(true).records.size(), whole_.size() / 2);
}

TEST_F(LogDamage, other_versions_and_other_logs_are_told_by_name) {
    SimulatedDisk other;
    store::LogReport report;
    {
        auto store = store::Store::open(other, {.name = "theirs", .segment_bytes = 16384}, report);
        ASSERT_TRUE(store);
        ASSERT_TRUE((*store)->put(1, std::vector<std::byte>(10)));
        ASSERT_TRUE((*store)->commit());
    }
    other.restart();
    auto refused = store::Store::open(other, {.name = "ours", .segment_bytes = 16384}, report);
    EXPECT_EQ(refused.status(), Status::mismatch);
    EXPECT_NE(refused.error().detail.find("\"theirs\", not of \"ours\""), std::string::npos)
        << refused.error().detail;

    disk_.bytes_of(name(4)) = other.bytes_of(name(1));
    EXPECT_EQ(read().status, Status::corrupt) << "its number is another one";
    disk_.bytes_of(name(4))[8] = std::byte{2};
    EXPECT_EQ(read().status, Status::version_mismatch);
    EXPECT_NE(read().text.find("version 2"), std::string::npos);

    other.restart();
    auto first = store::Store::open(other, {.name = "theirs", .segment_bytes = 16384}, report);
    EXPECT_TRUE(first);
    EXPECT_EQ(
        store::Store::open(other, {.name = "theirs", .segment_bytes = 16384}, report).status(),
        Status::not_permitted)
        << "it is in use";
    EXPECT_EQ(store::Store::open(other, {.name = ""}, report).status(), Status::bad_request);
    EXPECT_EQ(store::Store::open(other, {.name = "a", .segment_bytes = 5000}, report).status(),
              Status::bad_request);
}

}  // namespace
}  // namespace telpher::test

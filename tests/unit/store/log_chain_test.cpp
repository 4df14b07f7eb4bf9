// Goal:   a log is the segments that name each other, whatever numbers they have: what a writer left that was overtaken
//         is none of them and goes, and a segment that is missing is never taken for that.
// Method: a log of a few segments and a tail that nothing confirms; further segments are made behind it as another
//         writer would, with gaps, twice from the same end, and late.

#include "src/store/log_segments.hpp"
#include "src/store/store.hpp"
#include "tests/unit/store/simulated_disk.hpp"
#include "tests/unit/store/store_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using store::SegmentFacts;
using store::Store;
using store::TailCopy;
using Numbers = std::vector<std::uint64_t>;

class LogChain : public ::testing::Test {
  protected:
    LogChain() {
        const std::vector<std::byte> payload(900, std::byte{'x'});
        {
            auto store = open(disk_);
            while (store->log().segments().back().number < 4) {
                EXPECT_TRUE(store->put(1, payload));
                EXPECT_TRUE(store->commit());
            }
            // Written, and not synced: a tail that nothing confirms.
            const store::Lsn first = store->put(2, payload).value();
            const store::Lsn second = store->put(2, payload).value();
            EXPECT_TRUE(store->payload(first));
            EXPECT_TRUE(store->payload(second));
        }
        disk_.restart();
        whole_ = read(disk_).lsns;
        EXPECT_GE(whole_.size(), 30U);
        const auto copy = disk_.copy();
        model_ = StoreModel::of(*open(*copy));
        EXPECT_EQ(model_.messages.size(), whole_.size());
    }

    struct Outcome {
        Status status = Status::ok;
        std::string text;
        std::vector<store::Lsn> lsns;
        store::LogReport report;
    };
    static Outcome read(SimulatedDisk& disk, bool list_damage = false) {
        Outcome outcome;
        const store::ReadOptions options{
            .visit =
                [&](const store::Record& record, const store::Place& /*place*/) {
                    outcome.lsns.push_back(record.header.lsn);
                    return Result<void>();
                },
            .list_damage = list_damage};
        auto report = store::read_log(disk, options);
        outcome.status = report.status();
        outcome.text = report ? "" : to_string(report.error());
        outcome.report = report ? std::move(*report) : store::LogReport{};
        return outcome;
    }
    static std::unique_ptr<Store> open(SimulatedDisk& disk) {
        store::LogReport report;
        auto store = Store::open(disk, StoreWork::options(), report);
        EXPECT_TRUE(store) << to_string(store.error());
        return store ? std::move(*store) : nullptr;
    }
    static std::string name(std::uint64_t number) { return store::segment_name(number); }

    // A segment of that number behind the log that was read.
    struct Next {
        SegmentFacts facts;
        TailCopy tail;
    };
    static Next behind(const store::LogReport& report, std::uint64_t number) {
        const store::SegmentReport& last = report.segments.back();
        return {{.log = last.facts.log,
                 .name = last.facts.name,
                 .number = number,
                 .first_lsn = report.confirmed + 1,
                 .previous = last.facts.number,
                 .previous_end = report.tail,
                 .size_bytes = store::kSegmentBytesLeast},
                {last.facts.number, report.tail, last.end}};
    }
    static void make(SimulatedDisk& disk, const Next& next) {
        const auto made = store::make_segment(disk, next.facts, &next.tail);
        EXPECT_TRUE(made) << to_string(made.error());
    }
    // One writer after the other.
    void go_on(const Numbers& numbers) {
        for (const std::uint64_t number : numbers) {
            make(disk_, behind(read(disk_).report, number));
        }
    }
    // All of them from the same end, the last one in time: the others have their names later.
    void overtake(const Numbers& numbers) {
        const store::LogReport report = read(disk_).report;
        std::for_each(numbers.rbegin(), numbers.rend(), [&](std::uint64_t number) {
            make(disk_, behind(report, number));
        });
    }
    bool has(const std::string& file) {
        const auto names = disk_.list().value();
        return std::find(names.begin(), names.end(), file) != names.end();
    }
    // Changes a field of a segment's header; its sum holds.
    void restate(std::uint64_t number, void (*change)(SegmentFacts&)) {
        store::SegmentHeader header{};
        std::memcpy(&header, disk_.bytes_of(name(number)).data(), sizeof header);
        SegmentFacts facts = store::check_segment_header(header, "").value();
        change(facts);
        header = store::make_segment_header(facts);
        std::memcpy(disk_.bytes_of(name(number)).data(), &header, sizeof header);
    }

    SimulatedDisk disk_;
    std::vector<store::Lsn> whole_;
    StoreModel model_;
};

TEST_F(LogChain, its_numbers_have_gaps) {
    go_on({10, 0x1000});
    const Outcome outcome = read(disk_);
    EXPECT_EQ(outcome.lsns, whole_) << outcome.text;
    EXPECT_EQ(outcome.report.segments.size(), 6U);
    EXPECT_TRUE(outcome.report.overtaken.empty());
    const auto store = open(disk_);
    EXPECT_EQ(StoreModel::of(*store), model_);
    EXPECT_EQ(store->log().segments().back().number, 0x1001U);
    EXPECT_EQ(read(disk_).report.segments.back().facts.previous, 0x1000U);
}

TEST_F(LogChain, passes_by_what_was_overtaken_and_open_removes_it) {
    overtake({5, 6, 8});
    go_on({20});
    Outcome outcome = read(disk_);
    EXPECT_EQ(outcome.lsns, whole_) << outcome.text;
    EXPECT_EQ(outcome.report.overtaken, (Numbers{5, 6}));
    EXPECT_EQ(read(disk_, true).lsns, whole_);
    EXPECT_TRUE(read(disk_, true).report.damages.empty());
    // What is in it is of no account.
    disk_.bytes_of(name(5))[4100] ^= std::byte{1};
    disk_.bytes_of(name(6))[100] ^= std::byte{1};
    outcome = read(disk_);
    EXPECT_EQ(outcome.lsns, whole_) << outcome.text;
    EXPECT_EQ(StoreModel::of(*open(disk_)), model_);
    EXPECT_FALSE(has(name(5)) || has(name(6)));
    EXPECT_TRUE(has(name(4)) && has(name(8)) && has(name(20)) && has(name(21)));
    EXPECT_TRUE(read(disk_).report.overtaken.empty());
}

// Until it is gone from the disk, and the segments around it are, too.
TEST_F(LogChain, with_an_overtaken_segment_survives_every_power_loss) {
    const store::LogReport before = read(disk_).report;
    make(disk_, behind(before, 8));
    const Next late = behind(before, 6);
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        const auto disk = disk_.copy();
        const std::string unfinished = store::unfinished_name(6);
        const auto file = store::reserve_file(*disk, unfinished, store::kSegmentBytesLeast).value();
        ASSERT_TRUE(store::begin_segment(*disk, *file, late.facts, &late.tail));
        ASSERT_TRUE(disk->rename(unfinished, name(6))) << "its name is not on disk yet";
        StoreWork work(seed);
        work.restart(model_);
        std::uint64_t refused = 0;
        disk->before_change = [&](std::uint64_t /*change*/) {
            for (const auto loss : SimulatedDisk::kLosses) {
                const auto copy = disk->copy();
                copy->lose_power(loss, work.random());
                store::LogReport report;
                auto store = Store::open(*copy, StoreWork::options(), report);
                const auto& possible = work.possible();
                refused += !store || std::find(possible.begin(),
                                               possible.end(),
                                               StoreModel::of(**store)) == possible.end()
                               ? 1U
                               : 0U;
            }
        };
        auto store = open(*disk);
        for (int i = 0; i < 1000 && store->log().segments().front().number <= 8; ++i) {
            ASSERT_TRUE(work.step(*store));
        }
        EXPECT_EQ(refused, 0U) << "seed " << seed;
        EXPECT_GT(store->log().segments().front().number, 8U) << "the old ones were dropped";
    }
}

TEST_F(LogChain, may_begin_behind_one_that_was_overtaken) {
    SimulatedDisk disk;
    SegmentFacts facts{.log = {1},
                       .name = "test",
                       .number = 2,
                       .first_lsn = 1,
                       .size_bytes = store::kSegmentBytesLeast};
    ASSERT_TRUE(store::make_segment(disk, facts, nullptr));
    facts.number = 1;
    ASSERT_TRUE(store::make_segment(disk, facts, nullptr));
    EXPECT_EQ(read(disk).report.overtaken, Numbers{1});
    ASSERT_TRUE(open(disk)->close());
    EXPECT_FALSE(disk.open(name(1), store::Access::read));

    // What is another log's is not taken for one of those, and stays.
    disk.restart();
    facts.log = {2};
    ASSERT_TRUE(store::make_segment(disk, facts, nullptr));
    store::LogReport report;
    EXPECT_EQ(Store::open(disk, StoreWork::options(), report).status(), Status::mismatch);
    EXPECT_TRUE(disk.open(name(1), store::Access::read));
}

TEST_F(LogChain, a_missing_segment_is_damage_and_the_oldest_ones_may_be_gone) {
    go_on({10});
    overtake({15, 20});
    ASSERT_TRUE(disk_.remove(name(10)));
    const std::uint64_t changes = disk_.changes();
    const Outcome outcome = read(disk_);
    EXPECT_EQ(outcome.status, Status::corrupt);
    EXPECT_NE(outcome.text.find(name(10) + ": offset 0"), std::string::npos) << outcome.text;
    EXPECT_NE(outcome.text.find("missing"), std::string::npos) << outcome.text;
    store::LogReport report;
    EXPECT_EQ(Store::open(disk_, StoreWork::options(), report).status(), Status::corrupt);
    EXPECT_EQ(disk_.changes(), changes) << "nothing was changed";
    disk_.restart();
    const Outcome listed = read(disk_, true);
    ASSERT_EQ(listed.report.damages.size(), 1U);
    EXPECT_EQ(listed.report.damages[0].place.segment, 10U);
    EXPECT_TRUE(std::includes(listed.lsns.begin(), listed.lsns.end(), whole_.begin(), whole_.end()))
        << "it held nothing";

    for (const std::uint64_t number : {1U, 2U, 3U, 4U}) {
        EXPECT_EQ(read(disk_).status, Status::corrupt);
        ASSERT_TRUE(disk_.remove(name(number)));
    }
    EXPECT_EQ(read(disk_).status, Status::ok) << "that is how a log goes on";
    EXPECT_EQ(read(disk_).report.overtaken, Numbers{15});
}

TEST_F(LogChain, a_wrong_word_for_the_one_before_is_noticed) {
    go_on({10});
    auto& bytes = disk_.bytes_of(name(10));
    for (std::size_t bit = 0; bit < 64; ++bit) {
        auto& byte = bytes[offsetof(store::SegmentHeader, previous) + bit / 8];
        byte ^= static_cast<std::byte>(1U << bit % 8);
        const Outcome outcome = read(disk_);
        EXPECT_EQ(outcome.status, Status::corrupt);
        EXPECT_NE(outcome.text.find("checksum"), std::string::npos) << outcome.text;
        byte ^= static_cast<std::byte>(1U << bit % 8);
    }
    // Whatever its sum says: who follows it must come to an end.
    restate(10, [](SegmentFacts& facts) { facts.previous = facts.number; });
    const Outcome outcome = read(disk_);
    EXPECT_EQ(outcome.status, Status::corrupt);
    EXPECT_NE(outcome.text.find("names segment 10 as the one before segment 10"), std::string::npos)
        << outcome.text;
}

// Then the order of the numbers says which one is before it.
TEST_F(LogChain, with_damaged_headers_is_listed_and_loses_no_record) {
    overtake({6, 8});
    go_on({20});
    for (const Numbers& damaged : {Numbers{20}, Numbers{8}, Numbers{2}, Numbers{2, 4, 8, 20}}) {
        const auto copy = disk_.copy();
        for (const std::uint64_t number : damaged) {
            copy->bytes_of(name(number))[48] ^= std::byte{1};
        }
        EXPECT_EQ(read(*copy).status, Status::corrupt);
        Outcome listed = read(*copy, true);
        EXPECT_EQ(listed.status, Status::ok);
        Numbers told;
        for (const store::Damage& damage : listed.report.damages) {
            told.push_back(damage.place.segment);
        }
        EXPECT_EQ(told, damaged);
        // The tail may be read twice.
        std::sort(listed.lsns.begin(), listed.lsns.end());
        EXPECT_TRUE(
            std::includes(listed.lsns.begin(), listed.lsns.end(), whole_.begin(), whole_.end()));
    }
}

TEST_F(LogChain, a_segment_is_made_whole_or_not_at_all) {
    const store::LogReport report = read(disk_).report;
    for (std::uint64_t n = 1;; ++n) {
        const auto disk = disk_.copy();
        ASSERT_TRUE(disk->create(store::unfinished_name(9))) << "an earlier one was given up";
        disk->fail_at = disk->changes() + n;
        const Next next = behind(report, 9);
        const auto made = store::make_segment(*disk, next.facts, &next.tail);
        if (made) {
            EXPECT_GE(n, 8U) << "create, remove, create, reserve, header, tail, sync, names";
            break;
        }
        EXPECT_EQ(made.status(), Status::storage_failed);
        SimulatedDisk::Random random(n);
        disk->lose_power(SimulatedDisk::Loss::half, random);
        disk->fail_at = 0;
        ASSERT_EQ(read(*disk).status, Status::ok) << read(*disk).text;
        ASSERT_TRUE(store::remove_leftovers(*disk));
        const std::vector<std::string> names = disk->list().value();
        for (const std::string& file : names) {
            EXPECT_TRUE(store::segment_number(file)) << file;
        }
    }
}

}  // namespace
}  // namespace telpher::test

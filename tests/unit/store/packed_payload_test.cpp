// Records whose payloads are compressed: smaller, and read as what was put.

#include "src/store/log.hpp"
#include "src/store/salvage.hpp"
#include "src/store/store.hpp"
#include "tests/unit/compression/json_like.hpp"
#include "tests/unit/store/simulated_disk.hpp"
#include "tests/unit/store/store_model.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using compression::json_like;
using compression::random_bytes;
using Data = std::vector<std::byte>;

class PackedPayload : public ::testing::Test {
  protected:
    std::unique_ptr<store::Store> open(std::int64_t compress_from) {
        disk_.restart();
        store::LogReport report;
        return store::Store::open(disk_, StoreWork::options(), report, compress_from).value();
    }
    // What the record of that message takes.
    static std::uint32_t stored(const store::Store& store, store::Lsn origin) {
        return store.contents().messages().at(origin).payload_bytes;
    }
    // A log with one record that says that it is compressed, and another message behind it.
    void write_raw(const Data& payload) {
        const std::vector<std::string> names = disk_.list().value();
        for (const std::string& name : names) {
            ASSERT_TRUE(disk_.remove(name));
        }
        disk_.restart();
        store::LogReport report;
        auto log = store::Log::open(disk_, StoreWork::options(), {}, report).value();
        const Data other = json_like(100);
        ASSERT_TRUE(log->append({.destination = 1, .payload = payload, .packed = true}));
        ASSERT_TRUE(log->append({.destination = 1, .payload = other}));
        ASSERT_TRUE(log->close());
        log.reset();
        disk_.restart();
    }
    void expect_refused(const Data& payload, const char* why) {
        write_raw(payload);
        store::LogReport report;
        const auto opened = store::Store::open(disk_, StoreWork::options(), report);
        ASSERT_EQ(opened.status(), Status::corrupt) << why;
        EXPECT_NE(opened.error().detail.find(why), std::string::npos) << opened.error().detail;
        EXPECT_NE(opened.error().detail.find("record 1:"), std::string::npos);
        EXPECT_NE(opened.error().detail.find("salvage"), std::string::npos);
    }

    SimulatedDisk disk_;
};

TEST_F(PackedPayload, is_smaller_where_that_pays_and_read_as_it_was_put) {
    const Data text = json_like(3000);
    const Data noise = random_bytes(3000);
    const Data small = json_like(499);
    auto store = open(500);
    const store::Lsn a = store->put(1, text).value();
    const store::Lsn b = store->put(2, noise).value();
    const store::Lsn c = store->put(1, small).value();
    ASSERT_TRUE(store->commit());
    EXPECT_LT(stored(*store, a), text.size() / 2);
    EXPECT_EQ(stored(*store, b), noise.size()) << "it does not shrink";
    EXPECT_EQ(stored(*store, c), small.size()) << "shorter than what was asked for";
    for (const std::int64_t compress_from : {500, -1}) {
        EXPECT_EQ(store->payload(a).value(), text);
        EXPECT_EQ(store->payload(b).value(), noise);
        EXPECT_EQ(store->payload(c).value(), small);
        store.reset();
        store = open(compress_from);
    }
    EXPECT_LT(stored(*store, a), text.size() / 2) << "it stays as it was written";
}

TEST_F(PackedPayload, moves_on_with_the_log_as_it_is) {
    const Data text = json_like(3000);
    auto store = open(0);
    const store::Lsn kept = store->put(1, text).value();
    const std::uint32_t bytes = stored(*store, kept);
    const std::uint64_t first = store->contents().messages().at(kept).place.segment;
    while (store->contents().messages().at(kept).place.segment < first + 3) {
        const store::Lsn passing = store->put(1, random_bytes(2000)).value();
        ASSERT_TRUE(store->done({&passing, 1}));
        ASSERT_TRUE(store->commit());
        ASSERT_LT(store->log().segments().back().number, first + 50);
    }
    EXPECT_EQ(stored(*store, kept), bytes);
    EXPECT_EQ(store->payload(kept).value(), text);
    store.reset();
    store = open(-1);
    EXPECT_EQ(store->payload(kept).value(), text);
}

// Whoever can write a checksum can write these: a length that nobody has memory for, streams that are none.
TEST_F(PackedPayload, that_cannot_be_read_is_damage_and_costs_no_memory) {
    Data head(40, std::byte{0});
    head[0] = std::byte{1};
    const auto says = [&](std::uint32_t raw_bytes) {
        std::memcpy(head.data() + 4, &raw_bytes, sizeof raw_bytes);
        return head;
    };
    expect_refused({}, "shorter than its head");
    expect_refused(says(500), "gzip");
    expect_refused(says(std::numeric_limits<std::uint32_t>::max()), "the limit is");
    expect_refused(says(200U << 20U), "cannot become as many");
    head[1] = std::byte{1};
    expect_refused(says(500), "reserved");
    head[1] = std::byte{0};
    head[0] = std::byte{2};
    expect_refused(says(500), "codec");
    head[0] = std::byte{9};
    expect_refused(says(500), "codec 9");
}

TEST_F(PackedPayload, that_cannot_be_read_is_listed_and_the_rest_is_saved) {
    write_raw(Data(40, std::byte{1}));
    const auto report = store::read_log(
        disk_,
        {.visit = [](const store::Record&, const store::Place&) { return Result<void>(); },
         .list_damage = true});
    ASSERT_TRUE(report);
    ASSERT_EQ(report->damages.size(), 1U);
    EXPECT_EQ(report->damages[0].first, 1U);
    EXPECT_EQ(report->damages[0].last, 1U);
    SimulatedDisk to;
    const auto saved = store::salvage(disk_, to);
    ASSERT_TRUE(saved) << to_string(saved.error());
    EXPECT_EQ(saved->messages, 1U);
    to.restart();
    store::LogReport ignored;
    EXPECT_EQ(
        store::Store::open(to, StoreWork::options(), ignored).value()->contents().messages().size(),
        1U);
}

}  // namespace
}  // namespace telpher::test

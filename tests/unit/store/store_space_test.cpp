// The files of a store stay small, whatever goes through it.

#include "src/store/store.hpp"
#include "tests/unit/store/simulated_disk.hpp"
#include "tests/unit/store/store_model.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using store::kSegmentBytesLeast;
using store::Store;

class StoreSpace : public ::testing::Test {
  protected:
    std::unique_ptr<Store> open() {
        disk_.restart();
        store::LogReport report;
        return Store::open(disk_, StoreWork::options(), report).value();
    }
    std::uint64_t file_bytes() {
        std::uint64_t bytes = 0;
        const std::vector<std::string> names = disk_.list().value();
        for (const std::string& name : names) {
            bytes += disk_.bytes_of(name).size();
        }
        return bytes;
    }
    SimulatedDisk disk_;
    std::vector<std::byte> payload_ = std::vector<std::byte>(300, std::byte{'x'});
};

// One message stays from the beginning to the end, a destination and an entry, too: they move on with the log.
TEST_F(StoreSpace, does_not_grow_under_an_endless_stream) {
    auto store = open();
    ASSERT_TRUE(store->define(1, payload_));
    ASSERT_TRUE(store->set_entry(1, {}, payload_));
    const store::Lsn first = store->put(1, payload_).value();
    ASSERT_TRUE(store->set_state(first, 1, payload_));
    std::vector<store::Lsn> before;
    for (int i = 0; i < 2000; ++i) {
        std::vector<store::Lsn> now;
        for (int k = 0; k < 10; ++k) {
            now.push_back(store->put(1, payload_).value());
        }
        ASSERT_TRUE(store->done(before));
        ASSERT_TRUE(store->commit());
        before.swap(now);
        ASSERT_LE(file_bytes(), 5 * kSegmentBytesLeast) << "after " << i;
    }
    EXPECT_GE(store->log().segments().back().number, 400U);
    store.reset();
    store = open();
    EXPECT_EQ(store->contents().messages().size(), 11U);
    EXPECT_EQ(store->contents().messages().begin()->first, first);
    EXPECT_EQ(store->payload(first).value(), payload_);
    EXPECT_EQ(store->contents().messages().begin()->second.state, payload_);
    EXPECT_EQ(store->contents().destinations().size() + store->contents().entries().size(), 2U);
}

TEST_F(StoreSpace, does_not_grow_when_it_is_opened_often) {
    for (int life = 0; life < 200; ++life) {
        auto store = open();
        ASSERT_TRUE(store->put(1, payload_));
        ASSERT_TRUE(store->commit());
        if (life % 2 == 0) {
            ASSERT_TRUE(store->close());
        }
    }
    const std::uint64_t needed = 200 * store::record_bytes(payload_.size());
    EXPECT_LE(file_bytes(), 2 * needed + 5 * kSegmentBytesLeast);
    EXPECT_LE(disk_.list().value().size(), 4 + 2 * needed / kSegmentBytesLeast + 2);
    EXPECT_EQ(open()->contents().messages().size(), 200U);
}

}  // namespace
}  // namespace telpher::test

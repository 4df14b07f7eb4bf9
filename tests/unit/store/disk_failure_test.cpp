// Goal:   a disk that fails or is full at any moment costs no committed change and brings no false one, and what the
//         store says of it is true.
// Method: the same work again and again, with the n-th change to the disk failing, for every n.

#include "src/store/store.hpp"
#include "tests/unit/store/simulated_disk.hpp"
#include "tests/unit/store/store_model.hpp"
#include "tests/unit/support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using store::Bytes;
using store::Store;

constexpr int kSteps = 120;
constexpr std::uint64_t kSeeds = kSanitizer ? 2 : 20;

class DiskFailure : public ::testing::Test {
  protected:
    static std::unique_ptr<Store> open(SimulatedDisk& disk) {
        store::LogReport report;
        disk.restart();
        auto store = Store::open(disk, StoreWork::options(), report);
        EXPECT_TRUE(store) << to_string(store.error());
        return store ? std::move(*store) : nullptr;
    }
    static void expect_possible(const SimulatedDisk& disk,
                                StoreWork& work,
                                SimulatedDisk::Loss loss) {
        const auto copy = disk.copy();
        if (loss != SimulatedDisk::Loss::nothing) {
            copy->lose_power(loss, work.random());
        }
        const auto store = open(*copy);
        ASSERT_NE(store, nullptr);
        const StoreModel found = StoreModel::of(*store);
        EXPECT_NE(std::find(work.possible().begin(), work.possible().end(), found),
                  work.possible().end());
    }
    // Returns how many changes to the disk the work takes.
    static std::uint64_t run(std::uint64_t seed, std::uint64_t fail_at, int error) {
        SimulatedDisk disk;
        disk.fail_at = fail_at;
        disk.fail_errno = error;
        StoreWork work(seed);
        store::LogReport report;
        auto opened = Store::open(disk, StoreWork::options(), report, seed % 2 == 0 ? 100 : -1);
        if (!opened) {
            EXPECT_EQ(opened.status(), Status::storage_failed);
            open(disk);  // the failure has passed
            return disk.changes();
        }
        Store& store = **opened;
        for (int i = 0; i < kSteps; ++i) {
            if (work.step(store)) {
                continue;
            }
            if (store.log().failed()) {
                EXPECT_EQ(store.commit().status(), Status::storage_failed) << "it stays so";
                EXPECT_EQ(store.put(1, {}).status(), Status::storage_failed);
                EXPECT_EQ(store.close().status(), Status::storage_failed);
                break;
            }
        }
        for (const auto loss : SimulatedDisk::kLosses) {
            expect_possible(disk, work, loss);
        }
        return disk.changes();
    }
};

TEST_F(DiskFailure, of_every_change_loses_nothing_and_is_told) {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const std::uint64_t changes = run(seed, 0, 0);
        EXPECT_GE(changes, 30U);
        for (const int error : {EIO, ENOSPC}) {
            for (std::uint64_t n = 1; n <= changes; ++n) {
                run(seed, n, error);
                ASSERT_FALSE(HasFailure())
                    << "seed " << seed << ", change " << n << ", errno " << error;
            }
        }
    }
}

// The messages that are there can be taken, acknowledged, and their room is found again.
TEST_F(DiskFailure, a_full_disk_refuses_messages_and_nothing_else) {
    SimulatedDisk disk;
    disk.room = 6 * store::kSegmentBytesLeast;
    auto store = open(disk);
    const std::vector<std::byte> payload(1000);
    std::vector<store::Lsn> put;
    Result<store::Lsn> last = store::Lsn{0};
    for (int i = 0; i < 1000 && last; ++i) {
        last = store->put(1, payload);
        ASSERT_TRUE(last || last.error().os_error == ENOSPC) << to_string(last.error());
        if (last) {
            put.push_back(*last);
            ASSERT_TRUE(store->commit());
        }
    }
    ASSERT_EQ(last.status(), Status::storage_failed);
    EXPECT_NE(last.error().detail.find("acknowledged"), std::string::npos) << last.error().detail;
    EXPECT_GE(put.size(), 20U);
    EXPECT_FALSE(store->log().failed());
    EXPECT_EQ(store->define(2, payload).status(), Status::storage_failed);

    for (const store::Lsn origin : put) {
        ASSERT_TRUE(store->payload(origin));
        ASSERT_TRUE(store->set_state(origin, 1, Bytes(payload).first(100)));
        ASSERT_TRUE(store->done(std::vector{origin}));
        ASSERT_TRUE(store->commit());
    }
    EXPECT_TRUE(store->put(1, payload)) << "there is room again";
    EXPECT_TRUE(store->commit());
    store.reset();
    store = open(disk);
    EXPECT_EQ(store->contents().messages().size(), 1U);
}

// A second sync of the same file would say that all is well.
TEST_F(DiskFailure, a_failed_sync_is_not_tried_again) {
    SimulatedDisk disk;
    auto store = open(disk);
    ASSERT_TRUE(store->put(1, std::vector<std::byte>(100)));
    disk.fail_at = disk.changes() + 2;  // the write, and then the sync
    EXPECT_EQ(store->commit().status(), Status::storage_failed);
    const std::uint64_t changes = disk.changes();
    EXPECT_EQ(store->commit().status(), Status::storage_failed);
    EXPECT_EQ(disk.changes(), changes) << "nothing was tried";
    // Whatever the next open finds it writes again, where a sync tells the truth: then it stays.
    store.reset();
    store = open(disk);
    const std::size_t found = store->contents().messages().size();
    store.reset();
    SimulatedDisk::Random random(1);
    disk.lose_power(SimulatedDisk::Loss::everything, random);
    store = open(disk);
    EXPECT_EQ(store->contents().messages().size(), found);
}

}  // namespace
}  // namespace telpher::test

// Goal:   whatever the disk has forgotten when the power goes, the next open finds every change that was committed, no
//         message that was not put, and never refuses.
// Method: random work on a simulated disk; before each change to the disk the machine stops there, on copies of the
//         disk, once for each way of losing what was not synced; some of the recoveries are stopped at each of their
//         own changes, too. 40 workloads; 1,200 with TELPHER_SOAK=1.

#include "src/store/store.hpp"
#include "tests/unit/store/simulated_disk.hpp"
#include "tests/unit/store/store_model.hpp"
#include "tests/unit/support/sanitizers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace telpher::test {
namespace {

class PowerLoss : public ::testing::Test {
  protected:
    static std::uint64_t workloads() {
        constexpr std::uint64_t kUsual = kSanitizer ? 3 : 40;
        return std::getenv("TELPHER_SOAK") != nullptr ? 1200 : kUsual;
    }
    static std::uint64_t seed() {
        const char* given = std::getenv("TELPHER_SEED");
        return given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    }

    // Opens what is on that disk and compares. The first problem of a run is kept.
    StoreModel recover(SimulatedDisk& disk, const StoreWork& work) {
        store::LogReport report;
        auto store = store::Store::open(disk, StoreWork::options(), report);
        ++recoveries_;
        if (!store) {
            problem(to_string(store.error()));
            return {};
        }
        StoreModel model = StoreModel::of(**store);
        const auto& possible = work.possible();
        if (std::find(possible.begin(), possible.end(), model) == possible.end()) {
            problem("found " + std::to_string(model.messages.size()) +
                    " messages, committed were " +
                    std::to_string(possible.front().messages.size()));
        }
        return model;
    }
    void problem(const std::string& what) {
        if (problem_.empty()) {
            problem_ = what + "; TELPHER_SEED=" + std::to_string(seed_) + ", change " +
                       std::to_string(change_);
        }
    }
    // The same, stopped before each of its changes, and then again.
    void recover_stopped(const SimulatedDisk& disk, StoreWork& work) {
        const auto first = disk.copy();
        first->before_change = [&](std::uint64_t) {
            for (const auto loss : SimulatedDisk::kLosses) {
                const auto again = first->copy();
                again->lose_power(loss, random_);
                recover(*again, work);
            }
        };
        recover(*first, work);
    }
    void stop_here(const SimulatedDisk& disk, StoreWork& work) {
        for (const auto loss : SimulatedDisk::kLosses) {
            const auto copy = disk.copy();
            if (loss != SimulatedDisk::Loss::nothing) {
                copy->lose_power(loss, random_);
            }  // else a process was killed: the kernel keeps all of it
            if (random_() % 16 == 0) {
                recover_stopped(*copy, work);
            }
            recover(*copy, work);
        }
    }

    // One workload over three lives of its process, the disk stopped before each of its changes. Half of them compress.
    void run(std::uint64_t seed, SimulatedDisk::Lie lie = SimulatedDisk::Lie::none) {
        seed_ = seed;
        random_.seed(seed);
        StoreWork work(seed);
        auto disk = std::make_unique<SimulatedDisk>();
        for (int life = 0; life < 3 && problem_.empty(); ++life) {
            disk->lie = lie;
            disk->before_change = [&](std::uint64_t change) {
                change_ = change;
                if (problem_.empty()) {
                    stop_here(*disk, work);
                }
            };
            store::LogReport report;
            const std::int64_t compress_from = seed % 2 == 0 ? 100 : -1;
            auto store = store::Store::open(*disk, StoreWork::options(), report, compress_from);
            ASSERT_TRUE(store) << to_string(store.error());
            for (int i = 0; i < 60 && problem_.empty(); ++i) {
                ASSERT_TRUE(work.step(**store));
            }
            if (random_() % 2 == 0 && problem_.empty()) {
                ASSERT_TRUE((*store)->close());
            }
            segments_ = std::max(segments_, (*store)->log().segments().back().number);
            disk->before_change = nullptr;
            auto crashed = disk->copy();
            crashed->lose_power(SimulatedDisk::Loss::half, random_);
            // What is found counts from now on: a number that is used again must not bring an old message back.
            work.restart(recover(*crashed->copy(), work));
            disk = std::move(crashed);
        }
    }

    SimulatedDisk::Random random_{1};
    std::uint64_t seed_ = 0;
    std::uint64_t change_ = 0;
    std::uint64_t recoveries_ = 0;
    std::uint64_t segments_ = 0;
    std::string problem_;
};

TEST_F(PowerLoss, at_every_change_loses_nothing_that_was_committed) {
    for (std::uint64_t i = 0; i < workloads() && problem_.empty(); ++i) {
        run(seed() + i);
    }
    EXPECT_EQ(problem_, "");
    EXPECT_GE(segments_, 4U) << "segments were changed and cleaned";
    std::printf("  %llu workloads, %llu recoveries, up to %llu segments\n",
                static_cast<unsigned long long>(workloads()),
                static_cast<unsigned long long>(recoveries_),
                static_cast<unsigned long long>(segments_));
}

// The harness notices: on disks that say that they have synced, and have not.
TEST_F(PowerLoss, is_noticed_where_files_are_not_synced) {
    run(seed(), SimulatedDisk::Lie::files);
    EXPECT_NE(problem_, "");
}

TEST_F(PowerLoss, is_noticed_where_names_are_not_synced) {
    run(seed(), SimulatedDisk::Lie::names);
    EXPECT_NE(problem_, "");
}

}  // namespace
}  // namespace telpher::test

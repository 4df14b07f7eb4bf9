// Goal:   a process that is killed while it writes a log in real files loses nothing that it had committed, and the
//         next one always opens it.
// Method: a child puts numbered messages and ends the oldest ones, and notes in shared memory what it has begun and
//         what was committed; it is killed after up to 20 ms; the parent looks, and another child goes on in the same
//         folder. 200 kills; 2,000 with TELPHER_SOAK=1.

#include "src/store/posix_storage.hpp"
#include "src/store/store.hpp"
#include "tests/crash/harness.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace telpher::crash {
namespace {

using store::Bytes;
using store::Lsn;
using store::Store;

// Messages are numbered from 1; those up to `done` are done.
struct Account {
    std::atomic<std::uint64_t> put_begun;
    std::atomic<std::uint64_t> put_committed;
    std::atomic<std::uint64_t> done_begun;
    std::atomic<std::uint64_t> done_committed;
};

std::vector<std::byte> payload_of(std::uint64_t number) {
    std::vector<std::byte> payload(8 + number * 37 % 900);
    fill_numbered(payload, number);
    return payload;
}

class StoreKills : public ::testing::Test {
  protected:
    struct Opened {
        std::unique_ptr<store::Storage> storage;
        std::unique_ptr<Store> store;
    };
    Result<Opened> open() const {
        auto storage = store::open_folder(folder_.path(), store::FolderMode::existing);
        if (!storage) {
            return storage.error();
        }
        store::LogReport report;
        auto store = Store::open(**storage, {.name = "kills", .segment_bytes = 64U << 10U}, report);
        return store ? Result<Opened>(Opened{std::move(*storage), std::move(*store)})
                     : store.error();
    }

    int work(std::uint64_t from) {
        auto opened = open();
        if (!opened) {
            return 1;
        }
        Store& store = *opened->store;
        Random random(from + 1);
        for (std::uint64_t next = from;;) {
            for (std::uint32_t i = random.below(4) + 1; i != 0; --i) {
                account_->put_begun = next;
                if (!store.put(1, payload_of(next++))) {
                    return 2;
                }
            }
            std::vector<Lsn> done;
            std::uint64_t last = account_->done_committed;
            for (const auto& [origin, message] : store.contents().messages()) {
                if (done.size() == random.below(8)) {
                    break;
                }
                done.push_back(origin);
                ++last;
            }
            account_->done_begun = last;
            if (!store.done(done) || !store.commit()) {
                return 3;
            }
            account_->put_committed = next - 1;
            account_->done_committed = last;
        }
    }

    // Opens it as the next process does; the number of the newest message that there ever was.
    std::uint64_t look() {
        auto opened = open();
        EXPECT_TRUE(opened) << to_string(opened.error());
        if (!opened) {
            return 0;
        }
        std::uint64_t expected = 0;
        for (const auto& [origin, message] : opened->store->contents().messages()) {
            const auto payload = opened->store->payload(origin).value();
            std::uint64_t number = 0;
            std::memcpy(&number, payload.data(), sizeof number);
            if (expected == 0) {
                EXPECT_GT(number, account_->done_committed) << "done, and it came back";
                EXPECT_LE(number, account_->done_begun + 1) << "lost";
            } else {
                EXPECT_EQ(number, expected) << "lost or doubled";
            }
            EXPECT_EQ(payload, payload_of(number));
            expected = number + 1;
        }
        if (expected != 0) {
            EXPECT_GE(expected - 1, account_->put_committed) << "lost";
            EXPECT_LE(expected - 1, account_->put_begun) << "never put";
            account_->put_begun = account_->put_committed = expected - 1;
            account_->done_begun = account_->done_committed =
                expected - 1 - opened->store->contents().messages().size();
        } else {
            EXPECT_GE(account_->done_begun, account_->put_committed) << "lost";
            account_->done_begun = account_->done_committed = account_->put_begun.load();
            account_->put_committed = account_->put_begun.load();
        }
        EXPECT_TRUE(opened->store->commit());
        segments_ = opened->store->log().segments().back().number;
        return account_->put_begun;
    }

    Watchdog watchdog_{soak() ? 600U : 120U};
    test::ScratchFolder folder_;
    Shared<Account> account_;
    std::uint64_t segments_ = 0;
};

TEST_F(StoreKills, at_random_lose_nothing_that_was_committed) {
    const std::uint32_t kills = scaled(200, 2000);
    Random random(seed());
    std::uint64_t newest = 0;
    for (std::uint32_t i = 0; i < kills && !HasFailure(); ++i) {
        Child child([&] { return work(newest + 1); });
        ::usleep(random.below(20'000));
        ASSERT_EQ(child.wait_for_end(std::chrono::milliseconds(0)), -1) << "it goes on until then";
        child.kill();
        newest = look();
        ASSERT_FALSE(HasFailure()) << "kill " << i;
    }
    std::printf("  %u kills, %llu messages, %llu segments\n",
                kills,
                static_cast<unsigned long long>(newest),
                static_cast<unsigned long long>(segments_));
    EXPECT_GT(newest, kills);
}

}  // namespace
}  // namespace telpher::crash

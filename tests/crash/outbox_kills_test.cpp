// Goal:   a client that is killed at any moment loses nothing that its outbox has confirmed, and a queue that remembers
//         request ids takes it once.
// Method: a child puts numbered messages into its outbox, some of them by two threads at once, and notes in shared
//         memory what it has begun and what was confirmed; it is killed after up to 30 ms, while it reads what was
//         left, puts, delivers, or notes what was delivered; the next child goes on in the same folder. This process
//         takes the messages meanwhile, now and then so late that the queue is full. 200 kills; 2,000 with
//         TELPHER_SOAK=1.

#include "telpher/telpher.hpp"

#include "tests/crash/harness.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kWriters = 2;
// Of each writer, in all its lives.
constexpr std::uint64_t kNumbersMax = 1U << 20U;

struct Account {
    struct Writer {
        std::atomic<std::uint64_t> begun;
        std::array<std::atomic<bool>, kNumbersMax> confirmed;  // by number
    };
    std::array<Writer, kWriters> writers;
    std::atomic<std::uint64_t> connected;
};

// A writer's numbers are told apart from the other's by their low bits.
std::uint64_t coded(std::uint64_t number, std::uint32_t writer) {
    return number * kWriters + writer;
}

class OutboxKills : public ::testing::Test {
  protected:
    OutboxKills() : domain_("outbox_kills") { domain_.limits().idempotency_entries = 1U << 15U; }

    // With pauses what was delivered is not noted with the next put.
    int work(bool pauses) {
        auto client = connect("shm:" + domain_.name(), {.wait = 10s, .outbox = folder_.file("o")});
        if (!client) {
            std::fprintf(stderr, "%s\n", to_string(client.error()).c_str());
            return 1;
        }
        ++account_->connected;
        const auto write = [&](std::uint32_t writer) {
            Outbox outbox = client->outbox();
            Account::Writer& mine = account_->writers[writer];
            for (;;) {
                const std::uint64_t number = ++mine.begun;
                const auto put =
                    outbox.offer("q", numbered(coded(number, writer), 8 + number * 37 % 700));
                if (!put) {
                    return put.status();
                }
                mine.confirmed[number] = true;
                if (pauses && number % 8 == 0) {
                    ::usleep(3000);
                }
            }
        };
        std::thread other([&] { static_cast<void>(write(1)); });
        static_cast<void>(write(0));
        other.join();
        return 2;
    }

    // What has come, by its number; in each writer's order.
    void take(Queue& queue, std::size_t most) {
        while (most-- != 0) {
            const auto polled = queue.poll();
            if (!polled) {
                return;
            }
            const std::uint64_t code = number_of(*polled);
            ASSERT_NE(code, kTorn);
            const auto writer = static_cast<std::uint32_t>(code % kWriters);
            const std::uint64_t number = code / kWriters;
            ASSERT_GT(number, newest_[writer]) << "twice, or out of order";
            ASSERT_LE(number, account_->writers[writer].begun) << "never put";
            for (std::uint64_t missing = newest_[writer] + 1; missing < number; ++missing) {
                ASSERT_FALSE(account_->writers[writer].confirmed[missing])
                    << "number " << missing << " was confirmed and lost";
                ++never_came_;
            }
            newest_[writer] = number;
            ++came_;
            ids_.insert(std::string(polled->request_id()));
        }
    }

    Watchdog watchdog_{soak() ? 600U : 150U};
    test::ScratchFolder folder_;
    ScratchDomain domain_;
    Shared<Account> account_;
    std::array<std::uint64_t, kWriters> newest_{};
    std::uint64_t came_ = 0;
    std::uint64_t never_came_ = 0;
    std::set<std::string> ids_;
};

TEST_F(OutboxKills, at_random_lose_nothing_and_send_nothing_twice) {
    const std::uint32_t kills = scaled(200, 2000);
    Random random(seed());
    Server server = domain_.open();
    // The entries of what was delivered in the last 20 ms of a life are what counts.
    Queue queue =
        server
            .create_queue(
                "q",
                {.capacity = 64,
                 .idempotency = Idempotency{.ttl = 1h, .when_full = WhenFull::evict_oldest}})
            .value();
    for (std::uint32_t i = 0; i < kills && !HasFailure(); ++i) {
        const std::uint64_t lives = account_->connected;
        Child child([this, i] { return work(i % 2 == 0); });
        // Now and then it is killed while it connects.
        while (i % 5 != 0 && account_->connected == lives && !HasFailure()) {
            take(queue, 1000);
            ::usleep(200);
        }
        const std::uint64_t until = now_ns() + random.below(30'000) * 1000ULL;
        const bool slow = i % 4 == 3;
        while (now_ns() < until && !HasFailure()) {
            take(queue, slow ? 4 : 1000);
            ::usleep(slow ? 2000 : 200);
        }
        ASSERT_EQ(child.wait_for_end(0ms), -1) << "it goes on until then";
        child.kill();
    }
    ASSERT_FALSE(HasFailure());
    const QueueStatus before = queue.status().value();
    // The last life is a quiet one: it sends what was left.
    Client client = connect("shm:" + domain_.name(), {.outbox = folder_.file("o")}).value();
    Result<void> flushed = Status::timed_out;
    while (flushed.status() == Status::timed_out && !HasFailure()) {
        take(queue, 1000);
        flushed = client.outbox().flush(1ms);
    }
    ASSERT_TRUE(flushed) << to_string(flushed.error());
    take(queue, 1000);
    ASSERT_FALSE(HasFailure());
    std::uint64_t confirmed = 0;
    for (std::uint32_t writer = 0; writer < kWriters; ++writer) {
        const Account::Writer& all = account_->writers[writer];
        for (std::uint64_t number = 1; number <= all.begun; ++number) {
            confirmed += all.confirmed[number] ? 1U : 0U;
            ASSERT_TRUE(!all.confirmed[number] || number <= newest_[writer])
                << "number " << number << " was confirmed and lost";
        }
    }
    EXPECT_EQ(ids_.size(), came_) << "each has a request id of its own";
    EXPECT_EQ(client.outbox().failed()->size(), 0U);
    std::printf(
        "  %u kills, %llu of them of connected clients; confirmed %llu, came %llu, begun and never "
        "put %llu, "
        "sent again %llu\n",
        kills,
        static_cast<unsigned long long>(account_->connected),
        static_cast<unsigned long long>(confirmed),
        static_cast<unsigned long long>(came_),
        static_cast<unsigned long long>(never_came_),
        static_cast<unsigned long long>(before.idempotency.duplicates));
    EXPECT_GT(confirmed, kills);
    EXPECT_GE(account_->connected, kills / 5 * 4);
    EXPECT_GT(before.idempotency.duplicates, 0U) << "nothing was sent again: nothing was shown";
}

}  // namespace
}  // namespace telpher::crash

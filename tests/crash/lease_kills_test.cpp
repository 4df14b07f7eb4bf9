// Goal:   consumers killed at random beside producers lose nothing: each message is acknowledged once, or is
//         handed out again; and a thousand leases of a killed consumer are back within milliseconds.
// Method: producers number their messages; consumers (processes) note what they have acknowledged in
//         shared memory, first "I will", then ack, then "I have". A kill in between leaves one doubtful
//         number for each consumer, which may be acknowledged or come again; every other number must be
//         acknowledged exactly once.

#include "tests/crash/harness.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kMessages = 40'000;
constexpr std::uint32_t kConsumers = 3;

struct Book {
    std::atomic<std::uint8_t> acknowledged[kMessages + 1];
    std::atomic<std::uint64_t> doubtful[kConsumers];  // about to be acknowledged; 0: none
    std::atomic<std::uint64_t> polled{0};
};

QueueOptions leased(std::uint32_t capacity) {
    return {.capacity = capacity, .delivery = DeliveryMode::at_least_once, .lease = 30s};
}

// Polls, gives some back, acknowledges the others.
int consume(const ScratchDomain& domain, Book& book, std::uint32_t consumer) {
    Server server = domain.open();
    Queue queue = server.queue("queue").value();
    Random random(seed() + consumer);
    for (;;) {
        auto delivery = queue.poll(1s);
        if (!delivery) {
            continue;
        }
        book.polled.fetch_add(1);
        const std::uint64_t number = number_of(*delivery);
        if (number == 0 || number > kMessages) {
            return 3;
        }
        if (random.below(16) == 0) {
            if (!delivery->nack(random.below(2) == 0 ? Duration{} : 1ms)) {
                return 4;
            }
            continue;
        }
        book.doubtful[consumer].store(number);
        if (!delivery->ack()) {
            return 5;
        }
        book.acknowledged[number].fetch_add(1);
        book.doubtful[consumer].store(0);
    }
}

TEST(LeaseKills, of_consumers_at_random_lose_nothing_and_acknowledge_nothing_twice) {
    const Watchdog watchdog(soak() ? 1200 : 120);
    ScratchDomain domain("lease_kills");
    Server server = domain.open();
    Queue queue = server.create_queue("queue", leased(256)).value();
    const std::uint32_t kills_wanted = scaled(150, 2000);
    Shared<Book> book;
    Child consumers[kConsumers];
    std::vector<std::uint64_t> doubtful;
    const auto start = [&](std::uint32_t i) {
        consumers[i] = Child([&, i] { return consume(domain, *book, i); });
    };
    const auto kill = [&](std::uint32_t i) {
        consumers[i].kill();
        if (const std::uint64_t number = book->doubtful[i].exchange(0); number != 0) {
            doubtful.push_back(number);
        }
    };
    for (std::uint32_t i = 0; i < kConsumers; ++i) {
        start(i);
    }
    Random random(seed());
    std::uint32_t kills = 0;
    std::uint32_t sent = 0;
    while (kills < kills_wanted || sent < kMessages / 4) {
        for (std::uint32_t burst = random.below(200); burst != 0 && sent < kMessages; --burst) {
            ASSERT_TRUE(queue.offer(numbered(sent + 1, 48), 10s));
            ++sent;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(random.below(3000)));
        const std::uint32_t victim = random.below(kConsumers);
        kill(victim);
        start(victim);
        ++kills;
    }
    // What is left is consumed in peace.
    const auto rest = [&] {
        const QueueStatus status = queue.status().value();
        return status.depth + status.leased + status.delayed;
    };
    for (int i = 0; i < 20'000 && rest() != 0; ++i) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(rest(), 0U);
    for (std::uint32_t i = 0; i < kConsumers; ++i) {
        ASSERT_EQ(consumers[i].wait_for_end(0ms), -1) << "a consumer has ended by itself";
        kill(i);
    }
    static_cast<void>(server.processes());
    std::uint32_t missing = 0;
    std::uint32_t twice = 0;
    for (std::uint32_t number = 1; number <= sent; ++number) {
        const std::uint8_t times = book->acknowledged[number].load();
        const bool doubt = std::find(doubtful.begin(), doubtful.end(), number) != doubtful.end();
        missing += times == 0 && !doubt ? 1U : 0U;
        twice += times > 1 ? 1U : 0U;
    }
    EXPECT_EQ(missing, 0U);
    EXPECT_EQ(twice, 0U);
    const VerifyReport report = server.verify().value();
    EXPECT_EQ(report.problems, std::vector<std::string>{});
    EXPECT_EQ(report.chunks_claimed + report.chunks_parked + report.chunks_lingering, 0U);
    std::printf("  %u messages, %u kills, %llu polls, %zu in doubt\n",
                sent,
                kills,
                static_cast<unsigned long long>(book->polled.load()),
                doubtful.size());
}

TEST(LeaseKills, of_a_consumer_with_a_thousand_leases_bring_all_back_at_once) {
    const Watchdog watchdog(120);
    constexpr std::uint32_t kLeases = 1000;
    std::vector<double> first_ms;
    std::vector<double> all_ms;
    for (std::uint32_t round = 0; round < scaled(20, 200); ++round) {
        ScratchDomain domain("lease_thousand");
        Server server = domain.open();
        Queue queue = server.create_queue("queue", leased(kLeases)).value();
        for (std::uint32_t number = 1; number <= kLeases; ++number) {
            ASSERT_TRUE(queue.offer(numbered(number, 48)));
        }
        Shared<std::atomic<bool>> holding;
        Child consumer([&] {
            Server own = domain.open();
            auto held = own.queue("queue").value().poll_n(kLeases).value();
            holding->store(held.size() == kLeases);
            for (;;) {
                std::this_thread::sleep_for(1s);
            }
            return 0;
        });
        while (!holding->load()) {
            std::this_thread::sleep_for(1ms);
        }
        const std::uint64_t killed = now_ns();
        consumer.kill();
        for (std::uint32_t number = 1; number <= kLeases; ++number) {
            auto again = queue.poll(10s);
            ASSERT_TRUE(again);
            if (number == 1) {
                first_ms.push_back(static_cast<double>(now_ns() - killed) / 1e6);
            }
            EXPECT_EQ(number_of(*again), number) << "in the order in which they were sent";
            EXPECT_EQ(again->deliveries(), 2U);
            EXPECT_EQ(again->reason(), ReturnReason::consumer_died);
            EXPECT_TRUE(again->ack());
            ASSERT_FALSE(::testing::Test::HasFailure());
        }
        all_ms.push_back(static_cast<double>(now_ns() - killed) / 1e6);
    }
    std::sort(first_ms.begin(), first_ms.end());
    std::sort(all_ms.begin(), all_ms.end());
    std::printf(
        "  after the kill: first message p50 %.2f ms, most %.2f; all 1000 p50 %.2f, most %.2f\n",
        first_ms[first_ms.size() / 2],
        first_ms.back(),
        all_ms[all_ms.size() / 2],
        all_ms.back());
}

}  // namespace
}  // namespace telpher::crash

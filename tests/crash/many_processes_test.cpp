// Goal:   a domain with default limits carries a thousand queues and 64 processes at once, and the
//         largest message there is, without tuning.
// Method: each process uses queues of its own and one that all share; a third of them is killed in
//         the middle.

#include "tests/crash/harness.hpp"

#include <gtest/gtest.h>

#include <sys/statvfs.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kProcesses = 64;
constexpr std::uint32_t kQueues = 1000;
constexpr std::uint32_t kRounds = 200;
constexpr std::size_t kMiB = std::size_t{1} << 20U;

std::string queue_name(std::uint32_t number) { return "queue-" + std::to_string(number); }

struct Board {
    std::atomic<std::uint32_t> attached{0};
    std::atomic<std::uint32_t> finished{0};
    std::atomic<bool> go{false};
};

bool eventually(const std::function<bool()>& happened) {
    for (int i = 0; i < 30'000 && !happened(); ++i) {
        std::this_thread::sleep_for(1ms);
    }
    return happened();
}

// What process `p` does: fills and drains queues of its own, and feeds the shared one.
int member(const std::string& domain, std::uint32_t p, Board& board) {
    auto server = Server::open(domain, {.mode = OpenMode::attach});
    if (!server) {
        return 1;
    }
    std::vector<Queue> own;
    for (std::uint32_t number = p; number < kQueues; number += kProcesses) {
        own.push_back(server->queue(queue_name(number)).value());
    }
    Queue shared = server->queue("shared").value();
    board.attached.fetch_add(1);
    while (!board.go.load()) {
        std::this_thread::sleep_for(1ms);
    }
    for (std::uint32_t round = 1; round <= kRounds; ++round) {
        for (Queue& queue : own) {
            if (!queue.offer(numbered(round, 64), 10s)) {
                return 2;
            }
        }
        for (Queue& queue : own) {
            const auto delivery = queue.poll(10s);
            if (!delivery || number_of(*delivery) != round) {
                return 3;
            }
        }
        if (!shared.offer(numbered(p * 1000ULL + round, 64), 30s)) {
            return 4;
        }
    }
    board.finished.fetch_add(1);
    return 0;
}

TEST(ManyProcesses, use_a_thousand_queues_of_one_domain_while_some_are_killed) {
    const Watchdog watchdog(200);
    const ScratchDomain domain("many");
    Server server = Server::open(domain.name()).value();
    for (std::uint32_t number = 0; number < kQueues; ++number) {
        ASSERT_TRUE(server.create_queue(queue_name(number))) << number;
    }
    Queue shared = server.create_queue("shared").value();
    const Shared<Board> board;
    std::vector<Child> children;
    for (std::uint32_t p = 0; p < kProcesses; ++p) {
        children.emplace_back([&domain, &board, p] { return member(domain.name(), p, *board); });
    }
    ASSERT_TRUE(eventually([&] { return board->attached.load() == kProcesses; }));
    EXPECT_EQ(server.processes().value().size(), kProcesses + 1);
    board->go.store(true);
    std::vector<std::uint32_t> last(kProcesses, 0);
    std::uint64_t taken = 0;
    const auto take = [&](Duration timeout) {
        const auto delivery = shared.poll(timeout);
        if (!delivery) {
            return false;
        }
        const std::uint64_t number = number_of(*delivery);
        const auto p = static_cast<std::size_t>(number / 1000);
        EXPECT_EQ(number % 1000, last[p] + 1) << "of process " << p;
        last[p] = static_cast<std::uint32_t>(number % 1000);
        ++taken;
        return true;
    };
    while (taken < kProcesses * kRounds / 8 && take(10s)) {
    }
    for (std::uint32_t p = 0; p < kProcesses; p += 3) {
        children[p].kill();
    }
    while (take(2s)) {
    }
    for (std::uint32_t p = 0; p < kProcesses; ++p) {
        if (p % 3 != 0) {
            EXPECT_EQ(children[p].wait_for_end(30s), 0) << p;
            EXPECT_EQ(last[p], kRounds) << p;
        }
    }
    EXPECT_EQ(server.processes().value().size(), 1U);
    const VerifyReport report = server.verify().value();
    EXPECT_EQ(report.problems, std::vector<std::string>{});
    EXPECT_EQ(report.chunks_claimed, 0U);
    EXPECT_EQ(report.queues, kQueues + 1);
    static_cast<void>(server.remove_domain());
}

TEST(ManyProcesses, pass_the_largest_message_on) {
    const Watchdog watchdog(100);
    struct statvfs space {};
    ASSERT_EQ(statvfs("/dev/shm", &space), 0);
    if (space.f_bavail * space.f_frsize < 700 * kMiB) {
        GTEST_SKIP() << "runs where /dev/shm has 700 MiB free: two messages of 250 MiB";
    }
    const ScratchDomain domain("largest");
    DomainLimits limits;
    limits.message_bytes = 250 * kMiB;
    Server server = Server::open(domain.name(), {.limits = limits}).value();
    Queue there = server.create_queue("there", {.capacity = 2}).value();
    Queue back = server.create_queue("back", {.capacity = 2}).value();
    Child child([&domain] {
        auto client = connect("shm:" + domain.name()).value();
        Queue in = client.queue("there").value();
        Queue out = client.queue("back").value();
        const auto delivery = in.poll(30s);
        return delivery && out.offer(delivery->to_message(), 30s) ? 0 : 1;
    });
    constexpr std::size_t kPayload = 250 * kMiB - 200;
    auto loan = there.loan("largest", kPayload, 10s);
    ASSERT_TRUE(loan) << loan.error().detail;
    const std::span<std::byte> bytes = loan->payload();
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 4096) {
        std::memcpy(bytes.data() + at, &at, sizeof at);
    }
    ASSERT_TRUE(there.offer(std::move(*loan), 10s));
    const auto echo = back.poll(60s);
    ASSERT_TRUE(echo) << to_string(echo.error());
    ASSERT_EQ(echo->payload().size(), kPayload);
    bool same = true;
    for (std::size_t at = 0; at + 8 <= kPayload; at += 4096) {
        same = same && std::memcmp(echo->payload().data() + at, &at, sizeof at) == 0;
    }
    EXPECT_TRUE(same);
    EXPECT_EQ(child.wait_for_end(10s), 0);
    const auto refused = there.loan("larger", 250 * kMiB);
    EXPECT_EQ(refused.status(), Status::message_too_large);
    static_cast<void>(server.remove_domain());
}

}  // namespace
}  // namespace telpher::crash

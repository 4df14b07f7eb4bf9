// How often sleepers wake: at most about once a second, whatever they wait for.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

constexpr auto kWatched = 3s;
constexpr std::uint64_t kWakesMax = 6;  // 2 per second

std::uint64_t switches_of(const std::filesystem::path& task) {
    std::ifstream status(task / "status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("voluntary_ctxt_switches:")) {
            return std::stoull(line.substr(line.find(':') + 1));
        }
    }
    return ~0ULL;
}

std::filesystem::path task_of(int tid) { return "/proc/self/task/" + std::to_string(tid); }

std::filesystem::path task_named(const std::string& name) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string line;
        std::getline(std::ifstream(task.path() / "comm"), line);
        if (line == name) {
            return task.path();
        }
    }
    return {};
}

// Goal: after their spin windows, pollers of every strategy, a WaitSet and a parker with 1000 pending
// polls sleep. Method: all at once, voluntary context switches over 3 s.
TEST(Idle, sleepers_wake_about_once_a_second) {
    const ScratchDomain domain;
    Server keeper = domain.open();
    Queue queue = keeper.create_queue("q").value();
    std::vector<Future<Delivery>> pending;
    for (int i = 0; i < 1'000; ++i) {
        pending.push_back(queue.poll_async(600s));
    }
    std::vector<std::atomic<int>> tids(4);
    std::vector<std::thread> sleepers;
    for (const auto strategy : {WaitStrategy::latency, WaitStrategy::balanced, WaitStrategy::eco}) {
        sleepers.emplace_back([&domain, strategy, &tid = tids[sleepers.size()]] {
            Server server = Server::open(domain.name(), {.wait_strategy = strategy}).value();
            tid = gettid();
            EXPECT_EQ(server.queue("q")->poll(60s).status(), Status::queue_not_found);
        });
    }
    sleepers.emplace_back([&queue, &tid = tids[3]] {
        WaitSet set;
        EXPECT_TRUE(set.add(queue, Ready::message));
        tid = gettid();
        EXPECT_TRUE(set.wait(60s));
    });
    std::vector<std::filesystem::path> watched{task_named("telpher-parker")};
    for (const auto& tid : tids) {
        while (tid == 0) {
            std::this_thread::sleep_for(1ms);
        }
        watched.push_back(task_of(tid));
    }
    std::this_thread::sleep_for(300ms);  // the longest spin
    std::vector<std::uint64_t> before;
    for (const auto& task : watched) {
        before.push_back(switches_of(task));
    }
    std::this_thread::sleep_for(kWatched);
    for (std::size_t i = 0; i < watched.size(); ++i) {
        EXPECT_LE(switches_of(watched[i]) - before[i], kWakesMax)
            << (i == 0 ? "the parker" : "sleeper ") << i;
    }
    ASSERT_TRUE(keeper.remove_queue("q"));
    for (std::thread& sleeper : sleepers) {
        sleeper.join();
    }
    EXPECT_EQ(pending.back().get(60s).status(), Status::queue_not_found);
}

}  // namespace
}  // namespace telpher::test

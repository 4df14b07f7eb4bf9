// Goal:   processes killed at random while they make, open, leave and remove the same domain: the
//         next one opens it, and nothing is left in /dev/shm that `collect_garbage` does not take
//         away.
// Method: four processes race on one name, all are killed, the parent opens the domain, audits and
// uses it.
//         TELPHER_SOAK=1: ten times as many.

#include "tests/crash/harness.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>

namespace telpher::crash {
namespace {

constexpr std::uint32_t kRacers = 4;
constexpr std::uint32_t kLifeUs = 4000;

struct Counts {
    std::atomic<std::uint64_t> opened{0};
    std::atomic<std::uint64_t> removed{0};
    std::atomic<std::uint64_t> refused{0};  // by an expected status
    std::atomic<std::uint32_t> failures{0};
    char first_failure[256] = {};
};

// What may happen to one who races with others that make and remove the domain.
bool expected(Status status) {
    switch (status) {
        case Status::domain_not_found:
        case Status::domain_removed:
        case Status::already_exists:
        case Status::mismatch:
        case Status::queue_not_found:
        case Status::queue_full:
        case Status::queue_empty:
            return true;
        default:
            return false;
    }
}

class JoinLeaveKills : public ::testing::Test {
  protected:
    JoinLeaveKills()
        : watchdog_(120),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          random_(seed()) {}

    template <typename T>
    bool check(const char* what, const Result<T>& result) {
        if (result) {
            return true;
        }
        counts_->refused.fetch_add(1);
        if (!expected(result.status()) && counts_->failures.fetch_add(1) == 0) {
            const std::string text = std::string(what) + ": " + to_string(result.error());
            text.copy(counts_->first_failure, sizeof counts_->first_failure - 1);
        }
        return false;
    }

    // The life of a racer, until it is killed.
    int race(std::uint64_t from) {
        Random random(from);
        for (;;) {
            ServerOptions options = small_options();
            options.lifetime.reset();
            if (random.below(3) == 0) {
                options.lifetime =
                    random.below(2) == 0 ? Lifetime::ephemeral : Lifetime::persistent;
            }
            if (random.below(4) == 0) {
                options.mode = random.below(2) == 0 ? OpenMode::create : OpenMode::attach;
            }
            auto server = Server::open(domain_.name(), options);
            if (check("open", server)) {
                counts_->opened.fetch_add(1);
                use(*server, random);
            }
            if (random.below(16) == 0) {
                check("remove_domain(name)", remove_domain(domain_.name(), true));
            }
        }
    }

    void use(Server& server, Random& random) {
        auto queue = server.create_queue("queue", {.capacity = 4});
        if (check("create_queue", queue)) {
            check("offer", queue->offer(numbered(1, 48)));
            if (random.below(2) == 0) {
                check("poll", queue->poll());
            }
        }
        if (random.below(4) == 0) {
            check("remove_queue", server.remove_queue("queue"));
        }
        if (random.below(4) == 0 && check("remove_domain", server.remove_domain())) {
            counts_->removed.fetch_add(1);
        }
    }

    void run_round() {
        std::array<Child, kRacers> racers;
        for (Child& racer : racers) {
            racer = Child([this, from = random_.next()] { return race(from); });
        }
        usleep(random_.below(kLifeUs));
        for (Child& racer : racers) {
            racer.kill();
            usleep(random_.below(300));
        }
    }

    void expect_usable() {
        ServerOptions options = small_options();
        options.lifetime.reset();
        auto server = Server::open(domain_.name(), options);
        ASSERT_TRUE(server) << to_string(server.error());
        const auto report = server->verify();
        ASSERT_TRUE(report) << to_string(report.error());
        EXPECT_EQ(report->problems, std::vector<std::string>{});
        EXPECT_EQ(report->chunks_owned + report->chunks_claimed, 0U);
        EXPECT_EQ(report->processes, 1U);
        auto queue = server->create_queue("after", {.capacity = 2});
        ASSERT_TRUE(queue) << to_string(queue.error());
        EXPECT_TRUE(queue->offer(numbered(2, 48)));
        EXPECT_EQ(drain(*queue), std::vector<std::uint64_t>{2});
        EXPECT_TRUE(server->remove_queue("after"));
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Random random_;
    Shared<Counts> counts_;
};

TEST_F(JoinLeaveKills, leave_a_domain_that_opens_and_no_files_behind) {
    const std::uint32_t rounds = scaled(300, 3000);
    std::size_t garbage_most = 0;
    for (std::uint32_t round = 0; round < rounds && !HasFailure(); ++round) {
        run_round();
        ASSERT_EQ(counts_->failures.load(), 0U) << counts_->first_failure;
        expect_usable();
        if (round % 5 == 4) {
            garbage_most = std::max(garbage_most, domain_.files().size());
            const auto removed = remove_domain(domain_.name());
            EXPECT_TRUE(removed || removed.status() == Status::domain_not_found);
            EXPECT_TRUE(collect_garbage(false));
            EXPECT_EQ(domain_.files(), std::vector<std::string>{}) << "after round " << round;
        }
    }
    std::printf(
        "  %u kills; %llu opened, %llu removed the domain, %llu were refused; at most %zu files "
        "before a sweep, 0 after it\n",
        rounds * kRacers,
        static_cast<unsigned long long>(counts_->opened.load()),
        static_cast<unsigned long long>(counts_->removed.load()),
        static_cast<unsigned long long>(counts_->refused.load()),
        garbage_most);
}

}  // namespace
}  // namespace telpher::crash

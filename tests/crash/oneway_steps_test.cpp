// Goal:   a one-way request that was accepted is handled or a dead letter, exactly one of them where its handler
//         fails, wherever its server, who takes the function apart, or who reaps them is killed or stopped.
// Method: the serving thread suffers at its n-th step; then the dead letters are counted.

#include "shm/attachment.hpp"
#include "src/client/domain_core.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;
using End = StepVictim::End;

constexpr const char* kServe = "telpher-serve";

class OnewaySteps : public ::testing::Test {
  protected:
    OnewaySteps()
        : watchdog_(280),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()) {}
    ~OnewaySteps() override { StepVictim::seed_bug(shm::Bug::none); }

    // A server whose handler fails; it ends its function when it is told to, beside its handler.
    VictimRole serving() {
        auto function = std::make_shared<Function*>(nullptr);
        return {.prepare =
                    [this, function] {
                        auto* server = new Server(domain_.open());  // never closed
                        *function =
                            new Function(server
                                             ->serve("notify",
                                                     [this, function](const Message& request) {
                                                         return handle(request, *function);
                                                     },
                                                     {.inflight_max = 8, .dead_letter = "dead"})
                                             .value());
                        std::this_thread::sleep_for(2ms);  // it sleeps
                        return (*function)->running();
                    },
                .act =
                    [this, function] {
                        serves_->store(true);
                        while (!sent_->load()) {
                            std::this_thread::sleep_for(100us);
                        }
                        if (ends_->load()) {
                            (*function)->stop();
                        }
                        wait_until_served();
                        std::this_thread::sleep_for(3ms);  // it sleeps again
                    },
                .thread = kServe};
    }
    Result<Message> handle(const Message& request, const Function* function) {
        handled_->fetch_add(1);
        while (ends_->load() && function->running()) {
            std::this_thread::sleep_for(100us);
        }
        return request.topic() == "well" ? Result<Message>(Message::text("done", ""))
                                         : Result<Message>(Status::bad_request);
    }
    // Until each request that was accepted was handled or is a letter, however slow the machine is.
    void wait_until_served() {
        const Queue dead = domain_.open().queue("dead").value();
        const auto end = std::chrono::steady_clock::now() + 5s;
        const auto served = [&] {
            const auto letters =
                static_cast<int>(dead.status().value().offered - letters_before_->load());
            return letters + (fails_->load() ? 0 : handled_->load()) >= accepted_->load();
        };
        while (!served() && std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(100us);
        }
    }
    // Requests 1..count, from here, when the victim serves.
    std::jthread send_when_served(const char* topic, int count) {
        serves_->store(false);
        sent_->store(false);
        handled_->store(0);
        accepted_->store(0);
        fails_->store(std::string_view(topic) == "badly");
        const auto dead = server_.queue("dead");
        letters_before_->store(dead ? dead->status().value().offered : 0);
        return std::jthread([this, topic, count] {
            while (!serves_->load()) {
                std::this_thread::sleep_for(100us);
            }
            for (int i = 1; i <= count; ++i) {
                if (server_.send_oneway("notify", Message::text(topic, std::to_string(i)))) {
                    accepted_->fetch_add(1);
                }
            }
            sent_->store(true);
        });
    }
    // How many letters come within `patience`, and how often each reason is told.
    std::size_t letters(Duration patience,
                        int at_least,
                        std::map<ReturnReason, int>* told = nullptr) {
        std::set<std::string> all;
        Queue dead = server_.queue("dead").value();
        for (int i = 0;; ++i) {
            auto letter = dead.poll(i < at_least ? 3s : patience);
            if (!letter) {
                return all.size();
            }
            EXPECT_TRUE(all.emplace(letter->text()).second) << letter->text() << " came twice";
            if (told != nullptr) {
                ++(*told)[letter->dead_letter().value().reason];
            }
            EXPECT_TRUE(letter->ack());
        }
    }
    void expect_sound() {
        VerifyReport report;
        for (int i = 0; i < 2000; ++i) {
            report = server_.verify().value();
            if (report.chunks_offered + report.chunks_claimed + report.chunks_parked == 0 &&
                report.processes == 1 && report.problems.empty()) {
                return;
            }
            std::this_thread::sleep_for(1ms);
        }
        ADD_FAILURE() << report.chunks_offered << " offered, " << report.chunks_claimed
                      << " claimed, " << report.chunks_parked << " parked, " << report.processes
                      << " processes; " << (report.problems.empty() ? "" : report.problems.front());
    }
    // Its server is killed at each step of it. Returns how often each reason was given.
    std::map<ReturnReason, int> kill_server(const char* topic, int count) {
        std::map<ReturnReason, int> told;
        bool met = true;
        for (std::uint32_t n = 1; met; ++n) {
            std::jthread sender = send_when_served(topic, count);
            const End end = victim_.run(serving(), Fate::killed, n);
            EXPECT_NE(end, End::failed);
            met = end == End::met_fate;
            victim_.child().kill();
            serves_->store(true);  // killed before that
            sender.join();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            const int sent = accepted_->load();
            const int least = fails_->load() ? sent : sent - handled_->load();
            const int found = static_cast<int>(letters(1ms, least, &told));
            EXPECT_LE(found, sent);
            EXPECT_GE(found, least);
            expect_sound();
            if (HasFailure() || end == End::failed) {
                ADD_FAILURE() << "killed at step " << n << ", " << victim_.where();
                break;
            }
        }
        return told;
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    StepVictim victim_;
    Shared<std::atomic<int>> handled_;
    Shared<std::atomic<bool>> serves_;
    Shared<std::atomic<bool>> sent_;
    Shared<std::atomic<bool>> ends_;
    Shared<std::atomic<bool>> fails_;
    Shared<std::atomic<std::uint64_t>> letters_before_;
    Shared<std::atomic<int>> accepted_;
};

TEST_F(OnewaySteps, the_server_of_what_fails_killed) {
    auto told = kill_server("badly", 1);
    EXPECT_GE(told[ReturnReason::rejected], 2);
    EXPECT_GE(told[ReturnReason::consumer_died], 8);
}

TEST_F(OnewaySteps, the_server_of_what_succeeds_killed) {
    auto told = kill_server("well", 1);
    EXPECT_GE(told[ReturnReason::consumer_died], 2);
    EXPECT_EQ(told[ReturnReason::rejected], 0);
}

// The function ends with requests in it, and who takes it apart is killed.
TEST_F(OnewaySteps, the_server_that_ends_killed) {
    ends_->store(true);
    auto told = kill_server("badly", 3);
    EXPECT_GE(told[ReturnReason::rejected], 2);
    EXPECT_GE(told[ReturnReason::undeliverable], 8);
}

// Others go on beside it, and get the letter when it goes on.
TEST_F(OnewaySteps, the_server_stopped) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        std::jthread sender = send_when_served("badly", 1);
        const End end = victim_.run(serving(), Fate::stopped, n);
        ASSERT_NE(end, End::failed);
        stopped = end == End::met_fate;
        serves_->store(true);
        sender.join();
        Queue dead = server_.queue("dead").value();
        ASSERT_TRUE(dead.offer(Message::text("beside", "0")));
        auto beside = dead.poll(3s);
        ASSERT_TRUE(beside);
        bool there = beside->text() == "1";
        if (there) {
            EXPECT_TRUE(beside->ack());
            beside = dead.poll(3s);
            ASSERT_TRUE(beside);
        }
        EXPECT_EQ(beside->text(), "0");
        EXPECT_TRUE(beside->ack());
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        const int left = accepted_->load() - (there ? 1 : 0);
        EXPECT_EQ(static_cast<int>(letters(1ms, left)), left);
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        expect_sound();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

// Whoever reaps the dead server is killed at each of its steps, wherever that died.
TEST_F(OnewaySteps, its_reaper_may_be_killed_anywhere) {
    StepVictim reaper;
    for (const char* where : {"lease.condemn.cas", "lease.condemn.block", "lease.condemn.parked"}) {
        bool met = true;
        for (std::uint32_t n = 1; met; ++n) {
            std::jthread sender = send_when_served("badly", 1);
            ASSERT_EQ(victim_.run(serving(), Fate::stopped, 1, where), End::met_fate);
            sender.join();
            server_ = {};  // nobody else may notice
            victim_.child().kill();
            const End end = reaper.run(reaping(domain_), Fate::killed, n);
            ASSERT_NE(end, End::failed);
            met = end == End::met_fate;
            reaper.child().kill();
            server_ = domain_.open();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            EXPECT_EQ(letters(1ms, 1), 1U);
            expect_sound();
            ASSERT_FALSE(HasFailure())
                << where << ": reaper killed at step " << n << ", " << reaper.where();
        }
    }
}

TEST_F(OnewaySteps, catches_a_reaper_that_frees_them) {
    StepVictim::seed_bug(shm::Bug::reaper_frees_oneway);
    std::jthread sender = send_when_served("badly", 1);
    ASSERT_EQ(victim_.run(serving(), Fate::killed, 1, "lease.condemn.cas"), End::met_fate);
    sender.join();
    victim_.child().kill();
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_EQ(letters(50ms, 0), 0U) << "the mistake is seen: it is lost";
}

}  // namespace
}  // namespace telpher::crash

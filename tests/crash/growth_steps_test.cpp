// Goal:   a process killed or stopped at any step of an offer for which the domain must grow (by a
//         data segment of chunks), or of the making of a queue for which it must grow (by one of
//         rings), leaves a domain that grows and works for the others; nothing stays in /dev/shm
//         after its removal; and a mistake there is caught.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp, in a fresh domain
//         for each step.

#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;

constexpr std::size_t kLarge = 300'000;
constexpr std::uint32_t kWide = 5000;  // capacity of a queue whose ring the first segment lacks

class GrowthSteps : public ::testing::Test {
  protected:
    GrowthSteps() : watchdog_(200) {}
    ~GrowthSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    // A domain that nobody has used yet.
    void begin() {
        queue_ = {};
        server_.reset();
        domain_.reset();
        domain_.emplace(std::to_string(++rounds_));
        domain_->limits().segment_bytes = 64U << 20U;
        domain_->limits().message_bytes = 1U << 20U;
        server_.emplace(domain_->open());
        queue_ = server_->create_queue("queue", {.capacity = 4}).value();
    }

    VictimRole member(const std::function<void(Server&, Queue&)>& act) {
        auto server = std::make_shared<Server*>(nullptr);
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, server, queue] {
                        *server = new Server(domain_->open());  // never closed
                        *queue = (*server)->queue("queue").value();
                        return true;
                    },
                .act = [server, queue, act] { act(**server, *queue); }};
    }
    VictimRole offering() {
        return member([](Server&, Queue& queue) {
            static_cast<void>(queue.offer(numbered(1, kLarge), 10s));
        });
    }
    VictimRole creating() {
        return member([](Server& server, Queue&) {
            static_cast<void>(server.create_queue("wide", {.capacity = kWide}));
        });
    }

    // Nothing is lost, torn or there twice, and everything goes on, growing.
    void expect_whole() {
        std::vector<std::uint64_t> there = drain(queue_);
        EXPECT_TRUE(there.empty() || there == std::vector<std::uint64_t>{1});
        for (std::uint64_t number = 2; number < 6; ++number) {
            const auto offered = queue_.offer(numbered(number, number * 100'000), 10s);
            EXPECT_TRUE(offered) << offered.error().detail;
        }
        EXPECT_EQ(drain(queue_), (std::vector<std::uint64_t>{2, 3, 4, 5}));
        const auto wide = server_->create_queue("wide", {.capacity = kWide});
        EXPECT_TRUE(wide) << wide.error().detail;
        const auto wider = server_->create_queue("wider", {.capacity = 4 * kWide});
        EXPECT_TRUE(wider) << wider.error().detail;
        const VerifyReport report = server_->verify().value();
        EXPECT_EQ(report.problems, std::vector<std::string>{});
        EXPECT_EQ(report.chunks_claimed + report.chunks_offered, 0U);
    }
    void expect_removable() {
        ASSERT_TRUE(server_->remove_domain());
        EXPECT_EQ(domain_->files(), std::vector<std::string>{});
    }

    void kill_in(const char* what, const VictimRole& role) {
        const std::uint32_t steps = victim_.kill_at_every_step(
            what,
            [this] { begin(); },
            role,
            [this](bool) {
                EXPECT_EQ(server_->processes().value().size(), 1U);
                expect_whole();
                expect_removable();
            });
        EXPECT_GE(steps, 15U);
    }
    void stop_in(const VictimRole& role) {
        bool stopped = true;
        for (std::uint32_t n = 1; stopped; ++n) {
            begin();
            const auto end = victim_.run(role, Fate::stopped, n);
            ASSERT_NE(end, StepVictim::End::failed);
            stopped = end == StepVictim::End::met_fate;
            // The victim may hold the directory lock: an error in time, and small messages pass.
            const auto start = std::chrono::steady_clock::now();
            const auto offered = queue_.offer(numbered(7, kLarge));
            EXPECT_TRUE(offered || offered.status() == Status::out_of_memory);
            EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
            EXPECT_TRUE(queue_.offer(numbered(8, 100)));
            ASSERT_TRUE(!stopped || victim_.let_finish(15s)) << "it does not go on";
            std::vector<std::uint64_t> there = drain(queue_);
            std::erase(there, 1U);
            EXPECT_EQ(there,
                      offered ? (std::vector<std::uint64_t>{7, 8}) : std::vector<std::uint64_t>{8});
            expect_whole();
            expect_removable();
            ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
        }
    }

    Watchdog watchdog_;
    std::uint32_t rounds_ = 0;
    std::optional<ScratchDomain> domain_;
    std::optional<Server> server_;
    Queue queue_;
    StepVictim victim_;
};

TEST_F(GrowthSteps, killed_in_an_offer_that_grows) { kill_in("offer, growing", offering()); }
TEST_F(GrowthSteps, killed_in_a_create_that_grows) { kill_in("create, growing", creating()); }
TEST_F(GrowthSteps, stopped_in_an_offer_that_grows) { stop_in(offering()); }
TEST_F(GrowthSteps, stopped_in_a_create_that_grows) { stop_in(creating()); }

// The removal takes the data segments' names away, too: killed at any step, the sweep finishes it.
TEST_F(GrowthSteps, killed_in_a_removal_of_a_grown_domain) {
    const auto grow = [this] {
        begin();
        ASSERT_TRUE(queue_.offer(numbered(1, kLarge), 10s));
        ASSERT_TRUE(server_->create_queue("wide", {.capacity = kWide}));
    };
    const auto remove = [](Server& server, Queue&) { static_cast<void>(server.remove_domain()); };
    victim_.kill_at_every_step("remove, grown", grow, member(remove), [this](bool finished) {
        queue_ = {};
        server_.reset();
        static_cast<void>(remove_domain(domain_->name()));
        static_cast<void>(collect_garbage(false));
        EXPECT_EQ(domain_->files(), std::vector<std::string>{}) << finished;
    });
}

TEST_F(GrowthSteps, catches_a_data_segment_that_is_counted_before_it_is_there) {
    StepVictim::seed_bug(shm::Bug::grow_counted_first);
    begin();
    const auto end = victim_.run(offering(), Fate::killed, 1, "grow.file");
    ASSERT_EQ(end, StepVictim::End::met_fate);
    StepVictim::seed_bug(shm::Bug::none);
    EXPECT_FALSE(queue_.offer(numbered(7, kLarge)));
}

}  // namespace
}  // namespace telpher::crash

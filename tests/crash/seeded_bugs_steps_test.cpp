// Goal:   the tests of this folder can fail: each deliberate mistake of shm/base/bug.hpp is caught.
// Method: a targeted run without the mistake must be good, the same run with it must not.
// Not here: the mistakes of the ring itself (no_generation_check, closed_only_at_tail,
//         unguarded_distance, head_before_claim): ring_schedules_steps_test.cpp; of circular queues
//         (drop_not_released): circular_steps_test.cpp.

#include "shm/base/step.hpp"
#include "shm/directory.hpp"
#include "shm/doorbell.hpp"
#include "shm/segment.hpp"
#include "tests/crash/fibers.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using shm::Bug;
using Fate = StepVictim::Fate;

class SeededBugs : public ::testing::Test {
  protected:
    SeededBugs()
        : watchdog_(60), domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()) {}
    ~SeededBugs() override { StepVictim::seed_bug(Bug::none); }

    // `run` tells what is wrong, empty = nothing.
    void expect_caught(Bug bug, const std::function<std::string()>& run) {
        EXPECT_EQ(run(), "") << "without the mistake";
        domain_.remove_files();
        StepVictim::seed_bug(bug);
        const std::string problem = run();
        StepVictim::seed_bug(Bug::none);
        EXPECT_NE(problem, "") << "the mistake is not caught";
        std::printf("  caught: %s\n", problem.c_str());
    }

    // A process that offers message 1 and dies at `step`, or after it when there is no such step.
    void die_in_an_offer(const char* step) {
        auto queue = std::make_shared<Queue>();
        StepVictim dead;
        static_cast<void>(
            dead.run({.prepare =
                          [this, queue] {
                              auto* server = new Server(domain_.open());
                              *queue = server->queue("queue").value();
                              return true;
                          },
                      .act = [queue] { static_cast<void>(queue->offer(numbered(1, 48))); }},
                     Fate::killed,
                     1,
                     step));
    }

    // What a survivor finds after a death at `step`: the message, or not.
    std::string find_after_death(const char* step, std::size_t messages) {
        const Server survivor = domain_.open();
        Queue queue = Server(survivor).create_queue("queue", {.capacity = 3}).value();
        die_in_an_offer(step);
        const std::string problem = audit(survivor, settle(queue), messages);
        const std::size_t found = drain(queue).size();
        return found == messages ? problem : std::to_string(found) + " messages; " + problem;
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
};

TEST_F(SeededBugs, a_reaper_that_does_not_look_into_the_ring) {
    expect_caught(Bug::no_ring_scan, [&] { return find_after_death("ring.raise.load", 1); });
}

TEST_F(SeededBugs, no_reaper) {
    expect_caught(Bug::no_reaper, [&] { return find_after_death("ring.commit.cas", 0); });
}

TEST_F(SeededBugs, a_destination_written_after_the_commit) {
    expect_caught(Bug::dest_after_commit,
                  [&] { return find_after_death("ring.commit.dest_late", 1); });
}

TEST_F(SeededBugs, a_reaper_that_frees_the_deliveries_of_the_living) {
    expect_caught(Bug::reap_claimed_by_anybody, [&] {
        Server survivor = domain_.open();
        Queue queue = survivor.create_queue("queue", {.capacity = 3}).value();
        static_cast<void>(queue.offer(numbered(1, 48)));
        const Delivery mine = std::move(queue.poll().value());
        die_in_an_offer("ring.commit.cas");
        const VerifyReport report = survivor.verify().value();
        return report.chunks_claimed == 1 ? "" : "a delivery's memory was taken away";
    });
}

TEST_F(SeededBugs, a_reaper_that_lets_go_of_the_rings_first) {
    expect_caught(Bug::attached_cleared_first, [&]() -> std::string {
        static_cast<void>(domain_.open().create_queue("queue", {.capacity = 3}));
        die_in_an_offer("ring.commit.cas");
        StepVictim reaper;
        const VictimRole open{.prepare = {}, .act = [&] { new Server(domain_.open()); }};
        if (reaper.run(open, Fate::stopped, 1, "reap.chunk.cas") != StepVictim::End::met_fate) {
            return "there is nothing to reap";
        }
        // Looked at without attaching, which would reap.
        auto segment = shm::Segment::open(shm::public_file(domain_.name())).value();
        shm::ChunkPool no_pool;
        shm::Directory directory;
        directory.start(&segment, &no_pool, 0);
        // relaxed: everybody is stopped or dead
        const bool pinned = directory.entry(0).attached[0].load(std::memory_order_relaxed) != 0;
        return pinned ? "" : "the ring of an unresolved message is not kept in place";
    });
}

TEST_F(SeededBugs, an_attach_that_does_not_see_a_removal) {
    expect_caught(Bug::no_recheck_after_join, [&]() -> std::string {
        Server remover = domain_.open();
        Shared<std::atomic<bool>> running;
        StepVictim opener;
        const VictimRole open{.prepare = {},
                              .act = [&] { running->store(domain_.open().running()); }};
        if (opener.run(open, Fate::stopped, 1, "domain.attach.check") !=
            StepVictim::End::met_fate) {
            return "it does not attach";
        }
        static_cast<void>(remover.remove_domain());
        const bool ended = opener.let_finish(10s);
        return ended && running->load() ? "" : "a domain was opened that is removed";
    });
}

// Two threads wait at a map, one each for two messages that two others send. Nobody really sleeps:
// a waiter that has found nothing is asleep as long as its doorbell has not moved.
class WaitWorld {
  public:
    void reset() {
        std::memset(static_cast<void*>(&map_), 0, sizeof map_);
        std::memset(static_cast<void*>(threads_), 0, sizeof threads_);
        messages_ = 0;
        asleep_[0] = asleep_[1] = false;
    }
    void wait(std::uint32_t who) {
        shm::arm(map_, who);
        SHM_STEP("test.look");
        if (messages_ == 0) {
            asleep_[who] = true;
            return;
        }
        --messages_;
        static_cast<void>(shm::disarm(map_, who));
    }
    void send() {
        SHM_STEP("test.send");
        ++messages_;
        shm::wake(map_, threads_, [this] { return messages_ > 0; });
    }
    std::string judge() {
        std::uint32_t awake = 0;
        std::uint32_t asleep = 0;
        for (std::uint32_t who = 0; who < 2; ++who) {
            const bool rung = threads_[who].doorbell.load(std::memory_order_relaxed) != 0;
            awake += asleep_[who] && rung ? 1U : 0U;
            asleep += asleep_[who] && !rung ? 1U : 0U;
        }
        // Who was rung takes one message, and passes the wake on if it leaves one behind: not
        // needed here.
        return asleep != 0 && messages_ > awake ? "a waiter sleeps beside a message" : "";
    }

  private:
    shm::WaiterMap map_;
    shm::ThreadRecord threads_[2];
    std::uint32_t messages_ = 0;
    bool asleep_[2] = {};
};

TEST_F(SeededBugs, a_summary_cleared_after_the_scan) {
    expect_caught(Bug::summary_cleared_late, [] {
        WaitWorld world;
        Exploration exploration;
        exploration.parties = {[&] { world.wait(0); },
                               [&] { world.wait(1); },
                               [&] { world.send(); },
                               [&] { world.send(); }};
        exploration.reset = [&] { world.reset(); };
        exploration.judge = [&] { return world.judge(); };
        const Explored explored = explore(exploration);
        return explored.complete || !explored.problem.empty() ? explored.problem : "incomplete";
    });
}

}  // namespace
}  // namespace telpher::crash

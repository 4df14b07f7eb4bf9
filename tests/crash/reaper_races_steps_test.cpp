// Goal:   the reaper takes nothing from the living and loses nothing of the dead in two races that
//         it once lost.
// Method: the processes are stopped where the race needs them.

#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

class ReaperRaces : public ::testing::Test {
  protected:
    ReaperRaces()
        : watchdog_(60),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()) {}

    // A process that attaches, does `work`, and stays.
    Child start(const std::function<bool(Server&)>& work) {
        attached_->store(false);
        Child child([&] {
            Server server = domain_.open();
            attached_->store(work(server));
            pause();
            return 0;
        });
        EXPECT_TRUE(eventually([&] { return attached_->load(); }));
        return child;
    }
    Child start() {
        return start([](Server&) { return true; });
    }

    static bool eventually(const std::function<bool()>& happened) {
        for (int i = 0; i < 20'000 && !happened(); ++i) {
            usleep(100);
        }
        return happened();
    }

    // The slot and state of process `pid`; slot ~0 if it is not in the table.
    ProcessInfo find(pid_t pid) {
        const std::vector<ProcessInfo> all = server_.processes().value();
        for (const ProcessInfo& info : all) {
            if (info.pid == static_cast<std::uint32_t>(pid)) {
                return info;
            }
        }
        ProcessInfo none;
        none.slot = ~0U;
        return none;
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Shared<std::atomic<bool>> attached_;
};

// Whether process `who` has a pidfd of process `whom`.
bool watches(pid_t who, pid_t whom) {
    std::error_code gone;  // a descriptor may be closed while we look
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(who) + "/fdinfo", gone)) {
        std::ifstream file(entry.path());
        for (std::string line; std::getline(file, line);) {
            if (line == "Pid:\t" + std::to_string(whom)) {
                return true;
            }
        }
    }
    return false;
}

// Once: the janitor took a pidfd's word for whoever has the slot now.
TEST_F(ReaperRaces, a_process_in_the_slot_of_a_dead_one_is_not_reaped_by_a_late_watcher) {
    const Child watcher = start();
    Child first = start();
    const pid_t first_pid = first.pid();
    const std::uint32_t slot = find(first_pid).slot;
    ASSERT_TRUE(eventually([&] { return watches(watcher.pid(), first_pid); }));
    watcher.stop();
    first.kill();
    ASSERT_TRUE(eventually([&] { return find(first_pid).slot == ~0U; }));
    const Child second = start();
    ASSERT_EQ(find(second.pid()).slot, slot);
    watcher.go_on();  // its poll returns now: the first one is gone
    ASSERT_TRUE(eventually([&] { return !watches(watcher.pid(), first_pid); }));
    usleep(20'000);
    EXPECT_EQ(find(second.pid()).slot, slot);
    EXPECT_EQ(find(second.pid()).state, "live");
}

// Once: the reaper did not find the ring of a queue that is RECYCLING, and took the last message of
// the dead for one that was never sent. The recycler went back to CLOSED then.
TEST_F(ReaperRaces, a_message_of_the_dead_in_a_queue_that_is_being_recycled_is_not_lost) {
    Queue queue = server_.create_queue("queue", {.capacity = 4}).value();
    Child producer = start([](Server& server) {
        return server.queue("queue").value().offer(numbered(1, 48)).has_value();
    });
    StepVictim remover;
    const VictimRole remove{.prepare = {}, .act = [&] {
                                Server server = domain_.open();
                                static_cast<void>(server.remove_queue("queue"));
                            }};
    ASSERT_EQ(remover.run(remove, StepVictim::Fate::stopped, 1, "directory.recycle.bits"),
              StepVictim::End::met_fate);
    const pid_t pid = producer.pid();
    producer.kill();
    ASSERT_TRUE(eventually([&] { return find(pid).slot == ~0U; }));
    ASSERT_TRUE(remover.let_finish(10s));
    const auto delivery = queue.poll();
    ASSERT_TRUE(delivery) << to_string(delivery.error());
    EXPECT_EQ(number_of(*delivery), 1U);
    EXPECT_EQ(queue.poll().status(), Status::queue_not_found);
}

}  // namespace
}  // namespace telpher::crash

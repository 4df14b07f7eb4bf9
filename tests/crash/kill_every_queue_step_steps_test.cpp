// Goal:   a process killed at any step of making, removing, using or waiting at a queue, or of
//         reaping another one that died, leaves work that the next process finishes: nothing is
//         lost that was sent, nothing leaks, the queue's memory is used again.
// Method: as kill_every_step_steps_test.cpp.

#include "tests/crash/sleeper.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;

constexpr QueueOptions kSmallQueue{.capacity = 4};
constexpr QueueOptions kHalfOfTheRings{.capacity = 2000};  // two of them do not fit

class KillEveryQueueStep : public ::testing::Test {
  protected:
    KillEveryQueueStep()
        : watchdog_(150),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()) {}

    // A role that has a Server and, if there is one, the queue.
    VictimRole member(const std::function<void(Server&, Queue&)>& act) {
        struct Held {
            Server server;
            Queue queue;
        };
        auto held = std::make_shared<Held*>();
        return {.prepare =
                    [this, held] {
                        *held = new Held{domain_.open(), {}};  // never closed
                        if (auto queue = (*held)->server.queue("queue")) {
                            (*held)->queue = *queue;
                        }
                        return true;
                    },
                .act = [held, act] { act((*held)->server, (*held)->queue); }};
    }

    // No queue is left, and the memory of the rings is whole.
    void expect_all_free(Server& server) {
        auto queue = server.create_queue("large", kHalfOfTheRings);
        ASSERT_TRUE(queue) << to_string(queue.error());
        EXPECT_EQ(audit(server, settle(*queue)), "");
        EXPECT_TRUE(server.remove_queue("large"));
        EXPECT_EQ(server.queues().value(), std::vector<std::string>{});
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    StepVictim victim_;
};

TEST_F(KillEveryQueueStep, of_making_a_queue_makes_it_or_not) {
    Server survivor = domain_.open();
    const auto create = [](Server& server, Queue&) {
        static_cast<void>(server.create_queue("queue", kHalfOfTheRings));
    };
    victim_.kill_at_every_step("create_queue", {}, member(create), [&](bool finished) {
        const auto removed = survivor.remove_queue("queue");
        EXPECT_TRUE(removed || (!finished && removed.status() == Status::queue_not_found));
        expect_all_free(survivor);
    });
}

TEST_F(KillEveryQueueStep, of_removing_a_queue_removes_it_or_not) {
    Server survivor = domain_.open();
    Queue queue;
    const auto before = [&] {
        queue = survivor.create_queue("queue", kHalfOfTheRings).value();
        ASSERT_TRUE(queue.created());
        ASSERT_TRUE(queue.offer(numbered(1, 48)) && queue.offer(numbered(2, 48)));
    };
    const auto remove = [](Server& server, Queue&) {
        static_cast<void>(server.remove_queue("queue"));
    };
    const auto after = [&](bool finished) {
        // Any change of the directory mends what the dead remover left.
        EXPECT_TRUE(survivor.create_queue("other", {.capacity = 1}));
        EXPECT_TRUE(survivor.remove_queue("other"));
        const bool exists = survivor.exists("queue").value();
        EXPECT_FALSE(exists && finished);
        EXPECT_EQ(queue.offer(numbered(3, 48)).status(),
                  exists ? Status::ok : Status::queue_not_found);
        const auto expected =
            exists ? std::vector<std::uint64_t>{1, 2, 3} : std::vector<std::uint64_t>{1, 2};
        EXPECT_EQ(drain(queue), expected);
        EXPECT_EQ(queue.poll().status(), exists ? Status::queue_empty : Status::queue_not_found);
        EXPECT_TRUE(!exists || survivor.remove_queue("queue"));
        queue = Queue();
        expect_all_free(survivor);
    };
    victim_.kill_at_every_step("remove_queue", before, member(remove), after);
    victim_.kill_at_every_step("remove_queue, no handle of it",
                               before,
                               {.prepare = {},
                                .act =
                                    [&] {
                                        auto* server = new Server(domain_.open());
                                        static_cast<void>(server->remove_queue("queue"));
                                    }},
                               after);
}

TEST_F(KillEveryQueueStep, of_removing_a_queue_nobody_has_open_frees_it_and_its_messages) {
    Server survivor = domain_.open();
    const auto before = [&] {
        Queue queue = survivor.create_queue("queue", kHalfOfTheRings).value();
        ASSERT_TRUE(queue.offer(numbered(1, 48)) && queue.offer(numbered(2, 48)));
    };
    const VictimRole remover{.prepare = {}, .act = [&] {
                                 auto* server = new Server(domain_.open());
                                 static_cast<void>(server->remove_queue("queue"));
                             }};
    victim_.kill_at_every_step("remove_queue, with its ring", before, remover, [&](bool finished) {
        const auto removed = survivor.remove_queue("queue");
        EXPECT_TRUE(removed ? !finished : removed.status() == Status::queue_not_found);
        expect_all_free(survivor);
    });
}

// Holds two deliveries and a loan, and dies in an offer, at `step`.
class KillEveryReapStep : public KillEveryQueueStep {
  protected:
    void reap_after_death_at(const char* step, const std::vector<std::uint64_t>& expected) {
        const auto before = [&] {
            StepVictim dead;
            const auto offer = [](Server&, Queue& queue) {
                static_cast<void>(queue.offer(numbered(4, 48)));
            };
            VictimRole role = member(offer);
            role.prepare = [this, open = role.prepare] { return open() && hold_something(); };
            ASSERT_EQ(dead.run(role, Fate::killed, 1, step), StepVictim::End::met_fate);
        };
        const VictimRole reaper{.prepare = {}, .act = [&] { new Server(domain_.open()); }};
        victim_.kill_at_every_step(step, before, reaper, [&](bool finished) {
            Server third = domain_.open();
            Queue queue = third.queue("queue").value();
            EXPECT_EQ(audit(third, settle(queue), expected.size()), "");
            // Counted after the chunk is free: a reaper that dies in between leaves it one short.
            EXPECT_GE(queue.status().value().abandoned, finished ? 2U : 1U);
            EXPECT_LE(queue.status().value().abandoned, 2U);
            EXPECT_EQ(drain(queue), expected);
            EXPECT_EQ(third.verify().value().processes, 1U);
            // A queue of its own each time: how many messages the dead abandoned is counted anew.
            queue = Queue();
            EXPECT_TRUE(third.remove_queue("queue"));
            expect_all_free(third);
            EXPECT_TRUE(third.create_queue("queue", kSmallQueue));
        });
    }

    // Offers 1 to 3, polls 1 and 2.
    bool hold_something() {
        auto* server = new Server(domain_.open());  // never closed, as all here
        auto* queue = new Queue(server->queue("queue").value());
        for (std::uint64_t number = 1; number <= 3; ++number) {
            if (!queue->offer(numbered(number, 48))) {
                return false;
            }
        }
        return new Delivery(std::move(queue->poll().value())) !=
               nullptr&& new Delivery(std::move(queue->poll().value())) !=
               nullptr&& new Loan(std::move(queue->loan("crash", 5000).value())) != nullptr;
    }
};

TEST_F(KillEveryReapStep, of_the_reaper_leaves_the_rest_to_the_next) {
    for (const std::uint32_t processes : {16U, 1U}) {  // 1: the reaper has no slot until it is done
        domain_.limits().processes = processes;
        ASSERT_TRUE(domain_.open().create_queue("queue", kSmallQueue));
        reap_after_death_at("ring.commit.offered", {3});
        reap_after_death_at("ring.commit.cas", {3});
        reap_after_death_at("ring.raise.store", {3, 4});
        ASSERT_TRUE(remove_domain(domain_.name()));
    }
}

TEST_F(KillEveryQueueStep, of_waiting_swallows_no_wake) {
    Server survivor = domain_.open();
    Queue queue = survivor.create_queue("queue", {.capacity = 1}).value();
    {
        Sleeper consumer(domain_, "queue", Sleeper::consume);
        const auto poll = [](Server&, Queue& q) { static_cast<void>(q.poll(3ms)); };
        const auto before = [&] { EXPECT_TRUE(consumer.wait_for_sleep()); };
        victim_.kill_at_every_step("waiting for a message", before, member(poll), [&](bool) {
            EXPECT_TRUE(queue.offer(numbered(1, 48), 1s));
            EXPECT_TRUE(consumer.wait_for(queue.status().value().offered)) << "it sleeps on";
        });
    }
    Sleeper producer(domain_, "queue", Sleeper::produce);
    const auto offer = [](Server&, Queue& q) { static_cast<void>(q.offer(numbered(1, 48), 3ms)); };
    const auto before = [&] { EXPECT_TRUE(producer.wait_for(1) && producer.wait_for_sleep()); };
    victim_.kill_at_every_step("waiting for room", before, member(offer), [&](bool) {
        const std::uint64_t done = producer.done();
        EXPECT_TRUE(queue.poll(1s));
        EXPECT_TRUE(producer.wait_for(done + 1)) << "it sleeps on";
    });
}

}  // namespace
}  // namespace telpher::crash

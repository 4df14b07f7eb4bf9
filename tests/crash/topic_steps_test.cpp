// Goal:   a process killed or stopped at any step of publishing, subscribing, reading or
//         unsubscribing leaves a topic that goes on: its message is there for all or for none, no
//         reader sees a torn or stale one, nothing leaks, nobody waits for the dead; its reaper may
//         be killed anywhere, too.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp; the rules are those of
//         tests/model/topic.pml.

#include "tests/crash/sleeper.hpp"
#include "tests/crash/topic_world.hpp"

#include <memory>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Numbers = std::vector<std::uint64_t>;
using Fate = StepVictim::Fate;

class TopicSteps : public ::testing::Test {
  protected:
    TopicSteps()
        : watchdog_(200), world_(::testing::UnitTest::GetInstance()->current_test_info()->name()) {}
    ~TopicSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    static std::function<void(Server&)> publishing(std::size_t bytes) {
        return [bytes](Server& server) { static_cast<void>(server.publish(numbered(100, bytes))); };
    }
    // From the beginning, everything, in place and copied, and away.
    static void read_all(Server& server) {
        auto subscription = server.subscribe("crash", SubscribeOptions{.from = From::earliest()});
        if (!subscription) {
            abort();
        }
        Seen seen;
        seen.drain(*subscription);
        if (!seen.problem.empty()) {
            abort();  // seen as the wrong end
        }
    }
    void fill(std::size_t bytes) {
        for (std::uint64_t number = 1; number <= 2 * TopicWorld::kCapacity; ++number) {
            world_.publish(number, number % 2 == 0 ? TopicWorld::kSmall : bytes);
        }
    }

    void kill_in_publish(std::size_t bytes) {
        Subscription survivor;
        std::optional<Sample> held;
        Seen seen;
        const std::uint32_t steps = victim_.kill_at_every_step(
            "publish",
            [&] {
                fill(TopicWorld::kLarge);
                survivor = world_.subscribe(From::earliest());
                held = survivor.next().value();  // the one that the victim evicts, in place
                seen = {};
                seen.drain(survivor);
            },
            world_.member(publishing(bytes)),
            [&](bool finished) {
                EXPECT_EQ(world_.server_.processes().value().size(), 1U);
                Seen after;
                after.drain(survivor);
                EXPECT_TRUE(after.numbers == Numbers{100} || (after.numbers.empty() && !finished));
                for (std::uint64_t number = 200; number < 220; ++number) {
                    world_.publish(number, TopicWorld::kLarge);
                    after.drain(survivor);
                }
                EXPECT_EQ(after.problem, "");
                EXPECT_EQ(after.lost, 0U);
                EXPECT_TRUE(held->in_place());
                EXPECT_EQ(number_of(*held), 5U) << "it is being read";
                held.reset();
                survivor = {};
                world_.expect_whole();
            });
        EXPECT_GE(steps, 12U);
    }

    Watchdog watchdog_;
    TopicWorld world_;
    StepVictim victim_;
};

TEST_F(TopicSteps, killed_in_a_publish_of_a_small_message) { kill_in_publish(TopicWorld::kSmall); }

TEST_F(TopicSteps, killed_in_a_publish_of_a_large_message) { kill_in_publish(TopicWorld::kLarge); }

// Each of two sleepers hears of the message, whoever rings it: the dead may have taken its bit.
TEST_F(TopicSteps, killed_in_a_publish_that_wakes_everybody) {
    const auto follow = [name = world_.domain_.name()](Queue& /*unused*/) {
        static Server server = Server::open(name, sleepy_options()).value();  // in its own process
        static Subscription subscription = server.subscribe("crash").value();
        return subscription.next(1h).has_value();
    };
    std::vector<std::unique_ptr<Sleeper>> sleepers;
    std::uint64_t before = 0;
    const std::uint32_t steps = victim_.kill_at_every_step(
        "publish to sleepers",
        [&] {
            for (int i = 0; i < 2; ++i) {
                sleepers.push_back(std::make_unique<Sleeper>(world_.domain_, "queue", follow));
            }
            const std::uint64_t started = now_ns();
            while (world_.topic_.status().value().subscribers < 2 &&
                   now_ns() - started < 10'000'000'000U) {
                std::this_thread::yield();
            }
            for (const auto& sleeper : sleepers) {
                ASSERT_TRUE(sleeper->wait_for_sleep());
            }
            before = world_.topic_.status().value().published;
        },
        world_.member(publishing(TopicWorld::kSmall)),
        [&](bool finished) {
            const std::uint64_t after = world_.topic_.status().value().published;
            EXPECT_TRUE(after == before + 1 || (after == before && !finished));
            if (after == before) {
                world_.publish(101);
            }
            for (const auto& sleeper : sleepers) {
                EXPECT_TRUE(sleeper->wait_for(1)) << "half of the time that bounds a sleep";
            }
            sleepers.clear();
            const std::uint64_t killed = now_ns();  // three at once: another reaper may be at it
            while (world_.server_.processes().value().size() > 1 &&
                   now_ns() - killed < 5'000'000'000U) {
                std::this_thread::yield();
            }
            world_.expect_whole();
        });
    EXPECT_GE(steps, 20U);
}

TEST_F(TopicSteps, killed_in_a_subscription) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "subscription",
        [&] { fill(TopicWorld::kLarge); },
        world_.member(read_all),
        [&](bool) {
            EXPECT_EQ(world_.server_.processes().value().size(), 1U);
            EXPECT_EQ(world_.topic_.status().value().subscribers, 0U);
            world_.expect_whole();
        });
    EXPECT_GE(steps, 40U);
}

TEST_F(TopicSteps, stopped_in_a_publish) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        fill(TopicWorld::kLarge);
        Subscription survivor = world_.subscribe();
        Seen seen;
        const std::uint64_t before = world_.topic_.status().value().published;
        const auto end =
            victim_.run(world_.member(publishing(TopicWorld::kSmall)), Fate::stopped, n);
        ASSERT_NE(end, StepVictim::End::failed);
        stopped = end == StepVictim::End::met_fate;
        for (std::uint64_t number = 200; number < 224; ++number) {  // laps of the others
            world_.publish(number, number % 3 == 0 ? TopicWorld::kLarge : TopicWorld::kSmall);
            seen.drain(survivor);
        }
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        seen.drain(survivor);
        EXPECT_EQ(std::count(seen.numbers.begin(), seen.numbers.end(), 100), 1) << n;
        EXPECT_EQ(seen.numbers.size(), 25U);
        EXPECT_EQ(world_.topic_.status().value().published, before + 25);
        EXPECT_EQ(seen.problem, "");
        survivor = {};
        world_.expect_whole();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

TEST_F(TopicSteps, stopped_in_a_subscription) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        fill(TopicWorld::kLarge);
        const auto end = victim_.run(world_.member(read_all), Fate::stopped, n);
        ASSERT_NE(end, StepVictim::End::failed);
        stopped = end == StepVictim::End::met_fate;
        Subscription survivor = world_.subscribe();
        Seen seen;
        for (std::uint64_t number = 200; number < 224; ++number) {
            world_.publish(number, number % 3 == 0 ? TopicWorld::kLarge : TopicWorld::kSmall);
            seen.drain(survivor);
        }
        EXPECT_EQ(seen.numbers.size(), 24U) << "a stopped subscriber holds nobody up";
        EXPECT_EQ(seen.problem, "");
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it read nonsense, or hangs";
        survivor = {};
        world_.expect_whole();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

TEST_F(TopicSteps, killed_in_the_making_and_the_removal_of_a_topic) {
    victim_.kill_at_every_step(
        "remove and make",
        [&] { fill(TopicWorld::kLarge); },
        world_.member([](Server& server) {
            static_cast<void>(server.remove_topic("crash"));
            static_cast<void>(server.publish(numbered(100, 48)));
        }),
        [&](bool) {
            EXPECT_EQ(world_.server_.processes().value().size(), 1U);
            // Whatever there is now: gone, the old one, or one made at first use.
            world_.topic_ = {};
            static_cast<void>(world_.server_.remove_topic("crash"));
            world_.make();
            world_.expect_whole();
        });
}

// Publishers wait for a subscriber, but not for a dead one.
TEST_F(TopicSteps, killed_in_a_subscription_that_blocks) {
    TopicWorld world("block", {.capacity = TopicWorld::kCapacity, .slow = SlowSubscriber::block});
    const std::uint32_t steps = victim_.kill_at_every_step(
        "blocking subscription",
        [&] { world.publish(1, TopicWorld::kLarge); },
        world.member([](Server& server) {
            auto subscription = server.subscribe("crash");
            for (std::uint64_t number = 1; number <= 3; ++number) {
                static_cast<void>(server.publish(numbered(number, 48)));
                static_cast<void>(subscription->next());
            }
        }),
        [&](bool) {
            // Without a look at the processes: a publisher that waits must be rung.
            const std::uint64_t started = now_ns();
            for (std::uint64_t number = 200; number < 212; ++number) {
                world.publish(number, TopicWorld::kSmall);
            }
            EXPECT_LT(now_ns() - started, 8'000'000'000U);
            world.expect_whole();
        });
    EXPECT_GE(steps, 40U);
}

TEST_F(TopicSteps, killed_in_a_publish_that_trims) {
    TopicWorld world("trim", {.capacity = 64, .byte_budget = 6000});
    Subscription survivor;
    const std::uint32_t steps = victim_.kill_at_every_step(
        "publish, trim",
        [&] {
            survivor = world.subscribe();
            for (std::uint64_t number = 1; number <= 10; ++number) {
                world.publish(number, TopicWorld::kLarge);
            }
        },
        world.member(publishing(TopicWorld::kLarge)),
        [&](bool finished) {
            EXPECT_EQ(world.server_.processes().value().size(), 1U);
            Seen seen;
            seen.drain(survivor);
            EXPECT_EQ(seen.problem, "");
            // All of them: read, or told as lost.
            const std::uint64_t sent = seen.numbers.size() + seen.lost;
            EXPECT_TRUE(sent == 11 || (sent == 10 && !finished)) << sent;
            survivor = {};
            for (std::uint64_t number = 1001; number <= 1012; ++number) {
                world.publish(number, TopicWorld::kLarge);
            }
            detail::QueueCore::of(world.queue_).attachment().directory().free_retired();
            EXPECT_EQ(world.server_.verify().value().problems, std::vector<std::string>{});
            EXPECT_LE(world.server_.verify().value().chunks_retired, TopicWorld::kKeptMax);
            EXPECT_LE(world.topic_.status().value().bytes, 6000U + 1152U);
        });
    EXPECT_GE(steps, 20U);
}

// The publisher dies when it has evicted a message that the survivor reads, and not yet retired it.
TEST_F(TopicSteps, its_reaper_may_be_killed_anywhere) {
    StepVictim reaper;
    std::uint32_t retired = 0;
    bool met = true;
    for (std::uint32_t n = 1; met; ++n) {
        fill(TopicWorld::kLarge);
        ASSERT_EQ(victim_.run(world_.member([](Server& server) {
            auto subscription =
                server.subscribe("crash", SubscribeOptions{.from = From::earliest()});
            auto sample = subscription->next();
            static_cast<void>(server.publish(numbered(100, 48)));
        }),
                              Fate::stopped,
                              1,
                              "topic.retire.cas"),
                  StepVictim::End::met_fate);
        world_.topic_ = {};
        world_.queue_ = {};
        world_.server_ = {};  // nobody else may notice
        victim_.child().kill();
        const auto end = reaper.run(reaping(world_.domain_), Fate::killed, n);
        ASSERT_NE(end, StepVictim::End::failed);
        met = end == StepVictim::End::met_fate;
        retired += met && reaper.where().find("topic.retire") != std::string::npos ? 1U : 0U;
        reaper.child().kill();
        world_.server_ = world_.domain_.open();
        world_.make();
        world_.queue_ = world_.server_.queue("queue").value();
        world_.expect_whole();
        ASSERT_FALSE(HasFailure()) << "reaper killed at step " << n << ", " << reaper.where();
    }
    EXPECT_GE(retired, 1U) << "that step was among them";
}

// ---- mistakes ----------------------------------------------------------------------------------

TEST_F(TopicSteps, catches_a_free_without_a_look_at_hazards) {
    fill(TopicWorld::kLarge);
    Subscription survivor = world_.subscribe(From::earliest());
    const Sample held = survivor.next().value();
    ASSERT_TRUE(held.in_place());
    StepVictim::seed_bug(shm::Bug::free_without_hazards);
    for (std::uint64_t number = 200; number < 10'000 && number_of(held) == 5; ++number) {
        world_.publish(number, TopicWorld::kLarge);
    }
    EXPECT_NE(number_of(held), 5U) << "the mistake is seen";
}

// Stopped between its copy and its look, while the chunk becomes another message's.
TEST_F(TopicSteps, catches_a_copy_that_is_believed_at_once) {
    StepVictim::seed_bug(shm::Bug::cursor_before_validation);
    bool caught = false;
    for (std::uint32_t n = 1; n <= 60 && !caught; ++n) {
        fill(TopicWorld::kSmall);
        const auto end = victim_.run(world_.member(read_all), Fate::stopped, n, "topic.copy.word");
        if (end != StepVictim::End::met_fate) {
            break;
        }
        for (std::uint64_t number = 200; number < 20'000; ++number) {
            world_.publish(number, TopicWorld::kSmall);
        }
        caught = !victim_.let_finish(10s);
        victim_.child().kill();
    }
    EXPECT_TRUE(caught) << "the mistake is seen";
}

TEST_F(TopicSteps, catches_a_subscriber_that_begins_where_the_hint_points) {
    for (const bool mistaken : {false, true}) {
        StepVictim::seed_bug(mistaken ? shm::Bug::join_at_hint : shm::Bug::none);
        ASSERT_EQ(victim_.run(world_.member(publishing(48)), Fate::killed, 1, "ring.raise.store"),
                  StepVictim::End::met_fate);
        Subscription survivor = world_.subscribe();
        EXPECT_EQ(survivor.next().has_value(), mistaken)
            << "message 100 was published before it joined";
    }
}

}  // namespace
}  // namespace telpher::crash

// Goal:   a process killed at any step of a durable offer with a request id leaves its message once or not at all, in memory
//         and in the log: whoever offers it again, in the same life of the domain or in the next one, has it there once.
// Method: as durable_steps_test.cpp; behind each kill the same messages are offered again, by a survivor and then by who
//         built the domain again, or by the latter alone.

#include "tests/crash/durable_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;

class DurableRequestSteps : public DurableWorld {
  protected:
    DurableRequestSteps() { options_.idempotency = Idempotency{.scope = IdempotencyScope::global}; }
    static Message message(std::uint64_t number) {
        return numbered(number, 100).with_request_id("id-" + std::to_string(number)).durable();
    }
    VictimRole producer(std::uint64_t from, std::uint64_t count) {
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, queue] {
                        *queue = queue_of_victim();
                        return true;
                    },
                .act =
                    [queue, from, count] {
                        for (std::uint64_t number = from; number < from + count; ++number) {
                            static_cast<void>(queue->offer(message(number), 5s));
                        }
                    }};
    }
    // The same by asynchronous offers; the thread that logs them suffers. Number 50 starts it. With `crowded`, somebody
    // else takes the room that was found for them.
    VictimRole sender(std::uint64_t count, std::chrono::milliseconds timeout, bool crowded) {
        auto queue = std::make_shared<Queue>();
        auto rival = std::make_shared<Queue>();
        return {
            .prepare =
                [this, queue, rival] {
                    *queue = queue_of_victim();
                    *rival =
                        (new Client(connect("shm:" + domain_.name()).value()))->queue("q").value();
                    return queue->offer_async(message(50), 5s).get(5s).has_value();
                },
            .act =
                [queue, rival, count, timeout, crowded] {
                    std::vector<Future<std::uint64_t>> offers;
                    for (std::uint64_t number = 1; number <= count; ++number) {
                        offers.push_back(queue->offer_async(message(number), timeout));
                    }
                    while (crowded && rival->offer(numbered(1000, 10), 0ms)) {
                    }
                    for (auto& offer : offers) {
                        static_cast<void>(offer.get(10s));
                    }
                },
            .thread = "telpher-durable"};
    }
    void offer_again(const Numbers& numbers) {
        for (const std::uint64_t number : numbers) {
            const auto again = queue_.offer(message(number), 10s);
            EXPECT_TRUE(again) << number << ": " << to_string(again.error());
        }
    }
};

TEST_F(DurableRequestSteps, killed_in_offers_that_are_brought_again_by_a_survivor) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "durable offers with request ids",
        [this] { begin(); },
        producer(1, 2),
        [this](bool /*finished*/) {
            victim_.child().kill();
            offer_again({1, 2, 3});
            build_again();
            offer_again({1, 2, 3});
            EXPECT_EQ(take(), (Numbers{1, 2, 3}));
            build_again();
            offer_again({3, 2, 1});
            EXPECT_EQ(take(), Numbers{}) << "known, though they are done";
            end();
        });
    EXPECT_GE(steps, 40U);
}

TEST_F(DurableRequestSteps, killed_in_offers_that_are_brought_again_in_the_next_life) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "durable offers with request ids",
        [this] { begin(); },
        producer(1, 2),
        [this](bool /*finished*/) {
            victim_.child().kill();
            build_again();
            offer_again({1, 2, 3});
            EXPECT_EQ(take(), (Numbers{1, 2, 3}));
            end();
        });
    EXPECT_GE(steps, 40U);
}

TEST_F(DurableRequestSteps, killed_in_asynchronous_offers_that_are_brought_again) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "asynchronous durable offers with request ids",
        [this] { begin(); },
        sender(3, 5s, false),
        [this](bool /*finished*/) {
            victim_.child().kill();
            offer_again({1, 2, 3});
            build_again();
            offer_again({1, 2, 3, 50});
            EXPECT_EQ(take(), (Numbers{1, 2, 3, 50}));
            end();
        });
    EXPECT_GE(steps, 40U);
}

TEST_F(DurableRequestSteps, killed_where_others_took_the_room_of_offers_that_are_brought_again) {
    const Numbers all{1, 2, 3, 4, 5, 6, 7, 8, 50};
    const std::uint32_t steps = victim_.kill_at_every_step(
        "asynchronous durable offers without room",
        [this] { begin(); },
        sender(8, 20ms, true),
        [&](bool /*finished*/) {
            victim_.child().kill();
            build_again();  // without what was not durable
            offer_again(all);
            EXPECT_EQ(take(), all);
            end();
        });
    EXPECT_GE(steps, 40U);
}

// It came to its queue and is done, when its producer's death is noticed.
TEST_F(DurableRequestSteps, killed_in_offers_whose_message_was_taken_before_that_was_noticed) {
    std::uint32_t stops = 0;
    for (bool stopped = true; stopped && !HasFailure(); ++stops) {
        begin();
        const auto end_of_it = victim_.run(producer(1, 1), Fate::stopped, stops + 1);
        ASSERT_NE(end_of_it, StepVictim::End::failed);
        stopped = end_of_it == StepVictim::End::met_fate;
        Numbers all = take();
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U) << "reaped";
        offer_again({1, 2});
        const Numbers more = take();
        all.insert(all.end(), more.begin(), more.end());
        ASSERT_TRUE(queue_.offer(numbered(3, 100).durable(), 5s));  // what is done is written
        build_again();
        offer_again({1, 2});
        const Numbers last = take();
        all.insert(all.end(), last.begin(), last.end());
        EXPECT_EQ(all, (Numbers{1, 2, 3}));
        end();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << stops + 1 << ", " << victim_.where();
    }
    std::printf("  %u stops\n", stops - 1);
    EXPECT_GE(stops, 40U);
}

TEST_F(DurableRequestSteps, stopped_for_long_count_their_time_from_their_outcome) {
    options_.idempotency->ttl = 3s;
    begin();
    ASSERT_EQ(victim_.run(producer(1, 1), Fate::stopped, 1, "idempotency.logged"),
              StepVictim::End::met_fate);
    std::this_thread::sleep_for(2s);
    ASSERT_TRUE(victim_.let_finish(10s));
    victim_.child().kill();
    std::this_thread::sleep_for(1500ms);
    build_again();
    EXPECT_EQ(take(), Numbers{1});
    offer_again({1});
    EXPECT_EQ(take(), Numbers{});
    end();
}

// Its record was taken out of the log again, which others then clean.
TEST_F(DurableRequestSteps, stopped_where_it_takes_back_what_others_clean_comes_no_more) {
    std::uint32_t stops = 0;
    for (const char* where : {"log.give_up", "log.note", "log.finish"}) {
        bool stopped = false;
        for (int attempt = 0; attempt < 8 && !stopped;
             ++attempt) {  // others may come too late for its room
            begin();
            Queue others = server_
                               .create_queue("others",
                                             {.kind = QueueKind::durable,
                                              .delivery = DeliveryMode::at_least_once})
                               .value();
            const auto met = victim_.run(sender(8, 20ms, true), Fate::stopped, 1, where);
            stopped = met == StepVictim::End::met_fate;
            if (stopped) {
                ++stops;
                for (int i = 0; i < 60; ++i) {
                    ASSERT_TRUE(others.offer(numbered(7, 14'000).durable(), 5s));
                    ASSERT_TRUE(others.poll(0ms).value().ack());
                }
                std::this_thread::sleep_for(30ms);
                ASSERT_TRUE(victim_.let_finish(10s));
            }
            std::vector<std::uint64_t> all = take();
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U) << "reaped";
            others = Queue{};
            build_again();
            EXPECT_EQ(take(), Numbers{}) << "stopped at " << where;
            const Numbers numbers{1, 2, 3, 4, 5, 6, 7, 8, 50};
            offer_again(numbers);
            const Numbers more = take();
            all.insert(all.end(), more.begin(), more.end());
            std::erase(all, 1000U);
            std::sort(all.begin(), all.end());
            EXPECT_EQ(all, numbers) << "stopped at " << where;
            end();
            ASSERT_FALSE(HasFailure());
        }
    }
    EXPECT_GE(stops, 1U);
}

// Their entries are in segments that go.
TEST_F(DurableRequestSteps, killed_where_the_segments_go_that_remember) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "durable offers into a new segment",
        [this] {
            begin();
            offer_again({1, 2, 3});
            EXPECT_EQ(take(), (Numbers{1, 2, 3}));
            for (std::uint64_t number = 10; number < 30; ++number) {
                ASSERT_TRUE(queue_.offer(numbered(number, 14'000).durable(), 5s));
                ASSERT_TRUE(queue_.poll(0ms).value().ack());
            }
        },
        {.prepare = [] { return true; },
         .act =
             [this] {
                 Queue queue = queue_of_victim();
                 for (std::uint64_t number = 30; number < 33; ++number) {
                     static_cast<void>(queue.offer(numbered(number, 14'000).durable(), 5s));
                 }
             }},
        [this](bool /*finished*/) {
            victim_.child().kill();
            ASSERT_TRUE(queue_.offer(numbered(40, 14'000).durable(), 10s));
            build_again();
            static_cast<void>(take());
            offer_again({1, 2, 3});
            EXPECT_EQ(take(), Numbers{}) << "known";
            end();
        });
    EXPECT_GE(steps, 40U);
}

// ---- seeded bugs -------------------------------------------------------------------------------

TEST_F(DurableRequestSteps, a_log_without_requests_is_caught) {
    const auto found = [this] {
        begin();
        offer_again({1});
        build_again();
        offer_again({1});
        const Numbers numbers = take();
        end();
        return numbers;
    };
    EXPECT_EQ(found(), Numbers{1}) << "without the mistake";
    StepVictim::seed_bug(shm::Bug::request_not_logged);
    const Numbers numbers = found();
    StepVictim::seed_bug(shm::Bug::none);
    EXPECT_EQ(numbers, (Numbers{1, 1})) << "the mistake is not caught";
}

// Written by who died before it was in its queue, and ended by its reaper: it was never accepted.
TEST_F(DurableRequestSteps, a_log_that_takes_what_never_came_for_done_is_caught) {
    const auto found = [this] {
        begin();
        EXPECT_EQ(victim_.run(producer(1, 1), Fate::killed, 1, "idempotency.logged"),
                  StepVictim::End::met_fate);
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U) << "reaped";
        EXPECT_TRUE(queue_.offer(numbered(100, 100).durable(), 5s));  // what ended is written
        build_again();
        offer_again({1});
        const Numbers numbers = take();
        end();
        return numbers;
    };
    EXPECT_EQ(found(), (Numbers{1, 100})) << "without the mistake";
    StepVictim::seed_bug(shm::Bug::withdrawn_is_done);
    const Numbers numbers = found();
    StepVictim::seed_bug(shm::Bug::none);
    EXPECT_EQ(numbers, Numbers{100}) << "the mistake is not caught";
}

}  // namespace
}  // namespace telpher::crash

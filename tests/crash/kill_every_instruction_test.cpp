// Goal:   a process killed after any single instruction of a data operation leaves the queue whole:
//         the message is sent or not, taken or not, nothing is lost, doubled, torn or leaked,
//         nobody waits.
// Method: the victim is stopped (ptrace) after its n-th instruction and killed, for every n until
// the
//         operation returns; after each kill its parent, which is attached too, reaps, audits every
//         invariant, compares the queue's content with the two allowed ones, and uses the queue.
//         TELPHER_SOAK=1 single-steps to each n; else a breakpoint takes it there.
// Not here: create, attach, remove, reap and the rest of the directory
// (kill_every_step_steps_test.cpp),
//         kills while others are in the middle of something (random_kills_test.cpp).

#include "tests/crash/tracer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kSmall = 48;  // payload bytes: a chunk of 128 bytes

// What the victim holds; it lives in the victim only.
struct Victim {
    Server server;
    Queue queue;
    Queue other;  // to warm up
    Loan loan;
    Delivery delivery;
};

struct Scenario {
    const char* name;
    std::uint32_t filled = 0;  // messages in the queue before
    std::size_t payload_bytes = kSmall;
    std::function<void(Victim&)> prepare{};
    std::function<void(Victim&)> act{};
    std::uint32_t offers = 0;  // messages that the operation adds at most: number `filled` + 1
    std::uint32_t takes = 0;   // messages that it takes at most, from the head
    std::uint32_t capacity = 3;
};

void offer_to(Queue& queue, std::uint64_t number, std::size_t bytes) {
    static_cast<void>(queue.offer(numbered(number, bytes)));
}

class KillEveryInstruction : public ::testing::Test {
  protected:
    KillEveryInstruction()
        : watchdog_(120),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()) {}

    void run(const Scenario& scenario) {
        auto queue = server_.create_queue("queue", {.capacity = scenario.capacity});
        auto other = server_.create_queue("other", {.capacity = 64});
        ASSERT_TRUE(queue && other);
        owned_ = settle(*queue);
        Count count;
        const std::uint64_t started = now_ns();
        Tracer tracer(role_of(scenario));
        ASSERT_NO_FATAL_FAILURE(kill_everywhere(tracer, *queue, scenario, count));
        std::printf("  %-34s %5u kill points (%u by stepping), takes effect at %d, %.1f s\n",
                    scenario.name,
                    count.points,
                    count.stepped,
                    count.happened_at,
                    static_cast<double>(now_ns() - started) / 1e9);
        std::fflush(stdout);
        total_ += count.points;
        ASSERT_TRUE(server_.remove_queue("queue"));
    }

    ~KillEveryInstruction() override { std::printf("  %u kill points\n", total_); }

  private:
    struct Count {
        std::uint32_t points = 0;
        std::uint32_t stepped = 0;
        int happened_at = -1;
    };

    void kill_everywhere(Tracer& tracer, Queue& queue, const Scenario& scenario, Count& count) {
        // The first run is not interrupted: how many instructions are there, and where?
        ASSERT_NO_FATAL_FAILURE(fill(queue, scenario));
        ASSERT_TRUE(tracer.start()) << scenario.name;
        const std::uint32_t instructions = tracer.record();
        ASSERT_NE(instructions, 0U) << scenario.name;
        tracer.kill();
        bool happened = false;
        ASSERT_EQ(judge(queue, scenario, true, &happened), "") << scenario.name << ": not killed";
        Tracer::Stop stop = Tracer::Stop::there;
        for (std::uint32_t n = 0; n < instructions || stop == Tracer::Stop::there; ++n) {
            ASSERT_NO_FATAL_FAILURE(fill(queue, scenario)) << scenario.name << " before " << n;
            ASSERT_TRUE(tracer.start()) << scenario.name << " at " << n;
            stop = soak() ? tracer.step(n) : tracer.jump(n);
            if (stop != Tracer::Stop::there && !soak()) {
                // It took another way (the position in the ring is another one): step by step then.
                tracer.kill();
                happened = false;
                ASSERT_EQ(judge(queue, scenario, false, &happened), "") << scenario.name;
                ASSERT_NO_FATAL_FAILURE(fill(queue, scenario));
                ASSERT_TRUE(tracer.start()) << scenario.name << " at " << n;
                stop = tracer.step(n);
                ++count.stepped;
            }
            ASSERT_NE(stop, Tracer::Stop::lost) << scenario.name << " at " << n;
            tracer.kill();
            ++count.points;
            happened = false;
            const bool finished = stop == Tracer::Stop::finished;
            const std::string problem = judge(queue, scenario, finished, &happened);
            ASSERT_EQ(problem, "") << scenario.name << ": killed after instruction " << n;
            if (happened && count.happened_at < 0) {
                count.happened_at = static_cast<int>(n);
            }
        }
    }

    TracedRole role_of(const Scenario& scenario) {
        // Made before the fork, used after it, never destroyed: the victim has no destructors.
        auto victim = std::make_shared<std::unique_ptr<Victim>>();
        const auto prepare = [this, &scenario, victim] {
            auto* v = new Victim;
            victim->reset(v);
            v->server = domain_.open();
            auto queue = v->server.queue("queue");
            auto other = v->server.queue("other");
            if (!queue || !other) {
                return false;
            }
            v->queue = *queue;
            v->other = *other;
            if (scenario.prepare) {
                scenario.prepare(*v);
            }
            return true;
        };
        return {prepare, [&scenario, victim] { scenario.act(**victim); }};
    }

    void fill(Queue& queue, const Scenario& scenario) {
        for (std::uint32_t i = 1; i <= scenario.filled; ++i) {
            ASSERT_TRUE(queue.offer(numbered(i, scenario.payload_bytes)));
        }
    }

    // At once, but where somebody holds the dead's memory a moment longer, and with it its lock: who reads its
    // /proc files does.
    void wait_until_reaped() {
        const std::uint64_t end = now_ns() + 5'000'000'000U;
        while (server_.processes().value().size() != 1 && now_ns() < end) {
            usleep(100);
        }
    }

    // Empty if the death left nothing but one of the two allowed states.
    std::string judge(Queue& queue, const Scenario& scenario, bool completed, bool* happened) {
        wait_until_reaped();
        const auto report = server_.verify();
        if (!report) {
            return to_string(report.error());
        }
        const auto status = queue.status();
        if (!status) {
            return to_string(status.error());
        }
        const std::vector<std::uint64_t> content = drain(queue);
        std::string text = content.size() == status->depth ? "" : "depth is not what was polled; ";
        text += judge_content(content, scenario, completed, happened);
        std::vector<std::uint64_t> again;
        for (std::uint64_t number = 1; number <= queue.capacity(); ++number) {
            text += queue.offer(numbered(number, kSmall)) ? "" : "an offer fails; ";
            again.push_back(number);
        }
        text += drain(queue) == again ? "" : "the queue does not work; ";
        settle(queue);
        return text + audit(server_, owned_);
    }

    static std::string judge_content(const std::vector<std::uint64_t>& content,
                                     const Scenario& scenario,
                                     bool completed,
                                     bool* happened) {
        const auto range = [](std::uint64_t first, std::uint64_t last) {
            std::vector<std::uint64_t> numbers;
            for (std::uint64_t i = first; i <= last; ++i) {
                numbers.push_back(i);
            }
            return numbers;
        };
        const auto before = range(1, scenario.filled);
        const auto after = range(1 + scenario.takes, scenario.filled + scenario.offers);
        if (content == after) {
            *happened = before != after;
            return {};
        }
        if (content == before && !completed) {
            return {};
        }
        std::string text = completed ? "after it had returned, the queue holds" : "the queue holds";
        for (const std::uint64_t number : content) {
            text += " " + (number == kTorn ? std::string("(torn)") : std::to_string(number));
        }
        return text + "; ";
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    std::uint64_t owned_ = 0;
    std::uint32_t total_ = 0;
};

// ---- the operations

// The chunk comes from the victim's hot stack.
void warm_up(Victim& v) {
    offer_to(v.other, 0, kSmall);
    v.other.poll().value().release();
}
// It comes from the pool: nothing of that size is at hand.
void warm_up_elsewhere(Victim& v) {
    offer_to(v.other, 0, 2000);
    v.other.poll().value().release();
}

// The message is built before: only the offer is executed step by step.
Scenario offering(const char* name, std::uint32_t filled, std::size_t bytes, bool hot) {
    auto message = std::make_shared<Message>(numbered(filled + 1, bytes));
    return {.name = name,
            .filled = filled,
            .prepare = hot ? warm_up : warm_up_elsewhere,
            .act = [message](Victim& v) { static_cast<void>(v.queue.offer(*message)); },
            .offers = filled < 3 ? 1U : 0U};
}

TEST_F(KillEveryInstruction, of_an_offer_sends_the_message_or_not) {
    run(offering("offer, empty queue", 0, kSmall, true));
    run(offering("offer, some messages", 1, kSmall, true));
    run(offering("offer, last place", 2, kSmall, true));
    run(offering("offer, full queue", 3, kSmall, true));
}

TEST_F(KillEveryInstruction, of_an_offer_that_takes_memory_from_the_pool) {
    run(offering("offer, chunk from the pool", 1, kSmall, false));
    run(offering("offer, 600 bytes", 1, 600, false));
}

TEST_F(KillEveryInstruction, of_a_poll_takes_the_message_or_not) {
    const auto poll = [](Victim& v) {
        auto delivery = v.queue.poll();
        v.delivery = delivery ? std::move(*delivery) : Delivery{};
    };
    Scenario scenario{.name = "poll, empty queue", .prepare = warm_up, .act = poll};
    run(scenario);
    scenario.takes = 1;
    scenario.name = "poll, one message";
    scenario.filled = 1;
    run(scenario);
    scenario.name = "poll, full queue";
    scenario.filled = 3;
    run(scenario);
    scenario.name = "poll, full queue of one";
    scenario.filled = 1;
    scenario.capacity = 1;
    run(scenario);
}

TEST_F(KillEveryInstruction, of_the_release_of_a_delivery_gives_its_memory_back) {
    // The victim has polled before it is stepped: the message is gone from the queue in any case.
    Scenario scenario{.name = "release, kept for reuse",
                      .prepare =
                          [](Victim& v) {
                              offer_to(v.other, 0, kSmall);
                              v.delivery = std::move(v.other.poll().value());
                          },
                      .act = [](Victim& v) { v.delivery.release(); }};
    run(scenario);
    scenario.name = "release, into the pool";
    scenario.prepare = [](Victim& v) {
        offer_to(v.other, 0, 5000);
        v.delivery = std::move(v.other.poll().value());
    };
    run(scenario);
}

TEST_F(KillEveryInstruction, of_taking_and_dropping_a_loan_gives_its_memory_back) {
    Scenario scenario{.name = "loan, from the pool", .prepare = warm_up_elsewhere};
    scenario.act = [](Victim& v) { v.loan = std::move(v.queue.loan("crash", kSmall).value()); };
    run(scenario);
    scenario.name = "loan, from the hot stack";
    scenario.prepare = warm_up;
    run(scenario);
    scenario.name = "dropping a loan";
    scenario.prepare = [](Victim& v) { v.loan = std::move(v.queue.loan("c", kSmall).value()); };
    scenario.act = [](Victim& v) { v.loan = Loan{}; };
    run(scenario);
    scenario.name = "dropping a large loan";
    scenario.prepare = [](Victim& v) { v.loan = std::move(v.queue.loan("c", 9000).value()); };
    run(scenario);
}

TEST_F(KillEveryInstruction, of_offering_a_loan_sends_it_or_not) {
    for (const std::uint32_t filled : {0U, 2U, 3U}) {
        const std::string name = "offer of a loan, " + std::to_string(filled) + " messages";
        Scenario scenario{.name = name.c_str(), .filled = filled, .offers = filled < 3 ? 1U : 0U};
        scenario.prepare = [filled](Victim& v) {
            warm_up(v);
            v.loan = std::move(v.queue.loan("crash", kSmall).value());
            fill_numbered(v.loan.payload(), filled + 1);
        };
        scenario.act = [](Victim& v) { static_cast<void>(v.queue.offer(std::move(v.loan))); };
        run(scenario);
    }
}

}  // namespace
}  // namespace telpher::crash

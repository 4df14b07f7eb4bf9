// Goal:   a server killed or stopped at any step of a remembered call leaves a request that was not begun,
//         that is done with its response, or that is uncertain: a caller who repeats it hears the truth, and
//         its effect happens once.
// Method: as call_steps_test.cpp: the serving thread suffers at its n-th step, then another server comes,
//         and the call is repeated until it is answered.

#include "shm/attachment.hpp"
#include "shm/base/clock.hpp"
#include "src/client/domain_core.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;
using End = StepVictim::End;

constexpr const char* kServe = "telpher-serve";

class IdempotentCallSteps : public ::testing::Test {
  protected:
    IdempotentCallSteps()
        : watchdog_(280),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(open()) {}
    ~IdempotentCallSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    static Message request(std::uint32_t number) {
        return Message::text("pay", std::to_string(number))
            .with_request_id("id-" + std::to_string(number));
    }
    // One whose handler ends when it is released.
    static Message held(std::uint32_t number) {
        return Message::text("held", std::to_string(number))
            .with_request_id("held-" + std::to_string(number));
    }
    // Books the payment; of one that had begun before only if it is not in the books.
    Result<Message> book(const Message& asked) {
        if (!asked.rerun() || booked_->load() == 0) {
            booked_->fetch_add(1);
        }
        reruns_->fetch_add(asked.rerun() ? 1 : 0);
        while (asked.topic() == "held" && !released_->load()) {
            std::this_thread::sleep_for(100us);
        }
        return Message::text("booked", asked.text());
    }
    Function serve(Server& server, WhenUncertain policy, std::uint32_t threads = 1) {
        return server
            .serve("pay",
                   [this](const Message& asked) { return book(asked); },
                   {.threads = threads,
                    .inflight_max = 8,
                    .idempotency =
                        Idempotency{.scope = IdempotencyScope::global, .when_uncertain = policy}})
            .value();
    }
    VictimRole serving(WhenUncertain policy) {
        return {.prepare =
                    [this, policy] {
                        auto* server = new Server(domain_.open());  // never closed
                        auto* function = new Function(serve(*server, policy));
                        std::this_thread::sleep_for(2ms);  // it sleeps
                        return function->running();
                    },
                .act =
                    [this] {
                        serves_->store(true);
                        while (!answered_->load()) {
                            std::this_thread::sleep_for(100us);
                        }
                        std::this_thread::sleep_for(before_its_end_);  // its thread sleeps again
                    },
                .thread = kServe};
    }
    // The first attempt, from here, when the victim serves.
    std::jthread call_when_served(std::uint32_t number, Duration timeout) {
        serves_->store(false);
        answered_->store(false);
        return std::jthread([this, number, timeout] {
            while (!serves_->load()) {
                std::this_thread::sleep_for(100us);
            }
            first_ = server_.send("pay", request(number), timeout);
            answered_->store(true);
        });
    }
    void expect_sound() {
        VerifyReport report;
        for (int i = 0; i < 2000; ++i) {
            report = server_.verify().value();
            if (report.chunks_offered + report.chunks_claimed + report.chunks_answered == 0 &&
                report.processes == 1 && report.problems.empty()) {
                return;
            }
            std::this_thread::sleep_for(1ms);
        }
        ADD_FAILURE() << report.chunks_claimed << " claimed, " << report.chunks_answered
                      << " answered, " << report.processes << " processes; "
                      << (report.problems.empty() ? "" : report.problems.front());
    }
    // `again`: the answer to the request when it is repeated behind the death.
    void expect_once(const Result<Message>& again, std::uint32_t number, WhenUncertain policy) {
        const std::string text = std::to_string(number);
        if (again) {
            EXPECT_EQ(again->text(), text);
            EXPECT_EQ(booked_->load(), 1);
        } else {
            EXPECT_EQ(policy, WhenUncertain::report) << to_string(again.error());
            EXPECT_EQ(again.status(), Status::peer_died);
            EXPECT_EQ(again.error().outcome(), Outcome::may_have_happened);
            EXPECT_LE(booked_->load(), 1);
        }
        if (first_) {
            EXPECT_EQ(first_->text(), text);
            ASSERT_TRUE(again) << "who heard it hears it again";
            EXPECT_TRUE(again->replayed());
        }
        expect_sound();
    }
    void kill_server(WhenUncertain policy) {
        bool met = true;
        std::uint32_t kills = 0;
        for (std::uint32_t n = 1; met; ++n) {
            booked_->store(0);
            std::jthread caller = call_when_served(n, 10s);
            const End end = victim_.run(serving(policy), Fate::killed, n);
            ASSERT_NE(end, End::failed);
            met = end == End::met_fate;
            kills += met ? 1U : 0U;
            victim_.child().kill();
            Function other = serve(server_, policy);
            serves_->store(true);  // killed before it served: the other one does
            caller.join();
            const auto again = server_.send("pay", request(n), 10s, {.wait_for_server = 1s});
            expect_once(again, n, policy);
            ASSERT_FALSE(HasFailure()) << "killed at step " << n << ", " << victim_.where();
        }
        EXPECT_GE(kills, 40U);
    }

    // Another who asks for what runs already, with patience for `wait`, is killed at its step
    // `number_`, or at its first step of that name; the one who asked first must not notice.
    End kill_the_caller_of_a_duplicate(Duration wait, const char* step = nullptr) {
        ++number_;
        booked_->store(0);
        released_->store(false);
        std::jthread first([this] { first_ = server_.send("pay", held(number_), 10s); });
        while (booked_->load() == 0) {
            std::this_thread::sleep_for(100us);
        }
        auto server = std::make_shared<Server*>(nullptr);
        const VictimRole calling{
            .prepare =
                [this, server] {
                    *server = new Server(domain_.open());  // never closed
                    return (*server)->status().has_value();
                },
            .act = [this,
                    server,
                    wait] { static_cast<void>((*server)->send("pay", held(number_), wait)); }};
        const End end = victim_.run(calling, Fate::killed, step == nullptr ? number_ : 1, step);
        victim_.child().kill();
        released_->store(true);
        first.join();
        EXPECT_NE(end, End::failed);
        EXPECT_TRUE(first_);
        EXPECT_EQ(booked_->load(), 1);
        expect_sound();
        return end;
    }

    // With room for one request of each step.
    Server open() {
        domain_.limits().idempotency_entries = 16384;
        return domain_.open();
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    StepVictim victim_;
    Shared<std::atomic<int>> booked_;
    Shared<std::atomic<int>> reruns_;
    Shared<std::atomic<bool>> serves_;
    Shared<std::atomic<bool>> answered_;
    Shared<std::atomic<bool>> released_;
    std::uint32_t number_ = 0;
    std::chrono::milliseconds before_its_end_{3};
    Result<Message> first_{Status::none};
};

TEST_F(IdempotentCallSteps, the_server_killed_what_is_uncertain_is_reported) {
    kill_server(WhenUncertain::report);
}
TEST_F(IdempotentCallSteps, the_server_killed_what_is_uncertain_runs_again) {
    kill_server(WhenUncertain::rerun);
    EXPECT_GE(reruns_->load(), 3);
}

// Stopped at each step, the first caller gives up; another server takes the repeated request, which waits
// while the first is under way.
TEST_F(IdempotentCallSteps, the_server_stopped) {
    bool stopped = true;
    before_its_end_ = 50ms;  // so that what was stopped can finish first, on a busy machine, too
    for (std::uint32_t n = 1; stopped; ++n) {
        booked_->store(0);
        std::jthread caller = call_when_served(n, 30ms);
        const End end = victim_.run(serving(WhenUncertain::report), Fate::stopped, n);
        ASSERT_NE(end, End::failed);
        stopped = end == End::met_fate;
        Function other = serve(server_, WhenUncertain::report);
        serves_->store(true);
        caller.join();
        const auto meanwhile = server_.send("pay", request(n), 20ms);
        EXPECT_TRUE(meanwhile || meanwhile.status() == Status::timed_out)
            << to_string(meanwhile.error());
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        const auto again = server_.send("pay", request(n), 10s);
        EXPECT_TRUE(again) << to_string(again.error());
        EXPECT_EQ(booked_->load(), 1);
        victim_.child().kill();
        expect_sound();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

// The request is done; the server dies while it answers a duplicate.
TEST_F(IdempotentCallSteps, the_server_killed_in_a_replay) {
    bool met = true;
    for (std::uint32_t n = 1; met; ++n) {
        booked_->store(0);
        {
            Function first = serve(server_, WhenUncertain::report);
            ASSERT_TRUE(server_.send("pay", request(n), 10s));
        }
        std::jthread caller = call_when_served(n, 10s);
        const End end = victim_.run(serving(WhenUncertain::report), Fate::killed, n);
        ASSERT_NE(end, End::failed);
        met = end == End::met_fate;
        victim_.child().kill();
        Function other = serve(server_, WhenUncertain::report);
        serves_->store(true);
        caller.join();
        EXPECT_TRUE(!first_ || first_->replayed());
        const auto again = server_.send("pay", request(n), 10s);
        ASSERT_TRUE(again) << to_string(again.error());
        EXPECT_TRUE(again->replayed());
        EXPECT_EQ(booked_->load(), 1);
        expect_sound();
        ASSERT_FALSE(HasFailure()) << "killed at step " << n << ", " << victim_.where();
    }
}

// A response that is kept: whoever forgets it is killed at each step, and its chunk comes back.
TEST_F(IdempotentCallSteps, killed_in_a_pass_that_forgets_a_response) {
    Function pay = serve(server_, WhenUncertain::report);
    auto client = std::make_shared<Client*>(nullptr);
    const VictimRole sweeping{
        .prepare =
            [this, client] {
                *client = new Client(connect("shm:" + domain_.name()).value());
                return true;
            },
        .act =
            [client, this] {
                auto& store = detail::DomainCore::of(**client)->attachment().idempotency();
                // Each later than the last, which was not long ago.
                store.sweep(shm::monotonic_coarse_ns() + number_ * 3'600'000'000'000ULL);
            }};
    bool met = true;
    std::uint32_t freeing = 0;
    for (number_ = 1; met; ++number_) {
        ASSERT_TRUE(server_.send("pay", request(number_), 10s));
        const End end = victim_.run(sweeping, Fate::killed, number_);
        ASSERT_NE(end, End::failed);
        met = end == End::met_fate;
        freeing += met && victim_.where().find("idempotency.free") != std::string::npos ? 1U : 0U;
        victim_.child().kill();
        expect_sound();
        const auto again = server_.send("pay", request(number_), 10s);
        ASSERT_TRUE(again) << to_string(again.error());
        EXPECT_EQ(again->text(), std::to_string(number_));
        const FunctionStatus status = pay.status().value();
        EXPECT_EQ(server_.verify()->chunks_kept, status.idempotency.entries) << "one for each";
        ASSERT_FALSE(HasFailure()) << "killed at step " << number_ << ", " << victim_.where();
    }
    EXPECT_GE(freeing, 1U) << "that step was among them";
}

// A caller whose request runs elsewhere sends it again and again: killed at each step of that.
TEST_F(IdempotentCallSteps, the_caller_of_a_duplicate_killed) {
    Function pay = serve(server_, WhenUncertain::report, 2);
    while (kill_the_caller_of_a_duplicate(30ms) == End::met_fate) {
        ASSERT_FALSE(HasFailure()) << "killed at step " << number_ << ", " << victim_.where();
    }
    // However slow the machine is.
    EXPECT_EQ(kill_the_caller_of_a_duplicate(10s, "call.reopen"), End::met_fate);
}

// ---- the harness sees mistakes -------------------------------------------------------------------

TEST_F(IdempotentCallSteps, catches_a_reaper_that_frees_what_is_remembered) {
    StepVictim::seed_bug(shm::Bug::response_not_kept);
    std::jthread caller = call_when_served(1, 10s);
    ASSERT_EQ(victim_.run(serving(WhenUncertain::report), Fate::killed, 1, "idempotency.keep"),
              End::met_fate);
    victim_.child().kill();
    Function other = serve(server_, WhenUncertain::report);
    caller.join();
    EXPECT_EQ(server_.send("pay", request(1), 10s).status(), Status::duplicate)
        << "the mistake is seen: done, and its response is lost";
}

TEST_F(IdempotentCallSteps, catches_a_reaper_that_forgets_what_ran) {
    StepVictim::seed_bug(shm::Bug::uncertain_forgotten);
    std::jthread caller = call_when_served(1, 10s);
    ASSERT_EQ(victim_.run(serving(WhenUncertain::report), Fate::killed, 1, "idempotency.store"),
              End::met_fate);
    victim_.child().kill();
    Function other = serve(server_, WhenUncertain::report);
    caller.join();
    EXPECT_TRUE(server_.send("pay", request(1), 10s));
    EXPECT_EQ(booked_->load(), 2) << "the mistake is seen";
}

}  // namespace
}  // namespace telpher::crash

// Goal:   a caller or a server killed or stopped at any step of a call hangs nobody and leaks nothing: a
//         caller of the dead hears so at once, or another server gets the request (idempotent); what
//         the dead had called is discarded; and the reaper, killed at any step, changes nothing of that.
//         Deliberate mistakes there are caught.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp. The steps of a server are
//         those of its serving thread. Rules: tests/model/call.pml.

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
// A second chunk holds such a response.
const std::string kBig(3000, 'x');

Message order(std::string_view text) { return Message::text("order", text); }

class CallSteps : public ::testing::Test {
  protected:
    CallSteps()
        : watchdog_(250),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()) {}
    ~CallSteps() override {
        StepVictim::seed_bug(shm::Bug::none);
        released_->store(true);
    }

    // Answers "big" with a large response, waits at "wait" until released.
    Result<Message> handle(const Message& request) {
        if (request.text() == "wait") {
            begun_->store(true);
            while (!released_->load()) {
                std::this_thread::sleep_for(100us);
            }
        }
        if (request.text() == "big") {
            return order(kBig);
        }
        handled_->fetch_add(1);
        return request;
    }
    Function serve(Server& server, bool idempotent = false) {
        return server
            .serve("f",
                   [this](const Message& request) { return handle(request); },
                   {.inflight_max = 8, .idempotent = idempotent})
            .value();
    }
    // Calls from a process of its own.
    VictimRole caller(const char* text, Duration timeout, bool oneway = false) {
        auto server = std::make_shared<Server*>(nullptr);
        return {.prepare =
                    [this, server] {
                        *server = new Server(domain_.open());  // never closed
                        static_cast<void>((*server)->status());
                        return true;
                    },
                .act =
                    [this, server, text, timeout, oneway] {
                        const auto status =
                            oneway ? (*server)->send_oneway("f", order(text)).status()
                                   : (*server)->send("f", order(text), timeout).status();
                        status_->store(status);
                    }};
    }
    // Serves, until it has handled one request; its serving thread suffers.
    VictimRole serving(bool idempotent = false) {
        return {.prepare =
                    [this, idempotent] {
                        auto* server = new Server(domain_.open());  // never closed
                        auto* function = new Function(serve(*server, idempotent));
                        std::this_thread::sleep_for(2ms);  // it sleeps
                        return function->running();
                    },
                .act =
                    [this] {
                        serves_->store(true);
                        while (!answered_->load()) {
                            std::this_thread::sleep_for(100us);
                        }
                        std::this_thread::sleep_for(3ms);  // it sleeps again
                    },
                .thread = kServe};
    }
    // Meanwhile, from here: one call, when the victim serves.
    std::jthread call_when_served(const char* text, Duration timeout) {
        serves_->store(false);
        answered_->store(false);
        return std::jthread([this, text, timeout] {
            while (!serves_->load()) {
                std::this_thread::sleep_for(100us);
            }
            const std::uint64_t started = now_ns();
            const auto reply = server_.send("f", order(text), timeout);
            took_ns_ = now_ns() - started;
            status_->store(reply.status());
            if (reply && std::string_view(text) == "big") {
                EXPECT_EQ(reply->text(), kBig);
            }
            answered_->store(true);
        });
    }

    // Nothing is held by a call; true when that comes true in time.
    std::string problem() {
        VerifyReport report;
        const std::uint64_t until = now_ns() + 2'000'000'000U;
        while (now_ns() < until) {
            report = server_.verify().value();
            if (report.chunks_offered + report.chunks_claimed + report.chunks_answered == 0 &&
                report.processes == 1 && report.problems.empty()) {
                return {};
            }
            std::this_thread::sleep_for(1ms);
        }
        return std::to_string(report.chunks_offered) + " offered, " +
               std::to_string(report.chunks_claimed) + " claimed, " +
               std::to_string(report.chunks_answered) + " answered, " +
               std::to_string(report.processes) + " processes; " +
               (report.problems.empty() ? "" : report.problems.front());
    }
    // The same, and nothing kept by anybody, when this process has left.
    void expect_all_free() {
        server_ = {};
        server_ = domain_.open();
        const VerifyReport report = server_.verify().value();
        EXPECT_EQ(report.chunks_free, report.chunks);
        EXPECT_TRUE(report.problems.empty());
    }

    void kill_caller(const char* what, const char* text, Duration timeout, bool oneway = false) {
        Function function = serve(server_);
        const std::uint32_t steps = victim_.kill_at_every_step(
            what,
            [this] { released_->store(false); },
            caller(text, timeout, oneway),
            [this](bool) {
                released_->store(true);
                EXPECT_TRUE(server_.send("f", order("echo"), 2s)) << "the server goes on";
                EXPECT_EQ(problem(), "");
            });
        EXPECT_GE(steps, 8U);
        function = {};
        expect_all_free();
    }
    void kill_server(const char* what, const char* text) {
        std::jthread call;
        const std::uint32_t steps = victim_.kill_at_every_step(
            what,
            [&] { call = call_when_served(text, 5s); },
            serving(),
            [&](bool finished) {
                serves_->store(true);
                call.join();
                const Status status = status_->load();
                EXPECT_TRUE(status == Status::ok ||
                            (!finished &&
                             (status == Status::peer_died || status == Status::function_not_found)))
                    << to_string(status);
                EXPECT_LT(took_ns_, 1'000'000'000U) << "nobody waits for the dead";
                EXPECT_EQ(problem(), "");
                EXPECT_EQ(server_.send("f", order("echo"), 1s).status(),
                          Status::function_not_found);
            });
        EXPECT_GE(steps, 10U);
        expect_all_free();
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    StepVictim victim_;
    Shared<std::atomic<bool>> serves_, answered_, begun_, released_;
    Shared<std::atomic<int>> handled_;
    Shared<std::atomic<Status>> status_;
    std::uint64_t took_ns_ = 0;
};

TEST_F(CallSteps, killed_as_the_caller) { kill_caller("caller", "echo", 2s); }
TEST_F(CallSteps, killed_as_the_caller_of_a_large_response) { kill_caller("large", "big", 2s); }
TEST_F(CallSteps, killed_as_a_caller_that_gives_up) { kill_caller("gives up", "wait", 1ms); }
TEST_F(CallSteps, killed_as_a_one_way_caller) { kill_caller("one way", "echo", 0s, true); }
TEST_F(CallSteps, killed_as_the_server) { kill_server("server", "echo"); }
TEST_F(CallSteps, killed_as_the_server_with_a_large_response) { kill_server("large", "big"); }

// Another server of the name is busy until the victim has met its fate.
TEST_F(CallSteps, killed_as_a_server_of_an_idempotent_function_another_one_answers) {
    Function other = serve(server_, true);
    std::jthread call;
    Future<Message> busy;
    const std::uint32_t steps = victim_.kill_at_every_step(
        "idempotent",
        [&] {
            released_->store(false);
            begun_->store(false);
            busy = server_.send_async("f", order("wait"), 20s);
            while (!begun_->load()) {
                std::this_thread::sleep_for(100us);
            }
            call = call_when_served("big", 10s);
        },
        serving(true),
        [&](bool) {
            serves_->store(true);
            released_->store(true);
            call.join();
            EXPECT_EQ(status_->load(), Status::ok);
            EXPECT_TRUE(busy.get(5s));
            EXPECT_EQ(problem(), "");
        });
    EXPECT_GE(steps, 12U);
    EXPECT_GE(other.status()->redelivered, 3U) << "the window is in there";
    other = {};
    expect_all_free();
}

TEST_F(CallSteps, stopped_as_the_caller_others_go_on_and_it_ends_well) {
    Function function = serve(server_);
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        status_->store(Status::none);
        const End end = victim_.run(caller(n % 2 == 0 ? "echo" : "big", 10s), Fate::stopped, n);
        ASSERT_NE(end, End::failed);
        stopped = end == End::met_fate;
        for (int i = 0; i < 24; ++i) {  // laps of the others
            ASSERT_TRUE(server_.send("f", order("echo"), 2s)) << n << victim_.where();
        }
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        EXPECT_EQ(status_->load(), Status::ok);
        EXPECT_EQ(problem(), "");
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
    function = {};
    expect_all_free();
}

// A stopped server is alive: its caller waits until its own timeout, and what it answers then is late.
TEST_F(CallSteps, stopped_as_the_server_its_caller_times_out_and_nothing_is_left) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        std::jthread call = call_when_served(n % 2 == 0 ? "echo" : "big", 60ms);
        const End end = victim_.run(serving(), Fate::stopped, n);
        ASSERT_NE(end, End::failed);
        stopped = end == End::met_fate;
        serves_->store(true);
        call.join();
        const Status status = status_->load();
        EXPECT_TRUE(status == Status::ok || (stopped && status == Status::timed_out))
            << to_string(status);
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        EXPECT_EQ(problem(), "");
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
    expect_all_free();
}

// The caller sleeps; its server dies with the answer prepared; the only one who reaps it is killed at
// each of its steps.
TEST_F(CallSteps, the_servers_reaper_may_be_killed_anywhere) {
    StepVictim calling;
    StepVictim reaper;
    bool met = true;
    for (std::uint32_t n = 1; met; ++n) {
        serves_->store(false);
        answered_->store(false);
        status_->store(Status::none);
        released_->store(false);
        // The server runs into the stop while the caller, started from here, goes to its sleep.
        Child launcher([this] {
            StepVictim dying;
            static_cast<void>(dying.run(serving(), Fate::stopped, 1, "call.answer.cas"));
            while (!released_->load()) {
                std::this_thread::sleep_for(100us);
            }
            dying.child().kill();
            return 0;
        });
        while (!serves_->load()) {
            std::this_thread::sleep_for(100us);
        }
        server_ = {};  // nobody else may notice
        ASSERT_EQ(calling.run(caller("big", 20s), Fate::stopped, 1, "call.sleep"), End::met_fate);
        released_->store(true);
        ASSERT_EQ(launcher.wait_for_end(10s), 0);
        const End end = reaper.run(reaping(domain_), Fate::killed, n);
        ASSERT_NE(end, End::failed);
        met = end == End::met_fate;
        reaper.child().kill();
        server_ = domain_.open();
        ASSERT_TRUE(calling.let_finish(10s));
        EXPECT_EQ(status_->load(), Status::peer_died);
        calling.child().kill();
        EXPECT_EQ(problem(), "");
        ASSERT_FALSE(HasFailure()) << "reaper killed at step " << n << ", " << reaper.where();
    }
}

// ---- mistakes ----------------------------------------------------------------------------------

TEST_F(CallSteps, catches_an_answer_that_does_not_look_at_the_word) {
    for (const bool seeded : {false, true}) {
        released_->store(false);
        StepVictim::seed_bug(seeded ? shm::Bug::answer_stored : shm::Bug::none);
        Function function = serve(server_);
        EXPECT_EQ(server_.send("f", order("wait"), 20ms).status(), Status::timed_out);
        released_->store(true);
        function.stop();
        EXPECT_EQ(problem().empty(), !seeded) << "an answer that nobody takes";
    }
}

TEST_F(CallSteps, catches_a_reaper_that_frees_calls) {
    for (const bool seeded : {false, true}) {
        StepVictim::seed_bug(seeded ? shm::Bug::reaper_frees_calls : shm::Bug::none);
        std::jthread call = call_when_served("echo", 2s);
        ASSERT_EQ(victim_.run(serving(), Fate::killed, 1, "call.answer.cas"), End::met_fate);
        call.join();
        EXPECT_EQ(status_->load() == Status::peer_died, !seeded);
    }
}

TEST_F(CallSteps, catches_who_does_not_look_whether_the_caller_lives) {
    Function function = serve(server_);
    for (const bool seeded : {false, true}) {
        released_->store(false);
        begun_->store(false);
        StepVictim::seed_bug(seeded ? shm::Bug::caller_not_checked : shm::Bug::none);
        ASSERT_EQ(victim_.run(caller("wait", 20s), Fate::stopped, 1, "call.sleep"), End::met_fate);
        while (!begun_->load()) {
            std::this_thread::sleep_for(100us);
        }
        victim_.child().kill();
        static_cast<void>(server_.processes());
        released_->store(true);
        EXPECT_EQ(problem().empty(), !seeded) << "an answer to the dead";
    }
}

TEST_F(CallSteps, catches_a_second_chunk_that_is_forgotten) {
    for (const bool seeded : {false, true}) {
        StepVictim::seed_bug(seeded ? shm::Bug::second_chunk_kept : shm::Bug::none);
        std::jthread call = call_when_served("big", 60ms);
        ASSERT_EQ(victim_.run(serving(), Fate::stopped, 1, "call.answer.cas"), End::met_fate);
        call.join();
        EXPECT_EQ(status_->load(), Status::timed_out);
        ASSERT_TRUE(victim_.let_finish(10s));
        EXPECT_EQ(problem().empty(), !seeded);
    }
}

}  // namespace
}  // namespace telpher::crash

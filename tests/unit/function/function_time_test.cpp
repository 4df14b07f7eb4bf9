// Goal:   time, back-pressure and ends: calls that time out, are cancelled, meet a full function, a stop, a
//         close or a removal; nested calls; stopping from a handler.
// Method: handlers that wait for a sign; time is measured.

#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <optional>
#include <semaphore>
#include <thread>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::ScratchDomain;

using test::echo;
using test::order;

class FunctionTime : public ::testing::Test {
  protected:
    FunctionTime() : server_(domain_.open()), client_(connect(domain_.uri()).value()) {}
    ~FunctionTime() override { go_.release(64); }

    // Begins, and waits for a sign.
    auto waiting() {
        return [this](const Message& request) -> Result<Message> {
            begun_.release();
            static_cast<void>(go_.try_acquire_for(10s));
            return request;
        };
    }
    void settle() {
        for (int i = 0; i < 500 && busy() != 0; ++i) {
            std::this_thread::sleep_for(2ms);
        }
        EXPECT_EQ(busy(), 0U);
        EXPECT_TRUE(server_.verify()->problems.empty());
    }
    std::uint64_t busy() {
        const VerifyReport report = server_.verify().value();
        return report.chunks_offered + report.chunks_claimed + report.chunks_answered;
    }

    ScratchDomain domain_;
    std::counting_semaphore<> begun_{0};
    std::counting_semaphore<> go_{0};
    Server server_;
    Client client_;
};

TEST_F(FunctionTime, a_call_that_is_not_answered_in_time_times_out_and_its_late_response_is_told) {
    std::atomic<bool> late{false};
    const Function served =
        server_
            .serve("slow",
                   waiting(),
                   {.on_late = [&](const Message& response) { late = response.text() == "x"; }})
            .value();
    const auto started = Clock::now();
    const auto reply = client_.send("slow", order("x"), 50ms);
    const auto took = Clock::now() - started;
    EXPECT_EQ(reply.status(), Status::timed_out);
    EXPECT_NE(reply.error().detail.find("had begun"), std::string::npos) << reply.error().detail;
    EXPECT_GE(took, 50ms);
    EXPECT_LT(took, 1s);
    go_.release();
    settle();
    for (int i = 0; i < 500 && !late; ++i) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_TRUE(late);
    const FunctionStatus status = served.status().value();
    EXPECT_EQ(status.late, 1U);
    EXPECT_EQ(status.timed_out, 1U);
}

TEST_F(FunctionTime, a_request_that_timed_out_in_the_queue_is_never_begun) {
    std::atomic<int> begun{0};
    const Function served = server_
                                .serve("slow",
                                       [&](const Message& request) -> Result<Message> {
                                           ++begun;
                                           static_cast<void>(go_.try_acquire_for(10s));
                                           return request;
                                       })
                                .value();
    auto first = client_.send_async("slow", order(), 10s);
    while (begun == 0) {
        std::this_thread::yield();
    }
    const auto second = client_.send("slow", order(), 30ms);
    EXPECT_EQ(second.status(), Status::timed_out);
    EXPECT_NE(second.error().detail.find("nobody had begun"), std::string::npos);
    go_.release();
    EXPECT_TRUE(first.get(5s));
    EXPECT_TRUE((go_.release(), client_.send("slow", order(), 5s)));
    EXPECT_EQ(begun, 2);
    settle();
}

TEST_F(FunctionTime, the_handler_sees_what_is_left_of_the_callers_time) {
    std::optional<std::chrono::milliseconds> left;
    const Function served =
        server_.serve("left", [&](const Message& request) { left = request.timeout(); }).value();
    ASSERT_TRUE(client_.send("left", order(), 5s));
    ASSERT_TRUE(left);
    EXPECT_GT(*left, 4s);
    EXPECT_LE(*left, 5s + 20ms);
}

TEST_F(FunctionTime, a_timeout_of_0_gives_up_at_once) {
    const Function served = server_.serve("slow", waiting()).value();
    EXPECT_EQ(client_.send("slow", order(), 0s).status(), Status::timed_out);
    go_.release();
    settle();
}

TEST_F(FunctionTime, expired_requests_are_not_begun) {
    const Function served = server_.serve("slow", waiting()).value();
    auto first = client_.send_async("slow", order(), 10s);
    begun_.acquire();
    auto second = client_.send_async("slow", order().expires_in(5ms), 10s);
    ASSERT_TRUE(client_.send_oneway("slow", order().expires_in(5ms)));
    std::this_thread::sleep_for(30ms);
    go_.release();
    EXPECT_TRUE(first.get(5s));
    EXPECT_EQ(second.get(5s).status(), Status::expired);
    settle();
    EXPECT_EQ(served.status()->expired, 2U);
}

TEST_F(FunctionTime, beyond_inflight_max_calls_are_overloaded) {
    const Function served = server_.serve("slow", waiting(), {.inflight_max = 2}).value();
    std::vector<Future<Message>> held;
    held.push_back(client_.send_async("slow", order(), 10s));
    begun_.acquire();
    held.push_back(client_.send_async("slow", order(), 10s));
    held.push_back(client_.send_async("slow", order(), 10s));
    EXPECT_EQ(client_.send_async("slow", order(), 10s).get(1s).status(), Status::overloaded);
    EXPECT_EQ(client_.send_oneway("slow", order()).status(), Status::overloaded);
    const auto started = Clock::now();
    EXPECT_EQ(client_.send("slow", order(), 30ms).status(), Status::overloaded);
    EXPECT_GE(Clock::now() - started, 30ms);
    EXPECT_EQ(served.status()->queued, 2U);
    std::jthread free([&] {
        std::this_thread::sleep_for(20ms);
        go_.release(4);
    });
    EXPECT_TRUE(client_.send("slow", order(), 5s)) << "room came while it waited";
    for (auto& future : held) {
        EXPECT_TRUE(future.get(5s));
    }
    settle();
}

TEST_F(FunctionTime, a_stop_token_cancels) {
    const Function served = server_.serve("slow", waiting()).value();
    std::stop_source stop;
    std::jthread stopper([&] {
        begun_.acquire();
        stop.request_stop();
    });
    EXPECT_EQ(client_.send("slow", order(), 10s, {.stop = stop.get_token()}).status(),
              Status::cancelled);
    go_.release();
    settle();
}

TEST_F(FunctionTime, closing_the_client_ends_its_calls) {
    const Function served = server_.serve("slow", waiting()).value();
    auto future = client_.send_async("slow", order(), 10s);
    std::jthread closer([&] {
        begun_.acquire();
        std::this_thread::sleep_for(20ms);
        client_.close();
    });
    const auto started = Clock::now();
    EXPECT_EQ(client_.send("slow", order(), 10s).status(), Status::closed);
    EXPECT_LT(Clock::now() - started, 1s);
    EXPECT_EQ(future.get(1s).status(), Status::closed);
    go_.release(2);
    settle();
}

TEST_F(FunctionTime, stop_waits_for_the_handler_and_answers_the_queued_with_function_not_found) {
    Function served = server_.serve("slow", waiting()).value();
    auto running = client_.send_async("slow", order(), 10s);
    begun_.acquire();
    auto queued = client_.send_async("slow", order(), 10s);
    std::atomic<bool> stopped{false};
    std::jthread stopper([&] {
        served.stop();
        stopped = true;
    });
    std::this_thread::sleep_for(30ms);
    EXPECT_FALSE(stopped);
    go_.release();
    EXPECT_TRUE(running.get(5s)) << "it had begun";
    const auto started = Clock::now();
    const auto reply = queued.get(5s);
    EXPECT_EQ(reply.status(), Status::function_not_found);
    EXPECT_LT(Clock::now() - started, 500ms);
    stopper.join();
    settle();
}

TEST_F(FunctionTime, a_sleeping_caller_hears_that_its_function_ended) {
    Function served = server_.serve("slow", waiting()).value();
    auto running = client_.send_async("slow", order(), 10s);
    begun_.acquire();
    std::jthread stopper([&] {
        std::this_thread::sleep_for(30ms);
        served.stop();
    });
    // Not before the stop: its thread would begin the second request.
    std::jthread releaser([&] {
        while (served.running()) {
            std::this_thread::sleep_for(1ms);
        }
        go_.release();
    });
    const auto started = Clock::now();
    EXPECT_EQ(client_.send("slow", order(), 10s).status(), Status::function_not_found);
    EXPECT_LT(Clock::now() - started, 500ms);
    EXPECT_TRUE(running.get(1s));
}

TEST_F(FunctionTime, a_handler_may_stop_or_destroy_its_own_handle) {
    auto served = std::make_unique<Function>();
    *served = server_
                  .serve("once",
                         [&](const Message& request) -> Result<Message> {
                             served->stop();
                             served.reset();
                             return request;
                         })
                  .value();
    EXPECT_TRUE(client_.send("once", order(), 5s)) << "its response is still sent";
    for (int i = 0; i < 500; ++i) {
        if (client_.send("once", order(), 5s).status() == Status::function_not_found) {
            break;
        }
        std::this_thread::sleep_for(2ms);
    }
    EXPECT_EQ(client_.send("once", order(), 5s).status(), Status::function_not_found);
    settle();
}

TEST_F(FunctionTime, a_handler_may_call_other_functions_and_itself) {
    const Function inner = server_.serve("inner", echo).value();
    const Function outer =
        server_
            .serve("outer",
                   [&](const Message& request) -> Result<Message> {
                       const bool last = request.text().size() > 3;
                       return client_.send(
                           last ? "inner" : "outer", order(std::string(request.text()) + "x"), 5s);
                   },
                   {.threads = 5})
            .value();
    EXPECT_EQ(client_.send("outer", order(""), 5s)->text(), "xxxxx");
    const Function alone = server_
                               .serve("alone",
                                      [&](const Message& request) -> Result<Message> {
                                          return client_.send("alone", request, 50ms);
                                      },
                                      {.inflight_max = 8})
                               .value();
    EXPECT_EQ(client_.send("alone", order(), 5s).status(), Status::handler_error)
        << "its one thread waits for itself, until the inner timeout";
    settle();
}

TEST_F(FunctionTime, closing_the_server_ends_the_function_while_calls_are_out) {
    Server other = domain_.open();
    Function served = other.serve("slow", waiting()).value();
    auto running = client_.send_async("slow", order(), 10s);
    begun_.acquire();
    auto queued = client_.send_async("slow", order(), 10s);
    const auto started = Clock::now();
    other.close();
    EXPECT_LT(Clock::now() - started, 100ms);
    go_.release();
    EXPECT_TRUE(running.get(5s));
    EXPECT_EQ(queued.get(5s).status(), Status::function_not_found);
}

TEST_F(FunctionTime, removing_the_domain_ends_calls_and_serving) {
    const Function served = server_.serve("slow", waiting()).value();
    auto future = client_.send_async("slow", order(), 10s);
    begun_.acquire();
    std::jthread remover([&] {
        std::this_thread::sleep_for(20ms);
        static_cast<void>(server_.remove_domain());
    });
    EXPECT_EQ(client_.send("slow", order(), 10s).status(), Status::domain_removed);
    EXPECT_EQ(future.get(2s).status(), Status::domain_removed);
    go_.release(2);
}

}  // namespace
}  // namespace telpher

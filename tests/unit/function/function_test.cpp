// Goal:   what functions promise about one call: its response, its statuses, who may serve and call.
// Method: servers and callers in this process, each in a domain of its own.

#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using test::ScratchDomain;

using test::echo;
using test::order;

class FunctionTest : public ::testing::Test {
  protected:
    FunctionTest() : server_(domain_.open()), client_(connect(domain_.uri()).value()) {}
    // Everything was given back.
    void expect_clean() {
        const VerifyReport report = server_.verify().value();
        EXPECT_TRUE(report.problems.empty()) << report.problems.front();
        EXPECT_EQ(report.chunks_offered + report.chunks_claimed + report.chunks_answered, 0U);
    }
    ScratchDomain domain_;
    Server server_;
    Client client_;
};

TEST_F(FunctionTest, a_call_brings_back_what_the_handler_returned) {
    const Function served = server_.serve("echo", echo).value();
    const Message reply = client_.send("echo", order(), 1s).value();
    EXPECT_EQ(reply.text(), "2 espressos");
    EXPECT_EQ(reply.type(), MessageType::response);
    EXPECT_TRUE(reply.ok());
    EXPECT_EQ(served.name(), "echo");
    EXPECT_TRUE(served.running());
    expect_clean();
}

TEST_F(FunctionTest, the_request_arrives_with_its_fields_and_a_new_id) {
    MessageType type{};
    MessageId id{};
    const Function served = server_
                                .serve("see",
                                       [&](const Message& request) {
                                           type = request.type();
                                           id = request.id();
                                           return Message::text("seen", request.topic());
                                       })
                                .value();
    EXPECT_EQ(client_.send("see", order(), 1s)->text(), "order");
    EXPECT_EQ(type, MessageType::request);
    EXPECT_NE(id, MessageId{});
}

TEST_F(FunctionTest, without_a_name_the_default_function_answers) {
    EXPECT_EQ(client_.send(order(), 1s).status(), Status::function_not_found);
    const Function served = server_.serve([](const Message&) { return order("default"); }).value();
    const Function named = server_.serve("named", echo).value();
    EXPECT_EQ(client_.send(order(), 1s)->text(), "default");
    EXPECT_EQ(client_.send("named", order(), 1s)->text(), "2 espressos");
    EXPECT_EQ(served.name(), "");
    EXPECT_EQ(client_.function_status("")->calls, 1U);
    EXPECT_EQ(client_.send("*", order(), 1s)->text(), "default") << "its name in the directory";
}

TEST_F(FunctionTest, a_handler_that_returns_nothing_answers_ok_with_an_empty_text) {
    const Function served = server_.serve("note", [](const Message&) {}).value();
    const Message reply = client_.send("note", order(), 1s).value();
    EXPECT_TRUE(reply.ok());
    EXPECT_EQ(reply.text(), "");
}

TEST_F(FunctionTest, servers_call_too) {
    const Function served = server_.serve("echo", echo).value();
    EXPECT_EQ(server_.send("echo", order(), 1s)->text(), "2 espressos");
    EXPECT_TRUE(server_.send_oneway("echo", order()));
    EXPECT_EQ(server_.send_async("echo", order(), 1s).get(1s)->text(), "2 espressos");
}

TEST_F(FunctionTest, nobody_serves_the_name) {
    const auto reply = client_.send("nobody", order(), 1s);
    EXPECT_EQ(reply.status(), Status::function_not_found);
    EXPECT_EQ(describe(reply.status()).outcome, Outcome::did_not_happen);
    EXPECT_EQ(client_.send_oneway("nobody", order()).status(), Status::function_not_found);
    EXPECT_EQ(client_.send_async("nobody", order(), 1s).get(1s).status(),
              Status::function_not_found);
}

TEST_F(FunctionTest, waits_for_a_server_when_asked) {
    Function served;
    std::jthread late([&] {
        std::this_thread::sleep_for(30ms);
        served = server_.serve("late", echo).value();
    });
    EXPECT_EQ(client_.send("late", order(), 1s, {.wait_for_server = 5s})->text(), "2 espressos");
    EXPECT_EQ(client_.send("never", order(), 1s, {.wait_for_server = 20ms}).status(),
              Status::function_not_found);
}

TEST_F(FunctionTest, ends_with_its_last_server_and_may_begin_again) {
    Function first = server_.serve("echo", echo).value();
    Function second = server_.serve("echo", echo).value();
    EXPECT_TRUE(client_.send("echo", order(), 1s));
    first.stop();
    EXPECT_FALSE(first.running());
    EXPECT_TRUE(client_.send("echo", order(), 1s)) << "another one serves it";
    second = Function();
    EXPECT_EQ(client_.send("echo", order(), 1s).status(), Status::function_not_found);
    const Function again =
        server_.serve("echo", [](const Message&) { return order("again"); }).value();
    EXPECT_EQ(client_.send("echo", order(), 1s)->text(), "again");
    EXPECT_EQ(client_.function_status("echo")->calls, 1U) << "a new life";
    expect_clean();
}

TEST_F(FunctionTest, other_options_are_a_mismatch) {
    const Function served = server_.serve("echo", echo, {.inflight_max = 8}).value();
    EXPECT_EQ(server_.serve("echo", echo).status(), Status::mismatch);
    EXPECT_EQ(server_.serve("echo", echo, {.inflight_max = 8, .idempotent = true}).status(),
              Status::mismatch);
    EXPECT_TRUE(server_.serve("echo", echo, {.inflight_max = 8}));
    EXPECT_TRUE(client_.send("echo", order(), 1s));
}

TEST_F(FunctionTest, options_and_names_have_ranges) {
    EXPECT_EQ(server_.serve("a b", echo).status(), Status::bad_request);
    EXPECT_EQ(server_.serve("", echo).status(), Status::bad_request);
    EXPECT_EQ(server_.serve("f", echo, {.threads = 0}).status(), Status::bad_request);
    EXPECT_EQ(server_.serve("f", echo, {.threads = 65}).status(), Status::bad_request);
    EXPECT_EQ(server_.serve("f", echo, {.inflight_max = 0}).status(), Status::bad_request);
    EXPECT_EQ(client_.send("a b", order(), 1s).status(), Status::bad_request);
    EXPECT_EQ(client_.send("f", order(), -1s).status(), Status::bad_request);
    const Function served = server_.serve("f", echo).value();
    EXPECT_EQ(client_.send("f", Message(), 1s).status(), Status::bad_request);
}

TEST_F(FunctionTest, a_queue_of_the_same_name_is_something_else) {
    const Queue queue = server_.create_queue("echo", {.capacity = 4}).value();
    const Function served = server_.serve("echo", echo).value();
    EXPECT_TRUE(client_.send("echo", order(), 1s));
    EXPECT_EQ(queue.status()->depth, 0U);
    EXPECT_EQ(server_.queues()->size(), 1U);
}

TEST_F(FunctionTest, ids_are_copied_to_a_response_that_has_none) {
    const Function served =
        server_.serve("ids", [](const Message&) { return order().with_correlation_id("its own"); })
            .value();
    const Message reply = client_
                              .send("ids",
                                    order()
                                        .with_request_id("17")
                                        .with_correlation_id("c")
                                        .with_causation_id("d")
                                        .with_traceparent("00-1-2-01"),
                                    1s)
                              .value();
    EXPECT_EQ(reply.request_id(), "17");
    EXPECT_EQ(reply.correlation_id(), "its own");
    EXPECT_EQ(reply.causation_id(), "d");
    EXPECT_EQ(reply.traceparent(), "00-1-2-01");
    EXPECT_FALSE(reply.timeout());
}

TEST_F(FunctionTest, responses_of_any_size_arrive_whole) {
    const Function served = server_
                                .serve("grow",
                                       [](const Message& request) {
                                           const auto size =
                                               std::stoul(std::string(request.text()));
                                           return Message::text("grown", std::string(size, 'x'));
                                       })
                                .value();
    for (const std::size_t size : {0U, 1U, 64U, 100U, 200U, 300U, 1000U, 5000U, 65'000U}) {
        const auto reply = client_.send("grow", order(std::to_string(size)), 1s);
        ASSERT_TRUE(reply) << size << to_string(reply.error());
        EXPECT_EQ(reply->text(), std::string(size, 'x'));
    }
    expect_clean();
}

TEST_F(FunctionTest, a_response_beyond_the_limit_is_a_status) {
    std::atomic<std::uint64_t> told{0};
    const Function served =
        server_
            .serve("huge",
                   [](const Message&) { return order(std::string(70'000, 'x')); },
                   {.on_error = [&](const HandlerFailure& failure) { told = failure.error_id; }})
            .value();
    EXPECT_EQ(client_.send("huge", order(), 1s).status(), Status::message_too_large);
    EXPECT_NE(told.load(), 0U);
    EXPECT_EQ(client_.send("huge", order(std::string(70'000, 'x')), 1s).status(),
              Status::message_too_large)
        << "the request";
    EXPECT_EQ(served.status()->errors, 1U);
    expect_clean();
}

TEST_F(FunctionTest, a_throwing_handler_is_handler_error_with_an_id_and_no_details) {
    HandlerFailure told;
    const Function served =
        server_
            .serve("throw",
                   [](const Message& request) -> Result<Message> {
                       if (request.text() == "error") {
                           return Error{Status::not_permitted, 0, "secret"};
                       }
                       if (request.text() == "odd") {
                           throw 42;
                       }
                       throw std::runtime_error("secret");
                   },
                   {.on_error = [&](const HandlerFailure& failure) { told = failure; }})
            .value();
    for (const char* how : {"throw", "error", "odd"}) {
        const auto reply = client_.send("throw", order(how), 1s);
        EXPECT_EQ(reply.status(), Status::handler_error);
        EXPECT_EQ(reply.error().detail.find("secret"), std::string::npos);
        char id[32] = {};
        std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(told.error_id));
        EXPECT_NE(reply.error().detail.find(id), std::string::npos) << reply.error().detail;
        EXPECT_EQ(told.function, "throw");
        EXPECT_EQ(told.text.find("secret") != std::string::npos, std::string(how) != "odd");
    }
    EXPECT_EQ(served.status()->errors, 3U);
    EXPECT_EQ(served.status()->calls, 3U);
    expect_clean();
}

TEST_F(FunctionTest, a_one_way_request_is_handled_and_not_answered) {
    std::latch handled(2);
    std::atomic<bool> oneway{false};
    const Function served = server_
                                .serve("note",
                                       [&](const Message& request) {
                                           oneway = request.is_oneway();
                                           handled.count_down();
                                       })
                                .value();
    ASSERT_TRUE(client_.send_oneway("note", order()));
    ASSERT_TRUE(client_.send_oneway("note", order()));
    handled.wait();
    EXPECT_TRUE(oneway);
    EXPECT_EQ(served.status()->calls, 2U);
}

TEST_F(FunctionTest, threads_at_both_ends_get_the_answers_to_their_questions) {
    constexpr int kCalls = 2000;
    const Function served = server_.serve("echo", echo, {.threads = 3}).value();
    std::atomic<int> wrong{0};
    {
        std::vector<std::jthread> callers;
        for (int caller = 0; caller < 3; ++caller) {
            callers.emplace_back([&, caller] {
                for (int i = 0; i < kCalls; ++i) {
                    const std::string text = std::to_string(caller) + "." + std::to_string(i);
                    const auto reply = client_.send("echo", order(text), 10s);
                    wrong += reply && reply->text() == text ? 0 : 1;
                }
            });
        }
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(served.status()->calls, 3U * kCalls);
    expect_clean();
}

TEST_F(FunctionTest, status_tells_the_figures) {
    const Function served = server_.serve("echo", echo, {.inflight_max = 9}).value();
    ASSERT_TRUE(client_.send("echo", order(), 1s));
    const FunctionStatus status = client_.function_status("echo").value();
    EXPECT_EQ(status.name, "echo");
    EXPECT_EQ(status.inflight_max, 9U);
    EXPECT_FALSE(status.idempotent);
    EXPECT_EQ(status.servers, 1U);
    EXPECT_EQ(status.calls, 1U);
    EXPECT_EQ(status.queued, 0U);
    EXPECT_EQ(client_.function_status("nobody").status(), Status::function_not_found);
}

}  // namespace
}  // namespace telpher

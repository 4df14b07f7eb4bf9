// Goal:   a message that names its cause is handled after it, or when its time has passed; nothing waits behind it,
//         and nothing of it is lost; over every way.
// Method: effects are offered before their causes; what must not happen yet is looked for while a condition shows
//         that the message is parked.

#include "telpher/causal_gate.hpp"

#include "telpher/admin.hpp"

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class CausalGates : public Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        static_cast<void>(
            server.create_queue("q", {.capacity = 64, .delivery = DeliveryMode::at_least_once})
                .value());
        queue = client.queue("q").value();
    }
    void TearDown() override {
        queue = {};
        Ways::TearDown();
    }
    static CausalGate gate_of(const CausalGateOptions& options = {.wait = kNever}) {
        return CausalGate::make(options).value();
    }
    static Message effect(const std::string& text, const std::string& cause) {
        return Message::text("n", text).with_causation_id(cause);
    }
    static Message named(const std::string& text) {
        return Message::text("n", text).with_request_id(text);
    }
    static void offer(Queue& to, const Message& message) { ASSERT_TRUE(to.offer(message, kSoon)); }
    // Texts in the order in which handlers had them.
    void note(const MessageView& message) {
        const std::lock_guard hold(mutex);
        seen.emplace_back(message.text());
    }
    auto noting() {
        return [this](const Delivery& delivery) { note(delivery); };
    }
    std::vector<std::string> noted() {
        const std::lock_guard hold(mutex);
        return seen;
    }
    template <typename Condition>
    static bool soon(const Condition& condition) {
        const auto end = std::chrono::steady_clock::now() + kSoon;
        while (!condition() && std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(1ms);
        }
        return condition();
    }
    static bool parks(const CausalGate& gate, std::uint64_t count) {
        return soon([&] { return gate.status().parked == count; });
    }
    bool has_noted(const std::vector<std::string>& texts) {
        return soon([&] { return noted() == texts; });
    }

    using Texts = std::vector<std::string>;
    static constexpr auto kNever = 24h;  // longer than any test
    Queue queue;
    std::mutex mutex;
    Texts seen;
};

TEST_P(CausalGates, let_an_effect_wait_for_its_cause_behind_it) {
    CausalGate gate = gate_of();
    offer(queue, effect("effect", "cause"));
    offer(queue, named("cause"));
    Consumer consumer = queue.consume(noting(), {.gate = gate}).value();
    EXPECT_TRUE(soon([&] { return consumer.status().acknowledged == 2; }));
    EXPECT_EQ(noted(), (Texts{"cause", "effect"}));
    EXPECT_TRUE(gate.was_processed("cause"));
    const CausalGateStatus status = gate.status();
    EXPECT_EQ(status.passed, 1U);
    EXPECT_EQ(status.parked + status.timed_out + status.forgotten, 0U);
    EXPECT_EQ(status.remembered, 3U) << "two ids and a request id";
    offer(queue, effect("later", "cause"));
    EXPECT_TRUE(has_noted({"cause", "effect", "later"}));
    EXPECT_EQ(gate.status().passed, 1U) << "it need not wait";
}

// By the id that a handler's offer carries; the effect is there before its cause's handler has ended.
TEST_P(CausalGates, serve_consumers_of_several_queues) {
    CausalGate gate = gate_of();
    Queue in = server.create_queue("in", {.capacity = 4}).value();
    std::atomic<bool> ended{false};
    std::atomic<bool> before{false};
    Consumer effects = queue
                           .consume(
                               [&](const Delivery& delivery) {
                                   before = !ended;
                                   note(delivery);
                               },
                               {.gate = gate})
                           .value();
    Consumer causes = in.consume(
                            [&](const Delivery& /*delivery*/) {
                                offer(queue, Message::text("n", "effect"));
                                EXPECT_TRUE(parks(gate, 1));
                                ended = true;
                            },
                            {.gate = gate})
                          .value();
    offer(in, Message::text("n", "cause").with_correlation_id("c"));
    EXPECT_TRUE(has_noted({"effect"}));
    EXPECT_FALSE(before);
    EXPECT_EQ(gate.status().passed, 1U);
}

TEST_P(CausalGates, let_a_message_go_on_when_its_time_has_passed) {
    CausalGate gate = gate_of({.wait = 50ms});
    const auto start = std::chrono::steady_clock::now();
    Consumer consumer = queue.consume(noting(), {.gate = gate}).value();
    offer(queue, effect("effect", "unknown"));
    EXPECT_TRUE(has_noted({"effect"}));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 50ms);
    EXPECT_TRUE(soon([&] { return gate.status().timed_out == 1; }));
    EXPECT_EQ(gate.status().passed, 0U);
    EXPECT_FALSE(gate.was_processed("unknown"));
}

TEST_P(CausalGates, keep_the_lease_of_what_waits) {
    CausalGate gate = gate_of({.wait = 3s});
    Queue leased =
        server
            .create_queue("leased",
                          {.capacity = 4, .delivery = DeliveryMode::at_least_once, .lease = 1s})
            .value();
    Client other = another_client();
    Queue theirs = other.queue("leased").value();
    std::atomic<std::uint32_t> deliveries{0};
    Consumer consumer =
        client.queue("leased")
            ->consume([&](const Delivery& delivery) { deliveries += delivery.deliveries(); },
                      {.gate = gate})
            .value();
    offer(leased, effect("effect", "unknown"));
    ASSERT_TRUE(parks(gate, 1));
    EXPECT_EQ(theirs.poll(2s).status(), Status::timed_out) << "it is still leased";
    EXPECT_TRUE(soon([&] { return consumer.status().acknowledged == 1; }));
    EXPECT_EQ(deliveries, 1U);
    EXPECT_GE(consumer.status().extended, 2U);
    EXPECT_EQ(consumer.status().leases_lost, 0U);
    EXPECT_EQ(leased.status().value().lease_expired, 0U);
}

TEST_P(CausalGates, delay_nothing_behind_what_waits) {
    CausalGate gate = gate_of();
    for (const std::uint32_t prefetch : {1U, 4U}) {
        seen.clear();
        Consumer consumer = queue.consume(noting(), {.prefetch = prefetch, .gate = gate}).value();
        const std::string cause = "cause " + std::to_string(prefetch);
        offer(queue, effect("effect", cause));
        for (const char* text : {"1", "2", "3"}) {
            offer(queue, Message::text("n", text));
        }
        EXPECT_TRUE(has_noted({"1", "2", "3"}));
        EXPECT_TRUE(parks(gate, 1));
        gate.processed(cause);
        EXPECT_TRUE(has_noted({"1", "2", "3", "effect"}));
    }
}

TEST_P(CausalGates, poll_no_further_when_as_much_waits_as_may) {
    CausalGate gate = gate_of({.wait = kNever, .parked_max = 2});
    for (const char* text : {"1", "2", "3"}) {
        offer(queue, effect(text, "cause"));
    }
    offer(queue, Message::text("n", "free"));
    Consumer consumer = queue.consume(noting(), {.gate = gate}).value();
    ASSERT_TRUE(parks(gate, 2));
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(queue.status().value().depth, 2U);
    EXPECT_EQ(gate.status().parked, 2U);
    gate.processed("cause");
    EXPECT_TRUE(soon([&] { return noted().size() == 4; }));
    offer(queue, effect("4", "other"));
    offer(queue, effect("5", "other"));
    ASSERT_TRUE(parks(gate, 2));
    consumer.stop();  // while it does not poll
    EXPECT_EQ(gate.status().parked, 0U);
}

TEST_P(CausalGates, wait_for_a_cause_that_was_given_back_and_not_for_one_that_was_refused) {
    CausalGate gate = gate_of();
    std::atomic<bool> give_back{true};
    Consumer consumer = queue
                            .consume(
                                [&](const Delivery& delivery) {
                                    note(delivery);
                                    if (delivery.text() == "refused") {
                                        return Handled::reject();
                                    }
                                    if (delivery.text() == "fails" && delivery.deliveries() == 1) {
                                        throw std::runtime_error("no milk");
                                    }
                                    return delivery.deliveries() == 2 && give_back.exchange(false)
                                               ? Handled::nack()
                                               : Handled::ack();
                                },
                                {.gate = gate})
                            .value();
    offer(queue, effect("effect", "fails"));
    ASSERT_TRUE(parks(gate, 1));
    offer(queue, named("fails"));
    EXPECT_TRUE(has_noted({"fails", "fails", "fails", "effect"}));
    offer(queue, effect("second", "refused"));
    offer(queue, named("refused"));
    EXPECT_TRUE(has_noted({"fails", "fails", "fails", "effect", "refused", "second"}));
}

TEST_P(CausalGates, do_not_hold_a_message_that_names_itself) {
    CausalGate gate = gate_of();
    Consumer consumer = queue.consume(noting(), {.gate = gate}).value();
    offer(queue, effect("self", "me").with_request_id("me"));
    EXPECT_TRUE(has_noted({"self"}));
    EXPECT_EQ(gate.status().passed + gate.status().timed_out, 0U);
}

// The thread that parked it is busy: the other one's poll ends for it.
TEST_P(CausalGates, let_an_idle_thread_handle_what_may_go_on) {
    for (const bool in_time : {true, false}) {
        seen.clear();
        CausalGate gate = gate_of({.wait = in_time ? Duration(kNever) : Duration(200ms)});
        std::promise<void> go;
        std::shared_future<void> gone = go.get_future().share();
        std::atomic<bool> begun{false};
        Consumer consumer = queue
                                .consume(
                                    [&](const Delivery& delivery) {
                                        if (delivery.text() == "long") {
                                            begun = true;
                                            gone.wait();
                                        }
                                        note(delivery);
                                    },
                                    {.threads = 2, .gate = gate})
                                .value();
        offer(queue, effect("effect", "cause"));
        offer(queue, Message::text("n", "long"));
        EXPECT_TRUE(soon([&] { return begun.load(); }));
        if (in_time) {
            EXPECT_TRUE(parks(gate, 1));
            gate.processed("cause");
        }
        EXPECT_TRUE(has_noted({"effect"}));
        EXPECT_EQ(gate.status().timed_out, in_time ? 0U : 1U);
        go.set_value();
        EXPECT_TRUE(has_noted({"effect", "long"}));
    }
}

TEST_P(CausalGates, give_back_what_waits_when_their_consumer_stops) {
    CausalGate gate = gate_of();
    Consumer consumer = queue.consume(noting(), {.threads = 2, .gate = gate}).value();
    offer(queue, effect("1", "cause"));
    offer(queue, effect("2", "cause"));
    ASSERT_TRUE(parks(gate, 2));
    consumer.stop();
    EXPECT_EQ(gate.status().parked, 0U);
    EXPECT_EQ(consumer.status().given_back, 2U);
    EXPECT_TRUE(noted().empty());
    for (int i = 0; i < 2; ++i) {
        Delivery again = queue.poll(kSoon).value();
        EXPECT_EQ(again.deliveries(), 2U);
        EXPECT_EQ(again.reason(), ReturnReason::nacked);
        EXPECT_TRUE(again.ack());
    }
}

TEST_P(CausalGates, let_what_cannot_be_given_back_be_handled_at_the_end) {
    CausalGate gate = gate_of();
    QueueOptions options{.capacity = 4};
    static_cast<void>(server.create_queue("once", options).value());
    options.delivery = DeliveryMode::at_least_once;
    options.deliveries_max = 1;
    static_cast<void>(server.create_queue("last", options).value());
    for (const char* name : {"once", "last"}) {
        Queue ends = client.queue(name).value();
        Consumer consumer = ends.consume(noting(), {.gate = gate}).value();
        offer(ends, effect(name, "cause"));
        ASSERT_TRUE(parks(gate, 1));
        consumer.stop();
        EXPECT_EQ(consumer.status().acknowledged, 1U);
    }
    EXPECT_EQ(noted(), (Texts{"once", "last"}));
    EXPECT_EQ(gate.status().parked + gate.status().timed_out, 0U);
    EXPECT_EQ(queue.status().value().dead_lettered, 0U);
}

TEST_P(CausalGates, let_what_waits_be_handled_after_its_queue_was_removed) {
    CausalGate gate = gate_of();
    std::promise<Status> why;
    ConsumeOptions options;
    options.gate = gate;
    options.on_end = [&](const Error& error) { why.set_value(error.status); };
    Consumer consumer = queue.consume(noting(), options).value();
    offer(queue, effect("effect", "cause"));
    ASSERT_TRUE(parks(gate, 1));
    ASSERT_TRUE(server.remove_queue("q"));
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(gate.status().parked, 1U);
    gate.processed("cause");
    EXPECT_EQ(why.get_future().get(), Status::queue_not_found);
    EXPECT_EQ(noted(), (Texts{"effect"}));
}

// Goal:   each link of many chains is handled once, and after the one before it.
// Method: the links of 200 chains, offered in random order to two queues in turn, with a consumer of two threads
//         and a Client of its own at each; leases that are extended while they wait.
TEST_P(CausalGates, bring_links_of_many_chains_in_order) {
    constexpr std::uint32_t kChains = 200;
    constexpr std::uint32_t kLinks = 10;
    const CausalGate gate = gate_of({.wait = kNever, .parked_max = kChains * kLinks});
    const auto name = [](std::uint32_t chain, std::uint32_t link) {
        return std::to_string(chain) + "." + std::to_string(link);
    };
    std::vector<std::atomic<std::uint32_t>> done(kChains);
    std::atomic<std::uint32_t> wrong{0};
    const auto handle = [&](const Delivery& delivery) {
        const std::string text(delivery.text());
        const auto dot = text.find('.');
        const auto chain = static_cast<std::uint32_t>(std::stoul(text.substr(0, dot)));
        const auto link = static_cast<std::uint32_t>(std::stoul(text.substr(dot + 1)));
        wrong += done[chain]++ == link ? 0U : 1U;
    };
    Client other = another_client();
    std::vector<Queue> queues;
    std::vector<Consumer> consumers;
    for (Client* theirs : {&client, &other}) {
        const std::string made = "chains" + std::to_string(queues.size());
        queues.push_back(
            server
                .create_queue(
                    made, {.capacity = 64, .delivery = DeliveryMode::at_least_once, .lease = 3s})
                .value());
        consumers.push_back(theirs->queue(made)
                                ->consume(handle, {.threads = 2, .prefetch = 3, .gate = gate})
                                .value());
    }
    std::vector<std::uint32_t> order(kChains * kLinks);
    for (std::uint32_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::shuffle(order.begin(), order.end(), std::mt19937(4711));  // NOLINT: the same each time
    for (const std::uint32_t i : order) {
        const std::uint32_t chain = i / kLinks;
        const std::uint32_t link = i % kLinks;
        Message message = named(name(chain, link));
        if (link != 0) {
            message.with_causation_id(name(chain, link - 1));
        }
        offer(queues[i % 2], message);
    }
    const auto acknowledged = [&] {
        return consumers[0].status().acknowledged + consumers[1].status().acknowledged;
    };
    EXPECT_TRUE(soon([&] { return acknowledged() == order.size(); })) << acknowledged();
    EXPECT_EQ(wrong, 0U);
    EXPECT_TRUE(std::all_of(done.begin(), done.end(), [](const auto& d) { return d == kLinks; }));
    const CausalGateStatus status = gate.status();
    EXPECT_GT(status.passed, 0U);
    EXPECT_EQ(status.parked + status.timed_out + status.forgotten, 0U);
    for (const Queue& each : queues) {
        const QueueStatus figures = each.status().value();
        EXPECT_EQ(figures.depth + figures.leased + figures.redelivered, 0U);
    }
}

INSTANTIATE_TEST_SUITE_P(Every, CausalGates, kAllWays, name_of_way);

}  // namespace
}  // namespace telpher::test

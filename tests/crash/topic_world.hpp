#pragma once
// A topic "crash" of a small domain, its survivor, and what must be true of them after a death.

#include "src/broker/queue_core.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace telpher::crash {

// What a subscription was given, in numbers; lost ones are counted.
struct Seen {
    std::vector<std::uint64_t> numbers;
    std::uint64_t lost = 0;
    std::string problem;  // torn, out of order, a gap that was not told
    std::uint64_t last = 0;

    void add(const Sample& sample) {
        const std::uint64_t number = number_of(sample);
        numbers.push_back(number);
        lost += sample.lost_before();
        if (number == kTorn) {
            problem += "a torn message; ";
        }
        if (last != 0 && sample.sequence() != last + sample.lost_before() + 1) {
            problem += "number " + std::to_string(sample.sequence()) + " after " +
                       std::to_string(last) + " with " + std::to_string(sample.lost_before()) +
                       " lost; ";
        }
        last = sample.sequence();
    }
    void drain(Subscription& subscription) {
        while (const auto sample = subscription.next()) {
            add(*sample);
        }
    }
};

class TopicWorld {
  public:
    static constexpr std::uint32_t kCapacity = 4;
    static constexpr std::size_t kSmall = 48;
    static constexpr std::size_t kLarge = 700;  // not copied

    explicit TopicWorld(const char* name,
                        const TopicOptions& options = {.capacity = kCapacity, .history = kCapacity})
        : domain_(name), server_(domain_.open()), options_(options) {
        make();
        queue_ = server_.create_queue("queue", {.capacity = 4}).value();
    }

    void make() { topic_ = server_.create_topic("crash", options_).value(); }
    // A process that uses the topic; `act` is given its Server.
    VictimRole member(const std::function<void(Server&)>& act) {
        auto server = std::make_shared<Server*>(nullptr);
        return {.prepare =
                    [this, server] {
                        *server = new Server(domain_.open());  // never closed
                        return (*server)->topic("crash").has_value();
                    },
                .act = [server, act] { act(**server); }};
    }
    Subscription subscribe(const From& from = From::latest()) {
        return server_.subscribe("crash", SubscribeOptions{.from = from}).value();
    }
    void publish(std::uint64_t number, std::size_t bytes = kSmall) {
        EXPECT_TRUE(topic_.publish(numbered(number, bytes), std::chrono::seconds(10))) << number;
    }
    // The topic goes on as if nothing had been; nothing is held by anybody.
    void expect_whole() {
        EXPECT_EQ(server_.processes().value().size(), 1U);
        Subscription subscription = subscribe();
        Seen seen;
        for (std::uint64_t number = 1001; number <= 1012; ++number) {
            publish(number, number % 2 == 0 ? kSmall : kLarge);
            seen.drain(subscription);
        }
        EXPECT_EQ(seen.numbers.size(), 12U);
        EXPECT_EQ(seen.lost, 0U);
        EXPECT_EQ(seen.problem, "");
        subscription = {};
        EXPECT_EQ(topic_.status().value().subscribers, 0U);
        expect_nothing_held();
    }
    void expect_nothing_held() {
        // What is retired and read by nobody goes with the next pass over all chunks.
        detail::QueueCore::of(queue_).attachment().directory().free_retired();
        EXPECT_EQ(audit(server_, settle(queue_), topic_.status().value().depth), "");
        // `verify` complains of those of the dead; our own publisher keeps some.
        EXPECT_LE(server_.verify().value().chunks_retired, kKeptMax);
    }
    static constexpr std::uint64_t kKeptMax = 2ULL * shm::RetiredList::kMax;

    ScratchDomain domain_;
    Server server_;
    TopicOptions options_;
    Topic topic_;
    Queue queue_;
};

}  // namespace telpher::crash

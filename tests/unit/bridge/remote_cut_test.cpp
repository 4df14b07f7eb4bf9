// Cut connections: a client behind a relay that cuts, and bridges that are not there or are none.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tests/unit/bridge/cutting_relay.hpp"
#include "tests/unit/bridge/loopback.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;

constexpr auto kSoon = 20s;  // longer than anything here takes

class RemoteCut : public testing::Test {
  protected:
    void SetUp() override {
        DomainLimits limits = test::small_limits();
        limits.message_bytes = 1U << 20U;
        limits.pool_bytes = 16U << 20U;
        limits.segment_bytes = 64U << 20U;
        server = domain.open({.limits = limits});
        start_bridge("127.0.0.1:0", 30s);
        relay.emplace(bridge.port());
        client = connect(relay->uri()).value();
    }
    void TearDown() override {
        client.close();
        relay.reset();
        bridge.stop();
    }
    void start_bridge(const std::string& listen, Duration grace) {
        BridgeOptions options;
        options.threads = 3;
        options.listen = listen;
        options.grace = grace;
        bridge = Bridge::start(connect(domain.uri()).value(), options).value();
    }

    test::ScratchDomain domain;
    Server server;
    Bridge bridge;
    std::optional<test::CuttingRelay> relay;
    Client client;
};

TEST_F(RemoteCut, a_poll_that_waits_survives) {
    Queue local = server.create_queue("jobs").value();
    Queue queue = client.queue("jobs").value();
    auto pending = queue.poll_async(kSoon);
    EXPECT_FALSE(pending.wait(20ms));
    relay->cut();
    std::this_thread::sleep_for(20ms);
    ASSERT_TRUE(local.offer(Message::text("t", "one")));
    const auto delivery = pending.get(kSoon);
    ASSERT_TRUE(delivery) << to_string(delivery.error());
    EXPECT_EQ(delivery->text(), "one");
    EXPECT_GE(relay->connections(), 2U);
}

// Goal: whatever byte a connection is cut at, no offer is lost and none is accepted twice.
TEST_F(RemoteCut, offers_are_accepted_once) {
    constexpr int kOffers = 400;
    Queue local = server.create_queue("jobs", {.capacity = 1000}).value();
    Queue queue = client.queue("jobs").value();
    relay->cut_after(3000);
    relay->cut();
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < kOffers; ++i) {
        offers.push_back(queue.offer_async(Message::text("t", std::to_string(i)), kSoon));
    }
    std::set<std::uint64_t> numbers;
    for (auto& offer : offers) {
        const auto number = offer.get(kSoon);
        ASSERT_TRUE(number) << to_string(number.error());
        numbers.insert(*number);
    }
    EXPECT_EQ(numbers.size(), static_cast<std::size_t>(kOffers));
    for (int i = 0; i < kOffers; ++i) {
        EXPECT_EQ(local.poll(kSoon).value().text(), std::to_string(i));
    }
    EXPECT_EQ(local.poll().status(), Status::queue_empty);
    EXPECT_GE(relay->connections(), 5U);
}

// Goal: the same for polls; CONFIRM is lost in some cuts, and sent again.
TEST_F(RemoteCut, messages_are_polled_once) {
    constexpr int kMessages = 300;
    Queue local = server.create_queue("jobs", {.capacity = 1000}).value();
    Queue queue = client.queue("jobs").value();
    for (int i = 0; i < kMessages; ++i) {
        ASSERT_TRUE(local.offer(Message::text("t", std::to_string(i))));
    }
    relay->cut_after(2500);
    relay->cut();
    for (int i = 0; i < kMessages; ++i) {
        const auto delivery = queue.poll(kSoon);
        ASSERT_TRUE(delivery) << i << ": " << to_string(delivery.error());
        ASSERT_EQ(delivery->text(), std::to_string(i));
    }
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
    relay->cut_after(0);
    client.close();
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(local.poll().status(), Status::queue_empty);
    EXPECT_GE(relay->connections(), 5U);
}

TEST_F(RemoteCut, large_messages_begin_again) {
    Queue local = server.create_queue("jobs").value();
    Queue queue = client.queue("jobs").value();
    const std::string text(700'000, 'x');
    relay->cut_after(300'000);
    auto offer = queue.offer_async(Message::text("t", text), kSoon);
    EXPECT_FALSE(offer.wait(200ms));
    relay->cut_after(0);
    const auto offered = offer.get(kSoon);
    ASSERT_TRUE(offered) << to_string(offered.error()) << relay->connections();
    relay->cut_after(300'000);
    auto poll = queue.poll_async(kSoon);
    EXPECT_FALSE(poll.wait(200ms));
    relay->cut_after(0);
    EXPECT_EQ(poll.get(kSoon).value().text(), text);
    EXPECT_EQ(local.poll().status(), Status::queue_empty);
}

TEST_F(RemoteCut, operations_wait_for_the_connection_as_long_as_they_may) {
    static_cast<void>(server.create_queue("jobs").value());
    Queue queue = client.queue("jobs").value();
    relay->block(true);
    relay->cut();
    std::this_thread::sleep_for(50ms);
    const auto refused = queue.offer(Message::text("t", "x"), 50ms);
    EXPECT_EQ(refused.status(), Status::disconnected) << to_string(refused.error());
    auto waits = queue.offer_async(Message::text("t", "y"), kSoon);
    auto taken_back = queue.offer_async(Message::text("t", "z"), kSoon);
    EXPECT_TRUE(taken_back.cancel());
    relay->block(false);
    EXPECT_EQ(waits.get(kSoon).value(), 1U);
    EXPECT_EQ(queue.poll(kSoon).value().text(), "y");
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
}

TEST_F(RemoteCut, a_new_bridge_gets_channels_and_subscriptions_again) {
    Queue local = server.create_queue("jobs").value();
    Queue queue = client.queue("jobs").value();
    auto waiting = queue.poll_async(kSoon);
    static_cast<void>(server.create_topic("news", {.history = 100}).value());
    auto subscription = client.subscribe("news").value();
    ASSERT_TRUE(server.publish(Message::text("news", "1")));
    EXPECT_EQ(subscription.next(kSoon).value().text(), "1");

    const std::string listen = "127.0.0.1:" + std::to_string(bridge.port());
    relay->block(true);
    bridge.stop();
    EXPECT_FALSE(waiting.wait(50ms));  // it took no message: it goes on
    ASSERT_TRUE(server.publish(Message::text("news", "2")));
    start_bridge(listen, 30s);
    relay->block(false);
    const auto sample = subscription.next(kSoon);
    ASSERT_TRUE(sample) << to_string(sample.error());
    EXPECT_EQ(sample->text(), "2");
    EXPECT_EQ(sample->sequence(), 2U);
    ASSERT_TRUE(queue.offer(Message::text("t", "x"), kSoon));
    EXPECT_EQ(waiting.get(kSoon).value().text(), "x");
    ASSERT_TRUE(queue.offer(Message::text("t", "y"), kSoon));
    EXPECT_EQ(local.poll(kSoon).value().text(), "y");
}

TEST_F(RemoteCut, a_subscription_goes_on_after_a_resume) {
    auto subscription = client.subscribe("news").value();
    std::uint64_t seen = 0;
    for (int round = 0; round < 5; ++round) {
        for (int i = 0; i < 200; ++i) {
            ASSERT_TRUE(server.publish(Message::text("news", "x")));
        }
        relay->cut();
        while (seen < static_cast<std::uint64_t>(round + 1) * 200) {
            auto sample = subscription.next(1s);
            if (!sample) {  // the last ones were lost in the cut: the next tells
                ASSERT_EQ(sample.status(), Status::timed_out) << to_string(sample.error());
                ASSERT_TRUE(server.publish(Message::text("news", "x")));
                sample = subscription.next(kSoon);
                ASSERT_TRUE(sample) << to_string(sample.error());
            }
            if (seen > 0) {  // before the first one, no number tells what a cut took
                EXPECT_EQ(seen + sample->lost_before() + 1, sample->sequence());
            }
            seen = sample->sequence();
        }
    }
}

TEST_F(RemoteCut, a_forked_child_is_told) {
    static_cast<void>(server.create_queue("jobs").value());
    Queue queue = client.queue("jobs").value();
    auto pending = queue.poll_async(kSoon);
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        const bool told = queue.poll().status() == Status::forked &&
                          queue.offer(Message::text("t", "x")).status() == Status::forked &&
                          client.queue("jobs").status() == Status::forked &&
                          pending.get({}).status() == Status::forked && !client.running();
        queue = Queue();
        client.close();
        _exit(told ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(queue.offer(Message::text("t", "x"), kSoon));
    EXPECT_EQ(pending.get(kSoon).value().text(), "x");
}

// ---- no bridge ---------------------------------------------------------------------------------

TEST(RemoteConnect, tells_what_is_wrong_with_an_address) {
    for (const char* uri : {"tcp:",
                            "tcp://",
                            "tcp://host",
                            "tcp://host:",
                            "tcp://:1",
                            "tcp://h:0",
                            "tcp://h:65536",
                            "tcp://h:x",
                            "tcp://::1:80",
                            "unix:",
                            "unix:x"}) {
        const auto client = connect(uri);
        EXPECT_EQ(client.status(), Status::bad_request) << uri;
        EXPECT_FALSE(client.error().detail.empty()) << uri;
    }
    EXPECT_EQ(connect("unix:/" + std::string(200, 'x')).status(), Status::bad_request);
}

TEST(RemoteConnect, nobody_listens) {
    const auto none = connect("unix:/tmp/telpher-nobody-listens");
    EXPECT_EQ(none.status(), Status::disconnected) << to_string(none.error());
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(connect("unix:/tmp/telpher-nobody-listens", {.wait = 100ms}).status(),
              Status::disconnected);
    EXPECT_GE(std::chrono::steady_clock::now() - began, 100ms);
}

TEST(RemoteConnect, garbage_instead_of_welcome) {
    const test::LoopbackListener listener;
    std::thread speaker([&listener] {
        const int peer = listener.accept();
        const std::string garbage = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        EXPECT_GT(send(peer, garbage.data(), garbage.size(), MSG_NOSIGNAL), 0);
        char byte = 0;
        while (recv(peer, &byte, 1, 0) > 0) {
        }
        close(peer);
    });
    const auto client = connect("tcp://127.0.0.1:" + std::to_string(listener.port()));
    EXPECT_EQ(client.status(), Status::disconnected) << to_string(client.error());
    EXPECT_NE(client.error().detail.find("broke the protocol"), std::string::npos);
    speaker.join();
}

}  // namespace
}  // namespace telpher

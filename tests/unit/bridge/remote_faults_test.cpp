// A remote client whose polls end at any moment, and one whose encrypted records somebody tampers with.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tcp_bridge/identity.hpp"
#include "tests/unit/bridge/cutting_relay.hpp"
#include "tests/unit/bridge/record_relay.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kFaultPatience = 20s;

class RemoteFaults : public testing::Test {
  protected:
    ~RemoteFaults() override { std::filesystem::remove_all(folder_); }

    void serve(BridgeOptions options) {
        options.listen = "127.0.0.1:0";
        options.threads = 3;
        bridge_ = Bridge::start(connect(domain_.uri()).value(), std::move(options)).value();
    }
    void serve_encrypted() {
        static_cast<void>(bridge::make_identity((folder_ / "bridge").string(), "bridge").value());
        serve({.encryption = Encryption::required,
               .tls = {.config_dir = (folder_ / "bridge").string()},
               .heartbeat = 200ms,  // a record that is held back is missed when the next one comes
               .grace = kFaultPatience});
    }
    // Nobody is there yet, or somebody who spoils the first handshake.
    Result<Client> client(const std::string& uri) {
        return connect(uri,
                       {.wait = kFaultPatience,
                        .encrypt = true,
                        .tls = Tls{.config_dir = (folder_ / "client").string()}});
    }

    const std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / ("telpher-faults-" + std::to_string(::getpid()));
    ScratchDomain domain_;
    Server server_ = domain_.open(
        {.limits = DomainLimits{
             .message_bytes = 2U << 20U, .pool_bytes = 16U << 20U, .segment_bytes = 64U << 20U}});
    Bridge bridge_;
};

// Goal: a poll that times out or is cancelled, at whatever moment and with its connection cut or not, takes no
//       message: all that was offered was polled, once, or is still there.
TEST_F(RemoteFaults, polls_that_end_at_any_moment_take_nothing) {
    serve({.grace = kFaultPatience});
    CuttingRelay relay(bridge_.port());
    Client remote = connect(relay.uri()).value();
    Queue local = server_.create_queue("jobs", {.capacity = 1000}).value();
    Queue behind = server_.create_queue("behind").value();
    Queue queue = remote.queue("jobs").value();
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const int rounds = std::getenv("TELPHER_SOAK") != nullptr ? 100'000 : 3000;
    relay.cut_after(20'000);
    relay.cut();
    std::atomic<bool> over{false};
    int offered = 0;
    std::thread producer([&] {
        std::minstd_rand pause(seed);
        while (!over) {
            // Full: the polls are slower for once.
            offered += local.offer(Message::text("t", std::to_string(offered))) ? 1 : 0;
            std::this_thread::sleep_for(std::chrono::microseconds(pause() % 700));
        }
    });
    std::multiset<int> polled;
    int ended = 0;
    for (int round = 0; round < rounds; ++round) {
        auto poll = queue.poll_async(std::chrono::microseconds(random() % 1500));
        if (random() % 2 == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
            poll.cancel();
        }
        const auto delivery = poll.get(kFaultPatience);
        if (delivery) {
            polled.insert(std::stoi(std::string(delivery->text())));
        } else {
            ++ended;
        }
    }
    over = true;
    producer.join();
    relay.cut_after(0);
    // Behind an answer every confirmation has come: a session's end would put back what it does not know of. Not of
    // the same queue, which is full where the polls were slower.
    // It waits, too: the last cut may not be mended yet.
    Queue last = remote.queue("behind", {.wait = kFaultPatience}).value();
    EXPECT_TRUE(last.offer(Message::text("t", "last"), kFaultPatience));
    remote.close();
    bridge_.stop();
    while (auto left = local.poll(100ms)) {
        polled.insert(std::stoi(std::string(left->text())));
    }
    EXPECT_EQ(static_cast<int>(polled.size()), offered);
    EXPECT_EQ(static_cast<int>(std::set<int>(polled.begin(), polled.end()).size()), offered);
    EXPECT_GT(ended, rounds / 20) << "of polls that ended without a message";
    EXPECT_LT(ended, rounds) << "of polls that took one";
    EXPECT_GT(relay.connections(), 3U);
}

// Goal: whatever is done to a record, in the handshake or later, in either direction: the connection ends, nothing
//       wrong is delivered, the session goes on behind it, and nothing is lost or doubled.
TEST_F(RemoteFaults, records_that_were_tampered_with_cost_a_connection_and_nothing_else) {
    serve_encrypted();
    Queue local = server_.create_queue("jobs", {.capacity = 1000}).value();
    RecordRelay relay(bridge_.port());
    relay.plan(Harm::none, false, 0);
    Client first = client(relay.uri()).value();  // from which records are kept
    first.close();
    int number = 0;
    // Of either handshake, and behind it. Records 0 and 1 are its first, which are known to nobody yet.
    std::vector<std::size_t> indexes{2, 3, 9, 40};
    if (std::getenv("TELPHER_SOAK") != nullptr) {
        indexes.resize(200);
        std::iota(indexes.begin(), indexes.end(), std::size_t{2});
    }
    for (const Harm harm : kHarms) {
        for (const bool to_bridge : {false, true}) {
            for (const std::size_t index : indexes) {
                SCOPED_TRACE(testing::Message()
                             << "harm " << static_cast<int>(harm) << " to_bridge " << to_bridge
                             << " record " << index);
                const std::uint64_t before = relay.connections();
                relay.plan(harm, to_bridge, index);
                Client remote = client(relay.uri()).value();
                Queue queue = remote.queue("jobs", {.wait = kFaultPatience}).value();
                for (int rounds = 0; rounds < 500 && (!relay.done() || rounds < 5); ++rounds) {
                    const std::string text = std::to_string(number++);
                    const auto sent = queue.offer(Message::text("t", text), kFaultPatience);
                    ASSERT_TRUE(sent) << to_string(sent.error());
                    const auto delivery = queue.poll(kFaultPatience);
                    ASSERT_TRUE(delivery) << to_string(delivery.error());
                    ASSERT_EQ(delivery->text(), text);
                }
                ASSERT_TRUE(relay.done());
                // The last record may have been the one: its connection is still to be missed.
                ASSERT_TRUE(queue.offer(Message::text("t", "last"), kFaultPatience));
                ASSERT_EQ(queue.poll(kFaultPatience).value().text(), "last");
                EXPECT_GE(relay.connections(), before + 2) << "the connection went on";
                remote.close();
                EXPECT_EQ(local.poll(50ms).status(), Status::timed_out);
            }
        }
    }
}

TEST_F(RemoteFaults, a_known_text_is_never_on_the_wire_while_it_is_encrypted) {
    serve_encrypted();
    static_cast<void>(server_.create_queue("secret-orders").value());
    RecordRelay relay(bridge_.port());
    relay.look_for("attack at dawn");
    Client remote = client(relay.uri()).value();
    Queue queue = remote.queue("secret-orders").value();
    std::string text;
    while (text.size() < 1U << 20U) {
        text += "attack at dawn ";
    }
    ASSERT_TRUE(queue.offer(Message::text("t", text), kFaultPatience));
    ASSERT_EQ(queue.poll(kFaultPatience).value().text(), text);
    EXPECT_GT(relay.bytes(), 2 * text.size());
    EXPECT_FALSE(relay.seen());
}

}  // namespace
}  // namespace telpher::test

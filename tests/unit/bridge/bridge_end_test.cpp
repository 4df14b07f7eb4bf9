// A bridge that is drained, stopped, reloaded and asked by many threads while it serves.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tcp_bridge/identity.hpp"
#include "tests/unit/bridge/tls_ends.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

// Goal: nothing races (run under TSan); what was answered was done, what was not begun is not there.
TEST(BridgeEnd, threads_may_reload_ask_drain_and_stop_while_clients_work) {
    ScratchFolder files;
    ASSERT_TRUE(bridge::make_identity(files.file("bridge"), "bridge"));
    ScratchDomain domain;
    Server server = domain.open({.limits = small_limits()});
    Queue local = server.create_queue("jobs", {.capacity = 100}).value();
    Bridge served = Bridge::start(connect(domain.uri()).value(),
                                  {.listen = "127.0.0.1:0",
                                   .encryption = Encryption::allowed,
                                   .tls = {.config_dir = files.file("bridge")}})
                        .value();
    const std::string uri = "tcp://127.0.0.1:" + std::to_string(served.port());
    std::atomic<bool> over{false};
    std::atomic<int> offered{0};
    std::atomic<int> polled{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&, i] {
            Client client =
                connect(uri, {.encrypt = i == 0, .tls = Tls{.config_dir = files.file("client")}})
                    .value();
            Queue queue = client.queue("jobs").value();
            while (!over) {
                // One that was cut off by the end may have been done, or not: the last of each.
                offered += queue.offer(Message::text("t", "x"), 300ms) ? 1 : 0;
                polled += queue.poll(300ms) ? 1 : 0;
            }
        });
    }
    std::thread asking([&] {
        while (!over) {
            EXPECT_LE(served.status().connections, 3U);
            if (served.running()) {
                const auto reloaded = served.reload();
                EXPECT_TRUE(reloaded || reloaded.status() == Status::closed);
            }
        }
    });
    std::this_thread::sleep_for(200ms);
    std::thread draining([&] { served.drain(2s); });
    std::this_thread::sleep_for(5ms);
    served.stop();
    EXPECT_FALSE(served.running());
    EXPECT_EQ(served.reload().status(), Status::closed);
    over = true;
    draining.join();
    asking.join();
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_GT(offered, 10);
    int left = 0;
    while (local.poll(50ms)) {
        ++left;
    }
    EXPECT_GE(left + polled + 2, offered);
    EXPECT_LE(left + polled, offered + 2);
}

}  // namespace
}  // namespace telpher::test

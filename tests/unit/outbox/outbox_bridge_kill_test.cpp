// Goal:   a client whose bridge is killed while its outbox delivers loses nothing and, with a queue that remembers
//         request ids, sends nothing twice.
// Method: two bridges of one domain, processes of their own behind the same socket: the first is killed while
//         messages are put, and the second is started after a while. Both are forked before this process has threads.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

namespace telpher::test {
namespace {

constexpr auto kPatience = 20s;

// Starts a bridge when it is told to, and lives until it is killed.
class BridgeProcess {
  public:
    BridgeProcess(const std::string& uri, const std::string& path) {
        EXPECT_EQ(::pipe2(go_.data(), O_CLOEXEC), 0);
        pid_ = test::quiet_fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            char said = 0;
            if (::read(go_[0], &said, 1) != 1) {
                _exit(1);
            }
            BridgeOptions options;
            options.unix_path = path;
            auto client = connect(uri, {.wait = kPatience});
            auto bridge = client ? Bridge::start(*client, options) : Result<Bridge>(client.error());
            while (bridge) {
                ::pause();
            }
            _exit(2);
        }
    }
    BridgeProcess(const BridgeProcess&) = delete;
    BridgeProcess& operator=(const BridgeProcess&) = delete;
    ~BridgeProcess() {
        kill();
        ::close(go_[0]);
        ::close(go_[1]);
    }
    void start() const { EXPECT_EQ(::write(go_[1], "x", 1), 1); }
    void kill() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            pid_ = 0;
        }
    }

  private:
    std::array<int, 2> go_{-1, -1};
    pid_t pid_ = 0;
};

TEST(OutboxBridge, killed_and_started_again_costs_nothing) {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "ThreadSanitizer does not let a forked child start threads; runs in the "
                    "other builds";
#else
    constexpr std::uint64_t kMessages = 400;
    ScratchFolder folder;
    ScratchDomain domain;
    const std::string path = folder.file("bridge.sock");
    BridgeProcess first(domain.uri(), path);
    BridgeProcess second(domain.uri(), path);
    DomainLimits limits = small_limits();
    limits.idempotency_entries = 4096;
    Server server = domain.open({.limits = limits});
    Queue queue = server
                      .create_queue("orders",
                                    {.capacity = 1000,
                                     .idempotency = Idempotency{.entries_max = 2 * kMessages}})
                      .value();
    Client client = connect("unix:" + path, {.wait = 0s, .outbox = folder.file("outbox")}).value();
    Outbox outbox = client.outbox();
    const auto put = [&](std::uint64_t number) {
        const auto done = outbox.offer("orders", Message::text("order", std::to_string(number)));
        EXPECT_TRUE(done) << to_string(done.error());
    };
    EXPECT_FALSE(client.running()) << "there is no bridge yet";
    put(0);
    EXPECT_EQ(outbox.flush(50ms).status(), Status::timed_out);
    first.start();
    EXPECT_TRUE(outbox.flush(kPatience));
    for (std::uint64_t i = 1; i < kMessages; ++i) {
        put(i);
        if (i == kMessages / 2) {
            first.kill();
        }
        if (i == kMessages * 3 / 4) {
            EXPECT_NE(outbox.status()->pending, 0U);
            second.start();
        }
    }
    const auto flushed = outbox.flush(kPatience);
    EXPECT_TRUE(flushed) << to_string(flushed.error());
    for (std::uint64_t i = 0; i < kMessages; ++i) {
        const auto polled = queue.poll();
        ASSERT_TRUE(polled) << i;
        EXPECT_EQ(polled->text(), std::to_string(i));
    }
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
    client.close();
#endif
}

}  // namespace
}  // namespace telpher::test

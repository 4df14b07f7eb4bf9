// Goal:   a process killed after any instruction of an offer or a poll that has to wake a sleeper leaves
//         nobody asleep beside available work.
// Method: as kill_every_instruction_test.cpp; the sleeper is a third process. After each kill it must have
//         its message (or its room) long before the one second that bounds every sleep anyway.

#include "tests/crash/tracer.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBytes = 48;
constexpr std::uint64_t kPatienceNs = 500'000'000;

ServerOptions eco() {
    ServerOptions options = small_options();
    options.wait_strategy = WaitStrategy::eco;  // sleeps at once
    return options;
}

// What the sleeper has done so far.
struct Log {
    std::atomic<std::uint64_t> done{0};
    std::atomic<bool> torn{false};
};

class KillEveryWake : public ::testing::Test {
  protected:
    KillEveryWake()
        : watchdog_(120),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(Server::open(domain_.name(), eco()).value()) {}

    void open(std::uint32_t capacity) {
        queue_ = server_.create_queue("queue", {.capacity = capacity}).value();
        other_ = server_.create_queue("other", {.capacity = 8}).value();
        owned_ = settle(queue_);
    }

    // A process that does `work` on the queue for ever, counting.
    void start_sleeper(const std::function<bool(Queue&, Log&)>& work) {
        sleeper_ = Child([&] {
            auto server = Server::open(domain_.name(), eco());
            auto queue = server->queue("queue");
            while (work(*queue, *log_)) {
                log_->done.fetch_add(1);
            }
            return 1;
        });
    }

    // Until the sleeper has done `count` things; the time it took, or none in time.
    std::optional<std::uint64_t> wait_for(std::uint64_t count) const {
        const std::uint64_t started = now_ns();
        while (log_->done.load() < count) {
            if (now_ns() - started > kPatienceNs) {
                return std::nullopt;
            }
            usleep(50);
        }
        return now_ns() - started;
    }

    // Until the sleeper sleeps in a system call and holds no memory but `offered` and `held` chunks.
    std::string rest(std::uint64_t offered, std::uint64_t held) {
        std::string problem;
        for (int i = 0; i < 4000; ++i) {
            std::ifstream file("/proc/" + std::to_string(sleeper_.pid()) + "/stat");
            std::string pid;
            std::string name;
            std::string state;
            file >> pid >> name >> state;
            if (state == "S" && (i % 16 == 15 || problem.empty())) {
                settle(queue_);
                problem = audit(server_, owned_ + held, offered);
                if (problem.empty()) {
                    return {};
                }
            }
            usleep(100);
        }
        return problem + "the sleeper does not rest";
    }

    TracedRole victim(const std::function<void(Queue&)>& act) {
        auto queue = std::make_shared<Queue>();
        const auto prepare = [this, queue] {
            auto* server = new Server(Server::open(domain_.name(), eco()).value());
            *queue = server->queue("queue").value();
            Queue other = server->queue("other").value();
            static_cast<void>(other.offer(numbered(0, kBytes)));
            other.poll().value().release();
            return true;
        };
        return {prepare, [queue, act] { act(*queue); }};
    }

    // Kills the victim after each of its instructions; `before` and `after` run around each.
    void kill_everywhere(const char* name,
                         const std::function<void(Queue&)>& act,
                         const std::function<void()>& before,
                         const std::function<void(std::uint32_t)>& after) {
        Tracer tracer(victim(act));
        ASSERT_NO_FATAL_FAILURE(before());
        ASSERT_TRUE(tracer.start());
        const std::uint32_t instructions = tracer.record();
        ASSERT_NE(instructions, 0U);
        tracer.kill();
        ASSERT_NO_FATAL_FAILURE(after(instructions));
        std::uint32_t missed = 0;
        for (std::uint32_t n = 0; n < instructions; ++n) {
            ASSERT_NO_FATAL_FAILURE(before());
            ASSERT_TRUE(tracer.start());
            Tracer::Stop stop = soak() ? tracer.step(n) : tracer.jump(n);
            if (stop == Tracer::Stop::finished) {
                ++missed;  // another way, or nobody to wake this time: killed after it had returned
            }
            ASSERT_NE(stop, Tracer::Stop::lost);
            tracer.kill();
            ASSERT_NO_FATAL_FAILURE(after(n));
        }
        std::printf("  %s: %u kill points (%u of them after its return), the sleeper went on at most "
                    "%.2f ms after a kill\n",
                    name,
                    instructions,
                    missed,
                    static_cast<double>(slowest_) / 1e6);
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    Queue other_;
    Shared<Log> log_;
    Child sleeper_;
    std::uint64_t owned_ = 0;
    std::uint64_t slowest_ = 0;
};

TEST_F(KillEveryWake, of_an_offer_leaves_no_consumer_asleep_beside_a_message) {
    open(4);
    start_sleeper([](Queue& queue, Log& log) {
        auto delivery = queue.poll(1h);
        log.torn.store(log.torn.load() || (delivery && number_of(*delivery) != 7));
        return delivery.has_value();
    });
    const auto before = [&] { ASSERT_EQ(rest(0, 0), ""); };
    const auto after = [&](std::uint32_t n) {
        const auto status = queue_.status();
        ASSERT_TRUE(status);
        const auto took = wait_for(status->offered);
        ASSERT_TRUE(took) << "killed after instruction " << n << ": the consumer sleeps on, "
                          << log_->done.load() << " of " << status->offered;
        slowest_ = std::max(slowest_, *took);
    };
    const Message message = numbered(7, kBytes);
    kill_everywhere(
        "offer", [&](Queue& q) { static_cast<void>(q.offer(message)); }, before, after);
    EXPECT_FALSE(log_->torn.load());
}

TEST_F(KillEveryWake, of_a_poll_leaves_no_producer_asleep_beside_room) {
    open(1);
    start_sleeper([](Queue& queue, Log&) { return queue.offer(numbered(7, kBytes), 1h).has_value(); });
    // One message lies in the queue, the next one lies ready in the sleeping producer's hands.
    const auto before = [&] {
        ASSERT_TRUE(wait_for(log_->done.load() == 0 ? 1 : 0));
        ASSERT_EQ(rest(1, 1), "");
    };
    const auto after = [&](std::uint32_t n) {
        const auto status = queue_.status();
        ASSERT_TRUE(status);
        const auto took = wait_for(status->polled + 1);
        ASSERT_TRUE(took) << "killed after instruction " << n << ": the producer sleeps on, "
                          << log_->done.load() << " sent, " << status->polled << " polled";
        slowest_ = std::max(slowest_, *took);
    };
    kill_everywhere(
        "poll", [&](Queue& q) { static_cast<void>(q.poll()); }, before, after);
}

}  // namespace
}  // namespace telpher::crash

// Goal:   servers and callers killed at random moments: every call of the survivors ends, soon, with the
//         right response or with peer_died (once begun, never begun twice), and with the right response
//         always where the function is idempotent; nothing is left over.
// Method: one server and two callers live through it all; each round a server and a caller are born, and
//         killed: every other time within milliseconds, else soon after the server has begun a call, which on
//         a busy machine it hardly ever has by then. The books lie in memory that survives.
//         TELPHER_SOAK=1: 5,000 kills.

#include "tests/crash/harness.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kCallers = 2;  // that survive
constexpr std::uint32_t kNumbers = 1U << 21U;
constexpr std::uint32_t kVictimLifeUs = 6000;
constexpr std::uint32_t kVictimWorkUs = 100;          // for each call
constexpr auto kVictimBeginsWithin = 100ms;           // its first call, usually
constexpr std::uint64_t kPatienceNs = 2'000'000'000;  // beyond the bound of a sleep: 1 s

struct Books {
    std::atomic<bool> end{false};     // of the callers
    std::atomic<bool> closed{false};  // of the servers, when no caller calls any more
    std::atomic<std::uint64_t> ok{0};
    std::atomic<std::uint64_t> died{0};
    std::atomic<std::uint64_t> longest_ns{0};
    std::atomic<std::uint64_t> begun_by_victims{0};
    std::atomic<std::uint32_t> wrong{0};
    std::atomic<Status> wrong_status{Status::ok};
    // How often the request of each number was begun, by caller and function.
    std::array<std::array<std::atomic<std::uint8_t>, kNumbers>, 2 * kCallers> begun;
};

class CallKills : public ::testing::Test {
  protected:
    CallKills()
        : watchdog_(250),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          keeper_(domain_.open()),
          random_(seed()) {}

    // The survivor is slow, so that the victims have work.
    int serve(unsigned work_us) {
        Server server = domain_.open();
        const auto handle = [this, work_us](const Message& request) -> Result<Message> {
            const std::string text(request.text());
            const std::size_t row = static_cast<std::size_t>(text[0] - '0');
            if (row < 2 * kCallers) {
                (*books_).begun[row][std::stoul(text.substr(1))].fetch_add(1);
            }
            if (work_us == kVictimWorkUs) {
                books_->begun_by_victims.fetch_add(1);
            }
            usleep(work_us);
            // Every fourth response does not fit.
            return text.back() % 4 == 1 ? Message::text("r", text + std::string(2000, 'x'))
                                        : Message::text("r", text);
        };
        const Function once = server.serve("once", handle, {.inflight_max = 64}).value();
        const Function again =
            server.serve("again", handle, {.inflight_max = 64, .idempotent = true}).value();
        while (!books_->closed.load()) {
            std::this_thread::sleep_for(1ms);
        }
        return 0;
    }
    // `caller` beyond the survivors: a victim, whose calls are in no books.
    int call(std::uint32_t caller) {
        Server server = domain_.open();
        const bool counts = caller < kCallers;
        for (std::uint32_t number = 0; number < kNumbers && !books_->end.load(); ++number) {
            const bool idempotent = number % 2 == 0;
            const std::uint32_t row = counts ? caller + (idempotent ? kCallers : 0) : 9;
            const std::string text = std::to_string(row) + std::to_string(number);
            const std::uint64_t started = now_ns();
            const auto reply = server.send(idempotent ? "again" : "once",
                                           Message::text("q", text),
                                           10s,
                                           {.wait_for_server = 5s});
            if (!counts) {
                continue;
            }
            const std::uint64_t took = now_ns() - started;
            std::uint64_t longest = books_->longest_ns.load();
            while (took > longest && !books_->longest_ns.compare_exchange_weak(longest, took)) {
            }
            check(reply, text, row, number, idempotent);
        }
        return 0;
    }
    void check(const Result<Message>& reply,
               const std::string& text,
               std::uint32_t row,
               std::uint32_t number,
               bool idempotent) {
        const std::uint8_t begun = (*books_).begun[row][number].load();
        bool right = false;
        if (reply) {
            right = reply->text().substr(0, text.size()) == text && begun >= 1 &&
                    (idempotent || begun == 1);
            books_->ok.fetch_add(1);
        } else {
            // Killed between its claim and the beginning: 0.
            right = !idempotent && reply.status() == Status::peer_died && begun <= 1;
            books_->died.fetch_add(1);
        }
        if (!right) {
            books_->wrong.fetch_add(1);
            books_->wrong_status.store(reply.status());
        }
    }

    // Until a victim begins a call, or a little longer.
    void await_a_call_begun(std::uint64_t begun_before) {
        const auto until = std::chrono::steady_clock::now() + kVictimBeginsWithin;
        while (books_->begun_by_victims.load() == begun_before &&
               std::chrono::steady_clock::now() < until) {
            usleep(50);
        }
        usleep(random_.below(2 * kVictimWorkUs));
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server keeper_;
    Random random_;
    Shared<Books> books_;
};

TEST_F(CallKills, of_servers_and_callers_hang_nobody_and_leave_nothing) {
    Child survivor([this] { return serve(400); });
    std::array<Child, kCallers> callers;
    for (std::uint32_t i = 0; i < kCallers; ++i) {
        callers[i] = Child([this, i] { return call(i); });
    }
    while (books_->ok.load() < 10) {
        usleep(1000);
    }
    const std::uint32_t rounds = scaled(200, 2500);
    std::uint32_t round = 0;
    const auto enough = [&] { return round >= rounds && books_->died.load() > rounds / 50; };
    for (; !enough() && round < 4 * rounds && books_->wrong.load() == 0; ++round) {
        const std::uint64_t begun = books_->begun_by_victims.load();
        Child server([this] { return serve(kVictimWorkUs); });
        Child caller([this] { return call(kCallers); });
        if (round % 2 == 0) {
            usleep(random_.below(kVictimLifeUs));
        } else {
            await_a_call_begun(begun);
        }
        server.kill();
        usleep(random_.below(500));
        caller.kill();
    }
    const std::uint64_t ok = books_->ok.load();
    books_->end.store(true);
    for (Child& caller : callers) {
        EXPECT_EQ(caller.wait_for_end(12s), 0);
    }
    books_->closed.store(true);
    EXPECT_EQ(survivor.wait_for_end(12s), 0);
    EXPECT_EQ(books_->wrong.load(), 0U) << to_string(books_->wrong_status.load());
    EXPECT_LT(books_->longest_ns.load(), kPatienceNs);
    EXPECT_GT(books_->died.load(), rounds / 50) << "servers were killed while they ran a call";
    std::printf("  %u kills, %llu calls ok, %llu peer_died, longest %.1f ms\n",
                2 * round,
                static_cast<unsigned long long>(ok),
                static_cast<unsigned long long>(books_->died.load()),
                static_cast<double>(books_->longest_ns.load()) / 1e6);
    static_cast<void>(keeper_.processes());
    const VerifyReport report = keeper_.verify().value();
    EXPECT_TRUE(report.problems.empty()) << report.problems.front();
    EXPECT_EQ(report.chunks_free, report.chunks);
    EXPECT_EQ(report.processes, 1U);
    EXPECT_EQ(keeper_.function_status("once").status(), Status::function_not_found);
}

}  // namespace
}  // namespace telpher::crash

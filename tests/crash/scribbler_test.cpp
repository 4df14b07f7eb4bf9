// Goal:   nonsense in a segment is an error, never a crash or a hang. Processes go on working in a
//         domain while somebody writes random words and bytes all over it, and at each of its
//         tables: no signal, no call beyond a second, and the damage is told.
// Method: fresh small domains, a few thousand writes each; two processes that make every call of
//         the API with short timeouts while the parent writes; and one that writes itself between
//         its calls, which a seed repeats exactly. TELPHER_SOAK=1: a million writes.
// Not:    a file that is cut under its mapping (SIGBUS) is outside the trust model (SECURITY.md).

#include "tests/crash/scribbler.hpp"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kWritesPerDomain = 2000;
constexpr std::uint64_t kLongestCallNs = 1'000'000'000;
constexpr std::uint32_t kUsers = 2;

class Scribbler : public ::testing::Test {
  protected:
    Scribbler() : watchdog_(120) {}

    struct Logs {
        std::atomic<bool> stop;
        UserLog user[kUsers];
    };

    // A new domain with something in it.
    static void make(ScratchDomain& domain) {
        domain.limits().segment_bytes = 24U << 20U;
        domain.limits().message_bytes = 1U << 20U;
        Server server = domain.open();
        Queue bounded = server.create_queue("q0", {.capacity = 16}).value();
        Queue circular =
            server.create_queue("q1", {.capacity = 16, .kind = QueueKind::circular}).value();
        for (std::uint64_t i = 0; i < 8; ++i) {
            static_cast<void>(bounded.offer(numbered(i, 40)).value());
            static_cast<void>(circular.offer(numbered(i, 40)).value());
        }
    }

    // After a domain: adds up what its users did. Fails if a call was too long.
    void add_up(std::uint32_t round, Aim aim, const UserLog& log) {
        calls_ += log.calls.load();
        for (std::size_t i = 0; i < UserLog::kCalls; ++i) {
            const std::uint64_t slowest = log.slowest_ns[i].load();
            EXPECT_LT(slowest, kLongestCallNs)
                << "domain " << round << ", writes at " << name_of(aim) << ": "
                << name_of(static_cast<Call>(i));
            if (slowest > slowest_ns_) {
                slowest_ns_ = slowest;
                slowest_at_ = std::string(name_of(static_cast<Call>(i))) + ", domain " +
                              std::to_string(round) + ", writes at " + name_of(aim);
            }
        }
        for (std::size_t i = 0; i < log.outcomes.size(); ++i) {
            outcomes_[i] += log.outcomes[i].load();
        }
    }

    // Domains in which damage was told, by aim.
    void count_domain(Aim aim, bool told) {
        ++domains_[static_cast<std::size_t>(aim)];
        told_[static_cast<std::size_t>(aim)] += told ? 1U : 0U;
    }

    void print(std::uint64_t writes) const {
        std::printf("  %llu writes, %llu calls, the longest %.1f ms (%s)\n  outcomes:",
                    static_cast<unsigned long long>(writes),
                    static_cast<unsigned long long>(calls_),
                    static_cast<double>(slowest_ns_) / 1e6,
                    slowest_at_.c_str());
        for (std::size_t i = 0; i < outcomes_.size(); ++i) {
            if (outcomes_[i] != 0) {
                std::printf(" %s %llu",
                            std::string(to_string(static_cast<Status>(i))).c_str(),
                            static_cast<unsigned long long>(outcomes_[i]));
            }
        }
        std::printf("\n  damage told in");
        for (std::size_t i = 0; i < domains_.size(); ++i) {
            std::printf(" %s %u of %u", name_of(static_cast<Aim>(i)), told_[i], domains_[i]);
        }
        std::printf("\n");
    }

    // Hints and waiters repair themselves, and payloads are nobody's business but their readers':
    // what must be told is damage of the words that say who owns what.
    void expect_told() const {
        for (const Aim aim : {Aim::chunks, Aim::rings, Aim::mixed}) {
            const auto i = static_cast<std::size_t>(aim);
            if (aim == Aim::mixed && domains_[i] < kMixedToJudge) {
                continue;  // its writes may all have hit what repairs itself
            }
            EXPECT_GE(told_[i] * 3, domains_[i]) << "damage at " << name_of(aim) << " goes unseen";
        }
    }

    static Aim aim_of(std::uint32_t round) {
        return static_cast<Aim>(round % static_cast<std::uint32_t>(Aim::count));
    }

    static constexpr std::uint32_t kMixedToJudge = 5;
    Watchdog watchdog_;
    std::uint64_t calls_ = 0;
    std::uint64_t slowest_ns_ = 0;
    std::string slowest_at_;
    std::array<std::uint64_t, 256> outcomes_{};
    std::array<std::uint32_t, static_cast<std::size_t>(Aim::count)> domains_{};
    std::array<std::uint32_t, static_cast<std::size_t>(Aim::count)> told_{};
};

// Waits for the end of `user`; a call that lasts too long, or a signal, is a failure.
void expect_end(Child& user, const UserLog& log, const std::string& where) {
    int status = -1;
    while (status == -1) {
        status = user.wait_for_end(100ms);
        const std::uint64_t since = log.since_ns.load();
        if (status == -1 && since != 0 && now_ns() > since + 5 * kLongestCallNs) {
            break;
        }
    }
    EXPECT_EQ(status, 0) << where << name_of(log.call.load()) << ": " << describe_end(status);
}

TEST_F(Scribbler, beside_working_processes_crashes_and_stops_nobody) {
    const std::uint32_t domains = scaled(60, 300);
    std::uint64_t writes = 0;
    for (std::uint32_t round = 0; round < domains && !HasFailure(); ++round) {
        const Aim aim = aim_of(round);
        ScratchDomain domain("beside-" + std::to_string(round));
        make(domain);
        Shared<Logs> logs;
        Pen pen(domain.name(), seed() + round);
        Child users[kUsers];
        for (std::uint32_t i = 0; i < kUsers; ++i) {
            users[i] = Child([&, i] {
                User user(domain.name(), logs->user[i], seed() + 1000ULL * round + i);
                while (!logs->stop.load()) {
                    user.step();
                }
                user.end();
                return 0;
            });
        }
        for (std::uint32_t i = 0; i < kWritesPerDomain; ++i, ++writes) {
            pen.scribble(aim);
            if (i % 16 == 0) {
                usleep(50);  // calls come in between, also on a single processor
            }
            if (i == kWritesPerDomain / 2 && round % 3 == 0) {
                users[kUsers - 1].kill();  // the other one reaps it, in what is left of the domain
            }
        }
        logs->stop.store(true);
        const std::string where =
            "domain " + std::to_string(round) + ", writes at " + name_of(aim) + ", in ";
        for (std::uint32_t i = 0; i < kUsers; ++i) {
            if (users[i]) {
                expect_end(users[i], logs->user[i], where);
            }
            add_up(round, aim, logs->user[i]);
        }
        count_domain(aim, logs->user[0].reports.load() + logs->user[1].reports.load() != 0);
    }
    print(writes);
    expect_told();
}

// The same seed does the same again: where the first test finds something, this one shows it.
TEST_F(Scribbler, between_the_calls_of_one_process_crashes_and_stops_nobody) {
    const std::uint32_t domains = scaled(40, 200);
    std::uint64_t writes = 0;
    for (std::uint32_t round = 0; round < domains && !HasFailure(); ++round) {
        const Aim aim = aim_of(round);
        ScratchDomain domain("between-" + std::to_string(round));
        make(domain);
        Shared<Logs> logs;
        UserLog& log = logs->user[0];
        Child child([&] {
            Pen pen(domain.name(), seed() + round);
            Random random(seed() + round);
            User user(domain.name(), log, seed() + round);
            for (std::uint32_t i = 0; i < kWritesPerDomain;) {
                for (std::uint32_t burst = 1 + random.below(4); burst != 0; --burst, ++i) {
                    pen.scribble(aim);
                }
                user.step();
            }
            user.end();
            return 0;
        });
        expect_end(child,
                   log,
                   "domain " + std::to_string(round) + ", writes at " + name_of(aim) + ", in ");
        add_up(round, aim, log);
        count_domain(aim, log.reports.load() != 0);
        writes += kWritesPerDomain;
    }
    print(writes);
    expect_told();
}

// A harness that notices nothing shows nothing.
TEST_F(Scribbler, a_crash_and_a_hang_would_be_noticed) {
    Shared<UserLog> log;
    Child crashing([] {
        std::signal(SIGSEGV, SIG_DFL);
        std::raise(SIGSEGV);
        return 0;
    });
    EXPECT_NONFATAL_FAILURE(expect_end(crashing, *log, ""), "ended by signal 11");
    log->since_ns.store(now_ns() - 10 * kLongestCallNs);
    Child hanging([] {
        pause();
        return 0;
    });
    EXPECT_NONFATAL_FAILURE(expect_end(hanging, *log, ""), "did not end");
    log->slowest_ns[static_cast<std::size_t>(Call::verify)].store(2 * kLongestCallNs);
    EXPECT_NONFATAL_FAILURE(add_up(0, Aim::mixed, *log), "verify");
    count_domain(Aim::rings, false);
    EXPECT_NONFATAL_FAILURE(expect_told(), "goes unseen");
}

}  // namespace
}  // namespace telpher::crash

// Goal:   settings of a domain: their ranges, who follows them and from when on, what damage does.

#include "shm/settings.hpp"

#include "src/client/domain_core.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/retry_clock.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using test::FakeClock;

Message order() { return Message::text("order", "2 espressos"); }

template <typename Handle>
std::string value_of(const Handle& handle, std::string_view name) {
    const auto settings = handle.settings().value();
    for (const DomainSetting& setting : settings) {
        if (setting.name == name) {
            return setting.value;
        }
    }
    ADD_FAILURE() << "no setting " << name;
    return {};
}

RetryPolicy plain(const std::shared_ptr<FakeClock>& clock) {
    return {.attempts_max = 4,
            .base = 100ms,
            .cap = 10s,
            .jitter = Jitter::none,
            .deadline = 24h,
            .budget = {},
            .breaker = {},
            .clock = clock};
}

class SettingsWays : public test::Ways {
  protected:
    void SetUp() override {
        test::Ways::SetUp();
        admin = Admin::of(client).value();
    }
    Admin admin;
};

TEST_P(SettingsWays, are_changed_shown_and_taken_back) {
    const std::map<std::string, std::string> some{{"retry.attempts_max", "7"},
                                                  {"retry.base_ms", "25"},
                                                  {"retry.cap_ms", "86400000"},
                                                  {"retry.factor", "1.5"},
                                                  {"retry.jitter", "equal"},
                                                  {"retry.budget", "0"},
                                                  {"call.timeout_ms", "2000"}};
    ASSERT_EQ(admin.settings()->size(), some.size());
    const auto settings = admin.settings().value();
    for (const DomainSetting& setting : settings) {
        EXPECT_TRUE(some.contains(setting.name)) << setting.name;
        EXPECT_EQ(setting.value, "");
        EXPECT_FALSE(setting.allowed.empty());
    }
    for (const auto& [name, value] : some) {
        ASSERT_TRUE(admin.set(name, value)) << name;
    }
    for (const auto& [name, value] : some) {
        EXPECT_EQ(value_of(admin, name), value);
        EXPECT_EQ(value_of(server, name), value) << "they are the domain's";
    }
    ASSERT_TRUE(admin.set("retry.factor", ""));
    EXPECT_EQ(value_of(admin, "retry.factor"), "");
    EXPECT_EQ(value_of(admin, "retry.jitter"), "equal");
    EXPECT_TRUE(admin.verify()->problems.empty());
}

TEST_P(SettingsWays, of_no_sense_are_refused_naming_what_is_allowed) {
    struct Case {
        const char* name;
        const char* value;
        const char* says;
    };
    for (const Case& each :
         {Case{"retry.attempts_max", "0", "retry.attempts_max is '0', allowed are 1..1000"},
          Case{"retry.attempts_max", "1001", "allowed are 1..1000"},
          Case{"retry.attempts_max", "7x", "is '7x', allowed are 1..1000"},
          Case{"retry.attempts_max", "-7", "allowed are 1..1000"},
          Case{"retry.attempts_max", "99999999999999999999", "allowed are 1..1000"},
          Case{"retry.base_ms", "0", "allowed are 1..86400000"},
          Case{"retry.cap_ms", "86400001", "allowed are 1..86400000"},
          Case{"retry.factor", "0.999", "allowed are 1..100"},
          Case{"retry.factor", "100.001", "allowed are 1..100"},
          Case{"retry.factor", "1.2345", "allowed are 1..100"},
          Case{"retry.factor", "1.", "allowed are 1..100"},
          Case{"retry.factor", "1.-5", "allowed are 1..100"},
          Case{"retry.factor", "18446744073709551", "allowed are 1..100"},
          Case{"retry.jitter", "range", "allowed are none, full, equal, decorrelated"},
          Case{"retry.budget", "101", "allowed are 0..100"},
          Case{"call.timeout_ms", "0", "allowed are 1..86400000"},
          Case{"retry.attempts", "7", "there is no setting 'retry.attempts', there are retry.att"},
          Case{"", "7", "there is no setting ''"}}) {
        const auto done = admin.set(each.name, each.value);
        EXPECT_EQ(done.status(), Status::bad_request) << each.name << '=' << each.value;
        EXPECT_NE(done.error().detail.find(each.says), std::string::npos) << done.error().detail;
    }
    const auto settings = admin.settings().value();
    for (const DomainSetting& setting : settings) {
        EXPECT_EQ(setting.value, "") << setting.name;
    }
}

TEST_P(SettingsWays, the_longest_timeout_of_calls_holds_for_everybody) {
    std::atomic<bool> release{false};
    const Function served = server
                                .serve("f",
                                       [&](const Message& request) {
                                           while (!release) {
                                               std::this_thread::sleep_for(1ms);
                                           }
                                           return request;
                                       },
                                       {.threads = 4})
                                .value();
    ASSERT_TRUE(admin.set("call.timeout_ms", "50"));
    EXPECT_EQ(client.send("f", order(), kSoon * 6).status(), Status::timed_out);
    EXPECT_EQ(client.send_async("f", order(), kSoon * 6).get(kSoon).status(), Status::timed_out);
    ASSERT_TRUE(admin.set("call.timeout_ms", ""));
    std::thread opener([&] {
        std::this_thread::sleep_for(200ms);
        release = true;
    });
    EXPECT_TRUE(client.send("f", order(), kSoon * 6));
    opener.join();
}

INSTANTIATE_TEST_SUITE_P(OverEveryWay, SettingsWays, test::kAllWays, test::name_of_way);

class SettingsTest : public ::testing::Test {
  protected:
    [[nodiscard]] std::vector<Duration> waits_of_a_failing_offer(Client& client) const {
        const std::size_t before = clock_->waits().size();
        static_cast<void>(client.queue("full")->offer(order(), 0s));
        auto waits = clock_->waits();
        return {waits.begin() + static_cast<std::ptrdiff_t>(before), waits.end()};
    }
    test::ScratchDomain domain_;
    Server server_ = domain_.open();
    std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>();
    Client client_ = connect(domain_.uri(), {.retry = plain(clock_)}).value();
    Queue full_ = [this] {
        static_cast<void>(server_.create_queue("full", {.capacity = 1})->offer(order()));
        return client_.queue("full").value();
    }();
};

TEST_F(SettingsTest, change_the_policy_of_a_client_from_its_next_operation_on) {
    EXPECT_EQ(waits_of_a_failing_offer(client_), (std::vector<Duration>{100ms, 200ms, 400ms}));
    ASSERT_TRUE(server_.set("retry.attempts_max", "3"));
    EXPECT_EQ(waits_of_a_failing_offer(client_), (std::vector<Duration>{100ms, 200ms}));
    ASSERT_TRUE(server_.set("retry.base_ms", "1000"));
    ASSERT_TRUE(server_.set("retry.factor", "1.5"));
    EXPECT_EQ(waits_of_a_failing_offer(client_), (std::vector<Duration>{1s, 1500ms}));
    ASSERT_TRUE(server_.set("retry.cap_ms", "1200"));
    EXPECT_EQ(waits_of_a_failing_offer(client_), (std::vector<Duration>{1s, 1200ms}));
    ASSERT_TRUE(server_.set("retry.cap_ms", "10"));
    EXPECT_EQ(waits_of_a_failing_offer(client_), (std::vector<Duration>{1s, 1s}))
        << "a cap below the base is the base";
    ASSERT_TRUE(server_.set("retry.attempts_max", "1"));
    EXPECT_EQ(waits_of_a_failing_offer(client_), std::vector<Duration>{});
    for (const char* name :
         {"retry.attempts_max", "retry.base_ms", "retry.factor", "retry.cap_ms"}) {
        ASSERT_TRUE(server_.set(name, ""));
    }
    EXPECT_EQ(waits_of_a_failing_offer(client_), (std::vector<Duration>{100ms, 200ms, 400ms}));
}

TEST_F(SettingsTest, give_a_budget_and_a_jitter) {
    ASSERT_TRUE(server_.set("retry.budget", "0"));
    std::size_t retries = 0;
    for (int i = 0; i < 5; ++i) {
        retries += waits_of_a_failing_offer(client_).size();
    }
    EXPECT_EQ(retries, 3U) << "the bucket is full at first, and nothing comes in";
    ASSERT_TRUE(server_.set("retry.budget", ""));
    ASSERT_TRUE(server_.set("retry.jitter", "equal"));
    EXPECT_EQ(waits_of_a_failing_offer(client_), (std::vector<Duration>{100ms, 200ms, 400ms}))
        << "the upper end of what chance gives";
}

TEST_F(SettingsTest, leave_a_policy_of_one_operation_and_those_without_alone) {
    ASSERT_TRUE(server_.set("retry.attempts_max", "9"));
    RetryReport report;
    RetryPolicy own = plain(clock_);
    own.attempts_max = 2;
    EXPECT_EQ(full_.offer(order(), 0s, {.retry = own, .report = &report}).status(),
              Status::queue_full);
    EXPECT_EQ(report.attempts, 2U);
    Client without = connect(domain_.uri()).value();
    EXPECT_EQ(without.queue("full")->offer(order(), 0s).status(), Status::queue_full);
    EXPECT_EQ(clock_->waits().size(), 1U);
}

TEST_F(SettingsTest, of_another_process_are_followed_at_the_next_call) {
    EXPECT_EQ(waits_of_a_failing_offer(client_).size(), 3U);
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        auto server = Server::open(domain_.name(), {.mode = OpenMode::attach});
        _exit(server && server->set("retry.attempts_max", "2") ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    EXPECT_EQ(waits_of_a_failing_offer(client_).size(), 1U);
    EXPECT_EQ(value_of(server_, "retry.attempts_max"), "2");
}

TEST_F(SettingsTest, that_are_damaged_count_as_not_set_and_are_told) {
    shm::Segment& segment = detail::DomainCore::of(client_)->attachment().segment();
    auto& block =
        *reinterpret_cast<shm::SettingsBlock*>(segment.region(shm::RegionKind::settings).data());
    for (const std::uint64_t word : {~std::uint64_t{0}, std::uint64_t{1}, shm::kSettingSet}) {
        for (std::uint32_t i = 0; i < shm::kSettings; ++i) {
            block.values[i].store(word, std::memory_order_relaxed);
        }
        EXPECT_EQ(value_of(server_, "retry.attempts_max"), "");
        EXPECT_EQ(waits_of_a_failing_offer(client_).size(), 3U);
        EXPECT_GE(server_.verify()->problems.size(), 5U);
        EXPECT_NE(server_.verify()->problems.front().find("setting retry.attempts_max"),
                  std::string::npos);
    }
    for (std::uint32_t i = 0; i < shm::kSettings; ++i) {
        ASSERT_TRUE(server_.set(shm::kSettingRules[i].name, ""));
    }
    EXPECT_TRUE(server_.verify()->problems.empty());
}

TEST_F(SettingsTest, of_a_closed_or_removed_domain_say_so) {
    EXPECT_EQ(Server().set("retry.attempts_max", "2").status(), Status::closed);
    EXPECT_EQ(Server().settings().status(), Status::closed);
    ASSERT_TRUE(server_.remove_domain());
    EXPECT_EQ(server_.set("retry.attempts_max", "2").status(), Status::domain_removed);
    EXPECT_EQ(server_.settings().status(), Status::domain_removed);
}

}  // namespace
}  // namespace telpher

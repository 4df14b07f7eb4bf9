#include "telpher/status.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace telpher {
namespace {

TEST(Status, every_status_is_described_with_unique_name_cause_and_fix) {
    std::set<std::string_view> names;
    std::set<std::string_view> causes;
    for (const StatusInfo& info : all_statuses()) {
        EXPECT_EQ(&describe(info.status), &info);
        EXPECT_TRUE(names.insert(info.name).second) << info.name;
        EXPECT_TRUE(causes.insert(info.cause).second) << info.name;
        EXPECT_GT(info.cause.size(), 15U) << info.name;
        EXPECT_GT(info.fix.size(), 10U) << info.name;
        EXPECT_NE(info.cause.back(), '.') << info.name;
        EXPECT_NE(info.fix.back(), '.') << info.name;
    }
    EXPECT_EQ(all_statuses().size(), 33U);
}

TEST(Status, names_are_read_back_and_other_texts_are_not) {
    for (const StatusInfo& info : all_statuses()) {
        EXPECT_EQ(parse_status(to_string(info.status)), info.status);
    }
    EXPECT_EQ(parse_status("QUEUE_FULL"), std::nullopt);
    EXPECT_EQ(parse_status(""), std::nullopt);
    EXPECT_EQ(parse_status("unknown"), std::nullopt);
}

TEST(Status, an_error_says_what_it_knows_of_its_outcome_and_else_what_its_status_says) {
    for (const StatusInfo& info : all_statuses()) {
        EXPECT_EQ((Error{info.status, 0, {}}.outcome()), info.outcome);
    }
    EXPECT_EQ((Error{Status::timed_out, 0, {}, Outcome::did_not_happen}.outcome()),
              Outcome::did_not_happen);
}

// The numbers are in memory and on the wire: this test is what notices a change.
TEST(Status, numbers_never_change) {
    std::string numbers;
    for (const StatusInfo& info : all_statuses()) {
        numbers +=
            std::string{info.name} + '=' + std::to_string(static_cast<int>(info.status)) + ' ';
    }
    EXPECT_EQ(numbers,
              "ok=0 none=1 queue_empty=2 queue_full=3 timed_out=4 duplicate=5 closed=6 gap=7 "
              "lease_expired=8 cancelled=9 expired=10 bad_request=16 queue_not_found=17 "
              "topic_not_found=18 function_not_found=19 domain_not_found=20 domain_removed=21 "
              "already_exists=22 mismatch=23 not_permitted=24 message_too_large=25 "
              "limit_reached=26 idempotency_conflict=27 forked=28 handler_error=32 "
              "server_error=33 peer_died=34 disconnected=35 out_of_memory=36 storage_failed=37 "
              "overloaded=38 corrupt=48 version_mismatch=49 ");
}

TEST(Status, a_number_of_a_newer_version_is_unknown_and_may_have_happened) {
    for (const int number : {11, 29, 50, 255}) {
        const auto status = static_cast<Status>(number);
        EXPECT_EQ(to_string(status), "unknown");
        EXPECT_EQ(describe(status).outcome, Outcome::may_have_happened);
        EXPECT_EQ(to_string(Error{status, 0, {}}).substr(0, 9),
                  "unknown(" + std::to_string(number).substr(0, 1));
    }
}

TEST(Status, what_may_be_retried_without_care_did_not_happen) {
    for (const auto status : {Status::queue_full, Status::queue_not_found, Status::overloaded}) {
        EXPECT_EQ(describe(status).outcome, Outcome::did_not_happen);
    }
    for (const auto status : {Status::timed_out, Status::peer_died, Status::disconnected}) {
        EXPECT_EQ(describe(status).outcome, Outcome::may_have_happened);
    }
    EXPECT_EQ(describe(Status::ok).outcome, Outcome::happened);
    EXPECT_EQ(to_string(Outcome::did_not_happen), "did_not_happen");
}

TEST(Status, an_error_is_shown_with_detail_errno_cause_and_fix) {
    const StatusInfo& info = describe(Status::out_of_memory);
    const std::string tail = std::string{info.cause} + "; " + std::string{info.fix};
    EXPECT_EQ(to_string(Error{Status::out_of_memory, 0, {}}), "out_of_memory: " + tail);
    EXPECT_EQ(to_string(Error{Status::out_of_memory, 0, "no chunk"}),
              "out_of_memory: no chunk; " + tail);
    EXPECT_EQ(to_string(Error{Status::out_of_memory, ENOMEM, "mmap"}),
              "out_of_memory: mmap (os error 12: Cannot allocate memory); " + tail);
    EXPECT_EQ(to_string(Error{Status::out_of_memory, ENOMEM, {}}),
              "out_of_memory: (os error 12: Cannot allocate memory); " + tail);
}

}  // namespace
}  // namespace telpher

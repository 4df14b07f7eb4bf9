// Queues whose dead letters have nowhere to go any more.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <string>

namespace telpher::test {
namespace {

class LeaseLetters : public ::testing::Test {
  protected:
    Result<Queue> make(const std::string& letters) {
        return server_.create_queue(
            "q", {.capacity = 8, .delivery = DeliveryMode::at_least_once, .dead_letter = letters});
    }
    void refuse_one() {
        ASSERT_TRUE(queue_.offer(Message::text("n", "x")));
        ASSERT_TRUE(queue_.poll().value().reject());
    }
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = make("letters").value();
};

TEST_F(LeaseLetters, of_a_removed_queue_are_dropped_and_counted) {
    refuse_one();
    EXPECT_EQ(queue_.status().value().dead_lettered, 1U);
    ASSERT_TRUE(server_.remove_queue("letters"));
    EXPECT_EQ(queue_.status().value().dead_letter, "");
    refuse_one();
    const QueueStatus status = queue_.status().value();
    EXPECT_EQ(status.dead_lettered, 1U);
    EXPECT_EQ(status.dropped, 1U);
    const VerifyReport report = server_.verify().value();
    EXPECT_EQ(report.problems, std::vector<std::string>{});
    EXPECT_EQ(report.chunks_parked + report.chunks_claimed + report.chunks_lingering, 0U);
}

// Another queue of that name is not the one that was named when this one was made.
TEST_F(LeaseLetters, of_a_queue_that_was_made_again_do_not_go_there) {
    ASSERT_TRUE(server_.remove_queue("letters"));
    Queue again =
        server_.create_queue("letters", {.capacity = 8, .delivery = DeliveryMode::at_least_once})
            .value();
    refuse_one();
    EXPECT_EQ(again.poll().status(), Status::queue_empty);
    EXPECT_EQ(queue_.status().value().dropped, 1U);
    EXPECT_EQ(make("letters").status(), Status::mismatch);
}

}  // namespace
}  // namespace telpher::test

// offer_n, poll_n and purge: many messages in one call.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

std::vector<Message> numbered(int count) {
    std::vector<Message> messages;
    for (int i = 1; i <= count; ++i) {
        messages.push_back(Message::text("t", std::to_string(i)));
    }
    return messages;
}

std::vector<std::string> texts_of(const std::vector<Delivery>& deliveries) {
    std::vector<std::string> texts;
    for (const Delivery& delivery : deliveries) {
        texts.emplace_back(delivery.text());
    }
    return texts;
}

class Batch : public testing::Test {
  protected:
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 4}).value();
};

TEST_F(Batch, goes_through_whole_and_in_order) {
    EXPECT_EQ(queue_.offer_n(numbered(3)).value(), 3U);
    const auto all = queue_.poll_n(10);
    ASSERT_TRUE(all);
    EXPECT_EQ(texts_of(*all), (std::vector<std::string>{"1", "2", "3"}));
    EXPECT_EQ(all->back().sequence(), 3U);
}

TEST_F(Batch, poll_n_takes_no_more_than_it_may) {
    ASSERT_TRUE(queue_.offer_n(numbered(4)));
    EXPECT_EQ(texts_of(queue_.poll_n(3).value()), (std::vector<std::string>{"1", "2", "3"}));
    EXPECT_EQ(texts_of(queue_.poll_n(3).value()), (std::vector<std::string>{"4"}));
    EXPECT_EQ(queue_.poll_n(3).status(), Status::queue_empty);
    EXPECT_EQ(queue_.poll_n(0).status(), Status::bad_request);
    EXPECT_EQ(queue_.poll_n(1, -1ns).status(), Status::bad_request);
}

TEST_F(Batch, offer_n_tells_how_many_found_room) {
    EXPECT_EQ(queue_.offer_n(numbered(6)).value(), 4U);
    EXPECT_EQ(queue_.offer_n(numbered(1)).status(), Status::queue_full);
    EXPECT_EQ(queue_.offer_n({}).value(), 0U);
    EXPECT_EQ(queue_.offer_n(numbered(1), -1ns).status(), Status::bad_request);
}

TEST_F(Batch, offer_n_waits_for_room_once_for_all) {
    const auto started = std::chrono::steady_clock::now();
    EXPECT_EQ(queue_.offer_n(numbered(9), 50ms).value(), 4U);
    EXPECT_GE(std::chrono::steady_clock::now() - started, 50ms);
    std::jthread consumer([this] {
        for (int i = 0; i < 9; ++i) {
            EXPECT_TRUE(queue_.poll(10s));
        }
    });
    EXPECT_EQ(queue_.offer_n(numbered(9), 10s).value(), 9U);
}

TEST_F(Batch, poll_n_waits_for_the_first) {
    std::jthread producer([this] {
        std::this_thread::sleep_for(20ms);
        EXPECT_TRUE(queue_.offer(Message::text("t", "late")));
    });
    EXPECT_EQ(texts_of(queue_.poll_n(2, 10s).value()), (std::vector<std::string>{"late"}));
    EXPECT_EQ(queue_.poll_n(2, 1ms).status(), Status::timed_out);
}

TEST_F(Batch, a_handle_that_is_closed_or_empty_says_so) {
    EXPECT_EQ(Queue().offer_n(numbered(1)).status(), Status::closed);
    EXPECT_EQ(Queue().poll_n(1).status(), Status::closed);
    EXPECT_EQ(Queue().purge().status(), Status::closed);
    queue_.close();
    EXPECT_EQ(queue_.purge().status(), Status::closed);
}

TEST_F(Batch, purge_takes_what_is_there_and_gives_its_memory_back) {
    EXPECT_EQ(queue_.purge().value(), 0U);
    for (int lap = 0; lap < 3; ++lap) {
        ASSERT_EQ(queue_.offer_n(numbered(4)).value(), 4U);
        EXPECT_EQ(queue_.purge().value(), 4U);
        EXPECT_EQ(queue_.poll().status(), Status::queue_empty);
    }
    const QueueStatus status = queue_.status().value();
    EXPECT_EQ(status.polled, 12U);
    EXPECT_EQ(status.dropped, 0U);
    const VerifyReport report = server_.verify().value();
    EXPECT_TRUE(report.problems.empty());
    EXPECT_EQ(report.chunks_offered + report.chunks_claimed, 0U);
}

TEST_F(Batch, purge_wakes_a_producer_that_waits_for_room) {
    ASSERT_EQ(queue_.offer_n(numbered(4)).value(), 4U);
    std::jthread producer([this] { EXPECT_TRUE(queue_.offer(Message::text("t", "5"), 10s)); });
    std::this_thread::sleep_for(20ms);
    EXPECT_GE(queue_.purge().value(), 4U);
}

TEST_F(Batch, purge_of_a_removed_queue_takes_the_rest) {
    ASSERT_EQ(queue_.offer_n(numbered(3)).value(), 3U);
    ASSERT_TRUE(server_.remove_queue("q"));
    EXPECT_EQ(queue_.purge().value(), 3U);
    EXPECT_EQ(queue_.poll().status(), Status::queue_not_found);
}

}  // namespace
}  // namespace telpher::test

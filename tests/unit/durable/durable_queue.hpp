#pragma once
// A domain with a log, which loses its memory and is built again.

#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace telpher::test {

inline const QueueOptions kDurable{
    .capacity = 64, .kind = QueueKind::durable, .delivery = DeliveryMode::at_least_once};

inline Message durable(const std::string& text) { return Message::text("t", text).durable(); }

class DurableQueue : public ::testing::Test {
  protected:
    Server open(std::size_t segment_bytes = 64U << 10U) {
        return domain_.open(
            {.log_directory = folder_.file("log"), .log_segment_bytes = segment_bytes});
    }
    // As a restart of the machine: the domain's memory is gone.
    Server again(Server& before, std::size_t segment_bytes = 64U << 10U) {
        before = Server{};
        EXPECT_TRUE(remove_domain(domain_.name(), true));
        return open(segment_bytes);
    }
    static std::vector<std::string> all(Queue& queue) {
        std::vector<std::string> texts;
        for (;;) {
            auto delivery = queue.poll(std::chrono::milliseconds(0));
            if (!delivery) {
                EXPECT_EQ(delivery.status(), Status::queue_empty) << delivery.error().detail;
                return texts;
            }
            texts.emplace_back(delivery->text());
            EXPECT_TRUE(delivery->ack());
        }
    }

    static DomainLimits roomy() {
        DomainLimits limits = small_limits();
        limits.ring_bytes = 4U << 20U;
        limits.pool_bytes = 64U << 20U;
        limits.segment_bytes = 128U << 20U;
        return limits;
    }

    ScratchFolder folder_;
    ScratchDomain domain_;
};

}  // namespace telpher::test

#pragma once
// A domain with topics, and what their tests ask again and again.

#include "telpher/topic.hpp"

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace telpher::test {

inline Message price(int number) { return Message::text("price", std::to_string(number)); }

class TopicFixture : public testing::Test {
  protected:
    // All that is there: the texts, and how many were told as lost.
    static std::vector<std::string> drain(Subscription& subscription,
                                          std::uint64_t* lost = nullptr) {
        std::vector<std::string> all;
        for (;;) {
            auto sample = subscription.next();
            if (!sample) {
                EXPECT_EQ(sample.status(), Status::queue_empty);
                return all;
            }
            if (lost != nullptr) {
                *lost += sample->lost_before();
            }
            all.emplace_back(sample->text());
        }
    }

    ScratchDomain domain_;
    Server server_ = domain_.open({.limits = DomainLimits{.pool_bytes = 8U << 20U}});
};

}  // namespace telpher::test

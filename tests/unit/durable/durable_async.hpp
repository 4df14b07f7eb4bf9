#pragma once
// A domain with a log, and queues whose messages are numbers.

#include "src/client/domain_core.hpp"
#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace telpher::test {

class DurableAsync : public ::testing::Test {
  protected:
    static constexpr auto kLong = std::chrono::seconds(20);

    static Message stored(int number) {
        return Message::text("t", std::to_string(number)).durable();
    }
    Server open() { return domain_.open({.log_directory = folder_.file("log")}); }
    static Queue make(Server& server,
                      const std::string& name,
                      std::uint32_t capacity,
                      QueueOptions options = {}) {
        options.capacity = capacity;
        options.kind = QueueKind::durable;
        options.delivery = DeliveryMode::at_least_once;
        return server.create_queue(name, options).value();
    }
    std::uint64_t syncs() const {
        return detail::DomainCore::of(connect(domain_.uri()).value())
            ->attachment()
            .log()
            .control()
            .syncs.load();
    }
    static std::vector<int> all(Queue& queue) {
        std::vector<int> numbers;
        for (;;) {
            auto delivery = queue.poll(std::chrono::milliseconds(0));
            if (!delivery) {
                return numbers;
            }
            numbers.push_back(std::stoi(std::string(delivery->text())));
            EXPECT_TRUE(delivery->ack());
        }
    }
    static std::vector<int> up_to(int end, int begin = 0) {
        std::vector<int> numbers;
        for (int i = begin; i < end; ++i) {
            numbers.push_back(i);
        }
        return numbers;
    }

    ScratchFolder folder_;
    ScratchDomain domain_;
};

}  // namespace telpher::test

#pragma once
// A domain with a log, and a durable queue that remembers request ids.

#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace telpher::test {

class DurableRequests : public ::testing::Test {
  protected:
    Server open() { return domain_.open({.log_directory = log_, .log_segment_bytes = 64U << 10U}); }
    // As a restart of the machine: the domain's memory is gone.
    void restart() {
        queue_ = Queue{};
        server_ = Server{};
        EXPECT_TRUE(remove_domain(domain_.name(), true));
        server_ = open();
        auto queue = server_.queue("orders");
        ASSERT_TRUE(queue) << queue.error().detail;
        queue_ = *queue;
    }
    void make(const Idempotency& idempotency, std::uint32_t capacity = 64) {
        server_ = open();
        queue_ = server_
                     .create_queue("orders",
                                   {.capacity = capacity,
                                    .kind = QueueKind::durable,
                                    .delivery = DeliveryMode::at_least_once,
                                    .idempotency = idempotency})
                     .value();
    }
    static Message order(const std::string& id, const std::string& text = "x") {
        return Message::text("t", text).with_request_id(id).durable();
    }
    std::size_t take_all() {
        std::size_t taken = 0;
        while (auto delivery = queue_.poll(std::chrono::milliseconds(0))) {
            ++taken;
            EXPECT_TRUE(delivery->ack());
        }
        return taken;
    }

    ScratchFolder folder_;
    const std::string log_ = folder_.file("log");
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
};

}  // namespace telpher::test

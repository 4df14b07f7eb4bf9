#pragma once
// A domain with a log and one durable queue, of which victims suffer, and which loses its memory.

#include "tests/crash/step_victim.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace telpher::crash {

class DurableWorld : public ::testing::Test {
  protected:
    using Numbers = std::vector<std::uint64_t>;

    DurableWorld() {
        options_.capacity = 16;
        options_.kind = QueueKind::durable;
        options_.delivery = DeliveryMode::at_least_once;
    }
    ~DurableWorld() override { StepVictim::seed_bug(shm::Bug::none); }

    Server open() {
        ServerOptions options = small_options();
        options.log_directory = folder_.file("log");
        options.log_segment_bytes = 64U << 10U;
        options.log_compress_from_bytes = 1000;
        auto server = Server::open(domain_.name(), options);
        EXPECT_TRUE(server) << to_string(server.error());
        return server ? std::move(*server) : Server{};
    }
    // Of a victim, whose handles end with it.
    Queue queue_of_victim() { return (new Server(open()))->queue("q").value(); }
    // With an empty log.
    void begin() {
        std::filesystem::remove_all(folder_.file("log"));
        server_ = open();
        queue_ = server_.create_queue("q", options_).value();
    }
    void end() {
        queue_ = Queue{};
        server_ = Server{};
        domain_.remove_files();
    }
    // As a restart of the machine: the domain's memory is gone.
    void build_again() {
        end();
        server_ = open();
        queue_ = server_.create_queue("q", options_).value();
        EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
    }
    // What is in the queue, acknowledged.
    Numbers take() {
        Numbers numbers;
        while (auto delivery = queue_.poll(std::chrono::milliseconds(0))) {
            numbers.push_back(number_of(*delivery));
            EXPECT_TRUE(delivery->ack());
        }
        std::sort(numbers.begin(), numbers.end());
        return numbers;
    }

    Watchdog watchdog_{400};
    test::ScratchFolder folder_;
    ScratchDomain domain_{::testing::UnitTest::GetInstance()->current_test_info()->name()};
    QueueOptions options_;
    Server server_;
    Queue queue_;
    StepVictim victim_;
};

}  // namespace telpher::crash

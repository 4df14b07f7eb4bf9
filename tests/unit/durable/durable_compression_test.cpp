// Durable queues whose log is compressed: the same messages, in fewer bytes.

#include "src/client/domain_core.hpp"
#include "tests/unit/compression/json_like.hpp"
#include "tests/unit/durable/durable_queue.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class DurableCompression : public DurableQueue {
  protected:
    Server open_compressed(std::int64_t from) {
        return domain_.open({.log_directory = folder_.file("log"),
                             .log_segment_bytes = 64U << 10U,
                             .log_compress_from_bytes = from});
    }
    static std::string order(std::uint64_t number) {
        const auto bytes = compression::json_like(2000, number);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    // Bytes that the log took for them.
    std::uint64_t bytes_for(Queue& queue, std::uint64_t first, std::uint64_t count) {
        const std::uint64_t before = logged();
        for (std::uint64_t i = first; i < first + count; ++i) {
            EXPECT_TRUE(queue.offer(durable(order(i)), 5s));
        }
        return logged() - before;
    }
    std::uint64_t logged() {
        const Client client = connect(domain_.uri()).value();
        return detail::DomainCore::of(client)->attachment().log().control().bytes.load();
    }
};

TEST_F(DurableCompression, takes_less_and_brings_back_the_same_messages) {
    Server server = open_compressed(500);
    Queue queue = server.create_queue("orders", kDurable).value();
    const std::uint64_t packed = bytes_for(queue, 0, 20);
    EXPECT_LT(packed, 20U * 2000 / 2);
    ASSERT_TRUE(queue.offer(durable("short"), 5s));
    std::vector<std::string> expected;
    for (std::uint64_t i = 0; i < 20; ++i) {
        expected.push_back(order(i));
    }
    expected.emplace_back("short");
    // Another life may write as it likes: the log holds both.
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    EXPECT_GT(bytes_for(queue, 20, 5), 5U * 2000);
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    for (std::uint64_t i = 20; i < 25; ++i) {
        expected.push_back(order(i));
    }
    EXPECT_EQ(all(queue), expected);
    EXPECT_TRUE(server.verify().value().problems.empty());
}

// The segments that they were written to go; they stay compressed where they are copied to.
TEST_F(DurableCompression, moves_on_with_the_log) {
    Server server = open_compressed(0);
    Queue queue = server.create_queue("orders", kDurable).value();
    Queue other = server.create_queue("other", kDurable).value();
    EXPECT_LT(bytes_for(queue, 0, 3), 3U * 2000 / 2);
    const std::string noise = [] {
        std::string text;
        for (const std::byte byte : compression::random_bytes(3000)) {
            text += static_cast<char>('!' + std::to_integer<int>(byte) % 90);
        }
        return text;
    }();
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(other.offer(durable(noise), 5s));
        ASSERT_TRUE(other.poll(0ms).value().ack());
    }
    queue = Queue{};
    other = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue), (std::vector<std::string>{order(0), order(1), order(2)}));
    EXPECT_FALSE(std::filesystem::exists(folder_.file("log/log.0000000000000001")))
        << "the segment that they were written to went";
}

TEST_F(DurableCompression, that_is_out_of_range_is_refused) {
    for (const std::int64_t from : {std::int64_t{-2}, std::int64_t{1} << 40}) {
        const auto server =
            Server::open(domain_.name(),
                         {.log_directory = folder_.file("log"), .log_compress_from_bytes = from});
        ASSERT_EQ(server.status(), Status::bad_request);
        EXPECT_NE(server.error().detail.find("log_compress_from_bytes is " + std::to_string(from)),
                  std::string::npos);
    }
}

}  // namespace
}  // namespace telpher::test

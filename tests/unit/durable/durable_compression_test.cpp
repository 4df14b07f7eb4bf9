// Durable queues whose log is compressed: the same messages, in fewer bytes.

#include "src/client/domain_core.hpp"
#include "tests/unit/compression/json_like.hpp"
#include "tests/unit/durable/durable_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
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

// Those whose leases expire together come back in the order of their numbers, however many bytes each has in the log.
TEST_F(DurableCompression, changes_no_order) {
    Server server = open_compressed(0);
    QueueOptions options = kDurable;
    options.lease = 50ms;
    Queue queue = server.create_queue("orders", options).value();
    std::vector<std::string> expected;
    for (std::uint64_t i = 0; i < 12; ++i) {
        expected.push_back(i % 3 == 0 ? std::to_string(i) : order(i) + std::string(i * 200, 'x'));
        ASSERT_TRUE(queue.offer(durable(expected.back()), 5s));
    }
    auto held = queue.poll_n(12, 5s).value();
    ASSERT_EQ(held.size(), 12U);
    std::vector<std::uint64_t> numbers;
    for (const Delivery& delivery : held) {
        numbers.push_back(delivery.sequence());
    }
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
    std::this_thread::sleep_for(300ms);
    std::vector<std::string> again;
    std::vector<std::uint64_t> numbers_again;
    while (again.size() < 12) {
        auto delivery = queue.poll(5s);
        ASSERT_TRUE(delivery) << to_string(delivery.error());
        numbers_again.push_back(delivery->sequence());
        again.emplace_back(delivery->text());
        ASSERT_TRUE(delivery->ack());
    }
    EXPECT_EQ(again, expected);
    EXPECT_EQ(numbers_again, numbers);
}

// What is needed is counted as it is on disk: a backlog that shrinks to little does not keep the garbage of others.
TEST_F(DurableCompression, keeps_no_more_garbage_than_twice_what_is_stored) {
    DomainLimits limits = roomy();
    Server server = domain_.open({.limits = limits,
                                  .log_directory = folder_.file("log"),
                                  .log_segment_bytes = 64U << 10U,
                                  .log_compress_from_bytes = 500});
    Queue backlog = server
                        .create_queue("backlog",
                                      {.capacity = 1024,
                                       .kind = QueueKind::durable,
                                       .delivery = DeliveryMode::at_least_once,
                                       .durability = Durability::process})
                        .value();
    QueueOptions options = kDurable;
    options.durability = Durability::process;
    Queue churn = server.create_queue("churn", options).value();
    constexpr int kBacklog = 300;
    for (int i = 0; i < kBacklog; ++i) {
        ASSERT_TRUE(
            backlog.offer(durable(std::string(20'000, static_cast<char>('a' + i % 26))), 5s));
    }
    for (std::uint64_t i = 0; i < 1500; ++i) {
        ASSERT_TRUE(churn.offer(durable(order(i)), 5s));
        ASSERT_TRUE(churn.poll(0ms).value().ack());
    }
    std::uint64_t files = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder_.file("log"))) {
        files += file.file_size();
    }
    EXPECT_LE(files, 14 * (64U << 10U)) << "the backlog has 6 MB, and takes some 60 KiB";
    backlog = Queue{};
    churn = Queue{};
    server = Server{};
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    server = domain_.open({.limits = limits, .log_directory = folder_.file("log")});
    backlog = server.queue("backlog").value();
    EXPECT_EQ(all(backlog).size(), static_cast<std::size_t>(kBacklog));
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

// Durable queues: what was confirmed is there when the domain is built again.
#include "tests/unit/durable/durable_queue.hpp"

#include "src/client/domain_core.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

TEST_F(DurableQueue, has_what_was_confirmed_after_a_restart_in_order) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    std::uint64_t last = 0;
    for (int i = 0; i < 20; ++i) {
        auto offered = queue.offer(durable(std::to_string(i)), 5s);
        ASSERT_TRUE(offered) << offered.error().detail;
        EXPECT_GT(*offered, last) << "numbers rise";
        last = *offered;
    }
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(queue.poll(0ms).value().ack());
    }
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    std::vector<std::string> expected;
    for (int i = 5; i < 20; ++i) {
        expected.push_back(std::to_string(i));
    }
    EXPECT_EQ(all(queue), expected);
    auto offered = queue.offer(durable("next"), 5s);
    ASSERT_TRUE(offered);
    EXPECT_GT(*offered, last) << "numbers go on behind those of before";

    EXPECT_EQ(all(queue), std::vector<std::string>{"next"});
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue), std::vector<std::string>{});
    EXPECT_TRUE(server.verify().value().problems.empty());
}

TEST_F(DurableQueue, delivers_the_number_that_the_offer_returned_also_after_a_restart) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    const std::uint64_t number = queue.offer(durable("x"), 5s).value();
    {
        Delivery delivery = queue.poll(0ms).value();
        EXPECT_EQ(delivery.sequence(), number);
        ASSERT_TRUE(delivery.nack());
    }
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    Delivery delivery = queue.poll(0ms).value();
    EXPECT_EQ(delivery.sequence(), number);
    EXPECT_TRUE(delivery.ack());
}

TEST_F(DurableQueue, messages_that_are_not_durable_cost_no_disk_and_end_with_the_domain) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    const auto& control =
        detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log().control();
    const std::uint64_t writes = control.writes.load();
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("t", "memory"), 0ms));
    }
    EXPECT_EQ(queue.poll(0ms).value().text(), "memory");
    EXPECT_EQ(control.writes.load(), writes);
    ASSERT_TRUE(queue.offer(durable("disk"), 5s));
    EXPECT_GT(control.writes.load(), writes);
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue), std::vector<std::string>{"disk"});
}

TEST_F(DurableQueue, threads_share_syncs) {
    Server server = open(8U << 20U);
    Queue queue = server
                      .create_queue("orders",
                                    {.capacity = 100'000,
                                     .kind = QueueKind::durable,
                                     .delivery = DeliveryMode::at_least_once})
                      .value();
    const auto& control =
        detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log().control();
    const std::uint64_t before = control.syncs.load();
    constexpr int kThreads = 16;
    constexpr int kEach = 50;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kEach; ++i) {
                EXPECT_TRUE(queue.offer(durable(std::to_string(t * kEach + i)), 30s));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_LE(control.syncs.load() - before, static_cast<std::uint64_t>(kThreads * kEach));
    EXPECT_EQ(control.messages.load(), static_cast<std::uint64_t>(kThreads * kEach));
    queue = Queue{};
    server = again(server, 8U << 20U);
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue).size(), static_cast<std::size_t>(kThreads * kEach));
}

TEST_F(DurableQueue, all_who_wait_for_the_disk_share_one_sync) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    Client client = connect(domain_.uri()).value();
    shm::Attachment& attachment = detail::DomainCore::of(client)->attachment();
    shm::LogTable& log = attachment.log();
    // As one of this process that is writing.
    ASSERT_TRUE(log.lead(0, attachment.identity()));
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] { EXPECT_TRUE(queue.offer(durable(std::to_string(i)), 30s)); });
    }
    while (log.requests().size() < threads.size()) {
        std::this_thread::sleep_for(1ms);
    }
    const std::uint64_t before = log.control().syncs.load();
    log.resign(attachment.identity());
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(log.control().syncs.load(), before + 1);
    EXPECT_EQ(all(queue).size(), threads.size());
}

TEST_F(DurableQueue, acknowledgements_reach_the_log_though_nobody_offers) {
    constexpr std::size_t kMany = 3 * shm::kEndings / 2;
    Server server = domain_.open({.limits = roomy(), .log_directory = folder_.file("log")});
    Queue queue = server
                      .create_queue("orders",
                                    {.capacity = kMany,
                                     .kind = QueueKind::durable,
                                     .delivery = DeliveryMode::at_least_once})
                      .value();
    const std::vector<Message> batch(kMany, durable("x"));
    ASSERT_EQ(queue.offer_n(batch, 60s).value(), kMany);
    for (std::size_t i = 0; i < kMany; ++i) {
        ASSERT_TRUE(queue.poll(0ms).value().ack());
    }
    queue = Queue{};
    server = Server{};
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    server = domain_.open({.limits = roomy(), .log_directory = folder_.file("log")});
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue).size(), 0U);
}

TEST_F(DurableQueue, a_batch_costs_one_sync) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    const auto& control =
        detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log().control();
    const std::uint64_t before = control.syncs.load();
    std::vector<Message> batch;
    std::vector<std::string> texts;
    for (int i = 0; i < 50; ++i) {
        texts.push_back(std::to_string(i));
        batch.push_back(durable(texts.back()));
    }
    EXPECT_EQ(queue.offer_n(batch, 5s).value(), batch.size());
    EXPECT_EQ(control.syncs.load(), before + 1);
    // 14 have room.
    EXPECT_EQ(queue.offer_n(batch, 0ms).value(), 14U);
    EXPECT_EQ(queue.offer_n(batch, 0ms).status(), Status::queue_full);
    texts.insert(texts.end(), texts.begin(), texts.begin() + 14);
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    const auto got = all(queue);
    EXPECT_EQ(got.size(), texts.size());
    for (std::size_t i = 0; i < std::min(got.size(), texts.size()); ++i) {
        EXPECT_EQ(got[i], texts[i]) << i;
    }
}

TEST_F(DurableQueue, the_log_stays_bounded_while_messages_come_and_go) {
    constexpr std::size_t kSegment = 64U << 10U;
    Server server = open(kSegment);
    Queue queue = server.create_queue("orders", kDurable).value();
    ASSERT_TRUE(queue.offer(durable("stays"), 5s));
    Delivery kept = queue.poll(0ms).value();
    const std::string text(2000, 'x');
    std::uintmax_t most = 0;
    for (int i = 0; i < 600; ++i) {  // 19 segments
        ASSERT_TRUE(queue.offer(durable(text), 5s));
        ASSERT_TRUE(queue.poll(0ms).value().ack());
        if (i % 50 == 49) {
            std::uintmax_t bytes = 0;
            for (const auto& file : std::filesystem::directory_iterator(folder_.file("log"))) {
                bytes += file.file_size();
            }
            most = std::max(most, bytes);
        }
    }
    EXPECT_LE(most, 8 * kSegment);
    ASSERT_TRUE(kept.nack());
    queue = Queue{};
    server = again(server, kSegment);
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue), std::vector<std::string>{"stays"});
}

TEST_F(DurableQueue, what_is_removed_stays_removed) {
    Server server = open();
    ASSERT_TRUE(server.create_queue("orders", kDurable).value().offer(durable("x"), 5s));
    ASSERT_TRUE(server.remove_queue("orders"));
    Queue anew = server.create_queue("orders", kDurable).value();
    ASSERT_TRUE(anew.offer(durable("y"), 5s));
    anew = Queue{};
    server = again(server);
    Queue queue = server.queue("orders").value();
    EXPECT_EQ(all(queue), std::vector<std::string>{"y"});
}

TEST_F(DurableQueue, what_was_offered_for_later_comes_later_after_a_restart) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    const auto begun = std::chrono::steady_clock::now();
    ASSERT_TRUE(queue.offer(durable("later").deliver_after(1500ms), 5s));
    queue = Queue{};
    server = again(server);
    queue = server.queue("orders").value();
    Delivery delivery = queue.poll(20s).value();
    EXPECT_EQ(delivery.text(), "later");
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 1400ms);  // the wall clock is a coarse one
    EXPECT_TRUE(delivery.ack());
}

TEST_F(DurableQueue, a_full_queue_costs_no_disk) {
    Server server = open();
    QueueOptions options = kDurable;
    options.capacity = 1;
    Queue queue = server.create_queue("orders", options).value();
    ASSERT_TRUE(queue.offer(durable("x"), 5s));
    const auto& control =
        detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log().control();
    const std::uint64_t writes = control.writes.load();
    EXPECT_EQ(queue.offer(durable("y"), 0ms).status(), Status::queue_full);
    EXPECT_EQ(queue.offer(durable("y"), 20ms).status(), Status::timed_out);
    EXPECT_EQ(control.writes.load(), writes);
}

TEST_F(DurableQueue, a_domain_that_is_smaller_than_its_log_is_refused_and_nothing_is_lost) {
    constexpr std::size_t kMessages = 60;
    const auto with = [this](const DomainLimits& limits) {
        return Server::open(domain_.name(),
                            {.lifetime = Lifetime::ephemeral,
                             .limits = limits,
                             .log_directory = folder_.file("log")});
    };
    Server server = with(roomy()).value();
    Queue queue = server.create_queue("orders", kDurable).value();
    for (std::size_t i = 0; i < kMessages; ++i) {
        ASSERT_TRUE(queue.offer(durable(std::string(50'000, 'x')), 5s));
    }
    queue = Queue{};
    server = Server{};
    const auto refused = with(small_limits());
    EXPECT_EQ(refused.status(), Status::out_of_memory) << refused.error().detail;
    EXPECT_NE(refused.error().detail, "");
    server = with(roomy()).value();
    queue = server.queue("orders").value();
    EXPECT_EQ(all(queue).size(), kMessages);
}

TEST_F(DurableQueue, bad_input_says_what_why_and_what_to_do) {
    Server plain = domain_.open();
    auto refused = plain.create_queue("q", kDurable);
    EXPECT_EQ(refused.status(), Status::bad_request);
    EXPECT_NE(refused.error().detail.find("log directory"), std::string::npos);
    Queue memory = plain.create_queue("memory", {}).value();
    auto offered = memory.offer(durable("x"), 0ms);
    EXPECT_EQ(offered.status(), Status::bad_request);
    EXPECT_NE(offered.error().detail.find("durable"), std::string::npos);
    QueueOptions options = kDurable;
    options.delivery = DeliveryMode::at_most_once;
    EXPECT_EQ(plain.create_queue("q", options).status(), Status::bad_request);

    // The folder of a log: missing parents, of another domain, in use, of another version.
    const auto opened = [](const std::string& name, const std::string& path) {
        return Server::open(name, {.lifetime = Lifetime::ephemeral, .log_directory = path});
    };
    auto missing = opened(domain_.name() + "-2", folder_.file("no/such/log"));
    EXPECT_EQ(missing.status(), Status::storage_failed);
    EXPECT_NE(missing.error().detail.find("no/such"), std::string::npos) << missing.error().detail;
    {
        Server first = opened(domain_.name() + "-3", folder_.file("log")).value();
        auto used = opened(domain_.name() + "-4", folder_.file("log"));
        EXPECT_EQ(used.status(), Status::not_permitted) << used.error().detail;
        EXPECT_NE(used.error().detail.find("in use"), std::string::npos);
        auto other = opened(domain_.name() + "-3", folder_.file("other"));
        EXPECT_EQ(other.status(), Status::mismatch);
    }
    auto foreign = opened(domain_.name() + "-4", folder_.file("log"));
    EXPECT_EQ(foreign.status(), Status::mismatch) << foreign.error().detail;
    EXPECT_FALSE(connect("shm:" + domain_.name() + "-4")) << "what could not be built is removed";
    for (const auto& file : std::filesystem::directory_iterator(folder_.file("log"))) {
        if (file.path().filename().string().starts_with("log.")) {
            std::fstream segment(file.path(), std::ios::in | std::ios::out | std::ios::binary);
            segment.seekp(8);
            segment.put('\x7F');
        }
    }
    EXPECT_EQ(opened(domain_.name() + "-3", folder_.file("log")).status(),
              Status::version_mismatch);
}

}  // namespace
}  // namespace telpher::test

// Durable queues, the same over every way.

#include "telpher/admin.hpp"

#include "src/client/domain_core.hpp"
#include "tests/unit/support/scratch_folder.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;

class RemoteDurable : public test::Ways {
  protected:
    void SetUp() override {
        log_directory = folder.file("log");
        test::Ways::SetUp();
    }
    static QueueOptions durable(Durability durability = Durability::power) {
        return {.capacity = 256,
                .kind = QueueKind::durable,
                .delivery = DeliveryMode::at_least_once,
                .deliveries_max = 5,
                .idempotency = Idempotency{.scope = IdempotencyScope::global},
                .durability = durability};
    }
    static Message order(int number) {
        return Message::text("t", std::to_string(number))
            .with_request_id("id-" + std::to_string(number))
            .durable();
    }
    Queue made(const QueueOptions& options) {
        EXPECT_TRUE(Admin::of(client).value().create_queue("orders", options).value());
        return client.queue("orders").value();
    }
    [[nodiscard]] std::uint64_t syncs() const {
        return detail::DomainCore::of(telpher::connect(domain.uri()).value())
            ->attachment()
            .log()
            .control()
            .syncs.load();
    }
    // As a restart of the machine.
    void restart() {
        client.close();
        bridge.stop();
        bridge = Bridge();
        client = Client();
        server = Server();
        ASSERT_TRUE(remove_domain(domain.name(), true));
        std::filesystem::remove_all(config);  // SetUp makes the bridge's identity
        test::Ways::SetUp();
    }

    test::ScratchFolder folder;
};

TEST_P(RemoteDurable, queues_are_made_with_the_durability_that_was_asked_for) {
    Queue queue = made(durable(Durability::process));
    const std::uint64_t before = syncs();
    ASSERT_TRUE(queue.offer(order(1), kSoon));
    EXPECT_EQ(syncs(), before) << "written, not synced";
    EXPECT_EQ(Admin::of(client).value().create_queue("orders", durable()).status(),
              Status::mismatch);
    queue = Queue();
    restart();
    EXPECT_EQ(client.queue("orders").value().poll(kSoon).value().text(), "1");
}

TEST_P(RemoteDurable, requests_are_accepted_once_in_every_life) {
    constexpr int kMessages = 12;  // a quarter of what the domain remembers is 16
    Queue queue = made(durable());
    std::vector<std::uint64_t> numbers;
    for (int life = 0; life < 2; ++life) {
        std::vector<Future<std::uint64_t>> offers;
        for (int i = 0; i < kMessages; ++i) {
            offers.push_back(queue.offer_async(order(i), kSoon));
        }
        for (std::size_t i = 0; i < offers.size(); ++i) {
            const auto number = offers[i].get(kSoon);
            ASSERT_TRUE(number) << to_string(number.error());
            if (life == 0) {
                numbers.push_back(*number);
            }
            EXPECT_EQ(*number, numbers[i]);
        }
        EXPECT_EQ(queue.status().value().depth, static_cast<std::uint64_t>(kMessages));
        queue = Queue();
        restart();
        queue = client.queue("orders").value();
    }
    for (int i = 0; i < kMessages; ++i) {
        auto delivery = queue.poll(kSoon).value();
        EXPECT_EQ(delivery.text(), std::to_string(i));
        EXPECT_TRUE(delivery.ack());
    }
    EXPECT_EQ(queue.poll(0ms).status(), Status::queue_empty);
}

TEST_P(RemoteDurable, deliveries_are_counted_on_in_the_next_life) {
    Queue queue = made(durable());
    ASSERT_TRUE(queue.offer(order(1), kSoon));
    ASSERT_TRUE(queue.poll(kSoon).value().nack());
    queue = Queue();
    restart();
    Delivery delivery = client.queue("orders").value().poll(kSoon).value();
    EXPECT_EQ(delivery.deliveries(), 2U);
    EXPECT_TRUE(delivery.ack());
}

TEST_P(RemoteDurable, what_is_flushed_is_on_disk) {
    Queue queue = made(durable());
    ASSERT_TRUE(queue.offer(order(1), kSoon));
    ASSERT_TRUE(queue.poll(kSoon).value().ack());
    {
        // Held: a client that closes flushes what was acknowledged, too.
        const Client observer = telpher::connect(domain.uri()).value();
        auto& table = detail::DomainCore::of(observer)->attachment().log();
        EXPECT_TRUE(table.any_ended());
        ASSERT_TRUE(queue.flush());
        EXPECT_FALSE(table.any_ended());
        EXPECT_EQ(table.synced().offset, table.position().offset);
    }
    EXPECT_EQ(queue.flush(0s).status(), Status::bad_request);
    ASSERT_TRUE(server.create_queue("memory"));
    EXPECT_EQ(client.queue("memory").value().flush().status(), Status::bad_request);
    queue = Queue();
    restart();
    EXPECT_EQ(client.queue("orders").value().poll(0ms).status(), Status::queue_empty);
}

INSTANTIATE_TEST_SUITE_P(Ways, RemoteDurable, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher

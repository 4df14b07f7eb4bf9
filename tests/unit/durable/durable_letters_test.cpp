// Deliveries are counted on, and dead letters are there, when the domain is built again.
#include "src/client/domain_core.hpp"
#include "tests/unit/durable/durable_queue.hpp"
#include "tests/unit/support/lost_process.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class DurableLetters : public DurableQueue {
  protected:
    static QueueOptions with_letters(std::uint32_t deliveries_max = 0) {
        QueueOptions options = kDurable;
        options.dead_letter = "orders.dead";
        options.deliveries_max = deliveries_max;
        return options;
    }
};

TEST_F(DurableLetters, dead_letters_and_what_they_say_survive) {
    Server server = open();
    const QueueOptions options = with_letters();
    Queue queue = server.create_queue("orders", options).value();
    ASSERT_TRUE(queue.offer(durable("bad"), 5s));
    ASSERT_TRUE(queue.offer(durable("good"), 5s));
    ASSERT_TRUE(queue.poll(0ms).value().reject());
    queue = Queue{};
    server = again(server);
    queue = server.create_queue("orders", options).value();
    EXPECT_FALSE(queue.created());
    EXPECT_EQ(all(queue), std::vector<std::string>{"good"});
    Queue dead = server.queue("orders.dead").value();
    Delivery letter = dead.poll(0ms).value();
    EXPECT_EQ(letter.text(), "bad");
    ASSERT_TRUE(letter.dead_letter());
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::rejected);
    EXPECT_EQ(letter.dead_letter()->origin, "orders");
    EXPECT_TRUE(letter.ack());
}

TEST_F(DurableLetters, deliveries_count_on_and_the_last_one_makes_a_dead_letter) {
    Server server = open();
    Queue queue = server.create_queue("orders", with_letters(3)).value();
    ASSERT_TRUE(queue.offer(durable("bad"), 5s));
    for (std::uint32_t life = 1; life <= 3; ++life) {
        Delivery delivery = queue.poll(5s).value();
        EXPECT_EQ(delivery.deliveries(), life);
        if (life == 2) {
            delivery.release();  // without an answer
        } else {
            ASSERT_TRUE(delivery.nack());
        }
        queue = Queue{};
        server = again(server);
        queue = server.queue("orders").value();
    }
    EXPECT_EQ(all(queue), std::vector<std::string>{});
    Queue dead = server.queue("orders.dead").value();
    Delivery letter = dead.poll(0ms).value();
    ASSERT_TRUE(letter.dead_letter());
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::too_many_deliveries);
    EXPECT_TRUE(letter.ack());
    letter = Delivery{};
    dead = Queue{};
    queue = Queue{};
    EXPECT_TRUE(server.verify().value().problems.empty());
}

TEST_F(DurableLetters, of_a_queue_without_a_limit_of_deliveries_cost_no_disk_when_they_come_again) {
    Server server = open();
    Queue queue = server.create_queue("orders", kDurable).value();
    ASSERT_TRUE(queue.offer(durable("x"), 5s));
    const auto& control =
        detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log().control();
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(queue.poll(5s).value().nack());
    }
    EXPECT_EQ(control.noted.load(), 0U);
    EXPECT_EQ(queue.poll(5s).value().deliveries(), 101U);
}

TEST_F(DurableLetters, whose_queue_is_gone_are_kept_when_they_are_given_back) {
    Server server = open();
    Queue queue = server.create_queue("orders", with_letters()).value();
    ASSERT_TRUE(queue.offer(durable("bad"), 5s));
    ASSERT_TRUE(queue.poll(0ms).value().reject());
    queue = Queue{};
    ASSERT_TRUE(server.remove_queue("orders"));
    server = again(server);
    Queue dead = server.queue("orders.dead").value();
    ASSERT_TRUE(dead.poll(0ms).value().nack());
    Delivery letter = dead.poll(5s).value();
    EXPECT_EQ(letter.text(), "bad");
    ASSERT_TRUE(letter.dead_letter());
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::rejected);
    EXPECT_EQ(letter.dead_letter()->origin, "");
    EXPECT_TRUE(letter.ack());
}

// Some were read when the machine ended, so that more are there than the queue has room for.
TEST_F(DurableLetters, that_have_no_room_at_once_still_say_what_they_are) {
    constexpr std::uint32_t kRoom = 4;
    ASSERT_TRUE(in_lost_process([this] {
        Server server = open();
        QueueOptions letters = kDurable;
        letters.capacity = kRoom;
        bool done = server.create_queue("orders.dead", letters).has_value();
        Queue queue = server.create_queue("orders", with_letters()).value();
        Queue dead = server.queue("orders.dead").value();
        std::vector<Delivery> read;
        for (std::uint32_t i = 0; i < 2 * kRoom; ++i) {
            done = done && queue.offer(durable(std::to_string(i)), 5s) &&
                   queue.poll(0ms).value().reject();
            if (i < kRoom) {
                read.push_back(dead.poll(0ms).value());
            }
        }
        done = done && queue.offer(durable("last"), 5s);  // what moved is written
        leave(done);
    }));
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    Server server = open();
    Queue dead = server.queue("orders.dead").value();
    for (std::uint32_t i = 0; i < 2 * kRoom; ++i) {
        Delivery letter = dead.poll(5s).value();
        ASSERT_TRUE(letter.dead_letter()) << letter.text();
        EXPECT_EQ(letter.dead_letter()->origin, "orders");
        EXPECT_TRUE(letter.ack());
    }
}

// Its count is the one of the queue that it came from.
TEST_F(DurableLetters, are_read_at_least_once_where_letters_are_limited_too) {
    ASSERT_TRUE(in_lost_process([this] {
        Server server = open();
        QueueOptions letters = kDurable;
        letters.capacity = 1;
        letters.deliveries_max = 1;
        bool done = server.create_queue("orders.dead", letters).has_value();
        Queue queue = server.create_queue("orders", with_letters(1)).value();
        Queue dead = server.queue("orders.dead").value();
        done = done && queue.offer(durable("first"), 5s) && queue.poll(0ms).value().nack();
        auto read = dead.poll(0ms);
        done = done && read && queue.offer(durable("second"), 5s) && queue.poll(0ms).value().nack();
        done = done && queue.offer(durable("last"), 5s);  // what moved is written
        leave(done);
    }));
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    Server server = open();
    Queue dead = server.queue("orders.dead").value();
    for (const char* const text : {"first", "second"}) {
        const auto letter = dead.poll(5s);
        ASSERT_TRUE(letter) << text;
        EXPECT_TRUE(letter->dead_letter());
    }
}

// Polled and put back without end, and nobody offers: what is noted is written now and then, and the rest is not lost.
TEST_F(DurableLetters, that_come_again_and_again_leave_room_for_what_is_acknowledged) {
    Server server = open();
    Queue queue = server.create_queue("orders", with_letters(1'000'000)).value();
    ASSERT_TRUE(queue.offer(durable("again"), 5s));
    ASSERT_TRUE(queue.offer(durable("done"), 5s));
    Delivery done = queue.poll(5s).value();
    Delivery again = queue.poll(5s).value();
    if (done.text() != "done") {
        std::swap(done, again);
    }
    ASSERT_TRUE(again.nack());
    auto& table = detail::DomainCore::of(connect(domain_.uri()).value())->attachment().log();
    for (int i = 0; i < 20'000; ++i) {
        ASSERT_TRUE(queue.poll(5s).value().nack());
    }
    EXPECT_LT(table.control().noted.load() - table.control().collected.load(), 10'000U);
    ASSERT_TRUE(done.ack());
    ASSERT_TRUE(queue.flush());
    EXPECT_FALSE(table.any_ended());
    done = Delivery{};
    queue = Queue{};
    server = DurableQueue::again(server);
    EXPECT_EQ(all(queue = server.queue("orders").value()), std::vector<std::string>{"again"});
}

}  // namespace
}  // namespace telpher::test

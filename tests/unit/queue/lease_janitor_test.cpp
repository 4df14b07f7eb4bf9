// Who looks for what is due when nobody polls.
#include "src/client/domain_core.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class LeaseJanitor : public ::testing::Test {
  protected:
    static constexpr auto kDelay = 400ms;
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ =
        server_.create_queue("q", {.capacity = 4, .delivery = DeliveryMode::at_least_once}).value();
};

// A pass over the leases takes the next time away while it looks, and every other janitor may look just then and find
// nothing to wait for. Whoever made the pass sees to what is due next: before, it came when somebody polled anew.
TEST_F(LeaseJanitor, keeps_the_time_that_a_pass_of_its_process_took_away) {
    Client passing = connect(domain_.uri()).value();
    Client offering = connect(domain_.uri()).value();
    Queue theirs = offering.queue("q").value();
    std::this_thread::sleep_for(50ms);  // their janitors have looked, and wait for nothing

    const auto start = Clock::now();
    ASSERT_TRUE(theirs.offer(Message::text("n", "later").deliver_after(kDelay)));
    shm::Attachment& ours = detail::DomainCore::of(passing)->attachment();
    const auto found = ours.directory().find("q");
    ASSERT_TRUE(found);
    // As a pass that has just begun, when the janitor of who offered it looks.
    ours.directory().entry(found->entry).lease_look.store(0, std::memory_order_seq_cst);
    detail::DomainCore::of(offering)->attachment().poke_janitor();
    std::this_thread::sleep_for(50ms);
    EXPECT_TRUE(ours.keep_leases());

    Delivery delivery = queue_.poll(10s).value();
    EXPECT_GE(Clock::now() - start, kDelay);
    EXPECT_LT(Clock::now() - start, kDelay + 300ms) << "a sleeper's own look comes after 1 s";
    EXPECT_EQ(delivery.text(), "later");
    EXPECT_TRUE(delivery.ack());
}

// Its janitor was the only one that knew.
TEST_F(LeaseJanitor, is_told_of_what_is_due_by_who_closes) {
    const auto start = Clock::now();
    {
        Client client = connect(domain_.uri()).value();
        std::this_thread::sleep_for(
            50ms);  // the server's janitor has looked, and waits for nothing
        Queue theirs = client.queue("q").value();
        ASSERT_TRUE(theirs.offer(Message::text("n", "later").deliver_after(kDelay)));
    }
    Delivery delivery = queue_.poll(10s).value();
    EXPECT_LT(Clock::now() - start, 50ms + kDelay + 300ms);
    EXPECT_TRUE(delivery.ack());
}

}  // namespace
}  // namespace telpher::test

#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <thread>

// Messages that are worth nothing after some time.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;

void expiry() {
    const std::string domain = own_domain("expiry");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client1 = connect("shm:" + domain).value();
    auto client2 = connect("shm:" + domain).value();
    server.create_queue("orders", {.capacity = 1000}).value();
    auto offers = client1.queue("orders").value();
    auto polls = client2.queue("orders").value();
    const auto order = Message::json("order", R"({"item":"espresso","count":2})");

    offers.offer(order, 300ms).value();
    auto lasting = polls.poll(300ms).value();
    const bool expired = lasting.expired(std::chrono::system_clock::now());
    say("RESPONSE EXPIRED: ", expired);
    check(!expired && !lasting.expires_at(), "without a life span a message never expires");

    offers.offer(Message(order).expires_in(1h), 300ms).value();
    auto fresh = polls.poll(300ms).value();
    check(!fresh.expired(std::chrono::system_clock::now()), "it has an hour left");
    check(fresh.expired(fresh.expires_at().value()), "and none after it");

    // Polls pass over what has expired and count it.
    offers.offer(Message(order).expires_in(1ms), 300ms).value();
    std::this_thread::sleep_for(20ms);
    check_equal(polls.poll().status(), Status::queue_empty);
    check_equal(polls.status()->expired, 1U);
}

}  // namespace

int main() { return run({expiry}); }

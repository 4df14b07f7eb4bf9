#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

// Two clients exchange an order through a queue of 100 messages.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;

constexpr std::string_view kEspressos = R"({"item":"espresso","count":2})";

Message new_order() {
    auto order = Message::json("order", kEspressos).with_request_id("1");
    say("ORDER: ", order.to_json(true));
    check_equal(order.type(), MessageType::null);  // not sent yet
    return order;
}

void check_polled(const Delivery& order) {
    say("POLLED: ", order.to_json(true));
    check_equal(order.type(), MessageType::offer);
    check_equal(order.sequence(), 1U);
    check_equal(order.request_id(), "1");
    check_equal(order.topic(), "order");
    check_equal(order.json(), kEspressos);
}

void synchronous() {
    const std::string domain = own_domain("offer");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client1 = connect("shm:" + domain).value();
    auto client2 = connect("shm:" + domain).value();
    server.create_queue("orders", {.capacity = 100}).value();

    auto offered = client1.queue("orders")->offer(new_order(), 300ms).value();
    say("OFFERED: number ", offered);
    check_equal(offered, 1U);

    auto orders = client2.queue("orders").value();
    check_polled(orders.poll(300ms).value());
    check_equal(orders.poll(10ms).status(), Status::timed_out);  // each message goes to one poller
}

void asynchronous() {
    const std::string domain = own_domain("offer_async");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client1 = connect("shm:" + domain).value();
    auto client2 = connect("shm:" + domain).value();
    server.create_queue("orders", {.capacity = 100}).value();

    auto offering = client1.queue("orders")->offer_async(new_order(), 300ms);
    auto offered = offering.get(5s).value();
    say("OFFERED: number ", offered);
    check_equal(offered, 1U);

    auto polling = client2.queue("orders")->poll_async(300ms);
    check_polled(polling.get(5s).value());
}

}  // namespace

int main() { return run({synchronous, asynchronous}); }

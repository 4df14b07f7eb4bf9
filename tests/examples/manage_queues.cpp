#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

// Queues come, are there, and go.
namespace {

using namespace telpher;
using namespace example;

void manage_queues() {
    const std::string domain = own_domain("manage_queues");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    check(!server.exists("orders").value(), "not there yet");

    auto orders = server.create_queue("orders", {.capacity = 1000}).value();
    check(orders.created(), "this call made it");
    check_equal(orders.capacity(), 1000U);
    const bool exists = server.exists("orders").value();
    say("orders exists: ", exists);
    check(exists && client.exists("orders").value(), "everybody sees it");

    // The same again finds it; with other options it is a mistake that is told.
    check(!server.create_queue("orders", {.capacity = 1000})->created(), "found, not made");
    check_equal(server.create_queue("orders", {.capacity = 10}).status(), Status::mismatch);

    server.remove_queue("orders").value();
    say("orders exists: ", server.exists("orders").value());
    check(!server.exists("orders").value(), "gone");
    check_equal(orders.offer(Message::text("order", "1 mocha")).status(), Status::queue_not_found);
    check_equal(server.remove_queue("orders").status(), Status::queue_not_found);
}

}  // namespace

int main() { return run({manage_queues}); }

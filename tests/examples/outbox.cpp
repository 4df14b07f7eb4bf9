#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <cstdlib>
#include <filesystem>

// Messages that wait on this client's disk until their destination has them.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;

void outbox() {
    const std::string domain = own_domain("outbox");
    const std::string folder = std::filesystem::temp_directory_path() / domain;
    const ConnectOptions options{.outbox = folder};

    // The cafe is closed: nobody has made the domain yet. What the till sells is on its disk.
    std::string id;
    {
        auto till = connect("shm:" + domain, options).value();
        id = till.outbox().offer("orders", Message::text("order", "2 espressos")).value();
        till.outbox().offer("orders", Message::text("order", "1 latte")).value();
        const auto waiting = till.outbox().flush(20ms);
        say("NOT DELIVERED: ", to_string(waiting.error()));
        check_equal(waiting.status(), Status::timed_out);
        check(!till.running(), "there is nobody to talk to");
    }

    // The till ends, with or without its own will, and the next one sends what is left. The queue remembers
    // request ids: what comes twice is taken once.
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto orders =
        server.create_queue("orders", {.capacity = 100, .idempotency = Idempotency{.ttl = 24h}})
            .value();
    auto till = connect("shm:" + domain, options).value();
    auto first = orders.poll(5s).value();
    say("ORDER: ", first.text(), ", REQUEST ID: ", first.request_id());
    check_equal(first.text(), "2 espressos");
    check_equal(first.request_id(), id);
    check_equal(orders.poll(5s).value().text(), "1 latte");

    // What is refused for good is kept aside, and holds up nobody.
    till.outbox().offer("orders", Message::text("order", "tea").with_request_id("17")).value();
    till.outbox().offer("orders", Message::text("order", "cocoa").with_request_id("17")).value();
    till.outbox().offer("orders", Message::text("order", "water")).value();
    till.outbox().flush(5s).value();
    const auto failures = till.outbox().failed().value();
    check_equal(failures.size(), 1U);
    for (const auto& failure : failures) {
        say("REFUSED: ", failure.request_id, ": ", to_string(failure.why.status));
        check_equal(failure.why.status, Status::idempotency_conflict);
    }
    check_equal(till.outbox().discard("17").value(), 1U);
    check_equal(orders.poll(5s).value().text(), "tea");
    check_equal(orders.poll(5s).value().text(), "water");
    check_equal(till.outbox().status()->delivered, 4U);

    till.close();
    std::filesystem::remove_all(folder);
}

}  // namespace

int main() { return run({outbox}); }

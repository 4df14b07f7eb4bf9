#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

// Messages of 1 KB and more travel compressed between a client and a bridge.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;

void compressed() {
    const std::string domain = own_domain("compression");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    server.create_queue("orders", {.capacity = 100}).value();
    auto bridge =
        Bridge::start(connect("shm:" + domain).value(), {.listen = "127.0.0.1:0"}).value();
    const std::string uri = "tcp://127.0.0.1:" + std::to_string(bridge.port());

    auto client1 = connect(uri, {.compress_from_bytes = 1024}).value();
    auto client2 = connect(uri).value();  // each connection has its own cutoff; this one has none
    const std::string menu(100'000, 'm');
    client1.queue("orders")->offer(Message::text("order", menu), 300ms).value();
    client1.queue("orders")->offer(Message::text("order", "small, as it is"), 300ms).value();
    auto orders = client2.queue("orders").value();
    auto large = orders.poll(300ms).value();
    say("POLLED: ", large.text().size(), " bytes");
    check_equal(large.text(), menu);
    check_equal(orders.poll(300ms).value().text(), "small, as it is");
}

}  // namespace

int main() { return run({compressed}); }

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <filesystem>

// Two clients exchange an order through a bridge that serves encrypted connections only.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;

void encrypted() {
    const std::string domain = own_domain("encryption");
    // Usually ~/.config/telpher: here nothing is to stay.
    const std::string keys = "/tmp/telpher-" + domain;
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    server.create_queue("orders", {.capacity = 100}).value();
    auto bridge = Bridge::start(connect("shm:" + domain).value(),
                                {.listen = "127.0.0.1:0",
                                 .encryption = Encryption::required,
                                 .tls = {.config_dir = keys + "/bridge"}})
                      .value();
    const std::string uri = "tcp://127.0.0.1:" + std::to_string(bridge.port());

    // Trust on first use: the bridge's key is recorded, and must be the same from then on.
    const ConnectOptions options{.encrypt = true, .tls = Tls{.config_dir = keys + "/client"}};
    auto client1 = connect(uri, options).value();
    auto client2 = connect(uri, options).value();
    client1.queue("orders")->offer(Message::text("order", "2 espressos"), 300ms).value();
    auto order = client2.queue("orders")->poll(300ms).value();
    say("POLLED: ", order.text());
    check_equal(order.text(), "2 espressos");

    // Who does not encrypt is not served.
    check_equal(connect(uri).status(), Status::not_permitted);
    bridge.stop();
    std::filesystem::remove_all(keys);
}

}  // namespace

int main() { return run({encrypted}); }

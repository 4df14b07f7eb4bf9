#include "telpher/telpher.hpp"

#include <iostream>
#include <thread>

// A barista takes orders from one queue and confirms each to the queue that its client named.
int main() {
    using namespace telpher;
    using namespace std::chrono_literals;
    auto server = Server::open("cafe.coffee", {.lifetime = Lifetime::ephemeral}).value();
    auto orders = server.create_queue("orders", {.capacity = 100}).value();
    std::jthread barista([&server, &orders] {
        for (int served = 0; served < 2; ++served) {
            auto order = orders.poll(5s).value();
            server.reply(order, Message::text("bill", "ready: " + std::string(order.text())), 1s)
                .value();
        }
    });
    for (const char* drink : {"2 espressos", "1 mocha"}) {
        auto client = connect("shm:cafe.coffee").value();
        auto mine = client.create_temporary_queue({.capacity = 4}).value();
        auto queue = client.queue("orders").value();
        queue.offer(Message::text("order", drink).reply_to(mine.name()), 1s).value();
        std::cout << mine.poll(5s).value().text() << std::endl;
    }
}

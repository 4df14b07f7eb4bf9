#include "telpher/telpher.hpp"

#include <iostream>
#include <latch>

int main() {
    using namespace telpher;
    auto server = Server::open("cafe.topics", {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:cafe.topics").value();  // usually in another process
    std::latch told(1);
    auto prices = client
                      .subscribe("price",
                                 [&told](const Message& message) {
                                     std::cout << message.text() << std::endl;
                                     told.count_down();
                                 })
                      .value();
    auto all = client.subscribe(">").value();  // every topic, also those made later
    server.publish(Message::text("price", "espresso 3.20")).value();
    server.publish(Message::text("news", "open until 22:00")).value();
    told.wait();
    for (int i = 0; i < 2; ++i) {
        auto sample = all.next(std::chrono::seconds(1)).value();
        std::cout << sample.topic() << " " << sample.sequence() << ": " << sample.text()
                  << std::endl;
    }
}

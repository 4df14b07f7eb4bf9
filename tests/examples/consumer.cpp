#include "telpher/telpher.hpp"

#include <iostream>

int main(int argc, char** argv) {
    using namespace telpher;
    auto server =
        Server::open(argc > 1 ? argv[1] : "cafe", {.lifetime = Lifetime::ephemeral}).value();
    auto orders = server.create_queue("orders", {.capacity = 100}).value();
    for (auto& order : orders.messages()) {
        std::cout << order.text() << std::endl;
        if (order.topic() == "closing") {
            break;
        }
    }
}

#include "telpher/telpher.hpp"

#include <string>

int main(int argc, char** argv) {
    using namespace telpher;
    using namespace std::chrono_literals;
    auto client = connect("shm:" + std::string(argc > 1 ? argv[1] : "cafe"), {.wait = 5s}).value();
    auto orders = client.queue("orders", {.wait = 5s}).value();
    orders.offer(Message::text("order", "2 espressos"), 300ms).value();
    orders.offer(Message::text("closing", "good night"), 300ms).value();
}

#include "telpher/telpher.hpp"

#include <iostream>

int main() {
    using namespace telpher;
    using namespace std::chrono_literals;
    auto server = Server::open("cafe.functions", {.lifetime = Lifetime::ephemeral}).value();
    auto echo = server.serve("echo", [](const Message& request) { return request; }).value();
    auto other = server.serve([](const Message&) { return Message::text("reply", "?"); }).value();

    auto client = connect("shm:cafe.functions").value();  // usually in another process
    auto reply = client.send("echo", Message::text("order", "hello"), 1s).value();
    auto later = client.send_async("echo", Message::text("order", "hello again"), 1s);
    client.send_oneway("echo", Message::text("order", "no reply")).value();
    std::cout << reply.text() << ", " << later.get(1s).value().text() << ", "
              << client.send(Message::text("order", "anybody"), 1s).value().text() << std::endl;
}

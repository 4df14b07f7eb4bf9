#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <stdexcept>

// Whether it worked, and if not, why: a Result has the answer, or the error with its status.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;

void ok_and_error() {
    const std::string domain = own_domain("response_status");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    auto function = server.serve([](const Message& request) { return request; }).value();

    auto response = client.send(Message::text("test", "hello").with_request_id("1"), 5s);
    say("RESPONSE OK: ", response.has_value());
    say("RESPONSE ERR: ", !response.has_value());
    check_equal(response.status(), Status::ok);
    check(response->ok() && !response->error(), "the message says so, too");
    check_equal(Message::text("test", "hello").response_status(), Status::none);  // no response yet
}

// Each with its cause and what to do, for people.
void check_error(const Error& error, Status expected) {
    say("RESPONSE ERR: ", to_string(error));
    check_equal(error.status, expected);
}

void errors() {
    const std::string domain = own_domain("response_errors");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    const auto hello = Message::text("test", "hello");
    const auto fails = [](const Message&) -> Message { throw std::runtime_error("no beans"); };

    check_error(client.send(hello, 5s).error(), Status::function_not_found);
    auto function = server.serve(fails).value();
    check_error(client.send(hello, 5s).error(), Status::handler_error);
    check_error(client.send(Message::text("", "no topic"), 5s).error(), Status::bad_request);

    check_error(client.queue("orders").error(), Status::queue_not_found);
    auto orders = server.create_queue("orders", {.capacity = 1}).value();
    check_error(orders.poll().error(), Status::queue_empty);
    check_error(orders.poll(10ms).error(), Status::timed_out);
    orders.offer(hello).value();
    check_error(orders.offer(hello).error(), Status::queue_full);
    check_error(orders.offer(hello, 10ms).error(), Status::timed_out);
}

}  // namespace

int main() { return run({ok_and_error, errors}); }

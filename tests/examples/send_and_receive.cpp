#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <nlohmann/json.hpp>

#include <semaphore>

// Requests to the function without a name, which has the server's only handler.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;
using Json = nlohmann::json;

Message echo(const Message& request) {
    say("REQUEST: ", request.to_json(true));
    return request;
}

void check_echo(const Message& response) {
    say("RESPONSE: ", response.to_json(true));
    check_equal(response.type(), MessageType::response);
    check_equal(response.response_status(), Status::ok);
    check_equal(response.request_id(), "1");
    check_equal(response.topic(), "test");
    check_equal(response.text(), "hello");
}

void synchronous() {
    const std::string domain = own_domain("send");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    auto function = server.serve(echo).value();

    auto response = client.send(Message::text("test", "hello").with_request_id("1"), 5s).value();
    check_echo(response);
}

// {"x": 100, "y": 200} -> {"z": 300}
Result<Message> add(const Message& request) {
    if (request.topic() != "add") {
        return Error{Status::bad_request, 0, "the only topic here is add"};
    }
    const Json terms = Json::parse(request.json());
    const Json sum = {{"z", terms.at("x").get<int>() + terms.at("y").get<int>()}};
    return Message::json("add", sum.dump());  // the request id is copied to it
}

void adding() {
    const std::string domain = own_domain("add");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    auto function = server.serve(add).value();

    const auto request = Message::json("add", R"({"x":100,"y":200})").with_request_id("1");
    auto response = client.send(request, 5s).value();
    say(response.to_json(true));
    check_equal(response.request_id(), "1");
    check_equal(response.topic(), "add");
    check(Json::parse(response.json()) == Json{{"z", 300}}, "100 + 200 is 300");

    // An error and an exception of a handler are its caller's handler_error.
    check_equal(client.send(Message::json("divide", "{}"), 5s).status(), Status::handler_error);
    check_equal(client.send(Message::json("add", "{}"), 5s).status(), Status::handler_error);
}

void asynchronous() {
    const std::string domain = own_domain("send_async");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    auto function = server.serve(echo).value();

    auto response = client.send_async(Message::text("test", "hello").with_request_id("1"), 5s);
    check_echo(response.get(5s).value());
}

void one_way() {
    const std::string domain = own_domain("send_oneway");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    std::string handled;
    std::counting_semaphore<2> requests(0);
    const auto handler = [&](const Message& request) {
        say("REQUEST: ", request.to_json(true));
        check(request.is_oneway(), "it wants no response");
        handled += request.request_id();
        requests.release();
    };
    auto function = server.serve(handler).value();

    client.send_oneway(Message::text("test", "hello").with_request_id("1")).value();
    client.send_oneway(Message::text("test", "hello").with_request_id("2")).value();
    check(requests.try_acquire_for(5s) && requests.try_acquire_for(5s), "both are handled");
    function.stop();  // no handler runs after it: `handled` is ours
    check_equal(handled, "12");
}

}  // namespace

int main() { return run({synchronous, adding, asynchronous, one_way}); }

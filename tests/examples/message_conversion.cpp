#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <nlohmann/json.hpp>

#include <map>

// A whole message as JSON, and as a map of its fields.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;
using Json = nlohmann::json;

Message response() {
    const std::string domain = own_domain("message_conversion");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    auto function = server.serve([](const Message& request) { return request; }).value();
    return client.send(Message::text("test", "hello").with_request_id("1"), 5s).value();
}

void to_json() {
    const Message message = response();
    const std::string formatted = message.to_json(true);
    say("RESPONSE: ", formatted);
    const Json object = Json::parse(formatted);
    check(object["type"] == "RESPONSE", "the type");
    check(object["response-status"] == "ok", "the status");
    check(object["request-id"] == "1", "the request id");
    check(object["topic"] == "test", "the topic");
    check(object["expires-at"].is_null(), "what is absent is null");
    check(object["payload-text"] == "hello", "the text");
    check(formatted.find("\n    \"topic\": \"test\"") != std::string::npos, "one field a line");
    check(Json::parse(message.to_json()) == object, "the same on one line");
    check(message.to_json().find('\n') == std::string::npos, "on one line");
}

void to_map() {
    const Message message = response();
    std::map<std::string_view, FieldValue> map;  // views into the message
    for (const Field& field : message.fields()) {
        map.emplace(field.name, field.value);
    }
    for (const auto& [name, value] : map) {
        say("RESPONSE: ", name, " = ", to_string(value));
    }
    check_equal(map.size(), message.fields().size());
    check(std::get<MessageId>(map.at("id")) == message.id(), "the id");
    check(!std::get<bool>(map.at("oneway?")), "a truth value");
    check_equal(std::get<std::uint64_t>(map.at("timestamp")), message.timestamp_ms());
    check_equal(to_string(map.at("type")), "RESPONSE");
    check_equal(to_string(map.at("topic")), "test");
    check_equal(to_string(map.at("payload-text")), "hello");
    check(std::holds_alternative<std::monostate>(map.at("queue-name")), "absent: no value");
}

}  // namespace

int main() { return run({to_json, to_map}); }

#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <initializer_list>
#include <span>

// Every field of a response, by name and by accessor.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;
using Json = nlohmann::json;

Message echoed(const Message& request) {
    const std::string domain = own_domain("message_fields");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client = connect("shm:" + domain).value();
    auto function = server.serve([](const Message& message) { return message; }).value();
    return client.send(request, 5s).value();
}

// "absent" for a field without a value.
std::string field(const Message& message, std::string_view name) {
    const FieldValue value = message.field(name).value();
    return std::holds_alternative<std::monostate>(value) ? "absent" : to_string(value);
}

void print(const Message& message, std::initializer_list<std::string_view> names) {
    for (const auto name : names) {
        say(name, ": ", field(message, name));
    }
}

void check_common_fields(const Message& message) {
    const auto now =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    const auto sent = std::chrono::milliseconds(std::stoull(field(message, "timestamp")));
    check(sent > now.time_since_epoch() - 1min && sent < now.time_since_epoch() + 1min,
          "sent a moment ago");
    check_equal(field(message, "id"), to_string(message.id()));
    check_equal(field(message, "id").size(), 36U);
    check_equal(field(message, "type"), "RESPONSE");
    check_equal(field(message, "oneway?"), "false");
    check_equal(field(message, "response-status"), "ok");
    check_equal(field(message, "expires-at"), "absent");
    check_equal(field(message, "request-id"), "1");
    check_equal(field(message, "topic"), "test");
    check_equal(field(message, "queue-name"), "absent");
    check_equal(field(message, "reply-to-queue-name"), "absent");
    check_equal(message.type(), MessageType::response);
    check(!message.is_oneway() && message.ok() && !message.expires_at(), "the accessors agree");
    check_equal(message.field("colour").status(), Status::bad_request);
}

void text() {
    const auto message =
        echoed(Message::text("test", "text/plain", "UTF-8", "Hello!").with_request_id("1"));
    print(message,
          {"id",
           "type",
           "oneway?",
           "timestamp",
           "expires-at",
           "response-status",
           "request-id",
           "topic",
           "payload-mimetype",
           "payload-charset",
           "payload-text",
           "payload-binary"});
    check_common_fields(message);
    check_equal(field(message, "payload-mimetype"), "text/plain");
    check_equal(field(message, "payload-charset"), "UTF-8");
    check_equal(field(message, "payload-text"), "Hello!");
    check_equal(field(message, "payload-binary"), "[72 101 108 108 111 33]");
}

void binary() {
    constexpr std::array<std::uint8_t, 8> kBytes{0, 1, 2, 3, 4, 5, 6, 7};
    const auto message =
        echoed(Message::bytes("test", "application/octet-stream", std::as_bytes(std::span(kBytes)))
                   .with_request_id("1"));
    print(message,
          {"id",
           "type",
           "oneway?",
           "timestamp",
           "response-status",
           "request-id",
           "topic",
           "payload-mimetype",
           "payload-charset",
           "payload-binary"});
    check_common_fields(message);
    check_equal(field(message, "payload-mimetype"), "application/octet-stream");
    check_equal(field(message, "payload-charset"), "absent");
    check_equal(field(message, "payload-binary"), "[0 1 2 3 4 5 6 7]");
    check_equal(message.field("payload-text").status(), Status::mismatch);
    check_equal(message.try_json().status(), Status::mismatch);
}

void data() {
    const auto message = echoed(Message::json("test", R"({"a":100,"b":200})").with_request_id("1"));
    print(message,
          {"id",
           "type",
           "oneway?",
           "timestamp",
           "response-status",
           "request-id",
           "topic",
           "payload-mimetype",
           "payload-charset",
           "payload-text"});
    const Json payload = Json::parse(message.json());
    say(payload);
    check_common_fields(message);
    check_equal(field(message, "payload-mimetype"), "application/json");
    check_equal(field(message, "payload-charset"), "UTF-8");
    check_equal(field(message, "payload-text"), R"({"a":100,"b":200})");
    check(payload == Json{{"a", 100}, {"b", 200}}, "the data");
}

}  // namespace

int main() { return run({text, binary, data}); }

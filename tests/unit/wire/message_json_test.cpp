#include "telpher/message.hpp"

#include "src/wire/json_check.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/wire/golden.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <random>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

TEST(MessageJson, shows_every_field_of_a_sent_message) {
    const auto bytes = wire::golden::from_hex(wire::golden::kFull);
    const json shown = json::parse(wire::decode(bytes).value().to_json());
    EXPECT_EQ(shown, json::parse(R"({
        "id": "01234567-89ab-cdef-0000-00000000002a", "type": "OFFER", "oneway?": true,
        "durable?": true, "response-status": "none", "timestamp": 1700000000000,
        "expires-at": 1700000005000, "timeout": 1500, "request-id": "17", "topic": "order",
        "queue-name": "orders", "reply-to-queue-name": "answers", "correlation-id": "c-1",
        "causation-id": "k-2",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "payload-mimetype": "text/html", "payload-charset": "ISO-8859-1",
        "payload-binary": "aGk="})"));
}

TEST(MessageJson, plain_and_pretty_say_the_same) {
    const Message message = Message::text("order", "a \"b\"");
    const std::string plain = message.to_json();
    const std::string pretty = message.to_json(true);
    EXPECT_EQ(plain.find('\n'), std::string::npos);
    EXPECT_NE(pretty.find("\n    \"topic\": \"order\",\n"), std::string::npos) << pretty;
    EXPECT_EQ(json::parse(plain), json::parse(pretty));
    EXPECT_EQ(json::parse(plain)["payload-text"], "a \"b\"");
    EXPECT_TRUE(json::parse(plain)["expires-at"].is_null());
    EXPECT_TRUE(json::parse(plain)["timestamp"].is_null());
}

TEST(MessageJson, a_binary_payload_is_base64) {
    const std::vector<std::pair<std::string, std::string>> samples{
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {std::string{"\0\xFF\x10", 3}, "AP8Q"}};
    for (const auto& [payload, base64] : samples) {
        const Message message =
            Message::bytes("scan", "application/octet-stream", test::payload_of(payload));
        const json shown = json::parse(message.to_json());
        EXPECT_EQ(shown["payload-binary"], base64);
        EXPECT_FALSE(shown.contains("payload-text"));
        EXPECT_TRUE(shown["payload-charset"].is_null());
    }
}

// Goal: whatever bytes a message holds, its JSON is valid for our checker and for a foreign parser.
TEST(MessageJson, is_valid_for_random_texts) {
    std::mt19937_64 engine{20240609};
    for (int i = 0; i < 3000; ++i) {
        std::string payload(engine() % 40, ' ');
        for (char& byte : payload) {
            byte = static_cast<char>(engine());
        }
        const Message message = Message::text("t", payload).with_request_id(payload);
        const std::string shown = message.to_json(i % 2 == 0);
        ASSERT_EQ(wire::check_json(shown).reason, wire::JsonFault::Reason::none) << shown;
        ASSERT_TRUE(json::accept(shown)) << shown;
    }
}

TEST(MessageJson, valid_utf8_and_control_characters_come_back_unchanged) {
    std::string text{"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \"\\/\b\f\n\r\t\x7F"};
    text += '\0';
    for (char control = 1; control < 0x20; ++control) {
        text += control;
    }
    EXPECT_EQ(json::parse(Message::text("t", text).to_json())["payload-text"], text);
    EXPECT_EQ(json::parse(Message::text("t", "a\xC3(").to_json())["payload-text"],
              "a\xEF\xBF\xBD(");
}

TEST(MessageFields, are_there_under_the_known_names) {
    const auto bytes = wire::golden::from_hex(wire::golden::kFull);
    const MessageView view = wire::decode(bytes).value();
    const std::vector<std::pair<std::string_view, std::string_view>> expected{
        {"id", "01234567-89ab-cdef-0000-00000000002a"},
        {"type", "OFFER"},
        {"oneway?", "true"},
        {"durable?", "true"},
        {"response-status", "none"},
        {"timestamp", "1700000000000"},
        {"expires-at", "1700000005000"},
        {"timeout", "1500"},
        {"request-id", "17"},
        {"topic", "order"},
        {"queue-name", "orders"},
        {"reply-to-queue-name", "answers"},
        {"correlation-id", "c-1"},
        {"causation-id", "k-2"},
        {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"payload-mimetype", "text/html"},
        {"payload-charset", "ISO-8859-1"},
        {"payload-text", "hi"},
        {"payload-binary", "[104 105]"}};
    const auto fields = view.fields();
    ASSERT_EQ(fields.size(), expected.size());
    for (std::size_t i = 0; i < fields.size(); ++i) {
        EXPECT_EQ(fields[i].name, expected[i].first);
        EXPECT_EQ(to_string(fields[i].value), expected[i].second) << fields[i].name;
        EXPECT_EQ(to_string(view.field(expected[i].first).value()), expected[i].second);
    }
}

TEST(MessageFields, absent_ones_are_null) {
    const Message message = Message::bytes("t", "application/octet-stream", {});
    for (const std::string_view name : {"timestamp",
                                        "expires-at",
                                        "timeout",
                                        "request-id",
                                        "queue-name",
                                        "reply-to-queue-name",
                                        "payload-charset"}) {
        EXPECT_TRUE(std::holds_alternative<std::monostate>(message.field(name).value())) << name;
        EXPECT_EQ(to_string(message.field(name).value()), "null");
    }
    EXPECT_EQ(to_string(message.field("payload-binary").value()), "[]");
}

TEST(MessageFields, an_unknown_name_and_the_text_of_a_binary_payload_are_errors) {
    const Message message = Message::bytes("t", "image/png", {});
    EXPECT_EQ(message.field("payload").status(), Status::bad_request);
    EXPECT_NE(message.field("colour").error().detail.find("'colour'"), std::string::npos);
    EXPECT_EQ(message.field("payload-text").status(), Status::mismatch);
}

}  // namespace
}  // namespace telpher

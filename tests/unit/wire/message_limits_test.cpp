// Every limit of a message: at it is allowed, beyond it is refused with field, limit and value.
#include "telpher/message.hpp"

#include "src/wire/message_check.hpp"
#include "tests/unit/support/messages.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;

Message plain() { return Message::text("order", "x"); }
std::string of(std::size_t bytes) { return std::string(bytes, 'a'); }

TEST(MessageLimits, what_reaches_a_limit_is_allowed) {
    const std::string mimetype = "a/" + of(125);
    for (const Message& message : {Message::text(of(100), "x"),
                                   Message::text("AZaz09._/-", ""),
                                   plain().with_request_id(of(255)),
                                   plain().with_request_id(std::string_view{"\0\n\xFF", 3}),
                                   plain().with_correlation_id(of(255)),
                                   plain().with_causation_id(of(255)),
                                   plain().with_traceparent(of(55)),
                                   plain().with_destination(of(100)),
                                   plain().reply_to(of(100)),
                                   plain().expires_in(1ms),
                                   plain().expires_in(49 * 24h),
                                   plain().with_timeout(0ms),
                                   plain().with_timeout(49 * 24h),
                                   Message::text("order", mimetype, of(40), "x"),
                                   Message::bytes("order", "application/vnd.a+json", {})}) {
        EXPECT_TRUE(message.check()) << to_string(message.check().error());
    }
}

struct Refused {
    Message message;
    std::string text;
};

TEST(MessageLimits, what_is_beyond_is_refused_naming_field_limit_and_value) {
    const std::vector<Refused> cases{
        {Message::text("", "x"), "topic is 0 bytes, the limit is 1..100"},
        {Message::text(of(101), "x"), "topic is 101 bytes, the limit is 1..100"},
        {Message::text("my order", "x"),
         "topic has byte 0x20 at position 2, allowed are [A-Za-z0-9._/-]"},
        {Message::text("order*", "x"), "topic has '*' at position 5, allowed are [A-Za-z0-9._/-]"},
        {plain().with_request_id(of(256)), "request-id is 256 bytes, the limit is 1..255"},
        {plain().with_correlation_id(of(256)), "correlation-id is 256 bytes, the limit is 1..255"},
        {plain().with_causation_id(of(999)), "causation-id is 999 bytes, the limit is 1..255"},
        {plain().with_traceparent(of(56)), "traceparent is 56 bytes, the limit is 1..55"},
        {plain().with_destination(of(101)), "queue-name is 101 bytes, the limit is 1..100"},
        {plain().reply_to("a\xC3"),
         "reply-to-queue-name has byte 0xC3 at position 1, allowed are [A-Za-z0-9._/-]"},
        {plain().expires_in(0ms), "expires-in is 0 ms, the limit is 1..4233600000 ms"},
        {plain().expires_in(-5ms), "expires-in is -5 ms, the limit is 1..4233600000 ms"},
        {plain().expires_in(4'233'600'001ms),
         "expires-in is 4233600001 ms, the limit is 1..4233600000 ms"},
        {plain().with_timeout(-1ms), "timeout is -1 ms, the limit is 0..4233600000 ms"},
        {Message::bytes("order", "", {}), "payload-mimetype is 0 bytes, the limit is 1..127"},
        {Message::bytes("order", "a/" + of(126), {}),
         "payload-mimetype is 128 bytes, the limit is 1..127"},
        {Message::bytes("order", "png", {}),
         "payload-mimetype is not of the form type/subtype in letters, digits and !#$&-^_.+"},
        {Message::bytes("order", "image/", {}),
         "payload-mimetype is not of the form type/subtype in letters, digits and !#$&-^_.+"},
        {Message::text("order", "a/b;c=d", "UTF-8", ""),
         "payload-mimetype is not of the form type/subtype in letters, digits and !#$&-^_.+"},
        {Message::text("order", "text/plain", "", "x"),
         "payload-charset is 0 bytes, the limit is 1..40"},
        {Message::text("order", "text/plain", of(41), "x"),
         "payload-charset is 41 bytes, the limit is 1..40"},
        {Message::text("order", "text/plain", "UTF 8", "x"),
         "payload-charset has byte 0x20 at position 3, allowed are letters, digits and -_.:+()"},
        {Message::json("order", "{\"a\":}"),
         "payload is no JSON: at position 5 the text has a byte that cannot stand there"},
        {Message::json("order", ""), "payload is no JSON: at position 0 the text ends too early"},
        {Message::text("order", "application/json", "utf-8", "x"),
         "payload is no JSON: at position 0 the text has a byte that cannot stand there"},
        {Message::bytes("order", "application/JSON", test::payload_of("[")),
         "payload is no JSON: at position 1 the text ends too early"},
    };
    for (const Refused& refused : cases) {
        const auto checked = refused.message.check();
        EXPECT_EQ(checked.status(), Status::bad_request) << refused.text;
        EXPECT_EQ(checked.error().detail, refused.text);
    }
}

TEST(MessageLimits, a_payload_above_the_highest_limit_is_not_copied) {
    // Nobody reads the bytes: the length alone decides, and so there need not be any.
    const auto* nowhere = reinterpret_cast<const char*>(64);
    const std::string_view text{nowhere, limits::kMessageBytesMaxHighest + 1};
    const Message message = Message::text("order", text);
    EXPECT_EQ(message.check().status(), Status::message_too_large);
    EXPECT_EQ(message.check().error().detail,
              "payload is 262144001 bytes, the limit is 0..262144000");
    EXPECT_EQ(message.payload().size(), 0U);
    EXPECT_EQ(wire::message_too_large(30, 20).detail, "message is 30 bytes, the limit is 20");
}

TEST(MessageLimits, the_first_violation_is_the_one_reported) {
    const Message message = plain().with_request_id(of(300)).reply_to("?").with_traceparent(of(60));
    EXPECT_EQ(message.check().error().detail, "request-id is 300 bytes, the limit is 1..255");
    EXPECT_EQ(message.request_id(), "");
}

TEST(MessageLimits, a_new_payload_takes_away_the_violation_of_the_old_one_only) {
    Message message = Message::json("order", "{");
    EXPECT_FALSE(message.check());
    EXPECT_TRUE(message.set_payload(test::payload_of("{}")).check());
    EXPECT_FALSE(message.set_payload(test::payload_of("{]")).check());
    Message nameless = Message::text("", "x");
    EXPECT_FALSE(nameless.assign_text("y").check());
}

TEST(MessageLimits, a_request_that_breaks_limits_does_not_spoil_its_answer) {
    std::string extension{"\x03\x00\x04", 3};  // a request id of 1024 bytes
    extension += of(1024);
    detail::MessageParts parts;
    parts.head.extension_bytes = static_cast<std::uint16_t>(extension.size());
    parts.extension = extension.data();
    const Message answer = plain().answering(MessageView{parts});
    EXPECT_TRUE(answer.check());
    EXPECT_EQ(answer.request_id(), "");
}

}  // namespace
}  // namespace telpher

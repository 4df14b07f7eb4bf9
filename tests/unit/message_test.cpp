#include "telpher/message.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <unordered_set>

namespace telpher {
namespace {

using namespace std::chrono_literals;

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

TEST(Message, a_text_has_topic_mimetype_charset_and_payload) {
    const Message message = Message::text("order", "2 espressos");
    EXPECT_TRUE(message.check());
    EXPECT_EQ(message.topic(), "order");
    EXPECT_EQ(message.mimetype(), "text/plain");
    EXPECT_EQ(message.charset(), "UTF-8");
    EXPECT_EQ(message.text(), "2 espressos");
    EXPECT_EQ(message.payload().size(), 11U);
    EXPECT_EQ(message.size_bytes(), 59U);
}

TEST(Message, what_the_runtime_sets_is_empty_before_the_message_is_sent) {
    const Message message = Message::text("order", "x").expires_in(5s);
    EXPECT_EQ(message.id(), MessageId{});
    EXPECT_EQ(message.type(), MessageType::null);
    EXPECT_EQ(message.response_status(), Status::none);
    EXPECT_EQ(message.timestamp_ms(), 0U);
    EXPECT_EQ(message.lifetime(), 5s);
    EXPECT_EQ(message.expires_at(), std::nullopt);
    EXPECT_FALSE(message.expired(TimePoint::max()));
    EXPECT_FALSE(message.ok());
    EXPECT_EQ(message.error(), std::nullopt);
}

TEST(Message, the_builders_set_what_the_accessors_read) {
    Message message = Message::bytes("scan", "image/png", bytes_of("\x89PNG"));
    message.with_request_id("r").with_destination("d").reply_to("q").with_correlation_id("c");
    message.with_causation_id("k").with_traceparent("00-1").with_timeout(0ms).durable().oneway();
    EXPECT_TRUE(message.check());
    EXPECT_EQ(message.request_id(), "r");
    EXPECT_EQ(message.destination(), "d");
    EXPECT_EQ(message.reply_to(), "q");
    EXPECT_EQ(message.correlation_id(), "c");
    EXPECT_EQ(message.causation_id(), "k");
    EXPECT_EQ(message.traceparent(), "00-1");
    EXPECT_EQ(message.timeout(), 0ms);
    EXPECT_TRUE(message.is_durable());
    EXPECT_TRUE(message.is_oneway());
    EXPECT_EQ(message.mimetype(), "image/png");
    EXPECT_EQ(message.charset(), "");
    message.durable(false).oneway(false).with_request_id("").with_destination("a longer one");
    EXPECT_FALSE(message.is_durable());
    EXPECT_FALSE(message.is_oneway());
    EXPECT_EQ(message.request_id(), "");
    EXPECT_EQ(message.correlation_id(), "c");
    EXPECT_EQ(message.check().status(), Status::bad_request);  // a blank in a name
}

TEST(Message, a_field_may_be_set_from_another_field_of_the_same_message) {
    Message message = Message::text("order", "x").with_request_id(std::string(200, 'r'));
    message.with_correlation_id(message.request_id());
    message.with_request_id(message.correlation_id().substr(0, 150));
    EXPECT_EQ(message.request_id(), std::string(150, 'r'));
    EXPECT_EQ(message.correlation_id(), std::string(200, 'r'));
    message.assign_text(message.text());
    EXPECT_EQ(message.text(), "x");
}

TEST(Message, text_of_a_binary_payload_is_an_error) {
    const Message message = Message::bytes("scan", "image/png", bytes_of("PNG"));
    EXPECT_THROW((void)message.text(), BadResult);
    EXPECT_EQ(message.try_text().status(), Status::mismatch);
    EXPECT_NE(message.try_text().error().detail.find("image/png"), std::string::npos);
    EXPECT_THROW((void)Message{message}.text(), BadResult);
}

TEST(Message, json_of_another_mimetype_is_an_error) {
    EXPECT_EQ(Message::text("order", "{}").try_json().status(), Status::mismatch);
    EXPECT_THROW((void)Message::text("order", "{}").json(), BadResult);
    EXPECT_EQ(Message::json("order", "{}").json(), "{}");
    EXPECT_EQ(Message::json("order", "{}").text(), "{}");
    EXPECT_EQ(Message::text("order", "application/json", "UTF-16LE", "x").try_json().status(),
              Status::mismatch);
}

TEST(Message, text_of_a_temporary_is_a_string_that_lives_on) {
    const auto answer = [] { return Message::text("order", std::string(100, 'x')); };
    static_assert(std::is_same_v<decltype(answer().text()), std::string>);
    static_assert(
        std::is_same_v<decltype(std::declval<const Message&>().text()), std::string_view>);
    EXPECT_EQ(answer().text(), std::string(100, 'x'));
}

TEST(Message, an_rvalue_string_is_moved_into_the_message) {
    std::string text(1000, 'x');
    const char* memory = text.data();
    const Message message = Message::text("order", std::move(text));
    EXPECT_EQ(message.text().data(), memory);
}

TEST(Message, reuse_keeps_the_memory_of_the_payload) {
    Message message = Message::text("order", std::string(1000, 'x'));
    const std::byte* memory = message.payload().data();
    for (const std::size_t size : {10U, 1000U, 0U, 500U}) {
        message.assign_text(std::string(size, 'y'));
        EXPECT_EQ(message.payload().data(), memory);
        EXPECT_EQ(message.text(), std::string(size, 'y'));
        message.set_payload(bytes_of(std::string(size, 'z')));
        EXPECT_EQ(message.payload().data(), memory);
        EXPECT_EQ(message.text(), std::string(size, 'z'));
    }
}

TEST(Message, assign_text_turns_any_message_into_a_plain_text) {
    Message message = Message::text("order", "text/html", "ISO-8859-1", "<p>").with_request_id("1");
    message.assign_text("plain");
    EXPECT_EQ(message.mimetype(), "text/plain");
    EXPECT_EQ(message.charset(), "UTF-8");
    EXPECT_EQ(message.request_id(), "1");
    EXPECT_EQ(message.text(), "plain");
    Message json = Message::json("order", "{");
    EXPECT_FALSE(json.check());
    EXPECT_TRUE(json.assign_text("{").check());
}

TEST(Message, an_answer_takes_over_the_ids_it_does_not_set_itself) {
    const Message request = Message::text("order", "x")
                                .with_request_id("r")
                                .with_correlation_id("c")
                                .with_traceparent("t")
                                .reply_to("q");
    const Message answer =
        Message::text("done", "y").with_correlation_id("own").answering(request.view());
    EXPECT_EQ(answer.request_id(), "r");
    EXPECT_EQ(answer.correlation_id(), "own");
    EXPECT_EQ(answer.traceparent(), "t");
    EXPECT_EQ(answer.causation_id(), "");
    EXPECT_EQ(answer.reply_to(), "");
}

TEST(Message, a_response_is_ok_or_has_an_error_with_its_text) {
    Message response = Message::text("order", "error 17: no beans");
    response.with_type(MessageType::response).with_response_status(Status::ok);
    EXPECT_TRUE(response.ok());
    EXPECT_EQ(response.error(), std::nullopt);
    response.with_response_status(Status::handler_error);
    EXPECT_FALSE(response.ok());
    EXPECT_EQ(response.error(), (Error{Status::handler_error, 0, "error 17: no beans"}));
}

TEST(Message, a_view_reads_the_message_and_copies_of_it_are_equal) {
    const Message message = Message::json("order", "[1]").with_request_id("1").expires_in(1s);
    const MessageView view = message.view();
    EXPECT_EQ(view.json(), "[1]");
    EXPECT_EQ(view.json().data(), message.json().data());
    EXPECT_EQ(view.to_message().to_json(), message.to_json());
    EXPECT_EQ(MessageView{}.topic(), "");
    EXPECT_EQ(MessageView{}.payload().size(), 0U);
    EXPECT_EQ(MessageView{}.to_message().check().status(), Status::bad_request);
}

TEST(Message, type_and_id_have_texts) {
    EXPECT_EQ(to_string(MessageType::null), "NULL");
    EXPECT_EQ(to_string(MessageType::unsubscribe), "UNSUBSCRIBE");
    EXPECT_EQ(to_string(MessageType::response), "RESPONSE");
    EXPECT_EQ(to_string(static_cast<MessageType>(77)), "UNKNOWN");
    EXPECT_EQ(to_string(MessageId{0xbaac8cf848fd4e16U, 0xa1ccb3867bd4e505U}),
              "baac8cf8-48fd-4e16-a1cc-b3867bd4e505");
    EXPECT_EQ(to_string(MessageId{1, 2}), "00000000-0000-0001-0000-000000000002");
    std::unordered_set<MessageId> ids{{1, 2}, {2, 1}, {1, 2}};
    EXPECT_EQ(ids.size(), 2U);
}

TEST(Message, a_timestamp_beyond_the_clock_is_its_last_instant) {
    detail::MessageParts parts;
    parts.head.timestamp_ns = std::numeric_limits<std::uint64_t>::max();
    parts.head.expires_ms = std::numeric_limits<std::uint32_t>::max();
    EXPECT_EQ(MessageView{parts}.timestamp(), TimePoint::max());
    EXPECT_EQ(MessageView{parts}.expires_at(), TimePoint::max());
    parts.head.timestamp_ns =
        static_cast<std::uint64_t>(TimePoint::max().time_since_epoch().count());
    EXPECT_EQ(MessageView{parts}.expires_at(), TimePoint::max());
}

TEST(Message, a_payload_for_a_type_loses_the_type_when_it_is_replaced) {
    detail::MessageParts parts;
    const std::string_view extension{"\x0a\x0c\0\1\0\0\0\0\0\0\0\4\0\0\0", 15};
    parts.head.flags = detail::kFlagTyped | detail::kFlagAligned64;
    parts.head.extension_bytes = 15;
    parts.head.payload_bytes = 4;
    parts.extension = extension.data();
    parts.payload = bytes_of("abcd").data();
    Message copy = MessageView{parts}.to_message();
    EXPECT_EQ(copy.type_tag(), (TypeTag{1, 4}));
    copy.set_payload(bytes_of("x"));
    EXPECT_EQ(copy.type_tag(), std::nullopt);
    EXPECT_EQ(copy.head().flags, 0);
}

}  // namespace
}  // namespace telpher

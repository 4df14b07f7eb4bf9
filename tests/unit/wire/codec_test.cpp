#include "src/wire/codec.hpp"

#include "tests/unit/wire/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace telpher::wire {
namespace {

using namespace std::chrono_literals;

TEST(Codec, a_common_text_message_has_the_bytes_of_the_format) {
    EXPECT_EQ(golden::to_hex(golden::encoded(Message::text("order", "2 espressos"))),
              golden::kText);
}

TEST(Codec, a_json_message_has_the_bytes_of_the_format) {
    EXPECT_EQ(golden::to_hex(golden::encoded(Message::json("order", R"({"item":"espresso"})"))),
              golden::kJson);
}

TEST(Codec, an_empty_payload_has_the_bytes_of_the_format) {
    EXPECT_EQ(golden::to_hex(golden::encoded(Message::bytes("t", "application/octet-stream", {}))),
              golden::kEmpty);
}

TEST(Codec, every_extension_field_has_the_bytes_of_the_format) {
    EXPECT_EQ(golden::to_hex(golden::encoded(golden::full())), golden::kFull);
}

TEST(Codec, builders_in_another_order_give_the_same_bytes) {
    Message message = Message::text("order", "text/html", "ISO-8859-1", "hi").with_timeout(1500ms);
    message.with_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    message.with_causation_id("k-2").with_correlation_id("longer than it will be");
    message.oneway().durable().expires_in(5s).with_destination("orders").reply_to("answers");
    message.with_correlation_id("c-1").with_request_id("17");
    EXPECT_EQ(golden::to_hex(golden::encoded(message)), golden::kFull);
}

TEST(Codec, attempt_and_no_retry_have_the_bytes_of_the_format) {
    Message message = Message::text("t", "x").with_request_id("17");
    const auto plain = golden::encoded(message);
    EXPECT_EQ(message.attempt(), 1U);
    EXPECT_FALSE(message.no_retry());
    message.with_attempt(3).with_no_retry();
    EXPECT_EQ(message.attempt(), 3U);
    EXPECT_TRUE(message.no_retry());
    const auto bytes = golden::encoded(message);
    EXPECT_EQ(golden::to_hex(bytes).substr(80, 32), "03020031370b0400030000000c010001");
    const auto view = decode(bytes);
    ASSERT_TRUE(view) << to_string(view.error());
    EXPECT_EQ(view->attempt(), 3U);
    EXPECT_TRUE(view->no_retry());
    EXPECT_EQ(view->request_id(), "17");
    EXPECT_EQ(golden::encoded(message.with_attempt(1).with_no_retry(false)), plain);
}

TEST(Codec, a_typed_aligned_loan_has_the_bytes_of_the_format) {
    const LoanPlan plan{.topic = "frames",
                        .payload_bytes = 4,
                        .type = TypeTag{0x1122334455667788U, 4},
                        .aligned64 = true};
    std::vector<std::byte> bytes(encoded_bytes(plan), std::byte{0xEE});
    const std::size_t payload_at = encode_loan(plan, bytes);
    EXPECT_EQ((payload_at + kChunkPrefixBytes) % 64, 0U);
    const std::uint32_t payload = 7;
    std::memcpy(bytes.data() + payload_at, &payload, sizeof payload);
    stamp_loan(bytes, golden::kStamp, sizeof payload);
    EXPECT_EQ(golden::to_hex(bytes), golden::kTyped);
    const auto view = decode(bytes);
    ASSERT_TRUE(view) << to_string(view.error());
    EXPECT_EQ(view->type_tag(), (TypeTag{0x1122334455667788U, 4}));
    EXPECT_EQ(view->payload().data(), bytes.data() + payload_at);
}

TEST(Codec, a_loan_may_use_less_than_it_planned) {
    const LoanPlan plan{.topic = "frames", .content = detail::kContentText, .payload_bytes = 100};
    std::vector<std::byte> bytes(encoded_bytes(plan));
    const std::size_t payload_at = encode_loan(plan, bytes);
    std::memcpy(bytes.data() + payload_at, "hello", 5);
    stamp_loan(bytes, golden::kStamp, 5);
    const auto view = decode(bytes);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->text(), "hello");
    EXPECT_EQ(view->id(), golden::kStamp.id);
    EXPECT_EQ(view->type(), MessageType::offer);
    EXPECT_EQ(view->size_bytes(), payload_at + 5);
}

// The loan lies in shared memory, where a buggy process may have written meanwhile.
TEST(Codec, a_loan_whose_header_was_scribbled_over_is_stamped_and_then_refused) {
    const LoanPlan plan{.topic = "frames", .payload_bytes = 100};
    for (const std::byte nonsense : {std::byte{0x00}, std::byte{0xFF}, std::byte{0x21}}) {
        std::vector<std::byte> bytes(encoded_bytes(plan));
        static_cast<void>(encode_loan(plan, bytes));
        std::fill(bytes.begin(), bytes.begin() + kHeadBytes, nonsense);
        stamp_loan(bytes, golden::kStamp, 100);
        const auto view = decode(bytes);
        EXPECT_TRUE(view || view.status() == Status::corrupt);
        EXPECT_TRUE(!view || view->size_bytes() <= bytes.size());
    }
}

TEST(Codec, every_golden_message_decodes_and_encodes_to_itself) {
    for (const std::string_view hex : golden::kAll) {
        const auto bytes = golden::from_hex(hex);
        const auto view = decode(bytes);
        ASSERT_TRUE(view) << hex;
        EXPECT_EQ(view->size_bytes(), bytes.size());
        EXPECT_EQ(encoded_bytes(*view), bytes.size());
        Stamp stamp{view->id(), view->head().timestamp_ns};
        std::vector<std::byte> again(bytes.size(), std::byte{0xEE});
        encode(*view, stamp, again);
        EXPECT_EQ(golden::to_hex(again), hex);
        EXPECT_EQ(golden::to_hex(golden::encoded(view->to_message(), stamp)), hex);
    }
}

TEST(Codec, decode_reads_every_field) {
    const auto bytes = golden::from_hex(golden::kFull);
    const auto view = decode(bytes);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->id(), golden::kStamp.id);
    EXPECT_EQ(view->type(), MessageType::offer);
    EXPECT_TRUE(view->is_oneway());
    EXPECT_TRUE(view->is_durable());
    EXPECT_EQ(view->response_status(), Status::none);
    EXPECT_EQ(view->timestamp_ms(), 1'700'000'000'000U);
    EXPECT_EQ(view->lifetime(), 5s);
    EXPECT_EQ(view->expires_at(), TimePoint{1'700'000'005s});
    EXPECT_FALSE(view->expired(TimePoint{1'700'000'004'999ms}));
    EXPECT_TRUE(view->expired(TimePoint{1'700'000'005s}));
    EXPECT_EQ(view->timeout(), 1500ms);
    EXPECT_EQ(view->request_id(), "17");
    EXPECT_EQ(view->topic(), "order");
    EXPECT_EQ(view->destination(), "orders");
    EXPECT_EQ(view->reply_to(), "answers");
    EXPECT_EQ(view->correlation_id(), "c-1");
    EXPECT_EQ(view->causation_id(), "k-2");
    EXPECT_EQ(view->traceparent(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    EXPECT_EQ(view->mimetype(), "text/html");
    EXPECT_EQ(view->charset(), "ISO-8859-1");
    EXPECT_EQ(view->text(), "hi");
    EXPECT_EQ(view->type_tag(), std::nullopt);
}

TEST(Codec, bytes_behind_the_message_are_not_part_of_it) {
    auto bytes = golden::from_hex(golden::kText);
    const std::size_t size = bytes.size();
    bytes.resize(size + 1000, std::byte{'x'});
    const auto view = decode(bytes);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->text(), "2 espressos");
    EXPECT_EQ(view->size_bytes(), size);
}

TEST(Codec, a_message_passed_on_keeps_the_end_of_its_life) {
    const auto bytes = golden::encoded(Message::text("order", "x").expires_in(5s));
    const Message polled = decode(bytes).value().to_message();
    const auto passed_on = [&](std::uint64_t later_ns) {
        const auto again =
            golden::encoded(polled, {golden::kStamp.id, golden::kStamp.timestamp_ns + later_ns});
        return decode(again).value().lifetime().value();
    };
    EXPECT_EQ(passed_on(2'000'000'000), 3s);
    EXPECT_EQ(passed_on(2'000'000'001), 3s);   // rounded up: never earlier than promised
    EXPECT_EQ(passed_on(9'000'000'000), 1ms);  // over, but 0 would mean for ever
    Message renewed = polled;
    renewed.expires_in(7s);
    const auto again =
        golden::encoded(renewed, {golden::kStamp.id, golden::kStamp.timestamp_ns + 1'000'000});
    EXPECT_EQ(decode(again).value().lifetime(), 7s);
}

// --- Random messages ---

struct Dice {
    std::mt19937_64 engine;

    std::size_t below(std::size_t limit) { return engine() % limit; }
    std::string text(std::size_t bytes_max) {
        std::string made(below(bytes_max + 1), ' ');
        for (char& byte : made) {
            byte = static_cast<char>(engine());
        }
        return made;
    }
    std::string name(std::size_t bytes_min, std::size_t bytes_max) {
        constexpr std::string_view kBytes = "abcxyzABCXYZ0189._/-";
        std::string made(bytes_min + below(bytes_max - bytes_min + 1), ' ');
        for (char& byte : made) {
            byte = kBytes[below(kBytes.size())];
        }
        return made;
    }
};

Message random_message(Dice& dice) {
    const std::string topic = dice.name(1, 100);
    const std::string payload = dice.text(dice.below(10) == 0 ? 5000 : 80);
    Message message;
    switch (dice.below(4)) {
        case 0:
            message = Message::text(topic, payload);
            break;
        case 1:
            message = Message::bytes(topic, "image/png", std::as_bytes(std::span(payload)));
            break;
        case 2:
            message = Message::text(topic, "text/csv", "UTF-16LE", payload);
            break;
        default:
            message = Message::bytes(
                topic, "application/octet-stream", std::as_bytes(std::span(payload)));
    }
    if (dice.below(2) == 0) {
        message.with_request_id(dice.text(255)).with_causation_id(dice.text(255));
    }
    if (dice.below(3) == 0) {
        message.reply_to(dice.name(1, 100)).with_correlation_id(dice.text(255));
    }
    if (dice.below(3) == 0) {
        message.with_destination(dice.name(1, 100)).with_traceparent(dice.name(0, 55));
    }
    if (dice.below(3) == 0) {
        message.with_timeout(std::chrono::milliseconds{dice.below(10'000)});
    }
    if (dice.below(3) == 0) {
        message.expires_in(std::chrono::milliseconds{1 + dice.below(1U << 31U)});
    }
    message.durable(dice.below(2) == 0).oneway(dice.below(2) == 0);
    return message.with_type(static_cast<MessageType>(dice.below(8)))
        .with_response_status(static_cast<Status>(dice.below(50)));
}

// Goal: what is encoded is what is decoded, in place and as a copy, whatever combination of fields.
TEST(Codec, random_messages_survive_the_round_trip) {
    constexpr std::uint64_t kSeed = 20240607;
    Dice dice{std::mt19937_64{kSeed}};
    for (int i = 0; i < 20'000; ++i) {
        SCOPED_TRACE("seed " + std::to_string(kSeed) + ", message " + std::to_string(i));
        const Message message = random_message(dice);
        ASSERT_TRUE(message.check()) << to_string(message.check().error());
        const Stamp stamp{{dice.engine(), dice.engine()}, dice.engine() >> 2U};
        const auto bytes = golden::encoded(message, stamp);
        const auto view = decode(bytes);
        ASSERT_TRUE(view) << to_string(view.error());
        ASSERT_EQ(view->id(), stamp.id);
        ASSERT_EQ(view->head().timestamp_ns, stamp.timestamp_ns);
        ASSERT_EQ(view->size_bytes(), bytes.size());
        const Message copy = view->to_message();
        auto sent = message.fields();
        auto received = copy.fields();
        for (std::size_t field = 0; field < sent.size(); ++field) {
            const std::string_view name = sent[field].name;
            if (name != "id" && name != "timestamp" && name != "expires-at") {
                ASSERT_EQ(to_string(sent[field].value), to_string(received[field].value)) << name;
            }
        }
        ASSERT_EQ(message.lifetime(), copy.lifetime());
        ASSERT_EQ(golden::encoded(copy, stamp), bytes);
    }
}

}  // namespace
}  // namespace telpher::wire

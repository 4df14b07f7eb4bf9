// Frames, bodies and parts: what is written is what PROTOCOL.md shows, what is read may be anything.

#include "src/wire/codec.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/frame_reader.hpp"
#include "tcp_bridge/part_assembler.hpp"
#include "tcp_bridge/send_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace telpher::bridge {
namespace {

FrameHead head_of(FrameType type, std::uint64_t correlation = 0, std::uint16_t channel = 0) {
    FrameHead head;
    head.type = type;
    head.correlation = correlation;
    head.channel = channel;
    return head;
}

Bytes encoded(const std::string& text) {
    const Message message = Message::text("t", text);
    Bytes bytes(wire::encoded_bytes(message));
    wire::encode(message, {{7, 9}, 11, MessageType::offer}, bytes);
    return bytes;
}

Bytes all_of(SendQueue& queue, std::size_t bytes_max = 1U << 30U) {
    Bytes out;
    while (!queue.empty()) {
        Bytes some;
        queue.take(some, bytes_max);
        out.insert(out.end(), some.begin(), some.end());
    }
    return out;
}

// ---- reader ------------------------------------------------------------------------------------

TEST(FrameReader, frames_come_out_whole_however_the_stream_is_cut) {
    SendQueue queue;
    for (std::uint64_t number = 1; number <= 20; ++number) {
        queue.push(head_of(FrameType::poll, number, 3), Bytes(number * 7, std::byte(number)));
    }
    const Bytes stream = all_of(queue);
    std::mt19937 random(20261121);
    for (const std::size_t most : {1U, 2U, 23U, 24U, 25U, 100U, 5000U}) {
        FrameReader reader;
        std::uint64_t next = 1;
        for (std::size_t at = 0; at < stream.size();) {
            const std::size_t bytes =
                std::min<std::size_t>(1 + random() % most, stream.size() - at);
            reader.append(std::span(stream).subspan(at, bytes));
            at += bytes;
            for (;;) {
                const auto frame = reader.next();
                ASSERT_TRUE(frame);
                if (!*frame) {
                    break;
                }
                EXPECT_EQ((*frame)->head.correlation, next);
                EXPECT_EQ((*frame)->body.size(), next * 7);
                ++next;
            }
        }
        EXPECT_EQ(next, 21U);
        EXPECT_EQ(reader.waiting(), 0U);
    }
}

TEST(FrameReader, lengths_are_checked_before_anything_is_kept_for_them) {
    for (const std::uint32_t length : {65'537U, 0x8000'0000U, 0xFFFF'FFFFU}) {
        FrameReader reader;
        reader.welcome();
        FrameHead head = head_of(FrameType::offer);
        head.length = length;
        reader.append(encode(head));
        EXPECT_EQ(reader.next().status(), Status::bad_request);
        EXPECT_EQ(reader.next().status(), Status::bad_request) << "and stays so";
    }
    FrameReader early;
    FrameHead head = head_of(FrameType::hello);
    head.length = 1025;
    early.append(encode(head));
    EXPECT_EQ(early.next().status(), Status::bad_request);
}

TEST(FrameReader, unknown_types_are_errors_unless_they_are_optional) {
    for (unsigned type = 0; type < 256; ++type) {
        FrameReader reader;
        reader.append(encode(head_of(static_cast<FrameType>(type))));
        reader.append(encode(head_of(FrameType::heartbeat)));
        const auto frame = reader.next();
        if (is_known(static_cast<FrameType>(type))) {
            ASSERT_TRUE(frame && *frame);
            EXPECT_EQ(static_cast<unsigned>((*frame)->head.type), type);
        } else if (type >= 0x80) {
            ASSERT_TRUE(frame && *frame) << "passed over";
            EXPECT_EQ((*frame)->head.type, FrameType::heartbeat);
        } else {
            EXPECT_EQ(frame.status(), Status::bad_request);
        }
    }
}

// ---- bodies ------------------------------------------------------------------------------------

Hello some_hello() {
    Hello hello;
    hello.heartbeat_ms = 1234;
    hello.capabilities = 5;
    hello.session.fill(std::byte{0xAB});
    hello.received = 77;
    hello.compress_from = 1024;
    hello.codecs = kCodecGzip | kCodecZstd;
    hello.name = "caf\xC3\xA9";
    return hello;
}

Welcome some_welcome() {
    Welcome welcome;
    welcome.codec = kCodecGzip;
    welcome.resumed = true;
    welcome.session.fill(std::byte{1});
    welcome.bridge.fill(std::byte{2});
    welcome.message_bytes_max = 20U << 20U;
    welcome.outstanding_max = 4096;
    welcome.grace_ms = 10'000;
    welcome.received = 78;
    welcome.domain = "cafe";
    return welcome;
}

Subscribe some_subscribe() {
    return {From::sequence(42), SlowSubscriber::block, {"prices.>", "news"}};
}

TEST(Bodies, come_back_as_they_were) {
    const Hello hello = decode_hello(encode(some_hello())).value();
    EXPECT_EQ(hello.heartbeat_ms, 1234U);
    EXPECT_EQ(hello.session, some_hello().session);
    EXPECT_EQ(hello.received, 77U);
    EXPECT_EQ(hello.compress_from, 1024);
    EXPECT_EQ(hello.codecs, 3);
    EXPECT_EQ(hello.name, "caf\xC3\xA9");

    const Welcome welcome = decode_welcome(encode(some_welcome())).value();
    EXPECT_TRUE(welcome.resumed);
    EXPECT_EQ(welcome.bridge, some_welcome().bridge);
    EXPECT_EQ(welcome.message_bytes_max, 20U << 20U);
    EXPECT_EQ(welcome.grace_ms, 10'000U);
    EXPECT_EQ(welcome.received, 78U);
    EXPECT_EQ(welcome.domain, "cafe");

    const Error error = decode_ending(encode(Ending{{Status::queue_full, 12, "no room"}}))->error;
    EXPECT_EQ(error.status, Status::queue_full);
    EXPECT_EQ(error.os_error, 12);
    EXPECT_EQ(error.detail, "no room");
    EXPECT_EQ(decode_ending({})->error.status, Status::ok);

    const Open open = decode_open(encode(Open{Kind::topic, "prices"})).value();
    EXPECT_EQ(open.kind, Kind::topic);
    EXPECT_EQ(open.name, "prices");
    EXPECT_EQ(decode_open(encode(Open{Kind::function, ""}))->name, "");

    const Subscribe subscribe = decode_subscribe(encode(some_subscribe())).value();
    EXPECT_EQ(subscribe.from.number, 42U);
    EXPECT_EQ(subscribe.slow, SlowSubscriber::block);
    EXPECT_EQ(subscribe.patterns, some_subscribe().patterns);
    EXPECT_FALSE(decode_subscribe(encode(Subscribe{{}, {}, {"a"}}))->slow);
}

// Every truncation, and every byte changed to every value: an error, or something in its limits.
template <typename Decode>
void torture(const Bytes& body, Decode&& decode) {
    for (std::size_t bytes = 0; bytes < body.size(); ++bytes) {
        static_cast<void>(decode(std::span(body).first(bytes)));
    }
    Bytes changed = body;
    for (std::byte& byte : changed) {
        const std::byte before = byte;
        for (int value = 0; value < 256; ++value) {
            byte = static_cast<std::byte>(value);
            static_cast<void>(decode(std::span<const std::byte>(changed)));
        }
        byte = before;
    }
}

TEST(Bodies, of_any_bytes_are_an_error_or_in_their_limits) {
    torture(encode(some_hello()), [](auto body) {
        const auto hello = decode_hello(body);
        return !hello || (hello->name.size() <= kClientNameBytesMax &&
                          hello->version_min <= hello->version_max);
    });
    torture(encode(some_welcome()), [](auto body) {
        const auto welcome = decode_welcome(body);
        EXPECT_TRUE(!welcome || welcome->domain.size() <= 100U);
        return true;
    });
    torture(encode(Ending{{Status::bad_request, 5, "text"}}), [](auto body) {
        const auto ending = decode_ending(body);
        EXPECT_TRUE(!ending || ending->error.detail.size() <= kDetailBytesMax);
        return true;
    });
    torture(encode(Open{Kind::queue, "orders"}),
            [](auto body) { return decode_open(body).has_value(); });
    torture(encode(some_subscribe()), [](auto body) {
        const auto subscribe = decode_subscribe(body);
        EXPECT_TRUE(!subscribe || subscribe->patterns.size() <= kPatternsMax);
        return true;
    });
}

TEST(Bodies, that_break_a_rule_are_named) {
    Hello hello = some_hello();
    hello.version_min = 2;
    EXPECT_NE(decode_hello(encode(hello)).error().detail.find("version_min"), std::string::npos);
    hello = some_hello();
    hello.name = "line\nbreak";
    EXPECT_EQ(decode_hello(encode(hello)).status(), Status::bad_request);
    EXPECT_EQ(decode_open(encode(Open{Kind::queue, ""})).status(), Status::bad_request);
    EXPECT_EQ(decode_open(encode(Open{Kind::queue, "a b"})).status(), Status::bad_request);
    EXPECT_EQ(decode_subscribe(encode(Subscribe{{}, {}, {}})).status(), Status::bad_request);
    EXPECT_EQ(decode_subscribe(encode(Subscribe{{}, {}, {"a.>.b"}})).status(), Status::bad_request);
    Bytes longer = encode(Open{Kind::queue, "orders"});
    longer.push_back(std::byte{0});
    EXPECT_EQ(decode_open(longer).status(), Status::bad_request);
    // A status of a later version, and a text that is too long or no UTF-8.
    Bytes later = encode(Ending{{Status::ok, 0, {}}});
    later[0] = std::byte{200};
    EXPECT_EQ(decode_ending(later)->error.status, Status::server_error);
    EXPECT_EQ(decode_ending(encode(Ending{{Status::closed, 0, std::string(5000, 'x')}}))
                  ->error.detail.size(),
              kDetailBytesMax);
    EXPECT_EQ(decode_ending(encode(Ending{{Status::closed, 0, "a\xFF"}}))->error.detail, "a");
}

// ---- parts -------------------------------------------------------------------------------------

// Puts everything together again that `stream` carries.
std::vector<Bytes> messages_of(const Bytes& stream, PartAssembler& parts) {
    FrameReader reader;
    reader.welcome();
    reader.append(stream);
    std::vector<Bytes> all;
    for (;;) {
        const auto frame = reader.next();
        EXPECT_TRUE(frame);
        if (!frame || !*frame) {
            return all;
        }
        Bytes storage;
        const auto whole = parts.add(**frame, storage);
        EXPECT_TRUE(whole) << to_string(whole.error());
        if (whole && *whole) {
            all.emplace_back((*whole)->begin(), (*whole)->end());
        }
    }
}

TEST(Parts, of_several_large_messages_and_small_frames_between_them) {
    SendQueue queue;
    const Bytes large = encoded(std::string(1'000'000, 'a'));
    const Bytes other = encoded(std::string(300'000, 'b'));
    const Bytes small = encoded("small");
    queue.push(head_of(FrameType::offer, 1, 1), large);
    queue.push(head_of(FrameType::offer, 2, 1), small);
    queue.push(head_of(FrameType::offer, 3, 2), other);
    queue.push(head_of(FrameType::offer, 4, 3), small);
    EXPECT_GE(queue.bytes(), large.size() + other.size());
    const Bytes stream = all_of(queue, 100'000);
    EXPECT_EQ(queue.bytes(), 0U);
    PartAssembler parts(2'000'000, 4'000'000);
    const auto all = messages_of(stream, parts);
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(all[0], small) << "of another channel, it waits for nothing";
    EXPECT_EQ(all[1], other);
    EXPECT_EQ(all[2], large);
    EXPECT_EQ(all[3], small) << "of the same channel, it stays behind";
    EXPECT_EQ(parts.bytes(), 0U);
}

TEST(Parts, sizes_around_the_limit_of_a_frame) {
    for (const std::size_t payload :
         {0U, 1U, 65'480U, 65'488U, 65'489U, 65'536U, 131'000U, 131'032U, 131'033U}) {
        SendQueue queue;
        const Bytes message = encoded(std::string(payload, 'x'));
        queue.push(head_of(FrameType::publish, 1, 1), message);
        PartAssembler parts(1U << 20U, 1U << 20U);
        const auto all = messages_of(all_of(queue), parts);
        ASSERT_EQ(all.size(), 1U);
        EXPECT_EQ(all[0], message) << payload;
    }
}

TEST(Parts, that_announce_too_much_or_lie_are_refused) {
    const Bytes message = encoded(std::string(200'000, 'x'));
    const auto part = [&](std::size_t from, std::size_t bytes, bool more) {
        Frame frame{head_of(FrameType::offer, 1, 1), std::span(message).subspan(from, bytes)};
        frame.head.flags = more ? kFlagMore : 0;
        return frame;
    };
    Bytes storage;
    PartAssembler small(100'000, 1U << 20U);
    EXPECT_EQ(small.add(part(0, kBodyBytesMax, true), storage).status(), Status::message_too_large);
    PartAssembler poor(1U << 20U, 100'000);
    EXPECT_EQ(poor.add(part(0, kBodyBytesMax, true), storage).status(), Status::overloaded);
    PartAssembler parts(1U << 20U, 4U << 20U);
    EXPECT_EQ(parts.add(part(0, 30, true), storage).status(), Status::bad_request) << "no header";
    ASSERT_TRUE(parts.add(part(0, kBodyBytesMax, true), storage));
    EXPECT_EQ(parts.add(part(kBodyBytesMax, 100, true), storage).status(), Status::bad_request)
        << "short";
    PartAssembler early(1U << 20U, 4U << 20U);
    ASSERT_TRUE(early.add(part(0, kBodyBytesMax, true), storage));
    EXPECT_EQ(early.add(part(kBodyBytesMax, 100, false), storage).status(), Status::bad_request)
        << "ends early";
    PartAssembler many(1U << 20U, 100U << 20U);
    for (std::uint64_t i = 0; i < kPartsMax; ++i) {
        Frame frame = part(0, kBodyBytesMax, true);
        frame.head.correlation = i;
        ASSERT_TRUE(many.add(frame, storage));
    }
    Frame frame = part(0, kBodyBytesMax, true);
    frame.head.correlation = 1000;
    EXPECT_EQ(many.add(frame, storage).status(), Status::bad_request);
}

TEST(Parts, of_a_compressed_message_tell_nothing_of_how_many_bytes_it_may_become) {
    constexpr std::size_t kMessageBytesMax = std::size_t{250} << 20U;
    const auto body_of = [](std::uint32_t raw_bytes) {
        Bytes body(300'000, std::byte{7});
        const std::array<std::byte, 4> codec{std::byte{kCodecGzip}};
        std::memcpy(body.data(), codec.data(), codec.size());
        std::memcpy(body.data() + codec.size(), &raw_bytes, sizeof raw_bytes);
        return body;
    };
    const auto add = [](PartAssembler& parts, const Bytes& body, Bytes& storage) {
        Result<std::optional<std::span<const std::byte>>> whole{std::in_place};
        for (std::size_t at = 0; at < body.size() && whole; at += kBodyBytesMax) {
            const std::size_t bytes = std::min(kBodyBytesMax, body.size() - at);
            Frame frame{head_of(FrameType::offer, 1, 1), std::span(body).subspan(at, bytes)};
            const bool more = at + bytes < body.size();
            frame.head.flags = static_cast<std::uint8_t>(kFlagCompressed | (more ? kFlagMore : 0));
            whole = parts.add(frame, storage);
        }
        return whole;
    };
    Bytes storage;
    // 800 times as long as the whole, 3,600 times as long as the first part.
    PartAssembler parts(kMessageBytesMax, 2 * kMessageBytesMax);
    const Bytes dense = body_of(240'000'000);
    const auto whole = add(parts, dense, storage);
    ASSERT_TRUE(whole && *whole) << to_string(whole.error());
    EXPECT_TRUE(std::ranges::equal(**whole, dense));
    EXPECT_EQ(parts.bytes(), 0U);
    EXPECT_EQ(add(parts, body_of(260U << 20U), storage).status(), Status::message_too_large);
    EXPECT_EQ(add(parts, body_of(1000), storage).status(), Status::bad_request)
        << "longer than raw";
}

}  // namespace
}  // namespace telpher::bridge

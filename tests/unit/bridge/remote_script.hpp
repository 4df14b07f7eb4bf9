#pragma once
// A remote session without a socket, and the bridge's end of its stream: what a test lets it say and hear.

#include "src/wire/codec.hpp"
#include "tcp_bridge/remote_session.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace telpher::bridge {

inline constexpr std::uint64_t kSecond = 1'000'000'000;

struct Heard final : Waiter {
    bool claim() noexcept override { return wanted; }
    [[nodiscard]] bool confirms_at_once() const noexcept override { return at_once; }
    void answer(Answer answer) noexcept override {
        ++answers;
        last = std::move(answer);
    }
    void let_go() noexcept override { ++let_gos; }
    [[nodiscard]] Status status() const { return last.error.status; }

    bool wanted = true;
    bool at_once = true;
    int answers = 0;
    int let_gos = 0;
    Answer last{};
};

struct Samples final : SampleSink {
    void sample(Answer answer, std::uint64_t lost) noexcept override {
        numbers.push_back(answer.value);
        losses.push_back(lost);
    }
    void wake() noexcept override {}
    void ended(const Error& error) noexcept override { why = error; }
    std::vector<std::uint64_t> numbers;
    std::vector<std::uint64_t> losses;
    Error why{};
};

struct Sent {
    FrameHead head;
    Bytes body;
};

inline Bytes message(std::size_t payload_bytes, std::string_view topic = "t") {
    const Message text = Message::text(topic, std::string(payload_bytes, 'x'));
    Bytes bytes(wire::encoded_bytes(text));
    wire::encode(text, {MessageId{1, 2}, 3, MessageType::offer}, bytes);
    return bytes;
}

// A session, and the bridge's end of its stream.
struct Script {
    void connect(bool resumed = false, std::uint64_t received = 0) {
        session.connected(now);
        Welcome welcome;
        welcome.resumed = resumed;
        welcome.session[0] = std::byte{7};
        welcome.heartbeat_ms = 1000;
        welcome.message_bytes_max = 1U << 20U;
        welcome.outstanding_max = 100;
        welcome.received = received;
        welcome.domain = "cafe";
        const auto hello = sent();
        ASSERT_EQ(hello.size(), 1U);
        EXPECT_EQ(hello[0].head.type, FrameType::hello);
        last_hello = decode_hello(hello[0].body).value();
        ASSERT_TRUE(say(FrameType::welcome, 0, 0, encode(welcome)));
        ASSERT_TRUE(session.up());
    }
    // What the session wants to say, read as the bridge does.
    std::vector<Sent> sent() {
        Bytes bytes;
        while (session.has_output()) {
            Bytes some;
            session.take(some, now);
            bytes.insert(bytes.end(), some.begin(), some.end());
        }
        std::span<const std::byte> left = bytes;
        if (left.size() >= kPreface.size() && left[0] == std::byte{'t'} &&
            left[1] == std::byte{'l'}) {
            left = left.subspan(kPreface.size());
        }
        FrameReader reader;
        reader.welcome();
        reader.append(left);
        std::vector<Sent> frames;
        for (auto frame = reader.next(); frame && *frame; frame = reader.next()) {
            frames.push_back({(*frame)->head, Bytes((*frame)->body.begin(), (*frame)->body.end())});
        }
        return frames;
    }
    // A frame from the bridge, byte by byte.
    Result<void> say(FrameHead head, const Bytes& body) {
        head.length = static_cast<std::uint32_t>(body.size());
        const auto bytes = encode(head);
        Bytes all(bytes.begin(), bytes.end());
        all.insert(all.end(), body.begin(), body.end());
        Result<void> good;
        for (std::size_t i = 0; i < all.size() && good; ++i) {
            session.reader().append(std::span(all).subspan(i, 1));
            good = session.received(now);
        }
        run();
        return good;
    }
    Result<void> say(FrameType type,
                     std::uint64_t correlation,
                     std::uint64_t argument = 0,
                     const Bytes& body = {},
                     std::uint16_t channel = 0) {
        FrameHead head;
        head.type = type;
        head.correlation = correlation;
        head.argument = argument;
        head.channel = channel;
        return say(head, body);
    }
    void run() {
        Events events = session.take_events();
        bridge::run(events);
    }
    std::uint16_t open_queue() {
        const std::uint16_t channel = session.open({Kind::queue, "q"}, kSecond, &opened, now);
        const auto frames = sent();
        EXPECT_EQ(frames.back().head.type, FrameType::open);
        EXPECT_TRUE(say(FrameType::result, frames.back().head.correlation, 1024));
        EXPECT_EQ(opened.last.value, 1024U);
        return channel;
    }
    Ticket begin(FrameType type,
                 std::uint16_t channel,
                 Heard& heard,
                 Bytes body = {},
                 std::uint64_t timeout = kSecond) {
        Request request;
        request.head.type = type;
        request.head.channel = channel;
        request.body = std::move(body);
        request.timeout_ns = timeout;
        const Ticket ticket = session.begin(std::move(request), &heard, now);
        run();
        return ticket;
    }

    std::uint64_t now = 1000 * kSecond;
    RemoteSession session{"test"};
    Heard opened;
    Hello last_hello;
};

}  // namespace telpher::bridge

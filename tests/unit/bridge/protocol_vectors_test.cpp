// The bytes that PROTOCOL.md shows are the bytes that are written, and are read as what they stand for.

#include "src/wire/codec.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/commands.hpp"
#include "tcp_bridge/frame_reader.hpp"
#include "tcp_bridge/send_queue.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iomanip>
#include <map>
#include <sstream>
#include <string>

namespace telpher::bridge {
namespace {

// "    vector NAME", then lines of hexadecimal bytes until an empty one.
std::map<std::string, Bytes> read_vectors() {
    std::ifstream file(TELPHER_SOURCE_DIR "/tcp_bridge/PROTOCOL.md");
    std::map<std::string, Bytes> all;
    std::string line;
    std::string name;
    constexpr std::string_view kMark = "    vector ";
    while (std::getline(file, line)) {
        if (line.starts_with(kMark)) {
            name = line.substr(kMark.size());
        } else if (line.empty()) {
            name.clear();
        } else if (!name.empty()) {
            std::istringstream words(line);
            for (std::string word; words >> word;) {
                all[name].push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
            }
        }
    }
    return all;
}

// As PROTOCOL.md shows them.
std::string hex(const Bytes& bytes) {
    std::ostringstream out;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        out << (i % 24 == 0 ? "\n       " : "") << ' ' << std::hex << std::setw(2)
            << std::setfill('0') << std::to_integer<int>(bytes[i]);
    }
    return out.str();
}

class ProtocolVectors : public testing::Test {
  protected:
    void expect(const std::string& name, FrameHead head, const Bytes& body = {}) {
        SendQueue queue;
        queue.push(head, body);
        Bytes bytes;
        queue.take(bytes, 1U << 20U);
        const auto known = vectors_.find(name);
        ASSERT_NE(known, vectors_.end()) << name << " is not in PROTOCOL.md";
        EXPECT_EQ(bytes, known->second) << name << hex(bytes);
        // And back.
        FrameReader reader;
        reader.append(known->second);
        const auto frame = reader.next();
        ASSERT_TRUE(frame && *frame) << name;
        EXPECT_EQ((*frame)->head.type, head.type);
        EXPECT_EQ((*frame)->head.correlation, head.correlation);
        EXPECT_EQ((*frame)->head.argument, head.argument);
        EXPECT_EQ(Bytes((*frame)->body.begin(), (*frame)->body.end()), body);
        vectors_.erase(known);
    }
    static FrameHead head(FrameType type,
                          std::uint16_t channel,
                          std::uint64_t correlation,
                          std::uint64_t argument,
                          std::uint8_t flags = 0) {
        return {0, type, flags, channel, correlation, argument};
    }
    static SessionId counting(int first) {
        SessionId id{};
        for (std::byte& byte : id) {
            byte = static_cast<std::byte>(first++);
        }
        return id;
    }
    std::map<std::string, Bytes> vectors_ = read_vectors();
};

TEST_F(ProtocolVectors, are_what_is_written_and_read) {
    const Bytes preface = vectors_["preface"];
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(preface.data()), preface.size()), kPreface);
    vectors_.erase("preface");

    constexpr std::uint64_t kSecond = 1'000'000'000;
    Hello hello;
    hello.name = "test";
    expect("HELLO", head(FrameType::hello, 0, 0, 0), encode(hello));
    Welcome welcome;
    welcome.session = counting(0);
    welcome.bridge = counting(16);
    welcome.message_bytes_max = 20U << 20U;
    welcome.outstanding_max = 4096;
    welcome.grace_ms = 10'000;
    welcome.domain = "cafe";
    expect("WELCOME", head(FrameType::welcome, 0, 0, 0), encode(welcome));
    expect("REFUSED",
           head(FrameType::refused, 0, 0, 0),
           encode(Ending{{Status::limit_reached, 0, "full"}}));
    expect("OPEN", head(FrameType::open, 1, 1, kSecond), encode(Open{Kind::queue, "orders"}));
    expect("RESULT", head(FrameType::result, 0, 1, 100));
    expect("RESULT queue_full",
           head(FrameType::result, 0, 2, 0),
           encode(Ending{{Status::queue_full, 0, {}}}));
    expect("POLL", head(FrameType::poll, 1, 3, kSecond));
    expect("WATCH", head(FrameType::watch, 1, 6, kSecond), {std::byte{1}});
    expect("CONFIRM", head(FrameType::confirm, 0, 3, 0));
    expect("SUBSCRIBE",
           head(FrameType::subscribe, 2, 4, 64),
           encode(Subscribe{From::sequence(42), {}, {"prices.>", "news"}}));
    expect("HEARTBEAT", head(FrameType::heartbeat, 0, 0, 5));
    expect("GOODBYE",
           head(FrameType::goodbye, 0, 0, 0),
           encode(Ending{{Status::closed, 0, "the bridge ends"}}));

    const Message message = Message::text("t", "hello");
    Bytes bytes(wire::encoded_bytes(message));
    wire::encode(
        message, {{0x1122334455667788, 9}, 1'700'000'000 * kSecond, MessageType::offer}, bytes);
    expect("OFFER", head(FrameType::offer, 1, 2, 300'000'000), bytes);
    expect("DELIVERY", head(FrameType::delivery, 1, 3, 7), bytes);
    expect("SAMPLE", head(FrameType::sample, 2, 3, 45), bytes);
    expect("CALL oneway", head(FrameType::call, 0, 5, kSecond, kFlagOneway), bytes);
    FieldWriter arguments;
    arguments.field(std::string("orders"));
    const Message command = command_message(commands::kExists, arguments);
    Bytes asks(wire::encoded_bytes(command));
    wire::encode(
        command, {{0x1122334455667788, 9}, 1'700'000'000 * kSecond, MessageType::request}, asks);
    expect("COMMAND", head(FrameType::command, 0, 6, 0), asks);
    for (const auto& [name, unused] : vectors_) {
        ADD_FAILURE() << name << " is checked nowhere";
    }
}

}  // namespace
}  // namespace telpher::bridge

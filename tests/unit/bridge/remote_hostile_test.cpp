// What a bridge must not say to a remote session, and noise.

#include "tests/unit/bridge/remote_script.hpp"

namespace telpher::bridge {
namespace {

TEST(RemoteSessionHostile, whatever_is_wrong_from_the_bridge_ends_the_stream) {
    struct Bad {
        const char* name;
        FrameHead head;
        Bytes body;
    };
    const auto head = [](FrameType type, std::uint64_t correlation, std::uint8_t flags = 0) {
        FrameHead made;
        made.type = type;
        made.correlation = correlation;
        made.flags = flags;
        return made;
    };
    Bytes broken = message(10);
    broken.pop_back();
    Bytes longer = message(10);
    longer.push_back({});
    const std::vector<Bad> all = {
        {"unknown type", head(FrameType{99}, 0), {}},
        {"a client's frame", head(FrameType::offer, 2), message(1)},
        {"a second WELCOME", head(FrameType::welcome, 0), encode(Welcome{})},
        {"compressed", head(FrameType::delivery, 2, kFlagCompressed), message(1)},
        {"RESULT in parts", head(FrameType::result, 2, kFlagMore), {}},
        {"answer to nothing", head(FrameType::result, 77), {}},
        {"answer without a number", head(FrameType::result, 0), {}},
        {"DELIVERY for an offer", head(FrameType::delivery, 3), message(1)},
        {"RESULT ok for a poll", head(FrameType::result, 2), {}},
        {"message cut short", head(FrameType::delivery, 2), broken},
        {"something behind the message", head(FrameType::delivery, 2), longer},
        {"no message", head(FrameType::delivery, 2), {}},
        {"short part", head(FrameType::delivery, 2, kFlagMore), message(10)},
        {"SAMPLE without subscription", head(FrameType::sample, 0), message(1)},
        {"broken ending", head(FrameType::result, 2), Bytes(3)},
        {"COMMAND", head(FrameType::command, 2), {}},
    };
    for (const Bad& bad : all) {
        SCOPED_TRACE(bad.name);
        Script script;
        script.connect();
        const auto queue = script.open_queue();
        Heard poll;
        Heard offer;
        script.begin(FrameType::poll, queue, poll);
        script.begin(FrameType::offer, queue, offer, message(1));
        static_cast<void>(script.sent());
        const auto good = script.say(bad.head, bad.body);
        EXPECT_EQ(good.status(), Status::disconnected);
        EXPECT_NE(good.error().detail.find("broke the protocol"), std::string::npos);
        const auto goodbye = script.sent();
        ASSERT_FALSE(goodbye.empty());
        EXPECT_EQ(goodbye.back().head.type, FrameType::goodbye);
        EXPECT_EQ(decode_ending(goodbye.back().body).value().error.status, Status::bad_request);
        script.session.cut(good.error());
        script.run();
        EXPECT_EQ(offer.status(), Status::disconnected);
        EXPECT_EQ(offer.let_gos, 1);
        EXPECT_EQ(poll.let_gos, 0);  // it took no message: it goes on with the next bridge
    }
}

TEST(RemoteSessionHostile, what_comes_behind_the_end_of_a_subscription_is_heard_by_nobody) {
    Script script;
    script.connect();
    Heard subscribed;
    const auto sink = std::make_shared<Samples>();
    const auto channel =
        script.session.subscribe({.patterns = {"t"}}, sink, &subscribed, script.now);
    const auto frames = script.sent();
    ASSERT_TRUE(script.say(FrameType::result, frames.back().head.correlation));
    ASSERT_TRUE(script.say(FrameType::end, 0, 0, encode(Ending{{Status::closed, 0, {}}}), channel));
    EXPECT_EQ(sink->why.status, Status::closed);
    static_cast<void>(script.say(FrameType::end, 0, 0, {}, channel));
    static_cast<void>(script.say(FrameType::sample, 0, 1, message(1), channel));
    EXPECT_TRUE(sink->numbers.empty());
}

// Goal: no bytes of a bridge make the session crash, loop or keep what it should not (run it under ASan).
TEST(RemoteSessionNoise, random_bytes_end_the_stream_or_nothing) {
    std::uint64_t state = 1;
    const auto random = [&state] {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        return state >> 33U;
    };
    for (int round = 0; round < 2000; ++round) {
        Script script;
        script.connect();
        const auto queue = script.open_queue();
        Heard poll;
        script.begin(FrameType::poll, queue, poll);
        FrameHead head;
        head.type = static_cast<FrameType>(random() % 45);
        head.flags = static_cast<std::uint8_t>(random() % 4);
        head.channel = static_cast<std::uint16_t>(random() % 3);
        head.correlation = random() % 4;
        head.argument = random() % 3;
        Bytes body = message(random() % 50);
        body[random() % body.size()] = static_cast<std::byte>(random());
        static_cast<void>(script.say(head, body));
        script.session.end({Status::closed, 0, {}});
        script.run();
        EXPECT_EQ(poll.let_gos, 1);
    }
}

}  // namespace
}  // namespace telpher::bridge

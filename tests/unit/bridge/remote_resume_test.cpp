// A subscription whose answer was lost in a cut.

#include "tests/unit/bridge/remote_script.hpp"

namespace telpher::bridge {
namespace {

TEST(RemoteSessionResume, a_subscription_that_the_bridge_has_begun_is_granted_anew) {
    Script script;
    script.connect();
    auto sink = std::make_shared<Samples>();
    Heard subscribed;
    Subscribe what;
    what.patterns = {"news"};
    const auto news = script.session.subscribe(what, sink, &subscribed, script.now);
    ASSERT_EQ(script.sent().size(), 1U);
    script.session.cut({Status::disconnected, 0, "cut"});
    script.connect(true, 1);
    const auto frames = script.sent();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].head.type, FrameType::credit);
    EXPECT_EQ(frames[0].head.channel, news);
    EXPECT_EQ(frames[0].head.argument, 256U);
    ASSERT_TRUE(script.say(FrameType::result, 1));
    EXPECT_EQ(subscribed.answers, 1);
}

TEST(RemoteSessionResume, a_subscription_that_never_arrived_is_sent_again) {
    Script script;
    script.connect();
    Heard subscribed;
    Subscribe what;
    what.patterns = {"news"};
    script.session.subscribe(what, std::make_shared<Samples>(), &subscribed, script.now);
    static_cast<void>(script.sent());
    script.session.cut({Status::disconnected, 0, "cut"});
    script.connect(true, 0);
    const auto frames = script.sent();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].head.type, FrameType::subscribe);
    EXPECT_EQ(frames[0].head.argument, 256U);
}

// It is sent again as one that does not wait; whoever gave it time hears that this is over.
TEST(RemoteSessionResume, what_is_sent_again_when_its_time_is_over_has_timed_out) {
    for (const FrameType type : {FrameType::poll, FrameType::offer}) {
        Script script;
        script.connect();
        const auto queue = script.open_queue();
        const bool poll = type == FrameType::poll;
        Heard waited;
        Heard at_once;
        script.begin(type, queue, waited, poll ? Bytes{} : message(1), kSecond);
        script.begin(type, queue, at_once, poll ? Bytes{} : message(1), 0);
        static_cast<void>(script.sent());
        script.session.cut({Status::disconnected, 0, "cut"});
        script.now += 2 * kSecond;
        script.connect(true, 1);
        const auto frames = script.sent();
        ASSERT_EQ(frames.size(), 2U);
        EXPECT_EQ(frames[0].head.argument, 0U);
        const Bytes ending =
            encode(Ending{{poll ? Status::queue_empty : Status::queue_full, 0, ""}});
        ASSERT_TRUE(script.say(FrameType::result, 2, 0, ending));
        ASSERT_TRUE(script.say(FrameType::result, 3, 0, ending));
        EXPECT_EQ(waited.status(), Status::timed_out);
        EXPECT_EQ(at_once.status(), poll ? Status::queue_empty : Status::queue_full);
    }
}

}  // namespace
}  // namespace telpher::bridge

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

}  // namespace
}  // namespace telpher::bridge

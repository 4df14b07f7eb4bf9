// The remote session without a socket: scripted frames, one byte at a time, time as the test says.

#include "tests/unit/bridge/remote_script.hpp"

#include <array>
#include <set>

namespace telpher::bridge {
namespace {

class RemoteSessionTest : public testing::Test, public Script {};

TEST_F(RemoteSessionTest, answers_come_in_any_order) {
    connect();
    const auto queue = open_queue();
    Heard offer;
    Heard poll;
    begin(FrameType::offer, queue, offer, message(10));
    begin(FrameType::poll, queue, poll);
    const auto frames = sent();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].head.type, FrameType::offer);
    EXPECT_EQ(frames[0].head.argument, kSecond);
    EXPECT_EQ(frames[1].head.correlation, 3U);
    ASSERT_TRUE(say(FrameType::delivery, 3, 9, message(20)));
    EXPECT_EQ(poll.last.value, 9U);
    EXPECT_EQ(poll.last.view.text(), std::string(20, 'x'));
    EXPECT_EQ(offer.answers, 0);
    ASSERT_TRUE(say(FrameType::result, 2, 0, encode(Ending{{Status::queue_full, 0, "full"}})));
    EXPECT_EQ(offer.status(), Status::queue_full);
    EXPECT_EQ(offer.last.error.detail, "full");
    EXPECT_EQ(offer.let_gos + poll.let_gos, 2);
    const auto confirm = sent();
    ASSERT_EQ(confirm.size(), 1U);
    EXPECT_EQ(confirm[0].head.type, FrameType::confirm);
    EXPECT_EQ(confirm[0].head.correlation, 3U);
}

TEST_F(RemoteSessionTest, parts_go_and_come) {
    connect();
    const auto queue = open_queue();
    Heard offer;
    Heard second;
    Heard poll;
    const Bytes large = message(150'000);
    begin(FrameType::offer, queue, offer, large);
    begin(FrameType::offer, queue, second, message(10));
    begin(FrameType::poll, queue, poll);
    Bytes joined;
    std::vector<std::uint64_t> firsts;
    for (const Sent& frame : sent()) {
        if (firsts.empty() || firsts.back() < frame.head.correlation) {
            firsts.push_back(frame.head.correlation);
        }
        if (frame.head.correlation == 2) {
            joined.insert(joined.end(), frame.body.begin(), frame.body.end());
        }
    }
    EXPECT_EQ(joined, large);
    EXPECT_EQ(firsts, (std::vector<std::uint64_t>{2, 3, 4}));
    FrameHead head;
    head.type = FrameType::delivery;
    head.correlation = 4;
    for (std::size_t at = 0; at < large.size(); at += kBodyBytesMax) {
        const auto part = std::span(large).subspan(at, std::min(kBodyBytesMax, large.size() - at));
        head.flags = at + part.size() < large.size() ? kFlagMore : 0;
        ASSERT_TRUE(say(head, Bytes(part.begin(), part.end())));
    }
    EXPECT_EQ(poll.last.view.payload().size(), 150'000U);
}

TEST_F(RemoteSessionTest, a_delivery_that_nobody_wants_is_put_back) {
    connect();
    const auto queue = open_queue();
    Heard given_up;
    Heard late;
    const Ticket ticket = begin(FrameType::poll, queue, given_up);
    begin(FrameType::poll, queue, late);
    static_cast<void>(sent());
    session.abandon(ticket);
    late.wanted = false;  // cancelled this moment
    const auto cancel = sent();
    ASSERT_EQ(cancel.size(), 1U);
    EXPECT_EQ(cancel[0].head.type, FrameType::cancel);
    EXPECT_EQ(cancel[0].head.correlation, 2U);
    ASSERT_TRUE(say(FrameType::delivery, 2, 1, message(1)));
    ASSERT_TRUE(say(FrameType::delivery, 3, 2, message(1)));
    const auto back = sent();
    ASSERT_EQ(back.size(), 2U);
    EXPECT_EQ(back[0].head.type, FrameType::put_back);
    EXPECT_EQ(back[1].head.type, FrameType::put_back);
    EXPECT_EQ(given_up.answers + late.answers, 0);
    EXPECT_EQ(given_up.let_gos + late.let_gos, 2);
}

TEST_F(RemoteSessionTest, time_ends_what_the_bridge_does_not_answer) {
    connect();
    const auto queue = open_queue();
    Heard poll;
    Heard offer;
    begin(FrameType::poll, queue, poll);
    begin(FrameType::offer, queue, offer, message(1));
    static_cast<void>(sent());
    now += kSecond;
    ASSERT_TRUE(say(FrameType::heartbeat, 0));
    ASSERT_TRUE(session.tick(now));
    EXPECT_EQ(poll.answers, 0);  // the bridge has its grace
    now += kSecond + 1;
    ASSERT_TRUE(say(FrameType::heartbeat, 0));
    ASSERT_TRUE(session.tick(now));
    run();
    EXPECT_EQ(poll.status(), Status::timed_out);
    EXPECT_EQ(offer.status(), Status::disconnected);
}

TEST_F(RemoteSessionTest, heartbeats_go_and_silence_ends_the_stream) {
    connect();
    EXPECT_LE(session.next_tick(), now + kSecond);
    now += kSecond;
    ASSERT_TRUE(session.tick(now));
    const auto frames = sent();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].head.type, FrameType::heartbeat);
    now += 2 * kSecond;
    EXPECT_EQ(session.tick(now).status(), Status::disconnected);
}

TEST_F(RemoteSessionTest, answers_behind_a_long_poll_are_acknowledged_as_ranges) {
    connect();
    const auto queue = open_queue();
    Heard poll;
    begin(FrameType::poll, queue, poll);
    std::vector<Heard> offers(80);
    std::vector<Sent> acks;
    for (std::size_t i = 0; i < offers.size(); ++i) {
        begin(FrameType::offer, queue, offers[i], message(1));
        ASSERT_TRUE(say(FrameType::result, 3 + i, i + 1));
        for (Sent& frame : sent()) {
            if (frame.head.type == FrameType::ack) {
                acks.push_back(std::move(frame));
            }
        }
    }
    ASSERT_FALSE(acks.empty());
    EXPECT_EQ(acks.back().head.argument, 1U);
    ASSERT_EQ(acks.back().body.size(), 16U);
    EXPECT_EQ(acks.back().body[0], std::byte{3});
}

TEST_F(RemoteSessionTest, no_more_than_outstanding_max_are_unanswered) {
    connect();
    const auto queue = open_queue();
    std::vector<Heard> polls(150);
    for (Heard& poll : polls) {
        begin(FrameType::poll, queue, poll);
    }
    const auto count_polls = [this] {
        std::size_t count = 0;
        for (const Sent& frame : sent()) {
            count += frame.head.type == FrameType::poll ? 1U : 0U;
        }
        return count;
    };
    EXPECT_EQ(count_polls(), 100U);
    ASSERT_TRUE(say(FrameType::delivery, 2, 1, message(1)));
    EXPECT_EQ(count_polls(), 1U);
}

// Goal: cut where `arrived` of six operations have reached the bridge and `answered` of those answers have
// reached us: what is sent again is what the bridge has not, in order, and each is answered once.
void cut_and_resume(std::uint64_t arrived, std::uint64_t answered) {
    SCOPED_TRACE("arrived " + std::to_string(arrived) + ", answered " + std::to_string(answered));
    constexpr std::uint64_t kOperations = 6;
    Script script;
    script.connect();
    const auto queue = script.open_queue();
    std::vector<Heard> heard(kOperations);
    for (std::uint64_t i = 0; i < kOperations; ++i) {
        const bool poll = i % 2 == 1;
        script.begin(poll ? FrameType::poll : FrameType::offer,
                     queue,
                     heard[i],
                     poll ? Bytes{} : message(i));
    }
    static_cast<void>(script.sent());
    const auto answer = [&](std::uint64_t i) {
        return i % 2 == 1 ? script.say(FrameType::delivery, i + 2, i, message(1))
                          : script.say(FrameType::result, i + 2, i);
    };
    for (std::uint64_t i = 0; i < answered; ++i) {
        ASSERT_TRUE(answer(i));
    }
    static_cast<void>(script.sent());  // CONFIRMs, lost in the cut
    script.session.cut({Status::disconnected, 0, "cut"});
    script.connect(true, arrived + 1);
    EXPECT_EQ(script.last_hello.received, answered + 1);
    EXPECT_EQ(script.last_hello.session[0], std::byte{7});
    std::vector<std::uint64_t> again;
    std::set<std::uint64_t> confirmed;
    for (const Sent& frame : script.sent()) {
        if (frame.head.type == FrameType::confirm) {
            confirmed.insert(frame.head.correlation);
        } else {
            again.push_back(frame.head.correlation);
        }
    }
    std::vector<std::uint64_t> expected;
    for (std::uint64_t i = arrived; i < kOperations; ++i) {
        expected.push_back(i + 2);
    }
    EXPECT_EQ(again, expected);
    // The last CONFIRM of those before has no proof that it came.
    if (answered >= 2) {
        EXPECT_TRUE(confirmed.contains(answered % 2 == 0 ? answered + 1 : answered));
    }
    // The bridge says again what it said, perhaps; once more does no harm.
    for (std::uint64_t i = answered > 0 ? answered - 1 : 0; i < kOperations; ++i) {
        ASSERT_TRUE(answer(i));
    }
    for (const Heard& one : heard) {
        EXPECT_EQ(one.answers, 1);
        EXPECT_EQ(one.let_gos, 1);
        EXPECT_EQ(one.status(), Status::ok);
    }
}

TEST(RemoteSessionCut, resumes_after_a_cut_at_any_frame) {
    for (std::uint64_t arrived = 0; arrived <= 6; ++arrived) {
        for (std::uint64_t answered = 0; answered <= arrived; ++answered) {
            cut_and_resume(arrived, answered);
        }
    }
}

TEST_F(RemoteSessionTest, a_new_session_ends_what_was_sent_and_opens_again) {
    connect();
    const auto queue = open_queue();
    auto sink = std::make_shared<Samples>();
    Heard subscribed;
    Subscribe what;
    what.patterns = {"news"};
    const auto news = session.subscribe(what, sink, &subscribed, now);
    ASSERT_EQ(sent().size(), 1U);
    ASSERT_TRUE(say(FrameType::result, 2));
    ASSERT_TRUE(say(FrameType::sample, 0, 41, message(1, "news"), news));
    Heard offer;
    begin(FrameType::offer, queue, offer, message(1));
    Heard poll;
    begin(FrameType::poll, queue, poll);
    static_cast<void>(sent());
    session.cut({Status::disconnected, 0, "cut"});
    Heard later;
    begin(FrameType::poll, queue, later);
    run();
    EXPECT_EQ(offer.answers, 0);  // the session may be there still
    connect(false);
    run();
    EXPECT_EQ(offer.status(), Status::disconnected);
    EXPECT_EQ(poll.answers, 0);  // it took no message: it goes on
    EXPECT_EQ(later.answers, 0);
    const auto frames = sent();
    ASSERT_EQ(frames.size(), 4U);
    EXPECT_EQ(frames[3].head.type, FrameType::poll);
    EXPECT_EQ(frames[0].head.type, FrameType::open);
    EXPECT_EQ(frames[0].head.correlation, 1U);
    EXPECT_EQ(frames[1].head.type, FrameType::subscribe);
    EXPECT_EQ(decode_subscribe(frames[1].body).value().from.number, 42U);
    EXPECT_EQ(frames[2].head.type, FrameType::poll);
    ASSERT_TRUE(say(FrameType::sample, 0, 45, message(1, "news"), news));
    EXPECT_EQ(sink->losses, (std::vector<std::uint64_t>{0, 3}));
}

TEST_F(RemoteSessionTest, what_goodbye_says_was_not_begun_goes_to_the_next_bridge) {
    connect();
    const auto queue = open_queue();  // operation 1
    std::array<Heard, 4> offers;      // 2 to 5
    for (Heard& offer : offers) {
        begin(FrameType::offer, queue, offer, message(1));
    }
    static_cast<void>(sent());
    ASSERT_TRUE(say(FrameType::result, 2, 77));
    EXPECT_FALSE(say(FrameType::goodbye, 0, 4));  // none from 4 on has begun
    session.cut({Status::disconnected, 0, "goodbye"});
    run();
    EXPECT_EQ(offers[0].status(), Status::ok);
    EXPECT_EQ(offers[1].status(), Status::disconnected);
    connect(false);
    run();
    EXPECT_EQ(offers[2].answers + offers[3].answers, 0);
    const auto frames = sent();
    ASSERT_EQ(frames.size(), 3U);
    EXPECT_EQ(frames[0].head.type, FrameType::open);
    EXPECT_EQ(frames[1].head.type, FrameType::offer);
    EXPECT_EQ(frames[1].head.correlation, 2U);
    ASSERT_TRUE(say(FrameType::result, 3, 79));
    ASSERT_TRUE(say(FrameType::result, 2, 78));
    run();
    EXPECT_EQ(offers[2].status(), Status::ok);
    EXPECT_EQ(offers[3].status(), Status::ok);
    // What one bridge said counts no more when the next one is lost without a word.
    Heard lost;
    begin(FrameType::offer, queue, lost, message(1));
    static_cast<void>(sent());
    session.cut({Status::disconnected, 0, "cut"});
    connect(false);
    run();
    EXPECT_EQ(lost.status(), Status::disconnected);
}

// Nothing of it can happen any more: it ends as one that was never sent.
TEST_F(RemoteSessionTest, an_offer_that_is_given_back_can_be_taken_back_and_keeps_its_timeout) {
    connect();
    const auto queue = open_queue();
    std::array<Heard, 4> offers;  // 2 to 5
    std::array<Ticket, 4> tickets{};
    for (std::size_t i = 0; i < offers.size(); ++i) {
        tickets.at(i) = begin(FrameType::offer, queue, offers.at(i), message(1));
    }
    static_cast<void>(sent());
    const Bytes ending = encode(Ending{{Status::disconnected, 0, "the bridge ends"}});
    ASSERT_TRUE(say(FrameType::result, 2, 0, ending));
    ASSERT_TRUE(say(FrameType::result, 3, 0, ending));
    EXPECT_TRUE(session.take_back(tickets[0]));
    EXPECT_FALSE(say(FrameType::goodbye, 0, 5));  // none from 5 on has begun
    EXPECT_FALSE(session.take_back(tickets[2]));
    EXPECT_TRUE(session.take_back(tickets[3]));
    session.cut({Status::disconnected, 0, "goodbye"});
    run();
    EXPECT_EQ(offers[0].let_gos + offers[3].let_gos, 2);
    EXPECT_EQ(offers[1].answers, 0);
    now += 1000 * kSecond;
    static_cast<void>(session.tick(now));
    run();
    EXPECT_EQ(offers[1].status(), Status::disconnected);
    EXPECT_NE(offers[1].last.error.detail.find("not sent"), std::string::npos);
    EXPECT_EQ(offers[1].last.error.outcome(), Outcome::did_not_happen) << "it may be retried";
}

TEST_F(RemoteSessionTest, a_watch_goes_to_the_next_bridge) {
    connect();
    const auto queue = open_queue();
    Heard watch;
    begin(FrameType::watch, queue, watch, Bytes(1));
    static_cast<void>(sent());
    session.cut({Status::disconnected, 0, "cut"});
    connect(false);
    run();
    const auto frames = sent();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[1].head.type, FrameType::watch);
    EXPECT_EQ(frames[1].body.size(), 1U);
    EXPECT_EQ(watch.answers, 0);
    ASSERT_TRUE(say(FrameType::result, 2));
    run();
    EXPECT_EQ(watch.status(), Status::ok);
}

TEST_F(RemoteSessionTest, an_offer_that_is_given_back_goes_to_the_next_bridge) {
    connect();
    const auto queue = open_queue();
    std::array<Heard, 3> offers;  // 2 to 4
    for (Heard& offer : offers) {
        begin(FrameType::offer, queue, offer, message(1));
    }
    Heard call;
    begin(FrameType::call, 0, call, message(1));
    static_cast<void>(sent());
    const Bytes ending = encode(Ending{{Status::disconnected, 0, "the bridge ends"}});
    for (const std::uint64_t correlation : {2U, 4U, 5U}) {
        ASSERT_TRUE(say(FrameType::result, correlation, 0, ending));
    }
    run();
    EXPECT_EQ(offers[0].answers + offers[2].answers, 0);
    EXPECT_EQ(call.status(),
              Status::disconnected);  // not what waits for room: whatever that bridge meant
    // With or without GOODBYE.
    session.cut({Status::disconnected, 0, "cut"});
    connect(false);
    run();
    EXPECT_EQ(offers[1].status(), Status::disconnected);
    const auto frames = sent();
    ASSERT_EQ(frames.size(), 3U);
    EXPECT_EQ(frames[1].head.type, FrameType::offer);
    EXPECT_EQ(frames[2].head.type, FrameType::offer);
    ASSERT_TRUE(say(FrameType::result, 2, 78));
    run();
    EXPECT_EQ(offers[0].status(), Status::ok);
    EXPECT_EQ(offers[0].last.value, 78U);  // in their order
    // Once: what is lost with the next one is lost.
    session.cut({Status::disconnected, 0, "cut"});
    connect(false);
    run();
    EXPECT_EQ(offers[2].status(), Status::disconnected);
}

}  // namespace
}  // namespace telpher::bridge

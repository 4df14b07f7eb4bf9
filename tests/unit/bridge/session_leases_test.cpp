// A session of the bridge holds a bounded number of leases.

#include "tcp_bridge/frame_reader.hpp"
#include "tcp_bridge/server_session.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace telpher::test {
namespace {

using bridge::FrameHead;
using bridge::FrameType;

class SessionLeases : public ::testing::Test {
  protected:
    SessionLeases() {
        host_->admin = Admin::of(client_).value();
        session_->attach(0, [] {});
    }
    ~SessionLeases() override { session_->end(); }

    // What the session answers, in order.
    std::vector<FrameHead> say(FrameType type,
                               std::span<const std::byte> body = {},
                               std::uint64_t correlation = 0) {
        FrameHead head;
        head.type = type;
        head.channel = 1;
        head.correlation = correlation != 0 ? correlation : ++last_;
        EXPECT_TRUE(session_->on_frame({head, body}));
        bridge::Bytes bytes;
        while (!session_->out().empty()) {
            session_->out().take(bytes, 1U << 20U);
        }
        bridge::FrameReader reader;
        reader.welcome();
        reader.append(bytes);
        std::vector<FrameHead> heard;
        for (auto frame = reader.next(); frame && *frame; frame = reader.next()) {
            heard.push_back((*frame)->head);
            if ((*frame)->head.type == FrameType::result) {
                status_ = bridge::decode_ending((*frame)->body).value().error.status;
            }
        }
        return heard;
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Client client_ = connect(domain_.uri()).value();
    Queue queue_ =
        server_.create_queue("q", {.capacity = 8, .delivery = DeliveryMode::at_least_once}).value();
    std::shared_ptr<bridge::SessionHost> host_ = std::make_shared<bridge::SessionHost>();
    std::shared_ptr<bridge::ServerSession> session_ = std::make_shared<bridge::ServerSession>(
        client_,
        host_,
        std::make_shared<bridge::Inbox>(),
        bridge::SessionLimits{.message_bytes_max = 65'520, .leases_max = 2},
        bridge::Authorize{},
        "test");
    std::uint64_t last_ = 0;
    Status status_ = Status::ok;
};

TEST_F(SessionLeases, are_bounded_and_one_that_ends_makes_room) {
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(queue_.offer(Message::text("n", "x")));
    }
    static_cast<void>(say(FrameType::open, bridge::encode(bridge::Open{bridge::Kind::queue, "q"})));
    ASSERT_EQ(status_, Status::ok);
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(say(FrameType::poll).back().type, FrameType::delivery);
        static_cast<void>(say(FrameType::confirm, {}, last_));
    }
    EXPECT_EQ(say(FrameType::poll).back().type, FrameType::result);
    EXPECT_EQ(status_, Status::limit_reached);
    EXPECT_EQ(queue_.status().value().leased, 2U);
    static_cast<void>(say(FrameType::put_back, {}, 2));
    EXPECT_EQ(say(FrameType::poll).back().type, FrameType::delivery);
}

}  // namespace
}  // namespace telpher::test

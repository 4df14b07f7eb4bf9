// Commands and their replies as hostile bytes: an error that says why, and nothing is done.

#include "tcp_bridge/commands.hpp"

#include "telpher/telpher.hpp"

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace telpher::bridge {
namespace {

class Commands : public testing::Test {
  protected:
    Result<Message> run(std::string_view name, const FieldWriter& arguments) {
        return run_command(admin_, command_message(name, arguments).view());
    }
    // Of a queue or topic, with an enumeration's number and whatever else the command has.
    static FieldWriter with_number(std::uint8_t number,
                                   bool topic,
                                   Durability durability = Durability::power) {
        FieldWriter out;
        out(std::string("x"), std::uint32_t{8});
        if (topic) {
            out.field(std::uint32_t{0});
        }
        out(number, std::uint64_t{0});
        if (topic) {
            out(std::uint32_t{4}, std::uint64_t{0});
        } else {
            out(DeliveryMode::at_most_once, Duration{}, std::uint32_t{0}, std::string());
            const std::optional<Idempotency> none;
            fields(out, none);
            out(durability);
        }
        return out;
    }
    test::ScratchDomain domain_;
    Server server_ = domain_.open();
    Admin admin_ = Admin::of(server_).value();
};

TEST_F(Commands, without_their_arguments_are_refused) {
    for (const std::string_view name : {commands::kCreateQueue,
                                        commands::kRemoveQueue,
                                        commands::kCreateTopic,
                                        commands::kRemoveTopic,
                                        commands::kQueueStatus,
                                        commands::kTopicStatus,
                                        commands::kFunctionStatus,
                                        commands::kExists,
                                        commands::kPurge,
                                        commands::kPeek}) {
        const auto reply = run(name, {});
        EXPECT_EQ(reply.status(), Status::bad_request) << name;
        EXPECT_NE(reply.error().detail.find(name), std::string::npos) << reply.error().detail;
    }
    EXPECT_EQ(run("no_such_command", {}).status(), Status::bad_request);
}

TEST_F(Commands, with_a_kind_or_policy_that_is_none_make_nothing) {
    EXPECT_EQ(run(commands::kCreateQueue, with_number(2, false)).status(), Status::bad_request);
    EXPECT_EQ(
        run(commands::kCreateQueue, with_number(1, false, static_cast<Durability>(2))).status(),
        Status::bad_request);
    EXPECT_EQ(run(commands::kCreateTopic, with_number(4, true)).status(), Status::bad_request);
    EXPECT_TRUE(admin_.queues().value().empty());
    EXPECT_TRUE(admin_.topics().value().empty());
    EXPECT_TRUE(run(commands::kCreateQueue, with_number(1, false)));
    EXPECT_TRUE(run(commands::kCreateTopic, with_number(3, true)));
}

TEST_F(Commands, name_their_destination_and_what_they_are_allowed_by) {
    FieldWriter name;
    name.field(std::string("orders"));
    EXPECT_EQ(destination_of(command_message(commands::kPurge, name).view()), "orders");
    EXPECT_EQ(destination_of(command_message(commands::kQueues, name).view()), "");
    EXPECT_EQ(verb_of_command(commands::kPurge), "manage");
    EXPECT_EQ(verb_of_command(commands::kPeek), "browse");
    EXPECT_EQ(verb_of_command(commands::kStatus), "inspect");
    EXPECT_EQ(verb_of_command("no_such_command"), "");
}

// Each prefix of a reply ends too soon, and a list that promises more than it has is no shorter list.
TEST_F(Commands, replies_that_end_too_soon_are_noticed) {
    ASSERT_TRUE(admin_.create_queue("orders"));
    ASSERT_TRUE(admin_.create_queue("prices"));
    const Message reply = run(commands::kQueues, {}).value();
    const auto bytes = reply.view().payload();
    for (std::size_t size = 0; size <= bytes.size(); ++size) {
        FieldReader in(bytes.first(size));
        std::vector<QueueStatus> queues;
        in.field(queues);
        EXPECT_EQ(in.ok(), size == bytes.size()) << size;
    }
    std::vector<std::byte> more(bytes.begin(), bytes.end());
    const std::uint32_t count = ~0U;
    std::memcpy(more.data(), &count, sizeof count);
    FieldReader in(more);
    std::vector<QueueStatus> queues;
    in.field(queues);
    EXPECT_FALSE(in.ok());
    EXPECT_LE(queues.size(), 3U);
}

}  // namespace
}  // namespace telpher::bridge

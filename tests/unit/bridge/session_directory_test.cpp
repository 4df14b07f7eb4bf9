// Which thread has which session, and who goes when there are too many.

#include "tcp_bridge/session_directory.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace telpher::bridge {
namespace {

SessionId id_of(std::uint32_t number) {
    SessionId id{};
    for (std::size_t byte = 0; byte < 4; ++byte) {
        id.at(byte) = static_cast<std::byte>(number >> (8 * byte));
    }
    return id;
}

class Directory : public testing::Test {
  protected:
    void fill() {
        for (const std::uint32_t number : {1U, 2U, 3U}) {
            EXPECT_TRUE(directory_.admit(id_of(number), number).admitted);
        }
    }
    SessionDirectory directory_{3};
    const SessionDirectory::Clock::time_point now_{};
};

TEST_F(Directory, tells_who_has_a_session) {
    fill();
    EXPECT_EQ(directory_.find(id_of(2)), 2U);
    EXPECT_EQ(directory_.find(id_of(4)), std::nullopt);
    directory_.erase(id_of(2));
    EXPECT_EQ(directory_.find(id_of(2)), std::nullopt);
    EXPECT_FALSE(directory_.resume(id_of(2)));
    EXPECT_EQ(directory_.size(), 2U);
}

TEST_F(Directory, full_of_clients_that_are_there_it_admits_nobody) {
    fill();
    EXPECT_FALSE(directory_.admit(id_of(4), 0).admitted);
    directory_.cut(id_of(1), true, now_);
    EXPECT_TRUE(directory_.resume(id_of(1)));
    EXPECT_FALSE(directory_.admit(id_of(4), 0).admitted);
    EXPECT_EQ(directory_.size(), 3U);
}

TEST_F(Directory, who_never_began_anything_goes_first_then_who_was_cut_first) {
    fill();
    directory_.cut(id_of(1), false, now_);
    directory_.cut(id_of(2), false, now_ - std::chrono::seconds(1));
    directory_.cut(id_of(3), true, now_ + std::chrono::seconds(1));
    for (const std::uint32_t expected : {3U, 2U, 1U}) {
        const auto admitted = directory_.admit(id_of(10 + expected), 0);
        ASSERT_TRUE(admitted.admitted);
        ASSERT_TRUE(admitted.victim);
        EXPECT_EQ(admitted.victim->id, id_of(expected));
        EXPECT_EQ(admitted.victim->loop, expected);
        // Whoever comes back is too late: its place has gone.
        EXPECT_FALSE(directory_.resume(id_of(expected)));
    }
    EXPECT_FALSE(directory_.admit(id_of(20), 0).admitted);
}

// A session is resumed or gives up its place, never both.
TEST(DirectoryRace, a_session_is_resumed_or_gone) {
    for (std::uint32_t round = 0; round < 2000; ++round) {
        SessionDirectory directory(1);
        ASSERT_TRUE(directory.admit(id_of(1), 0).admitted);
        directory.cut(id_of(1), false, {});
        std::atomic<int> winners{0};
        std::thread other([&] { winners += directory.admit(id_of(2), 1).admitted ? 1 : 0; });
        winners += directory.resume(id_of(1)) ? 1 : 0;
        other.join();
        ASSERT_EQ(winners, 1);
        ASSERT_EQ(directory.size(), 1U);
    }
}

}  // namespace
}  // namespace telpher::bridge

#include "shm/base/os.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

namespace telpher::shm {
namespace {

TEST(Os, random_uuids_differ_and_are_version_4) {
    std::set<std::string> seen;
    for (int i = 0; i < 100; ++i) {
        const auto uuid = random_uuid();
        ASSERT_TRUE(uuid);
        EXPECT_EQ((*uuid)[6] >> 4, 4);
        EXPECT_EQ((*uuid)[8] >> 6, 2);
        const std::string text = to_string(*uuid);
        EXPECT_EQ(text.size(), 32U);
        EXPECT_EQ(text.find_first_not_of("0123456789abcdef"), std::string::npos);
        EXPECT_TRUE(seen.insert(text).second);
    }
}

TEST(Os, fill_random_fills_every_byte) {
    unsigned char bytes[64] = {};
    bool set[64] = {};
    for (int round = 0; round < 20; ++round) {
        ASSERT_TRUE(fill_random(bytes, sizeof bytes));
        for (std::size_t i = 0; i < sizeof bytes; ++i) {
            set[i] = set[i] || bytes[i] != 0;
        }
    }
    for (const bool s : set) {
        EXPECT_TRUE(s);
    }
}

TEST(Os, the_boot_id_stays_the_same_and_is_not_zero) {
    EXPECT_EQ(boot_id(), boot_id());
    EXPECT_NE(boot_id(), Uuid{});
}

TEST(Os, the_start_time_tells_processes_apart_and_is_0_for_none) {
    const auto mine = process_start_time(static_cast<std::uint32_t>(getpid()));
    EXPECT_NE(mine, 0U);
    EXPECT_EQ(mine, process_start_time(static_cast<std::uint32_t>(getpid())));
    EXPECT_GE(mine, process_start_time(1));
    EXPECT_EQ(process_start_time(0x7FFF'FFFF), 0U);
    EXPECT_NE(pid_namespace(), 0U);
}

TEST(Os, errno_text_names_what_failed) {
    const std::string text = errno_text("opening /x", ENOENT);
    EXPECT_NE(text.find("opening /x"), std::string::npos);
    EXPECT_NE(text.find("No such file"), std::string::npos);
}

class ByteLock : public testing::Test {
  protected:
    ByteLock() : first_(memfd_create("lock", MFD_CLOEXEC)) {
        const std::string path = "/proc/self/fd/" + std::to_string(first_);
        second_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
    }
    ~ByteLock() override {
        close(first_);
        close(second_);
    }
    int first_;
    int second_ = -1;  // another open file description of the same file
};

TEST_F(ByteLock, is_held_by_one_open_file_description) {
    EXPECT_EQ(try_lock_byte(first_, 5), LockResult::locked);
    EXPECT_EQ(try_lock_byte(first_, 5), LockResult::locked) << "again, by the holder";
    EXPECT_EQ(try_lock_byte(second_, 5), LockResult::busy);
    EXPECT_EQ(try_lock_byte(second_, 6), LockResult::locked);
    EXPECT_TRUE(byte_is_locked(second_, 5));
    EXPECT_FALSE(byte_is_locked(first_, 5)) << "asks for others";
    unlock_byte(first_, 5);
    EXPECT_FALSE(byte_is_locked(second_, 5));
    EXPECT_EQ(try_lock_byte(second_, 5), LockResult::locked);
}

TEST_F(ByteLock, ends_with_the_last_descriptor_of_its_description) {
    const int copy = dup(second_);
    ASSERT_EQ(try_lock_byte(second_, 1ULL << 40U), LockResult::locked);
    close(second_);
    EXPECT_TRUE(byte_is_locked(first_, 1ULL << 40U));
    close(copy);
    EXPECT_FALSE(byte_is_locked(first_, 1ULL << 40U));
    second_ = -1;
}

TEST_F(ByteLock, that_cannot_be_asked_for_counts_as_held) {
    EXPECT_EQ(try_lock_byte(-1, 5), LockResult::failed);
    EXPECT_TRUE(byte_is_locked(-1, 5)) << "never a false death";
}

TEST(Os, the_fork_count_differs_in_a_child) {
    watch_forks(nullptr);
    const std::uint32_t before = fork_count();
    const pid_t child = fork();
    if (child == 0) {
        _exit(fork_count() != before ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(fork_count(), before);
}

}  // namespace
}  // namespace telpher::shm

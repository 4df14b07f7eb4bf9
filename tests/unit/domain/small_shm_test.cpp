// /dev/shm that is too small or full: an error when the domain is made, never a signal later.

#include "tests/unit/domain/shm_without_room.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

std::uint64_t free_bytes() {
    struct statvfs space {};
    return statvfs("/dev/shm", &space) == 0
               ? static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize
               : 0;
}

TEST(SmallShm, a_domain_larger_than_what_is_free_is_out_of_memory_naming_both) {
    const ScratchDomain domain;
    DomainLimits limits = small_limits();
    limits.pool_bytes = free_bytes() + (std::size_t{64} << 20U);
    const auto server = Server::open(domain.name(), {.limits = limits});
    if (server.status() == Status::bad_request) {
        GTEST_SKIP()
            << "more memory is free than the largest domain has; runs where /dev/shm is smaller";
    }
    ASSERT_EQ(to_string(server.status()), "out_of_memory") << server.error().detail;
    EXPECT_EQ(server.error().os_error, ENOSPC);
    EXPECT_NE(server.error().detail.find("needs"), std::string::npos);
    EXPECT_NE(server.error().detail.find("are free"), std::string::npos);
    EXPECT_NE(server.error().detail.find("limits.pool_bytes"), std::string::npos);
    EXPECT_TRUE(files_of(domain.name()).empty()) << "nothing is left";
}

constexpr int kNoMount = 77;

// Runs `check` in a child with a /dev/shm of its own, mounted with `options`. Returns the number of
// the first check that failed there, 0 = none, kNoMount if this user may not mount.
int with_shm(const char* folder, const std::string& options, const std::function<int()>& check) {
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 ||
            mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
            _exit(kNoMount);
        }
        _exit(check());
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int with_shm_of(int megabytes, const std::function<int()>& check) {
    return with_shm("/dev/shm", "mode=1777,size=" + std::to_string(megabytes) + "m", check);
}

#define SKIP_WITHOUT_MOUNT(result)                                               \
    if ((result) == kNoMount) {                                                  \
        GTEST_SKIP() << "this user may not mount a small /dev/shm: run as root"; \
    }                                                                            \
    static_cast<void>(0)

TEST(SmallShm, of_8_mib_the_default_domain_is_out_of_memory_and_leaves_nothing) {
    const int failed = with_shm_of(8, [] {
        const std::string name = unique_name();
        const auto server = Server::open(name);
        if (server.status() != Status::out_of_memory) {
            return 1;
        }
        if (server.error().detail.find("8388608 are free") == std::string::npos) {
            return 2;
        }
        if (!files_of(name).empty() || free_bytes() != 8U << 20U) {
            return 3;
        }
        DomainLimits limits = small_limits();
        return Server::open(name, {.limits = limits}) ? 0 : 4;  // a smaller one fits
    });
    SKIP_WITHOUT_MOUNT(failed);
    EXPECT_EQ(failed, 0);
}

// Docker gives every container 64 MiB.
TEST(SmallShm, of_64_mib_holds_the_default_domain_and_every_loan_it_can_give) {
    const int failed = with_shm_of(64, [] {
        Server server = Server::open(unique_name()).value();
        Queue queue = server.create_queue("q").value();
        std::vector<Loan> loans;  // largest first, so that each class is used up once
        for (const std::size_t bytes : {65'000U, 16'000U, 4'000U, 900U, 430U, 300U, 180U, 60U}) {
            while (auto loan = queue.loan("t", bytes)) {
                std::memset(loan->payload().data(), 1, bytes);
                loans.push_back(std::move(*loan));
            }
        }
        return loans.size() > 50'000 && queue.loan("t", 1).status() == Status::out_of_memory ? 0
                                                                                             : 1;
    });
    SKIP_WITHOUT_MOUNT(failed);
    EXPECT_EQ(failed, 0) << "1007 is SIGBUS";
}

TEST(SmallShm, that_is_filled_by_others_gives_no_signal_to_a_domain_that_exists) {
    const int failed = with_shm_of(8, [] {
        DomainLimits limits = small_limits();
        Server server = Server::open(unique_name(), {.limits = limits}).value();
        Queue queue = server.create_queue("q", {.capacity = 4000}).value();
        std::FILE* other = std::fopen("/dev/shm/filler", "w");
        const std::string block(1U << 20U, 'x');
        while (std::fwrite(block.data(), 1, block.size(), other) == block.size()) {
        }
        std::fclose(other);
        if (free_bytes() > 4096) {
            return 1;
        }
        int offered = 0;
        while (queue.offer(Message::text("t", std::string(100, 'x')))) {
            ++offered;
        }
        return offered > 1000 ? 0 : 2;
    });
    SKIP_WITHOUT_MOUNT(failed);
    EXPECT_EQ(failed, 0) << "1007 is SIGBUS";
}

// ---- a /dev/shm in which no domain can be made -------------------------------------------------

class ShmRefusal : public testing::TestWithParam<NoRoom> {};
std::string room_name(const testing::TestParamInfo<NoRoom>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Shm, ShmRefusal, testing::ValuesIn(shm_without_room()), room_name);

TEST_P(ShmRefusal, is_an_error_with_a_reason_and_leaves_nothing) {
    const NoRoom& room = GetParam();
    int told[2] = {-1, -1};
    ASSERT_EQ(pipe(told), 0);
    const int failed = with_shm(room.folder, room.options, [&] {
        room.spoil();
        const std::string name = unique_name();
        const auto server = Server::open(name, {.limits = small_limits()});
        const std::string text = to_string(server.error());
        static_cast<void>(!write(told[1], text.data(), text.size()));
        if (server.status() != room.status) {
            return 1;
        }
        for (const char* part : room.texts) {
            if (text.find(part) == std::string::npos) {
                return 2;
            }
        }
        const bool folder = std::filesystem::exists("/dev/shm");
        return !folder || files_of(name).empty() ? 0 : 3;
    });
    char text[500] = {};
    close(told[1]);
    static_cast<void>(!read(told[0], text, sizeof text - 1));
    close(told[0]);
    SKIP_WITHOUT_MOUNT(failed);
    EXPECT_EQ(failed, 0) << "1: status, 2: text, 3: files left, 1007: SIGBUS; told: " << text;
}

}  // namespace
}  // namespace telpher::test

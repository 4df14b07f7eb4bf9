// Messages larger than the chunks that a domain begins with: the domain grows, and every process
// follows.

#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMiB = std::size_t{1} << 20U;

DomainLimits growing() {
    DomainLimits limits = small_limits();
    limits.segment_bytes = 512 * kMiB;
    limits.message_bytes = 64 * kMiB;
    return limits;
}

std::string pattern(std::size_t bytes, char seed) {
    std::string text(bytes, seed);
    for (std::size_t i = 0; i < bytes; i += 4096) {
        std::memcpy(&text[i], &i, std::min(sizeof i, bytes - i));
    }
    return text;
}

class LargeMessage : public ::testing::Test {
  protected:
    LargeMessage()
        : server_(Server::open(domain_.name(), {.limits = growing()}).value()),
          queue_(server_.create_queue("large", {.capacity = 8}).value()) {}

    ScratchDomain domain_;
    Server server_;
    Queue queue_;
};

TEST_F(LargeMessage, sizes_around_the_largest_chunk_and_far_beyond_arrive_whole) {
    for (const std::size_t bytes : {65'000UL, 65'480UL, 65'536UL, 100'000UL, kMiB, 5 * kMiB + 3}) {
        const std::string text = pattern(bytes, 'x');
        ASSERT_TRUE(queue_.offer(Message::text("big", text))) << bytes;
        const auto delivery = queue_.poll();
        ASSERT_TRUE(delivery) << bytes;
        EXPECT_EQ(delivery->text(), text) << bytes;
    }
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
}

TEST_F(LargeMessage, memory_that_came_back_is_used_again) {
    const std::string text = pattern(3 * kMiB, 'y');
    ASSERT_TRUE(queue_.offer(Message::text("big", text)));
    static_cast<void>(queue_.poll());
    const std::size_t grown = server_.status().value().segment_bytes;
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(queue_.offer(Message::text("big", text)));
        ASSERT_EQ(queue_.poll().value().payload().size(), text.size());
    }
    EXPECT_EQ(server_.status().value().segment_bytes, grown);
}

TEST_F(LargeMessage, a_loan_of_any_size_is_filled_in_place) {
    auto loan = queue_.loan("frame", 20 * kMiB).value();
    ASSERT_EQ(loan.payload().size(), 20 * kMiB);
    std::memset(loan.payload().data(), 7, loan.payload().size());
    ASSERT_TRUE(queue_.offer(std::move(loan)));
    const auto delivery = queue_.poll().value();
    EXPECT_EQ(delivery.payload().size(), 20 * kMiB);
    EXPECT_EQ(delivery.payload()[20 * kMiB - 1], std::byte{7});
}

TEST_F(LargeMessage, beyond_the_domains_limit_is_message_too_large_naming_both) {
    const auto refused = queue_.loan("frame", 64 * kMiB);
    ASSERT_EQ(to_string(refused.status()), "message_too_large");
    EXPECT_NE(refused.error().detail.find("limits.message_bytes is 67108864"), std::string::npos);
    EXPECT_TRUE(queue_.loan("frame", 64 * kMiB - 100));
}

TEST_F(LargeMessage, a_domain_that_may_not_grow_says_which_limit_and_goes_on) {
    ScratchDomain other;
    DomainLimits limits = growing();
    limits.segment_bytes = 24 * kMiB;
    auto server = Server::open(other.name(), {.limits = limits}).value();
    auto queue = server.create_queue("large", {.capacity = 8}).value();
    auto first = queue.loan("a", 10 * kMiB);
    ASSERT_TRUE(first) << first.error().detail;
    auto second = queue.loan("b", 12 * kMiB);
    ASSERT_EQ(to_string(second.status()), "out_of_memory");
    EXPECT_NE(second.error().detail.find("limits.segment_bytes is"), std::string::npos)
        << second.error().detail;
    EXPECT_TRUE(queue.offer(Message::text("small", "still works")));
}

TEST_F(LargeMessage, a_loan_waits_for_memory_that_another_thread_gives_back) {
    ScratchDomain other;
    DomainLimits limits = growing();
    limits.segment_bytes = 24 * kMiB;
    auto server = Server::open(other.name(), {.limits = limits}).value();
    auto queue = server.create_queue("large", {.capacity = 8}).value();
    auto first = queue.loan("a", 16 * kMiB);
    ASSERT_TRUE(first) << first.error().detail;
    EXPECT_EQ(to_string(queue.loan("b", 16 * kMiB, 20ms).status()), "out_of_memory");
    std::jthread other_thread([loan = std::move(*first)]() mutable {
        std::this_thread::sleep_for(100ms);
        loan = {};
    });
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(queue.loan("b", 16 * kMiB, 30s));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST_F(LargeMessage, small_messages_outgrow_the_first_segment_too) {
    auto many = server_.create_queue("many", {.capacity = 60'000});
    ASSERT_TRUE(many) << many.error().detail;
    std::uint64_t offered = 0;
    while (offered < 60'000) {
        const auto status = many->offer(Message::text("n", std::to_string(offered)));
        ASSERT_TRUE(status) << offered << ": " << status.error().detail;
        ++offered;
    }
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
    for (std::uint64_t i = 0; i < offered; ++i) {
        ASSERT_EQ(many->poll().value().text(), std::to_string(i));
    }
}

TEST_F(LargeMessage, a_thousand_queues_need_no_tuning) {
    ScratchDomain other;
    auto server = Server::open(other.name()).value();
    std::vector<Queue> queues;
    for (int i = 0; i < 1000; ++i) {
        auto queue = server.create_queue("queue-" + std::to_string(i));
        ASSERT_TRUE(queue) << i << ": " << queue.error().detail;
        ASSERT_TRUE(queue->offer(Message::text("n", std::to_string(i))));
        queues.push_back(std::move(*queue));
    }
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(queues[static_cast<std::size_t>(i)].poll().value().text(), std::to_string(i));
    }
}

// Goal: a process that attached before the domain grew finds messages and queues that lie in what
// was added, and one that attaches later, too.
TEST_F(LargeMessage, other_processes_follow_the_growth) {
    auto back = server_.create_queue("back", {.capacity = 8}).value();
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        auto client = connect("shm:" + domain_.name());
        int code = client ? 0 : 1;
        auto queue = client ? client->queue("large") : Result<Queue>(Status::closed);
        auto answers = client ? client->queue("back") : Result<Queue>(Status::closed);
        for (int i = 0; i < 20 && code == 0; ++i) {
            auto delivery = queue->poll(10s);
            code = delivery && answers->offer(delivery->to_message(), 10s) ? 0 : 2;
        }
        _exit(code);
    }
    std::vector<std::string> sent;
    for (int i = 0; i < 20; ++i) {
        sent.push_back(pattern(static_cast<std::size_t>(i) * 300'000 + 10, 'z'));
        ASSERT_TRUE(queue_.offer(Message::text("big", sent.back()), 10s));
        const auto echo = back.poll(10s);
        ASSERT_TRUE(echo) << to_string(echo.status());
        EXPECT_EQ(echo->text(), sent.back());
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
}

// Goal: threads of one process that grow the domain, and threads that meet what they did not add,
// agree on where everything lies; under TSan, pair N1/N2 and V1/V2, too.
TEST_F(LargeMessage, threads_grow_the_domain_under_each_other) {
    constexpr unsigned kEach = 60;
    std::vector<std::jthread> producers;
    for (unsigned p = 0; p < 2; ++p) {
        producers.emplace_back([this, p] {
            for (unsigned i = 0; i < kEach; ++i) {
                const std::size_t bytes = 1000 + (i * 7 + p) % 13 * 90'000;
                ASSERT_TRUE(queue_.offer(Message::text("n", std::string(bytes, 'x')), 30s));
            }
        });
    }
    for (unsigned i = 0; i < 2 * kEach; ++i) {
        const auto delivery = queue_.poll(30s);
        ASSERT_TRUE(delivery) << to_string(delivery.error());
        EXPECT_EQ(delivery->text().find_first_not_of('x'), std::string_view::npos);
    }
    producers.clear();
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
}

TEST_F(LargeMessage, peek_copies_a_large_message_and_leaves_it) {
    const std::string text = pattern(2 * kMiB, 'p');
    ASSERT_TRUE(queue_.offer(Message::text("big", text)));
    EXPECT_EQ(queue_.peek().value().text(), text);
    EXPECT_EQ(queue_.poll().value().text(), text);
}

TEST_F(LargeMessage, nothing_is_left_in_dev_shm_when_the_domain_is_removed) {
    ASSERT_TRUE(queue_.offer(Message::text("big", pattern(2 * kMiB, 'p'))));
    EXPECT_EQ(files_of(domain_.name()).size(), 3U);
    ASSERT_TRUE(server_.remove_domain());
    EXPECT_TRUE(files_of(domain_.name()).empty());
}

TEST(DataSegmentFile, belongs_to_the_group_of_the_domain_whoever_adds_it) {
    if (geteuid() != 0) {
        GTEST_SKIP() << "root may give files to any group: runs as another user";
    }
    constexpr gid_t kGroup = 54'321;
    const ScratchDomain domain;
    auto server = Server::open(domain.name(), {.limits = growing(), .file_mode = 0660}).value();
    ASSERT_EQ(chown(domain.path().c_str(), static_cast<uid_t>(-1), kGroup), 0);
    auto queue = server.create_queue("large").value();
    ASSERT_TRUE(queue.offer(Message::text("big", pattern(2 * kMiB, 'p'))));
    const auto files = files_of(domain.name());
    ASSERT_EQ(files.size(), 3U);
    for (const std::string& file : files) {
        struct stat facts {};
        ASSERT_EQ(stat(("/dev/shm/" + file).c_str(), &facts), 0);
        EXPECT_EQ(facts.st_gid, kGroup) << file;
        EXPECT_EQ(facts.st_mode & 0777U, 0660U) << file;
    }
}

TEST(ProcessBytes, loans_and_deliveries_of_a_process_stop_at_its_quota) {
    const ScratchDomain domain;
    DomainLimits limits = growing();
    limits.process_bytes = 2 * kMiB;
    auto server = Server::open(domain.name(), {.limits = limits}).value();
    auto queue = server.create_queue("large", {.capacity = 8}).value();
    ASSERT_TRUE(queue.offer(Message::text("waits", "for room")));
    auto loan = queue.loan("a", 2 * kMiB);
    ASSERT_TRUE(loan) << loan.error().detail;
    const auto refused = queue.loan("b", 10);
    ASSERT_EQ(to_string(refused.status()), "limit_reached");
    EXPECT_NE(refused.error().detail.find("limits.process_bytes"), std::string::npos);
    EXPECT_EQ(to_string(queue.poll().status()), "limit_reached") << "and nothing was taken";
    ASSERT_TRUE(queue.offer(std::move(*loan)));
    EXPECT_EQ(queue.poll().value().text(), "for room");
    EXPECT_EQ(queue.poll().value().payload().size(), 2 * kMiB);
}

}  // namespace
}  // namespace telpher::test

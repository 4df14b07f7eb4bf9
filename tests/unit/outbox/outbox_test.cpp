// The outbox of a client: its folder, its limits, domains that come and go, threads, and its end.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

constexpr auto kSoon = 10s;

class OutboxTest : public testing::Test {
  protected:
    [[nodiscard]] Result<Client> try_connect() const {
        return connect(domain_.uri(), {.outbox = folder()});
    }
    [[nodiscard]] std::string folder() const { return parent_.file("outbox"); }
    [[nodiscard]] static Message order(std::size_t number) {
        return Message::text("order", std::to_string(number));
    }

    ScratchFolder parent_;
    ScratchDomain domain_;
};

TEST_F(OutboxTest, without_the_option_there_is_an_empty_handle) {
    domain_.make();
    Client client = connect(domain_.uri()).value();
    Outbox outbox = client.outbox();
    EXPECT_FALSE(outbox);
    EXPECT_EQ(outbox.offer("q", order(1)).status(), Status::closed);
    EXPECT_EQ(outbox.send("f", order(1)).status(), Status::closed);
    EXPECT_EQ(outbox.flush({}).status(), Status::closed);
    EXPECT_EQ(outbox.failed().status(), Status::closed);
    EXPECT_EQ(outbox.retry("x").status(), Status::closed);
    EXPECT_EQ(outbox.discard("x").status(), Status::closed);
    EXPECT_EQ(outbox.status().status(), Status::closed);
}

TEST_F(OutboxTest, what_makes_no_sense_is_refused_and_not_put) {
    domain_.make();
    Client client = try_connect().value();
    Outbox outbox = client.outbox();
    EXPECT_TRUE(outbox);
    EXPECT_EQ(outbox.offer("no such name", order(1)).status(), Status::bad_request);
    EXPECT_EQ(outbox.send("", order(1)).status(), Status::bad_request);
    EXPECT_EQ(outbox.offer("q", Message()).status(), Status::bad_request);
    EXPECT_EQ(outbox.offer("q", order(1).with_request_id(std::string(256, 'x'))).status(),
              Status::bad_request);
    EXPECT_EQ(outbox.flush(-1ns).status(), Status::bad_request);
    EXPECT_EQ(outbox.status()->pending, 0U);
    EXPECT_EQ(connect("nonsense", {.outbox = folder()}).status(), Status::not_permitted);
    client.close();
    EXPECT_EQ(connect("nonsense", {.outbox = folder()}).status(), Status::bad_request);
    EXPECT_TRUE(try_connect()) << "a client that was refused does not keep the folder";
}

TEST_F(OutboxTest, goes_out_when_a_domain_is_made_and_when_it_is_made_anew) {
    Client client = try_connect().value();
    EXPECT_FALSE(client.running());
    EXPECT_EQ(client.queue("q").status(), Status::closed);
    Outbox outbox = client.outbox();
    ASSERT_TRUE(outbox.offer("q", order(1)));
    EXPECT_EQ(outbox.flush(50ms).status(), Status::timed_out);
    EXPECT_EQ(outbox.status()->trouble.status, Status::domain_not_found);
    for (std::size_t life = 1; life <= 3; ++life) {
        Server server = domain_.open();
        Queue queue = server.create_queue("q", {.capacity = 4}).value();
        EXPECT_EQ(queue.poll(kSoon).value().text(), std::to_string(life));
        ASSERT_TRUE(outbox.flush(kSoon));
        ASSERT_TRUE(server.remove_domain());
        ASSERT_TRUE(outbox.offer("q", order(life + 1)));
    }
    EXPECT_EQ(outbox.status()->delivered, 3U);
}

TEST_F(OutboxTest, a_folder_in_use_is_refused_until_its_client_is_closed) {
    domain_.make();
    Client client = try_connect().value();
    const auto refused = try_connect();
    EXPECT_EQ(refused.status(), Status::not_permitted);
    EXPECT_NE(refused.error().detail.find(folder()), std::string::npos);
    struct stat facts {};
    ASSERT_EQ(::stat(folder().c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777U, 0700U);

    Outbox outbox = client.outbox();
    Client copy = client;
    copy.close();
    EXPECT_EQ(outbox.offer("q", order(1)).status(), Status::closed);
    EXPECT_EQ(outbox.flush({}).status(), Status::ok) << "nothing is pending";
    EXPECT_EQ(outbox.failed().status(), Status::closed);
    ASSERT_TRUE(outbox.status());
    EXPECT_TRUE(try_connect()) << "though handles are there still";
    { const Client unclosed = try_connect().value(); }
    EXPECT_TRUE(try_connect()) << "its last copy has gone";
}

TEST_F(OutboxTest, folders_that_cannot_be_used_are_told_by_their_path) {
    domain_.make();
    const std::string missing = parent_.file("a/b");
    const auto refused = connect(domain_.uri(), {.outbox = missing});
    EXPECT_EQ(refused.status(), Status::storage_failed);
    EXPECT_EQ(refused.error().os_error, ENOENT);
    EXPECT_NE(refused.error().detail.find(missing), std::string::npos);
}

TEST_F(OutboxTest, a_folder_that_cannot_be_written_is_told) {
    if (::geteuid() == 0) {
        GTEST_SKIP() << "root may write anywhere: runs as another user";
    }
    domain_.make();
    ASSERT_EQ(::mkdir(folder().c_str(), 0500), 0);
    const auto refused = try_connect();
    EXPECT_EQ(refused.status(), Status::storage_failed);
    EXPECT_EQ(refused.error().os_error, EACCES);
    EXPECT_NE(refused.error().detail.find(folder()), std::string::npos);
}

TEST_F(OutboxTest, damage_is_told_and_nothing_is_changed) {
    domain_.make();
    {
        Client client = try_connect().value();
        for (std::size_t i = 0; i < 10; ++i) {
            ASSERT_TRUE(client.outbox().offer("q", order(i)));
        }
    }
    const std::string segment = folder() + "/log.0000000000000001";
    const int file = ::open(segment.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(file, 0);
    std::array<char, 1> byte{};
    ASSERT_EQ(::pread(file, byte.data(), 1, 4096 + 200), 1);
    byte[0] = static_cast<char>(~byte[0]);
    ASSERT_EQ(::pwrite(file, byte.data(), 1, 4096 + 200), 1);
    const auto refused = try_connect();
    EXPECT_EQ(refused.status(), Status::corrupt);
    EXPECT_NE(refused.error().detail.find(segment), std::string::npos);
    EXPECT_NE(refused.error().detail.find("telpher log salvage"), std::string::npos);
    byte[0] = static_cast<char>(~byte[0]);
    ASSERT_EQ(::pwrite(file, byte.data(), 1, 4096 + 200), 1);
    ::close(file);
    EXPECT_EQ(try_connect().value().outbox().status()->pending, 10U) << "nothing is lost";
}

TEST_F(OutboxTest, holds_no_more_bytes_than_it_may) {
    Client client =
        connect(domain_.uri(), {.outbox = folder(), .outbox_bytes_max = 10'000}).value();
    Outbox outbox = client.outbox();
    std::size_t put = 0;
    Result<std::string> last = Status::none;
    do {
        last = outbox.offer("q", Message::text("order", std::string(1000, 'x')));
        put += last ? 1U : 0U;
    } while (last && put < 100);
    EXPECT_EQ(last.status(), Status::limit_reached);
    EXPECT_NE(last.error().detail.find("outbox_bytes_max is 10000"), std::string::npos);
    EXPECT_EQ(put, 8U);
    EXPECT_EQ(outbox.status()->pending, put);
    EXPECT_LE(outbox.status()->bytes, 10'000U);
    Server server = domain_.open();
    Queue queue = server.create_queue("q", {.capacity = 100}).value();
    ASSERT_TRUE(outbox.flush(kSoon));
    EXPECT_TRUE(outbox.offer("q", order(1))) << "there is room again";
}

TEST_F(OutboxTest, holds_more_where_it_compresses) {
    const std::string text(1000, 'x');
    for (const std::int64_t from : {std::int64_t{-2}, std::int64_t{1} << 40}) {
        const auto refused =
            connect(domain_.uri(), {.outbox = folder(), .outbox_compress_from_bytes = from});
        ASSERT_EQ(refused.status(), Status::bad_request);
        EXPECT_NE(refused.error().detail.find("outbox_compress_from_bytes"), std::string::npos);
    }
    Client client =
        connect(domain_.uri(),
                {.outbox = folder(), .outbox_bytes_max = 10'000, .outbox_compress_from_bytes = 500})
            .value();
    for (int i = 0; i < 30; ++i) {
        ASSERT_TRUE(client.outbox().offer("q", Message::text("order", text))) << i;
    }
    EXPECT_LE(client.outbox().status()->bytes, 10'000U);
    client = Client{};
    // The next one compresses nothing, and reads it all the same.
    client = connect(domain_.uri(), {.outbox = folder()}).value();
    Server server = domain_.open();
    Queue queue = server.create_queue("q", {.capacity = 100}).value();
    ASSERT_TRUE(client.outbox().flush(kSoon));
    for (int i = 0; i < 30; ++i) {
        ASSERT_EQ(queue.poll(0ms).value().text(), text) << i;
    }
}

// Goal: what many threads put at once is on disk for all of them, and each one's order is kept.
TEST_F(OutboxTest, is_put_into_by_many_threads_at_once) {
    constexpr std::size_t kThreads = 8;
    constexpr std::size_t kEach = 100;
    Server server = domain_.open();
    Queue queue = server.create_queue("q", {.capacity = 64}).value();
    Client client = try_connect().value();
    std::vector<std::thread> threads;
    std::atomic<std::size_t> failed = 0;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&, thread] {
            Outbox outbox = client.outbox();
            for (std::size_t i = 0; i < kEach; ++i) {
                failed += outbox.offer("q", order(thread * kEach + i)) ? 0U : 1U;
            }
        });
    }
    std::array<std::size_t, kThreads> next{};
    for (std::size_t i = 0; i < kThreads * kEach; ++i) {
        const auto polled = queue.poll(kSoon);
        ASSERT_TRUE(polled) << to_string(polled.error());
        const std::size_t number = std::stoul(std::string(polled->text()));
        EXPECT_EQ(number % kEach, next[number / kEach]++);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(failed, 0U);
    EXPECT_TRUE(client.outbox().flush(kSoon));
}

// Goal: threads that put, ask, flush and take up while the outbox is closed end, and what was confirmed is there.
TEST_F(OutboxTest, is_closed_while_others_use_it) {
    std::size_t confirmed = 0;
    for (int round = 0; round < 20; ++round) {
        Client client = try_connect().value();
        std::atomic<std::size_t> put = 0;
        std::vector<std::thread> threads;
        for (int thread = 0; thread < 3; ++thread) {
            threads.emplace_back([&] {
                Outbox outbox = client.outbox();
                while (outbox.offer("q", Message::text("order", "x"))) {
                    ++put;
                    static_cast<void>(outbox.status());
                }
            });
        }
        threads.emplace_back([&] {
            Outbox outbox = client.outbox();
            while (outbox.retry("none").status() == Status::bad_request) {
                static_cast<void>(outbox.flush(kSoon));
            }
            EXPECT_EQ(outbox.discard("none").status(), Status::closed);
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(round));
        const Stopwatch watch;
        client.close();
        EXPECT_LT(watch.elapsed(), kPromptly);
        for (std::thread& thread : threads) {
            thread.join();
        }
        confirmed += put;
    }
    EXPECT_EQ(try_connect().value().outbox().status()->pending, confirmed);
}

TEST_F(OutboxTest, has_room_for_new_destinations_when_old_ones_are_done) {
    Server server = domain_.open();
    Queue queue = server.create_queue("q", {.capacity = 100}).value();
    Client client = try_connect().value();
    Outbox outbox = client.outbox();
    std::vector<std::thread> threads;
    // As many as there may be, sixteen at once to share the syncs.
    for (std::size_t thread = 0; thread < 16; ++thread) {
        threads.emplace_back([&, thread] {
            for (std::size_t i = thread; i < 4095; i += 16) {
                EXPECT_TRUE(outbox.send("f" + std::to_string(i), order(i)));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    ASSERT_TRUE(outbox.offer("q", order(1)));
    EXPECT_EQ(queue.poll(kSoon).value().text(), "1");
    while (outbox.status()->pending != 4095) {
        std::this_thread::sleep_for(1ms);
    }
    std::this_thread::sleep_for(100ms);
    EXPECT_TRUE(outbox.send("another", order(1))) << "the queue's place";
    EXPECT_EQ(outbox.send("one more", order(1)).status(), Status::bad_request);
    EXPECT_EQ(outbox.send("onemore", order(1)).status(), Status::limit_reached);
}

TEST_F(OutboxTest, in_a_forked_child_answers_forked) {
    Server server = domain_.open();
    Queue queue = server.create_queue("q", {.capacity = 4}).value();
    Client client = try_connect().value();
    Outbox outbox = client.outbox();
    ASSERT_TRUE(outbox.offer("q", order(1)));
    ASSERT_TRUE(outbox.flush(kSoon));
    std::this_thread::sleep_for(kAsleep);
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        const bool told = outbox.offer("q", order(2)).status() == Status::forked &&
                          outbox.send("f", order(2)).status() == Status::forked &&
                          outbox.flush(1s).status() == Status::forked &&
                          outbox.failed().status() == Status::forked &&
                          outbox.retry("x").status() == Status::forked &&
                          outbox.discard("x").status() == Status::forked &&
                          outbox.status().status() == Status::forked;
        client.close();
        client = Client();
        outbox = Outbox();
        _exit(told ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    ASSERT_TRUE(outbox.offer("q", order(3)));
    EXPECT_EQ(queue.poll(kSoon).value().text(), "1");
    EXPECT_EQ(queue.poll(kSoon).value().text(), "3");
}

}  // namespace
}  // namespace telpher::test

// Making, finding, sharing and ending domains and their queues.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

TEST(Domain, open_creates_once_and_then_finds) {
    const ScratchDomain domain;
    Server first = domain.open();
    EXPECT_TRUE(first.created());
    EXPECT_TRUE(first.running());
    EXPECT_EQ(first.name(), domain.name());
    Server second = Server::open(domain.name()).value();
    EXPECT_FALSE(second.created());
    EXPECT_EQ(files_of(domain.name()).size(), 2U) << "the public and the private name";
}

TEST(Domain, create_refuses_a_domain_that_exists) {
    const ScratchDomain domain;
    Server first = domain.open({.mode = OpenMode::create, .limits = small_limits()});
    EXPECT_TRUE(first.created());
    const auto again =
        Server::open(domain.name(), {.mode = OpenMode::create, .limits = small_limits()});
    EXPECT_EQ(again.status(), Status::already_exists);
    EXPECT_EQ(files_of(domain.name()).size(), 2U) << "nothing left of the attempt";
}

TEST(Domain, attach_never_creates) {
    const ScratchDomain domain;
    const auto server = Server::open(domain.name(), {.mode = OpenMode::attach});
    EXPECT_EQ(server.status(), Status::domain_not_found);
    EXPECT_NE(server.error().detail.find(domain.name()), std::string::npos);
    EXPECT_EQ(connect(domain.uri()).status(), Status::domain_not_found);
    EXPECT_TRUE(files_of(domain.name()).empty());
}

TEST(Domain, options_of_an_existing_domain_must_match_or_be_absent) {
    const ScratchDomain domain;
    Server made = domain.open({.lifetime = Lifetime::persistent, .limits = small_limits()});
    EXPECT_TRUE(Server::open(domain.name()));
    EXPECT_TRUE(Server::open(domain.name(), {.limits = small_limits(), .file_mode = 0600}));
    const auto lifetime = Server::open(domain.name(), {.lifetime = Lifetime::ephemeral});
    EXPECT_EQ(lifetime.status(), Status::mismatch);
    EXPECT_NE(lifetime.error().detail.find("persistent"), std::string::npos);
    const auto limits = Server::open(domain.name(), {.limits = DomainLimits{}});
    EXPECT_EQ(limits.status(), Status::mismatch);
    EXPECT_NE(limits.error().detail.find("limits"), std::string::npos);
    const auto mode = Server::open(domain.name(), {.file_mode = 0660});
    EXPECT_EQ(mode.status(), Status::mismatch);
    EXPECT_NE(mode.error().detail.find("file_mode"), std::string::npos);
}

TEST(Domain, the_file_has_the_mode_that_was_asked_for_whatever_the_umask) {
    for (const std::uint32_t mode : {0600U, 0660U}) {
        const ScratchDomain domain;
        const mode_t before = umask(0077);
        Server server = domain.open({.limits = small_limits(), .file_mode = mode});
        umask(before);
        const auto found = std::filesystem::status(domain.path()).permissions();
        EXPECT_EQ(static_cast<std::uint32_t>(found), mode);
    }
}

TEST(Domain, two_servers_see_one_set_of_queues) {
    const ScratchDomain domain;
    Server first = domain.open();
    Server second = Server::open(domain.name()).value();
    Queue made = first.create_queue("q", {.capacity = 3}).value();
    EXPECT_TRUE(made.created());
    EXPECT_TRUE(second.exists("q").value());
    EXPECT_EQ(second.queues().value(), std::vector<std::string>{"q"});
    Queue found = second.create_queue("q", {.capacity = 3}).value();
    EXPECT_FALSE(found.created());
    ASSERT_TRUE(made.offer(Message::text("t", "x")));
    EXPECT_EQ(found.poll()->text(), "x");
    ASSERT_TRUE(second.remove_queue("q"));
    EXPECT_FALSE(first.exists("q").value());
    first.close();
    EXPECT_FALSE(first.running());
    EXPECT_TRUE(second.running()) << "none leads";
}

TEST(Domain, a_queue_with_other_options_is_a_mismatch_naming_both) {
    const ScratchDomain domain;
    Server server = domain.open();
    ASSERT_TRUE(server.create_queue("q", {.capacity = 3}));
    const auto other = server.create_queue("q", {.capacity = 4});
    EXPECT_EQ(other.status(), Status::mismatch);
    EXPECT_NE(other.error().detail.find("capacity 3"), std::string::npos);
    EXPECT_NE(other.error().detail.find("4"), std::string::npos);
}

TEST(Domain, a_queue_that_is_not_there_is_named) {
    const ScratchDomain domain;
    Server server = domain.open();
    EXPECT_FALSE(server.exists("q").value());
    const auto queue = server.queue("q");
    EXPECT_EQ(queue.status(), Status::queue_not_found);
    EXPECT_NE(queue.error().detail.find("'q'"), std::string::npos);
    EXPECT_NE(queue.error().detail.find(domain.name()), std::string::npos);
    EXPECT_EQ(server.remove_queue("q").status(), Status::queue_not_found);
}

TEST(Domain, a_name_removed_and_made_again_is_a_new_queue) {
    const ScratchDomain domain;
    Server server = domain.open();
    Queue old = server.create_queue("q", {.capacity = 3}).value();
    ASSERT_TRUE(old.offer(Message::text("t", "old")));
    ASSERT_TRUE(server.remove_queue("q"));
    Queue fresh = server.create_queue("q", {.capacity = 5}).value();
    EXPECT_TRUE(fresh.created());
    EXPECT_EQ(old.offer(Message::text("t", "x")).status(), Status::queue_not_found);
    EXPECT_EQ(fresh.poll().status(), Status::queue_empty);
    EXPECT_EQ(old.poll()->text(), "old");
    EXPECT_EQ(old.poll().status(), Status::queue_not_found);
    EXPECT_TRUE(old.status()->removed);
    EXPECT_FALSE(fresh.status()->removed);
    EXPECT_EQ(fresh.status()->offered, 0U);
}

TEST(Domain, queues_can_be_made_and_removed_for_ever) {
    const ScratchDomain domain;
    Server server = domain.open();
    for (int i = 0; i < 300; ++i) {
        Queue queue = server.create_queue("q" + std::to_string(i), {.capacity = 900}).value();
        ASSERT_TRUE(queue.offer(Message::text("t", "left over")));
        ASSERT_TRUE(server.remove_queue("q" + std::to_string(i)));
    }
    EXPECT_TRUE(server.verify()->problems.empty());
    EXPECT_TRUE(server.queues()->empty());
}

TEST(Domain, connect_waits_for_the_domain_and_queue_for_the_queue) {
    const ScratchDomain domain;
    std::thread maker([&] {
        std::this_thread::sleep_for(kAsleep);
        Server server = domain.open();
        std::this_thread::sleep_for(kAsleep);
        ASSERT_TRUE(server.create_queue("late"));
    });
    const Stopwatch watch;
    auto client = connect(domain.uri(), {.wait = 30s});
    ASSERT_TRUE(client) << to_string(client.error());
    EXPECT_GE(watch.elapsed(), kAsleep - 5ms);
    EXPECT_TRUE(client->queue("late", {.wait = 30s}));
    EXPECT_GE(watch.elapsed(), 2 * kAsleep - 5ms);
    maker.join();
}

TEST(Domain, the_longest_wait_is_no_overflow) {
    const ScratchDomain domain;
    std::thread maker([&] {
        std::this_thread::sleep_for(kAsleep);
        Server server = domain.open();
        std::this_thread::sleep_for(kAsleep);
        ASSERT_TRUE(server.create_queue("late"));
    });
    auto client = connect(domain.uri(), {.wait = Duration::max()});
    ASSERT_TRUE(client) << to_string(client.error());
    EXPECT_TRUE(client->queue("late", {.wait = Duration::max()}));
    maker.join();
}

TEST(Domain, waiting_ends_in_time_when_nothing_comes) {
    const ScratchDomain domain;
    const Stopwatch connecting;
    EXPECT_EQ(connect(domain.uri(), {.wait = 30ms}).status(), Status::domain_not_found);
    EXPECT_GE(connecting.elapsed(), 30ms);
    EXPECT_LT(connecting.elapsed(), 30ms + kPromptly);
    Server server = domain.open();
    const Stopwatch finding;
    EXPECT_EQ(server.queue("q", {.wait = 30ms}).status(), Status::queue_not_found);
    EXPECT_GE(finding.elapsed(), 30ms);
    EXPECT_LT(finding.elapsed(), 30ms + kPromptly);
}

TEST(Domain, an_ephemeral_domain_ends_with_its_last_handle) {
    const ScratchDomain domain;
    {
        Server server = domain.open({.lifetime = Lifetime::ephemeral, .limits = small_limits()});
        Client client = connect(domain.uri()).value();
        Queue queue = server.create_queue("q").value();
        server = Server::open(domain.name()).value();
        EXPECT_EQ(server.status()->lifetime, Lifetime::ephemeral);
        EXPECT_FALSE(files_of(domain.name()).empty());
    }
    EXPECT_TRUE(files_of(domain.name()).empty());
    EXPECT_EQ(connect(domain.uri()).status(), Status::domain_not_found);
}

TEST(Domain, a_persistent_domain_keeps_its_queues_and_messages) {
    const ScratchDomain domain;
    {
        Server server = domain.open();
        ASSERT_TRUE(server.create_queue("q")->offer(Message::text("t", "kept")));
    }
    Server again = Server::open(domain.name(), {.mode = OpenMode::attach}).value();
    Queue queue = again.create_queue("q").value();
    EXPECT_FALSE(queue.created());
    EXPECT_EQ(queue.poll()->text(), "kept");
}

TEST(Domain, removing_it_leaves_nothing_and_frees_the_name) {
    const ScratchDomain domain;
    Server server = domain.open();
    Queue queue = server.create_queue("q").value();
    ASSERT_TRUE(server.remove_domain());
    EXPECT_TRUE(files_of(domain.name()).empty());
    EXPECT_EQ(queue.offer(Message::text("t", "x")).status(), Status::domain_removed);
    EXPECT_EQ(server.create_queue("r").status(), Status::domain_removed);
    EXPECT_EQ(server.remove_domain().status(), Status::domain_removed);
    Server fresh = domain.open();
    EXPECT_TRUE(fresh.created());
    EXPECT_TRUE(fresh.queues()->empty());
}

TEST(Domain, remove_domain_by_name_spares_one_in_use_unless_forced) {
    const ScratchDomain domain;
    Server server = domain.open();
    EXPECT_EQ(remove_domain(domain.name()).status(), Status::not_permitted);
    EXPECT_TRUE(server.running());
    EXPECT_TRUE(remove_domain(domain.name(), true));
    EXPECT_FALSE(server.running());
    EXPECT_TRUE(files_of(domain.name()).empty());
    EXPECT_EQ(remove_domain(domain.name()).status(), Status::domain_not_found);
}

TEST(Domain, status_and_processes_describe_it) {
    const ScratchDomain domain;
    Server server = domain.open();
    ASSERT_TRUE(server.create_queue("q"));
    const DomainStatus status = server.status().value();
    EXPECT_EQ(status.name, domain.name());
    EXPECT_EQ(status.uuid.size(), 32U);
    EXPECT_EQ(status.segment_bytes, std::filesystem::file_size(domain.path()));
    EXPECT_EQ(status.processes, 1U);
    EXPECT_EQ(status.destinations, 1U);
    EXPECT_EQ(status.reaped, 0U);
    const auto processes = server.processes().value();
    ASSERT_EQ(processes.size(), 1U);
    EXPECT_EQ(processes[0].pid, static_cast<std::uint32_t>(getpid()));
    EXPECT_EQ(processes[0].state, "live");
    EXPECT_FALSE(processes[0].command.empty());
}

TEST(Domain, list_domains_names_it_while_it_is_there) {
    const ScratchDomain domain;
    const auto listed = [&domain] {
        const auto names = list_domains().value();
        return std::find(names.begin(), names.end(), domain.name()) != names.end();
    };
    EXPECT_FALSE(listed());
    domain.make();
    EXPECT_TRUE(listed());
    ASSERT_TRUE(remove_domain(domain.name()));
    EXPECT_FALSE(listed());
}

TEST(Domain, garbage_collection_spares_what_is_in_use_and_what_is_persistent) {
    const ScratchDomain used;
    const ScratchDomain persistent;
    Server server = used.open({.lifetime = Lifetime::ephemeral, .limits = small_limits()});
    persistent.make();
    const auto all = collect_garbage(true).value();
    for (const Garbage& garbage : all) {
        EXPECT_EQ(garbage.file.find(used.name()), std::string::npos);
        EXPECT_EQ(garbage.file.find(persistent.name()), std::string::npos);
    }
}

TEST(Domain, a_default_server_and_client_are_closed) {
    Server server;
    EXPECT_FALSE(server.running());
    EXPECT_EQ(server.create_queue("q").status(), Status::closed);
    EXPECT_EQ(server.status().status(), Status::closed);
    EXPECT_EQ(server.remove_domain().status(), Status::closed);
    server.close();
    Client client;
    EXPECT_FALSE(client.running());
    EXPECT_EQ(client.queue("q").status(), Status::closed);
    EXPECT_EQ(client.exists("q").status(), Status::closed);
    client.close();
}

// Goal: one domain, whoever wins. Under TSan it checks the registry of attachments.
TEST(Domain, threads_that_open_it_at_once_share_it) {
    const ScratchDomain domain;
    std::atomic<int> created{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < 10; ++round) {
                Server server = domain.open({});
                created.fetch_add(server.created() ? 1 : 0, std::memory_order_relaxed);
                ASSERT_TRUE(server.create_queue("q")->offer(Message::text("t", "x")));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(created.load(std::memory_order_relaxed), 1);
    Queue queue = domain.open({}).queue("q").value();
    EXPECT_EQ(queue.status()->depth, 40U);
}

TEST(Domain, of_several_that_remove_it_by_name_one_succeeds) {
    const ScratchDomain domain;
    for (int round = 0; round < 100; ++round) {
        domain.make();
        std::atomic<int> removed{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] {
                const auto done = remove_domain(domain.name(), true);
                EXPECT_TRUE(done || done.status() == Status::domain_not_found)
                    << to_string(done.error());
                removed += done ? 1 : 0;
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(removed, 1);
        EXPECT_EQ(files_of(domain.name()), std::vector<std::string>{});
    }
}

}  // namespace
}  // namespace telpher::test

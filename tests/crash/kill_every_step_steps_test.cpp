// Goal:   a process killed at any step of making, attaching, leaving, removing or sweeping a domain
//         leaves a domain that others can use, or none, and in /dev/shm nothing that
//         `collect_garbage` does not take away.
// Method: the victim kills itself at its n-th SHM_STEP (each shared access, each system call on the
//         segment), for every n; then others open, audit, use and remove the domain.
// Not here: queues and the reaper (kill_every_queue_step_steps_test.cpp).

#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace telpher::crash {
namespace {

class KillEveryStep : public ::testing::Test {
  protected:
    KillEveryStep()
        : watchdog_(150),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()) {}

    void expect_whole(const Server& server) {
        EXPECT_EQ(audit(server, 0), "");
        EXPECT_EQ(server.verify().value().processes, 1U);
    }

    // Whoever opens the domain now can use it and take it away.
    void expect_usable(Lifetime lifetime) {
        Server server = domain_.open(lifetime);
        expect_whole(server);
        auto queue = server.create_queue("after", {.capacity = 2});
        ASSERT_TRUE(queue) << to_string(queue.error());
        EXPECT_TRUE(queue->offer(numbered(1, 48)));
        EXPECT_EQ(drain(*queue), std::vector<std::uint64_t>{1});
        EXPECT_TRUE(server.remove_queue("after"));
    }

    void expect_no_files() {
        EXPECT_TRUE(collect_garbage(false));
        EXPECT_EQ(domain_.files(), std::vector<std::string>{});
    }

    // Removes the domain if there is one; nothing may be left then.
    void expect_removable() {
        const auto removed = remove_domain(domain_.name());
        EXPECT_TRUE(removed || removed.status() == Status::domain_not_found)
            << to_string(removed.error());
        expect_no_files();
    }

    VictimRole opener(Lifetime lifetime) {
        return {.prepare = {}, .act = [this, lifetime] {
                    new Server(domain_.open(lifetime));  // never closed
                }};
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    StepVictim victim_;
};

TEST_F(KillEveryStep, of_making_a_domain_leaves_it_whole_or_not_there) {
    for (const Lifetime lifetime : {Lifetime::persistent, Lifetime::ephemeral}) {
        victim_.kill_at_every_step("create", {}, opener(lifetime), [&](bool /*finished*/) {
            expect_usable(lifetime);
            expect_removable();
        });
    }
}

TEST_F(KillEveryStep, of_making_a_domain_leaves_at_most_garbage) {
    victim_.kill_at_every_step("create, then gc", {}, opener(Lifetime::ephemeral), [&](bool) {
        // All its processes are dead: whatever is there may go.
        expect_no_files();
    });
}

TEST_F(KillEveryStep, of_attaching_leaves_the_domain_as_it_was) {
    for (const Lifetime lifetime : {Lifetime::persistent, Lifetime::ephemeral}) {
        {
            const Server survivor = domain_.open(lifetime);
            victim_.kill_at_every_step("attach", {}, opener(lifetime), [&](bool /*finished*/) {
                expect_whole(survivor);
                const auto all = survivor.processes();
                EXPECT_EQ(all ? all->size() : 0, 1U);
            });
            EXPECT_TRUE(survivor.running());
        }
        expect_removable();
    }
}

// The victim holds a queue, a message in it, a delivery and a loan when it leaves.
VictimRole leaver(const ScratchDomain& domain, Lifetime lifetime) {
    auto held = std::make_shared<std::optional<std::tuple<Server, Queue, Delivery, Loan>>>();
    return {
        .prepare =
            [held, &domain, lifetime] {
                Server server = domain.open(lifetime);
                auto queue = server.create_queue("queue", {.capacity = 4});
                if (!queue || !queue->offer(numbered(1, 48)) || !queue->offer(numbered(2, 48))) {
                    return false;
                }
                auto delivery = queue->poll();
                auto loan = queue->loan("crash", 48);
                held->emplace(std::move(server), *queue, std::move(*delivery), std::move(*loan));
                return true;
            },
        .act = [held] { held->reset(); }};
}

TEST_F(KillEveryStep, of_leaving_gives_back_what_it_held) {
    for (const Lifetime lifetime : {Lifetime::persistent, Lifetime::ephemeral}) {
        {
            Server survivor = domain_.open(lifetime);
            Queue queue = survivor.create_queue("queue", {.capacity = 4}).value();
            victim_.kill_at_every_step("leave", {}, leaver(domain_, lifetime), [&](bool) {
                EXPECT_EQ(audit(survivor, settle(queue), 1), "");  // reaps
                EXPECT_EQ(drain(queue), std::vector<std::uint64_t>{2});
                EXPECT_EQ(audit(survivor, settle(queue)), "");
                EXPECT_EQ(survivor.verify().value().processes, 1U);
            });
            EXPECT_TRUE(survivor.running());
        }
        expect_removable();
    }
}

TEST_F(KillEveryStep, of_leaving_as_the_last_one_ends_an_ephemeral_domain) {
    const VictimRole last = leaver(domain_, Lifetime::ephemeral);
    victim_.kill_at_every_step("leave as the last", {}, last, [&](bool /*finished*/) {
        // The next one finds no queue of the dead domain.
        Server server = domain_.open(Lifetime::ephemeral);
        EXPECT_TRUE(server.created());
        EXPECT_FALSE(server.exists("queue").value());
        server = Server();
        expect_no_files();
    });
    victim_.kill_at_every_step(
        "leave as the last, then gc", {}, last, [&](bool /*finished*/) { expect_no_files(); });
}

TEST_F(KillEveryStep, of_removing_the_domain_removes_it_or_not) {
    auto held = std::make_shared<Server>();
    const VictimRole remover{.prepare =
                                 [&, held] {
                                     *held = domain_.open();
                                     return true;
                                 },
                             .act = [held] { static_cast<void>(held->remove_domain()); }};
    Server survivor;
    const auto before = [&] { survivor = domain_.open(); };
    victim_.kill_at_every_step("remove_domain", before, remover, [&](bool finished) {
        Server next = domain_.open();
        EXPECT_EQ(next.created(), !survivor.running());
        EXPECT_FALSE(finished && survivor.running());
        if (survivor.running()) {
            expect_whole(survivor);
        }
        survivor = Server();
        next = Server();
        expect_usable(Lifetime::persistent);
        expect_removable();
    });
}

TEST_F(KillEveryStep, of_removing_the_files_by_name_removes_them_or_not) {
    const VictimRole remover{
        .prepare = {}, .act = [&] { static_cast<void>(remove_domain(domain_.name(), true)); }};
    const auto before = [&] { Server made = domain_.open(); };
    victim_.kill_at_every_step("remove_domain(name)", before, remover, [&](bool /*finished*/) {
        expect_usable(Lifetime::persistent);
        expect_removable();
    });
}

TEST_F(KillEveryStep, of_collecting_garbage_leaves_garbage_at_most) {
    const VictimRole collector{.prepare = {},
                               .act = [] { static_cast<void>(collect_garbage(false)); }};
    StepVictim litterer;
    const auto before = [&] {
        // A private file without a name, a removed domain with one, an ephemeral domain of the
        // dead.
        using Fate = StepVictim::Fate;
        litterer.run(opener(Lifetime::persistent), Fate::killed, 1, "segment.publish.link");
        litterer.run(opener(Lifetime::ephemeral), Fate::killed, 1, "process.join.generation");
        litterer.run(opener(Lifetime::ephemeral), Fate::killed, 1, "segment.publish.unlock");
        EXPECT_GE(domain_.files().size(), 3U);
    };
    victim_.kill_at_every_step("collect_garbage", before, collector, [&](bool finished) {
        EXPECT_TRUE(!finished || domain_.files().empty());
        expect_no_files();
    });
}

}  // namespace
}  // namespace telpher::crash

// What a forked child may do with its parent's handles: nothing, and harm nobody by trying.

#include "tests/unit/support/quiet_fork.hpp"
#include "tests/unit/support/sanitizers.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace telpher::test {
namespace {

// Whether every other thread of this process sleeps.
bool others_sleep() {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string stat;
        std::getline(std::ifstream(task.path() / "stat"), stat);
        const bool me = task.path().filename() == std::to_string(gettid());
        const std::size_t name_end = stat.rfind(')');
        if (!me && name_end != std::string::npos && stat.compare(name_end, 3, ") S") != 0) {
            return false;
        }
    }
    return true;
}

// A thread in the middle of an allocation would leave AddressSanitizer's allocator locked in the
// child for ever (glibc's own is unlocked there). Ours has just started: it is left to fall asleep.
void let_others_sleep() {
    for (int look = 0; look < 1000 && !others_sleep(); ++look) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

// Runs `check` in a forked child and returns the number of the first check that failed there, 0 =
// none.
int in_child(const std::function<int()>& check) {
    let_others_sleep();
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        _exit(check());  // no destructor of the test runs twice
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// An attachment starts its janitor.
constexpr bool kChildrenMayNotStartThreads = kThreadSanitizer;

class Fork : public testing::Test {
  protected:
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Client client_ = connect(domain_.uri()).value();
    Queue queue_ = server_.create_queue("q", {.capacity = 4}).value();
};

TEST_F(Fork, every_call_of_a_child_answers_forked) {
    Loan loan = queue_.loan("t", 8).value();
    const int failed = in_child([&] {
        const Status answers[] = {queue_.offer(Message::text("t", "x")).status(),
                                  queue_.offer(std::move(loan)).status(),
                                  queue_.poll().status(),
                                  queue_.poll(std::chrono::hours(1)).status(),
                                  queue_.loan("t", 1).status(),
                                  queue_.poll_as<int>().status(),
                                  queue_.status().status(),
                                  server_.create_queue("r").status(),
                                  server_.queue("q").status(),
                                  server_.exists("q").status(),
                                  server_.queues().status(),
                                  server_.remove_queue("q").status(),
                                  server_.status().status(),
                                  server_.processes().status(),
                                  server_.verify().status(),
                                  server_.remove_domain().status(),
                                  client_.queue("q").status(),
                                  client_.exists("q").status()};
        int number = 0;
        for (const Status answer : answers) {
            ++number;
            if (answer != Status::forked) {
                return number;
            }
        }
        return server_.running() || client_.running() ? 100 : 0;
    });
    EXPECT_EQ(failed, 0);
    EXPECT_TRUE(queue_.offer(std::move(loan))) << "the parent's is untouched";
}

TEST_F(Fork, destructors_of_a_child_do_nothing) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "polled")));
    auto delivery = std::make_unique<Delivery>(queue_.poll().value());
    auto loan = std::make_unique<Loan>(queue_.loan("t", 8).value());
    EXPECT_EQ(in_child([&] {
                  delivery.reset();
                  loan.reset();
                  queue_.close();
                  queue_ = Queue{};
                  client_.close();
                  client_ = Client{};
                  server_.close();
                  server_ = Server{};
                  return 0;
              }),
              0);
    EXPECT_EQ(delivery->text(), "polled");
    EXPECT_EQ(server_.verify()->chunks_claimed, 1U);
    EXPECT_TRUE(queue_.offer(std::move(*loan)));
    EXPECT_EQ(server_.status()->processes, 1U);
    EXPECT_TRUE(server_.verify()->problems.empty());
}

TEST_F(Fork, futures_sets_and_descriptors_of_a_child_do_nothing) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "taken")));
    auto taken = queue_.poll_async(std::chrono::hours(1));
    auto pending = queue_.poll_async(std::chrono::hours(1));
    WaitSet set;
    ASSERT_TRUE(set.add(queue_, Ready::message));
    ASSERT_TRUE(set.add(pending));
    ASSERT_TRUE(queue_.fd());
    EXPECT_EQ(in_child([&] {
                  const Status answers[] = {
                      taken.get({}).status(),
                      pending.get(std::chrono::hours(1)).status(),
                      queue_.poll_async(std::chrono::hours(1)).get({}).status(),
                      queue_.offer_async(Message::text("t", "x"), {}).get({}).status(),
                      queue_.fd().status(),
                      set.wait(std::chrono::hours(1)).status()};
                  int number = 0;
                  for (const Status answer : answers) {
                      ++number;
                      if (answer != Status::forked) {
                          return number;
                      }
                  }
                  if (!pending.ready() || pending.cancel()) {
                      return 100;
                  }
                  taken = {};
                  pending = {};
                  set = WaitSet{};
                  queue_ = Queue{};
                  server_ = Server{};
                  return 0;
              }),
              0);
    EXPECT_EQ(taken.get({})->text(), "taken");
    ASSERT_TRUE(queue_.offer(Message::text("t", "later")));
    EXPECT_EQ(pending.get(std::chrono::hours(1))->text(), "later");
}

TEST_F(Fork, a_child_can_open_afresh) {
    if (kChildrenMayNotStartThreads) {
        GTEST_SKIP() << "ThreadSanitizer still counts the parent's threads in a forked "
                        "child; runs in the presets release and asan";
    }
    EXPECT_EQ(in_child([&] {
                  auto server = Server::open(domain_.name());
                  if (!server || server->created() || server->status()->processes != 2) {
                      return 1;
                  }
                  auto queue = server->queue("q");
                  return queue && queue->offer(Message::text("t", "from the child")) ? 0 : 2;
              }),
              0);
    EXPECT_EQ(queue_.poll()->text(), "from the child");
}

TEST_F(Fork, a_child_of_a_child_is_forked_too_and_can_open_afresh) {
    if (kChildrenMayNotStartThreads) {
        GTEST_SKIP() << "ThreadSanitizer still counts the parent's threads in a forked "
                        "child; runs in the presets release and asan";
    }
    EXPECT_EQ(in_child([&] {
                  Queue mine = Server::open(domain_.name()).value().queue("q").value();
                  return in_child([&] {
                      if (mine.poll().status() != Status::forked ||
                          queue_.poll().status() != Status::forked) {
                          return 1;
                      }
                      Queue own = connect(domain_.uri()).value().queue("q").value();
                      return own.offer(Message::text("t", "grandchild")) ? 0 : 2;
                  });
              }),
              0);
    EXPECT_EQ(queue_.poll()->text(), "grandchild");
}

// A child inherits no lock: when the parent dies, the child does not keep it alive for the others.
TEST_F(Fork, a_child_that_lives_on_does_not_hide_the_death_of_its_parent) {
    int to_child[2];
    ASSERT_EQ(pipe(to_child), 0);
    let_others_sleep();
    const pid_t parent = test::quiet_fork();
    if (parent == 0) {
        std::optional<Server> server(Server::open(domain_.name()).value());
        if (test::quiet_fork() == 0) {
            close(to_child[1]);
            char end = 0;
            static_cast<void>(!read(to_child[0], &end, 1));  // until the test closes the pipe
            _exit(0);
        }
        _exit(server->running() ? 0 : 1);  // dies without leaving
    }
    int status = 0;
    ASSERT_EQ(waitpid(parent, &status, 0), parent);
    EXPECT_EQ(status, 0);
    // The child closes what it inherited as soon as it runs, which may be a little later.
    for (int i = 0; i < 5'000 && server_.processes()->size() != 1; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(server_.processes()->size(), 1U) << "noticed although its child lives";
    EXPECT_EQ(server_.status()->reaped, 1U);
    close(to_child[0]);
    close(to_child[1]);
}

}  // namespace
}  // namespace telpher::test

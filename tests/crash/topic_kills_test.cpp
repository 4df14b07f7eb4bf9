// Goal:   publishers and subscribers of one topic killed at random moments, also while they attach and
//         reap each other: subscribers that live see one order without a hole that they are not told
//         of, nothing torn, exactly as many messages as were published; the survivors go on; nothing
//         leaks, and nobody's place stays taken.
// Method: two publishers and two subscribers live through it all, one of them slow; each victim lives
//         for up to 2.5 ms. TELPHER_SOAK=1: 5000 of each.

#include "tests/crash/topic_world.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kVictimLifeUs = 2500;

// What a surviving subscriber has seen, in memory that outlives kills.
struct Book {
    std::atomic<std::uint64_t> first{0};
    std::atomic<std::uint64_t> last{0};
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> lost{0};
    std::atomic<std::uint64_t> order{0};  // hash of what was received, for two who lose nothing
};
struct Books {
    Book subscribers[2];
    std::atomic<std::uint64_t> published{0};
    std::atomic<bool> publishers_stop{false};
    std::atomic<std::uint64_t> stop_at{0};  // the topic's last number, when all is said
    std::atomic<std::uint32_t> failures{0};
    char failure[200] = {};

    void fail(const std::string& what) {
        if (failures.fetch_add(1) == 0) {
            what.copy(failure, sizeof failure - 1);
        }
    }
};

std::size_t random_size(Random& random) {
    switch (random.below(8)) {
        case 0:
            return 8 + random.below(12'000);
        case 1:
        case 2:
            return 8 + random.below(1500);
        default:
            return 8 + random.below(180);
    }
}

class TopicKills : public ::testing::Test {
  protected:
    TopicKills()
        : watchdog_(200),
          world_(::testing::UnitTest::GetInstance()->current_test_info()->name(),
                 {.capacity = 64, .history = 8, .slow = slow()}),
          random_(seed()) {}

    static SlowSubscriber slow() {
        const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
        return name.find("block") != std::string::npos ? SlowSubscriber::block
                                                       : SlowSubscriber::drop_oldest;
    }

    int publish(std::uint32_t publisher, bool survives) {
        Random random(seed() + publisher);
        auto server = Server::open(world_.domain_.name());
        auto topic = server ? server->topic("crash") : Result<Topic>(server.error());
        if (!topic) {
            books_->fail("publisher: " + to_string(topic.error()));
            return 1;
        }
        for (std::uint64_t count = 1; !books_->publishers_stop.load(); ++count) {
            const std::uint64_t number = static_cast<std::uint64_t>(publisher) << 40U | count;
            const auto published = topic->publish(numbered(number, random_size(random)),
                                                  survives ? Duration(2s) : Duration(5ms));
            if (published) {
                books_->published.fetch_add(1);
            } else if (published.status() != Status::timed_out &&
                       published.status() != Status::out_of_memory) {
                books_->fail("publish: " + to_string(published.error()));
                return 1;
            } else if (survives && published.status() == Status::timed_out) {
                books_->fail("a publisher was held up for two seconds");
                return 1;
            }
            if (survives && random.below(8) == 0) {
                usleep(50);
            }
        }
        return 0;
    }

    int subscribe(std::uint32_t subscriber, bool survives) {
        Random random(seed() + 100 + subscriber);
        auto server = Server::open(world_.domain_.name());
        SubscribeOptions options;
        options.from = survives ? From::latest() : From::earliest();
        auto subscription =
            server ? server->subscribe("crash", options) : Result<Subscription>(server.error());
        if (!subscription) {
            books_->fail("subscriber: " + to_string(subscription.error()));
            return 1;
        }
        Book* book = survives ? &books_->subscribers[subscriber] : nullptr;
        std::uint64_t last = 0;
        std::vector<Sample> held;
        for (;;) {
            auto sample = subscription->next(20ms);
            if (!sample) {
                if (sample.status() != Status::timed_out &&
                    sample.status() != Status::queue_empty) {
                    books_->fail("next: " + to_string(sample.error()));
                    return 1;
                }
                const std::uint64_t end = books_->stop_at.load();
                if (end != 0 && last == end) {
                    return 0;
                }
                continue;
            }
            if (number_of(*sample) == kTorn) {
                books_->fail("a torn message");
                return 1;
            }
            if (last != 0 && sample->sequence() != last + 1 + sample->lost_before()) {
                books_->fail("a hole that was not told");
                return 1;
            }
            last = sample->sequence();
            if (book != nullptr) {
                if (book->received.fetch_add(1) == 0) {
                    book->first.store(last - sample->lost_before());
                }
                book->lost.fetch_add(sample->lost_before());
                book->last.store(last);
                book->order.store(book->order.load() * 31 + number_of(*sample));
            }
            // Some are kept for a while, in place, and must stay what they were.
            if (random.below(16) == 0) {
                held.push_back(std::move(*sample));
                if (held.size() > 8) {
                    for (const Sample& old : held) {
                        if (number_of(old) == kTorn) {
                            books_->fail("a message that was held changed");
                            return 1;
                        }
                    }
                    held.clear();
                }
            }
            if (subscriber == 1 && survives && random.below(64) == 0) {
                usleep(1500);  // the slow one
            }
        }
    }

    void run(std::uint32_t rounds) {
        Child survivors[4] = {Child([this] { return subscribe(0, true); }),
                              Child([this] { return subscribe(1, true); }),
                              Child(),
                              Child()};
        while (world_.topic_.status().value().subscribers != 2) {
            ASSERT_EQ(books_->failures.load(), 0U) << books_->failure;
            usleep(1000);
        }
        survivors[2] = Child([this] { return publish(0, true); });
        survivors[3] = Child([this] { return publish(1, true); });
        const std::uint64_t started = now_ns();
        for (std::uint32_t round = 0; round < rounds; ++round) {
            Child publisher([this, round] { return publish(2 + round, false); });
            Child subscriber([this, round] { return subscribe(2 + round, false); });
            usleep(random_.below(kVictimLifeUs));
            publisher.kill();
            usleep(random_.below(kVictimLifeUs / 4));
            subscriber.kill();
            ASSERT_EQ(books_->failures.load(), 0U) << "round " << round << ": " << books_->failure;
        }
        const double seconds = static_cast<double>(now_ns() - started) / 1e9;
        books_->publishers_stop.store(true);
        for (int i = 2; i < 4; ++i) {
            EXPECT_EQ(survivors[i].wait_for_end(20s), 0);
        }
        // The last word, so that both readers know the end.
        const auto last = world_.topic_.publish(numbered(1, 48), 10s);
        ASSERT_TRUE(last);
        books_->stop_at.store(last->sequence);
        for (int i = 0; i < 2; ++i) {
            const int status = survivors[i].wait_for_end(20s);
            EXPECT_EQ(status, 0) << describe_end(status) << " " << books_->failure;
        }
        const std::uint64_t published = world_.topic_.status().value().published;
        for (const Book& book : books_->subscribers) {
            EXPECT_EQ(book.received + book.lost, published - book.first + 1);
            EXPECT_EQ(book.first, 1U);
        }
        std::printf(
            "  %u publishers and %u subscribers killed in %.1f s: %llu published (%llu told "
            "so), %llu and %llu lost by the two\n",
            rounds,
            rounds,
            seconds,
            static_cast<unsigned long long>(published),
            static_cast<unsigned long long>(books_->published.load()),
            static_cast<unsigned long long>(books_->subscribers[0].lost.load()),
            static_cast<unsigned long long>(books_->subscribers[1].lost.load()));
        // One whose commit was its last act may not have been told.
        EXPECT_GE(published, books_->published.load() + 1);
        EXPECT_LE(published, books_->published.load() + 1 + rounds);
        EXPECT_EQ(world_.server_.processes().value().size(), 1U);
        EXPECT_EQ(world_.topic_.status().value().subscribers, 0U);
        world_.expect_nothing_held();
    }

    Watchdog watchdog_;
    TopicWorld world_;
    Shared<Books> books_;
    Random random_;
};

TEST_F(TopicKills, of_publishers_and_subscribers_tear_and_lose_nothing) { run(scaled(1000, 5000)); }

TEST_F(TopicKills, of_subscribers_that_block_hold_nobody_up) {
    run(scaled(300, 5000));
    EXPECT_EQ(books_->subscribers[0].lost.load(), 0U);
    EXPECT_EQ(books_->subscribers[1].lost.load(), 0U);
    EXPECT_EQ(books_->subscribers[0].order.load(), books_->subscribers[1].order.load());
}

}  // namespace
}  // namespace telpher::crash

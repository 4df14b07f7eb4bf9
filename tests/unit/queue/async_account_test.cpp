// Goal:   offered = consumed + remaining, exactly, with polls cancelled at random moments while
//         producers offer: blocking ones by stop_token and by timeouts of random length, and
//         asynchronous ones cancelled, timed out, or destroyed at random.
// Method: about 200,000 cancelled polls; a million with TELPHER_SOAK; fewer under a sanitizer. Each
//         message carries its number: consumed once, by whoever. The seed is printed; TELPHER_SEED
//         repeats it. Producers keep room in the queue, so that what comes back finds its place.

#include "shm/base/cpu.hpp"
#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/sanitizers.hpp"
#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_ring.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stop_token>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

constexpr std::uint64_t kCancelled = kSanitizer ? 10'000 : 200'000;
constexpr std::uint64_t kCancelledSoak = 1'000'000;
constexpr std::uint32_t kCapacity = 256;
constexpr std::uint64_t kRoom = 64;  // that producers leave

std::uint64_t cancelled_wanted() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment
    return std::getenv("TELPHER_SOAK") != nullptr ? kCancelledSoak : kCancelled;
}

class AsyncAccount : public testing::Test {
  protected:
    struct Books {
        std::atomic<std::uint64_t> offered{0};
        std::atomic<std::uint64_t> consumed{0};
        std::atomic<std::uint64_t> sum_offered{0};  // of the messages' numbers
        std::atomic<std::uint64_t> sum_consumed{0};
        std::atomic<std::uint64_t> cancelled{0};  // polls that ended without a message
        std::atomic<bool> stop{false};
    };
    using Random = std::mt19937_64;

    static void spin(Random& random, std::uint64_t most) {
        for (std::uint64_t i = random() % most; i > 0; --i) {
            shm::cpu_pause();
        }
    }
    // From nothing to some hundred microseconds, mostly short.
    static Duration random_time(Random& random) {
        return Duration(random() % (1ULL << (random() % 19)));
    }
    void consumed(const Delivery& delivery) {
        books_.consumed.fetch_add(1);
        books_.sum_consumed.fetch_add(std::stoull(std::string(delivery.text())));
    }
    void account(const Result<Delivery>& polled) {
        if (polled) {
            consumed(*polled);
            return;
        }
        books_.cancelled.fetch_add(1);
        EXPECT_TRUE(polled.status() == Status::timed_out || polled.status() == Status::cancelled)
            << to_string(polled.status());
    }

    void produce(std::uint64_t number) {
        Random random(seed_ + number);
        for (std::uint64_t next = number; !books_.stop.load(); next += 2) {
            while (books_.offered.load() - books_.consumed.load() > kCapacity - kRoom) {
                if (books_.stop.load()) {
                    return;
                }
                std::this_thread::yield();
            }
            // Counted first, so that the difference above never wraps.
            books_.offered.fetch_add(1);
            const Message message = Message::text("t", std::to_string(next));
            bool sent = false;
            if (random() % 4 == 0) {
                sent = queue_.offer_async(message, 60s).get(60s).has_value();
            } else {
                sent = queue_.offer(message, 60s).has_value();
            }
            EXPECT_TRUE(sent);
            books_.sum_offered.fetch_add(next);
            spin(random, 1ULL << (random() % 12));
        }
    }

    // Blocking polls, ended by time or by a stop request of another thread.
    void poll_blocking() {
        Random random(seed_ + 100);
        std::atomic<std::stop_source*> current{nullptr};
        std::jthread canceller([&](const std::stop_token& end) {
            Random its_random(seed_ + 101);
            while (!end.stop_requested()) {
                if (std::stop_source* stop = current.exchange(nullptr)) {
                    spin(its_random, 3'000);
                    stop->request_stop();
                    delete stop;
                } else {
                    std::this_thread::yield();
                }
            }
            delete current.exchange(nullptr);
        });
        while (!books_.stop.load()) {
            if (random() % 2 == 0) {
                account(queue_.poll(random_time(random) + 1ns));
                continue;
            }
            auto* stop = new std::stop_source;
            const std::stop_token token = stop->get_token();
            delete current.exchange(stop);
            account(queue_.poll(2ms, token));
        }
    }

    // Asynchronous polls, some outstanding at a time, each ended in its own way.
    void poll_async() {
        Random random(seed_ + 200);
        std::vector<Future<Delivery>> outstanding(16);
        while (!books_.stop.load()) {
            Future<Delivery>& polled = outstanding[random() % outstanding.size()];
            end_somehow(polled, random);
            if (random() % 4 == 0) {
                std::stop_source stop;
                polled = queue_.poll_async(10s, stop.get_token());
                spin(random, 500);
                stop.request_stop();
            } else {
                polled = queue_.poll_async(random() % 2 == 0 ? random_time(random) + 1ns : 10s);
            }
            spin(random, 1ULL << (random() % 11));
        }
        for (Future<Delivery>& polled : outstanding) {
            end_somehow(polled, random);
        }
    }

    void end_somehow(Future<Delivery>& polled, Random& random) {
        if (!polled) {
            return;
        }
        switch (random() % 4) {
            case 0:  // destroyed, in whatever state
                polled = Future<Delivery>{};
                books_.cancelled.fetch_add(1);
                return;
            case 1:
                if (polled.cancel()) {
                    EXPECT_EQ(polled.get(0s).status(), Status::cancelled);
                    books_.cancelled.fetch_add(1);
                    return;
                }
                EXPECT_TRUE(polled.wait(5s)) << "too late to cancel it: it ends at once";
                account(polled.get(0s));
                return;
            case 2:
                if (!polled.wait(random_time(random)) && polled.cancel()) {
                    polled = Future<Delivery>{};
                    books_.cancelled.fetch_add(1);
                    return;
                }
                account(polled.get(10s));
                return;
            default: {
                auto result = polled.get(random_time(random));
                if (polled) {  // only the wait timed out
                    polled = Future<Delivery>{};
                    books_.cancelled.fetch_add(1);
                    return;
                }
                account(result);
            }
        }
    }

    void settle_books() {
        std::uint64_t remaining = 0;
        while (auto delivery = queue_.poll()) {
            ++remaining;
            books_.sum_consumed.fetch_add(std::stoull(std::string(delivery->text())));
        }
        EXPECT_EQ(books_.offered.load(), books_.consumed.load() + remaining);
        EXPECT_EQ(books_.sum_offered.load(), books_.sum_consumed.load());
        const VerifyReport report = server_.verify().value();
        EXPECT_TRUE(report.problems.empty());
        EXPECT_EQ(report.chunks_claimed + report.chunks_offered, 0U);
    }

    const std::uint64_t seed_ = test_seed();
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = kCapacity}).value();
    Books books_;
};

TEST_F(AsyncAccount, of_polls_cancelled_at_random_moments_is_exact) {
    const Stopwatch watch;
    {
        std::vector<std::jthread> threads;
        for (const std::uint64_t number : {1U, 2U}) {
            threads.emplace_back([this, number] { produce(number); });
        }
        threads.emplace_back([this] { poll_blocking(); });
        threads.emplace_back([this] { poll_async(); });
        threads.emplace_back([this] { poll_async(); });
        while (books_.cancelled.load() < cancelled_wanted() && !HasFailure()) {
            std::this_thread::sleep_for(10ms);
        }
        books_.stop.store(true);
    }
    settle_books();
    std::printf("  seed %llu: %llu polls cancelled, %llu messages consumed in %.1f s\n",
                static_cast<unsigned long long>(seed_),
                static_cast<unsigned long long>(books_.cancelled.load()),
                static_cast<unsigned long long>(books_.consumed.load()),
                static_cast<double>(watch.elapsed().count()) / 1e9);
}

}  // namespace
}  // namespace telpher::test

// Who finishes many operations wakes those who sleep for them behind the last one.

#include "src/broker/wakes_later.hpp"

#include "src/broker/operation.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;
using detail::OfferOperation;
using detail::OperationKind;
using detail::WakesLater;

constexpr auto kUntilAsleep = 100ms;

// Whether it is over, and we were woken: who is forgotten sees it, too, but only when its time is up.
bool woken_by(OfferOperation& operation) {
    const auto began = std::chrono::steady_clock::now();
    return operation.wait(20s) && std::chrono::steady_clock::now() - began < 20s;
}

// Completes nothing by itself.
class IdleHost final : public detail::OperationHost {
  public:
    bool may_withdraw(detail::Operation& /*operation*/) noexcept override { return true; }
    void withdrawn(detail::Operation& /*operation*/) noexcept override {}
    bool wait_for(detail::Operation& /*operation*/, std::uint64_t /*deadline*/) noexcept override {
        ++waiting;
        return false;
    }
    bool can_resume() noexcept override { return false; }
    void resume(detail::Operation& /*operation*/) noexcept override {}
    std::atomic<std::size_t> waiting{0};
};

// With a reference of the host's and one of the Future's, which end() drops.
class Pending {
  public:
    Pending()
        : operation_(new OfferOperation(std::shared_ptr<void>(), host_, OperationKind::offer)) {}
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    ~Pending() {
        operation_->drop();
        operation_->drop();
    }
    OfferOperation* operator->() const noexcept { return operation_; }
    OfferOperation& operator*() const noexcept { return *operation_; }
    void finish() const {
        ASSERT_TRUE(operation_->claim());
        operation_->fail(Status::cancelled);
        EXPECT_FALSE(operation_->finish());
    }

    // Until somebody is about to sleep for it.
    void await_sleeper() const {
        while (host_->waiting == 0) {
            std::this_thread::sleep_for(1ms);
        }
    }

  private:
    const std::shared_ptr<IdleHost> host_ = std::make_shared<IdleHost>();
    OfferOperation* const operation_;
};

TEST(WakesLater, wakes_at_its_end_who_sleeps_for_the_first_of_a_batch) {
    const std::array<Pending, 3> batch;
    std::atomic<bool> woken{false};
    std::size_t over = 0;
    std::thread sleeper([&] {
        EXPECT_TRUE(woken_by(*batch[0]));
        woken = true;
        for (const Pending& one : batch) {
            over += one->over() ? 1U : 0U;
        }
    });
    batch[0].await_sleeper();
    std::this_thread::sleep_for(kUntilAsleep);
    {
        WakesLater later;
        {
            WakesLater inner;  // the outermost counts
            batch[0].finish();
        }
        std::this_thread::sleep_for(50ms);
        EXPECT_FALSE(woken);
        batch[1].finish();
        batch[2].finish();
    }
    sleeper.join();
    EXPECT_EQ(over, batch.size());
}

// More sleepers than it has room for: all are woken, some of them at once.
TEST(WakesLater, forgets_nobody) {
    constexpr std::size_t kMany = 80;
    const std::vector<Pending> batch(kMany);
    std::vector<std::thread> sleepers;
    std::atomic<std::size_t> woken{0};
    for (const Pending& one : batch) {
        sleepers.emplace_back([&one, &woken] {
            EXPECT_TRUE(woken_by(*one));
            ++woken;
        });
    }
    for (const Pending& one : batch) {
        one.await_sleeper();
    }
    std::this_thread::sleep_for(kUntilAsleep);
    {
        WakesLater later;
        for (const Pending& one : batch) {
            one.finish();
        }
    }
    for (std::thread& sleeper : sleepers) {
        sleeper.join();
    }
    EXPECT_EQ(woken, kMany);
}

// Without one, and behind one's end, whoever sleeps is woken at once.
TEST(WakesLater, is_over_behind_its_end) {
    { WakesLater later; }
    const Pending one;
    std::thread sleeper([&] { EXPECT_TRUE(woken_by(*one)); });
    one.await_sleeper();
    std::this_thread::sleep_for(kUntilAsleep);
    one.finish();
    sleeper.join();
}

}  // namespace
}  // namespace telpher::test

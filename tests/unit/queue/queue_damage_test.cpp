// What the calls of a queue answer when a buggy process has scribbled over its ring: soon, and with
// a report. What tests/crash/scribbler_test.cpp found by chance is here on purpose.

#include "shm/layout.hpp"
#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>

namespace telpher::test {
namespace {

// A domain with one queue that holds two messages, and its memory as a stranger sees it.
class QueueDamage : public testing::Test {
  protected:
    QueueDamage() {
        const int file = open(domain_.path().c_str(), O_RDWR | O_CLOEXEC);
        struct stat facts {};
        EXPECT_EQ(fstat(file, &facts), 0);
        size_bytes_ = static_cast<std::size_t>(facts.st_size);
        memory_ = static_cast<std::byte*>(
            mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
        close(file);
        static_cast<void>(queue_.offer(Message::text("t", "one")).value());
        static_cast<void>(queue_.offer(Message::text("t", "two")).value());
    }
    QueueDamage(const QueueDamage&) = delete;
    QueueDamage& operator=(const QueueDamage&) = delete;
    ~QueueDamage() override { munmap(memory_, size_bytes_); }

    // The ring of the only queue: the first in the rings' memory.
    [[nodiscard]] shm::RingControl& control() const {
        const auto& header = *reinterpret_cast<const shm::SegmentHeader*>(memory_);
        for (std::uint32_t i = 0; i < header.region_count; ++i) {
            if (header.regions[i].kind == static_cast<std::uint32_t>(shm::RegionKind::rings)) {
                return *reinterpret_cast<shm::RingControl*>(memory_ + header.regions[i].offset);
            }
        }
        std::abort();
    }
    void set_hints(std::uint64_t head, std::uint64_t tail) const {
        control().head.store(head, std::memory_order_relaxed);
        control().tail.store(tail, std::memory_order_relaxed);
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 4}).value();
    std::byte* memory_ = nullptr;
    std::size_t size_bytes_ = 0;
};

struct Hints {
    std::uint64_t head, tail;
};
constexpr Hints kFarApart[] = {{0, 1ULL << 62U},
                               {0, ~0ULL},
                               {5, ~0ULL - 8},
                               {1ULL << 40U, 1ULL << 50U},
                               {~0ULL, 0},
                               {~0ULL - 1, ~0ULL}};

TEST_F(QueueDamage, hints_that_are_far_apart_stop_no_look_at_the_queue) {
    for (const Hints& hints : kFarApart) {
        set_hints(hints.head, hints.tail);
        const Stopwatch watch;
        const auto status = queue_.status();
        ASSERT_TRUE(status);
        EXPECT_LE(status->depth, 4U);
        static_cast<void>(queue_.peek());
        static_cast<void>(queue_.poll(1ms));
        static_cast<void>(queue_.purge());
        EXPECT_LT(watch.elapsed(), 10 * kPromptly) << hints.head << " " << hints.tail;
    }
}

TEST_F(QueueDamage, hints_that_lead_are_a_problem_for_verify) {
    for (const Hints& hints : kFarApart) {
        set_hints(hints.head, hints.tail);
        const Stopwatch watch;
        const auto report = server_.verify();
        ASSERT_TRUE(report);
        EXPECT_FALSE(report->problems.empty()) << hints.head << " " << hints.tail;
        EXPECT_LT(watch.elapsed(), 10 * kPromptly) << hints.head << " " << hints.tail;
    }
}

}  // namespace
}  // namespace telpher::test

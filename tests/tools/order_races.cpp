// The threads that memory_orders_test.py runs under ThreadSanitizer: ring, pool and doorbell over one
// mapping, with plain reads and writes of what each memory order protects. One translation unit and
// no test framework, because it is compiled once for every mutant.
//
//   Exit   0: every message arrived whole. 1: one did not. ThreadSanitizer: its own exit code.

#include "shm/base/futex.cpp"
#include "shm/chunk_pool.cpp"
#include "shm/doorbell.cpp"
#include "shm/doorbell.hpp"
#include "shm/ring.cpp"
#include "tests/unit/support/scratch_ring.hpp"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

// Nothing grows here: the pool of this driver has no data segments.
telpher::Status telpher::shm::DataSegments::reach() noexcept { return Status::ok; }

namespace telpher::test {
namespace {

std::atomic<bool> g_wrong{false};

void expect(bool right) {
    if (!right) {
        g_wrong.store(true, std::memory_order_relaxed);
    }
}

// Between two futile looks. Mostly awake: on a busy machine a yield costs many milliseconds.
void rest() {
    thread_local std::uint32_t looks = 0;
    for (int i = 0; i < 50; ++i) {
        shm::cpu_pause();
    }
    if (++looks % 256 == 0) {
        std::this_thread::yield();
    }
}

void run_threads(std::uint32_t count, const std::function<void(std::uint32_t)>& body) {
    std::vector<std::thread> threads;
    for (std::uint32_t party = 1; party <= count; ++party) {
        threads.emplace_back(body, party);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// P1 and P2: a chunk's next owner writes what its last one read.
void hand_chunks_over() {
    ScratchPool scratch({{128, 3}});
    run_threads(3, [&scratch](std::uint32_t me) {
        for (int round = 0; round < 10'000; ++round) {
            const std::uint32_t chunk = scratch.pool().allocate(0, me, scratch.cursor(me));
            if (chunk == shm::kNoChunk) {
                rest();
                continue;
            }
            auto* bytes = scratch.pool().message(chunk).data();
            std::memcpy(bytes, &me, sizeof me);
            std::uint32_t seen = 0;
            std::memcpy(&seen, bytes, sizeof seen);
            expect(seen == me);
            scratch.pool().free_now(chunk);
        }
    });
}

// C0 to C3 and R1 to R5: what a producer wrote is what a consumer reads, whoever they are and
// however far the hints lag.
void send_messages() {
    ScratchRing ring(32, 40);
    constexpr std::uint64_t kEach = 6'000;
    std::atomic<std::uint64_t> polled{0};
    run_threads(4, [&](std::uint32_t party) {
        if (party <= 2) {
            for (std::uint64_t sent = 0; sent < kEach;) {
                if (ring.offer(sent, party) == Status::ok) {
                    ++sent;
                } else {
                    rest();
                }
                if (sent % 64 == 0) {
                    ring.set_hints(0, 0);
                }
            }
            return;
        }
        while (polled.load(std::memory_order_relaxed) < 2 * kEach) {
            const Polled got = ring.poll(party);
            if (got.status == Status::ok) {
                expect(got.value < kEach);
                polled.fetch_add(1, std::memory_order_relaxed);
            } else {
                rest();
            }
        }
    });
}

// D1: what was written before the ring is seen by the thread that was rung.
void ring_doorbells() {
    std::array<shm::ThreadRecord, 3> threads{};
    std::uint64_t plain = 0;
    run_threads(2, [&](std::uint32_t me) {
        for (std::uint32_t turn = 0; turn < 400; ++turn) {
            if (turn % 2 == me - 1) {
                expect(plain == turn);
                plain = turn + 1;
                shm::ring_doorbell(threads[3 - me]);
                continue;
            }
            std::uint32_t seen = 0;  // the other one has rung once in each of its turns
            while ((seen = threads[me].doorbell.load(std::memory_order_acquire)) <= turn / 2) {
                shm::futex_wait(threads[me].doorbell, seen, std::chrono::seconds(1));
            }
        }
    });
}

// W1 to W12: a consumer that sleeps without a time-out is woken for every message; a lost wake is
// the time limit of whoever runs this.
void sleep_and_wake() {
    ScratchRing ring(8, 16);
    std::array<shm::ThreadRecord, 4> threads{};
    auto map = std::make_unique<shm::WaiterMap>();
    constexpr std::uint64_t kMessages = 1'000;
    std::atomic<std::uint64_t> polled{0};
    const auto readable = [&ring] { return ring.ring().readable(); };
    run_threads(3, [&](std::uint32_t party) {
        if (party == 1) {
            for (std::uint64_t sent = 0; sent < kMessages;) {
                if (ring.offer(sent, party) == Status::ok) {
                    ++sent;
                    shm::wake(*map, threads, readable);
                } else {
                    rest();
                }
            }
            while (polled.load(std::memory_order_relaxed) < kMessages) {
                rest();
            }
            expect(ring.ring().close() == Status::ok);
            shm::wake_all(*map, threads);
            return;
        }
        for (Status status = Status::ok; status != Status::queue_not_found;) {
            const std::uint32_t seen = threads[party].doorbell.load(std::memory_order_acquire);
            shm::arm(*map, party);
            if (!readable()) {
                shm::futex_wait(threads[party].doorbell, seen, std::chrono::hours(1));
            }
            const bool chosen = shm::disarm(*map, party);
            status = ring.poll(party).status;
            polled.fetch_add(status == Status::ok ? 1 : 0, std::memory_order_relaxed);
            if (chosen && readable()) {
                shm::wake(*map, threads, readable);
            }
        }
    });
    expect(ring.ring().committed() == kMessages && ring.ring().claimed() == kMessages);
}

}  // namespace
}  // namespace telpher::test

int main() {
    telpher::test::hand_chunks_over();
    telpher::test::send_messages();
    telpher::test::ring_doorbells();
    telpher::test::sleep_and_wake();
    const bool wrong = telpher::test::g_wrong.load(std::memory_order_relaxed);
    std::puts(wrong ? "a message was not what was sent" : "all right");
    return wrong ? 1 : 0;
}

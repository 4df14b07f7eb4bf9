#pragma once
// Producers and consumers of one queue that keep books in memory that survives them, and the audit
// of the books: what was accepted has arrived once, in order, or was in the hands of a consumer
// that was killed.

#include "tests/crash/harness.hpp"

#include <atomic>
#include <string>

namespace telpher::crash {

inline constexpr std::uint32_t kProducersMax = 1U << 16U;  // each life of a producer is one
inline constexpr std::uint32_t kLanes = 5;                 // of consumers; each has one at a time
inline constexpr std::uint32_t kEntriesMax = 8U << 20U;    // polled in one lane

// What survivors show while they work.
struct Pulse {
    std::atomic<std::uint64_t> done{0};
    std::atomic<std::uint64_t> gap_ns{0};  // the longest since somebody took it
    std::atomic<std::uint64_t> last_ns{0};

    void beat();
};

class Traffic {
  public:
    explicit Traffic(const ScratchDomain& domain) : domain_(domain) {}
    void make_queue(const QueueOptions& options) const;

    // The roles; each is the life of a process. They end when told, or by a kill.
    int produce(std::uint32_t producer, Pulse* pulse);
    int consume(std::uint32_t lane, Pulse* pulse);

    void stop_producers() { books_->producers_stop.store(true); }
    // Consumers end when they find the queue empty.
    void stop_consumers() { books_->consumers_stop.store(true); }
    // The longest time since the last call in which no survivor at all got anything done.
    std::uint64_t take_stall() { return books_->together.gap_ns.exchange(0); }
    [[nodiscard]] bool failed() const { return books_->failures.load() != 0; }
    // What the first one that failed said.
    [[nodiscard]] const char* first_failure() const { return books_->first_failure; }

    // With everybody ended: polls what is left (into the last lane) and compares the books. Empty =
    // right. `killed_consumers` may have taken one message each into their graves.
    std::string audit_books(Queue& queue, std::uint32_t producers, std::uint32_t killed_consumers);
    [[nodiscard]] std::string summary() const;

  private:
    struct Entry {
        std::uint64_t number;
        std::uint64_t sequence;
    };
    struct Lane {
        std::atomic<std::uint64_t> count;
        Entry entries[kEntriesMax];
    };
    struct Books {
        std::atomic<bool> producers_stop;
        std::atomic<bool> consumers_stop;
        std::atomic<std::uint32_t> failures;
        char first_failure[256];
        Pulse together;  // of all survivors
        std::atomic<std::uint64_t> attempted[kProducersMax];
        std::atomic<std::uint64_t> accepted[kProducersMax];
        Lane lanes[kLanes];
    };
    bool offer_one(
        Queue& queue, std::uint64_t number, Duration longest, Random& random, Error* error);
    void note(std::uint32_t lane, const Delivery& delivery);
    void fail(const std::string& what);
    std::string compare(std::uint32_t producers, std::uint32_t killed_consumers);

    const ScratchDomain& domain_;
    Shared<Books> books_;
    std::uint64_t sent_ = 0;
    std::uint64_t lost_ = 0;
};

}  // namespace telpher::crash

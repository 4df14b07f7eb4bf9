// What the processes of the demo did, in memory that they share and that survives a kill of any of
// them.
//
//   Lives in   a memfd: the parent makes it, its children inherit the descriptor.
//   Threads    each figure has one writer; anyone may read it at any time.
//   Crash      a figure is written whole or not at all, so a killed worker's account is right up to
//              the last order that it finished.
#pragma once

#include "telpher/result.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace telpher::cli {

// A number with one writer.
class Figure {
  public:
    // Who sees a figure sees what was done before it was set: `finish` comes after the last offer.
    [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_acquire); }
    void set(std::uint64_t value) { value_.store(value, std::memory_order_release); }
    void add(std::uint64_t value) { set(get() + value); }
    void raise_to(std::uint64_t value) { set(value > get() ? value : get()); }

  private:
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a lock would not be shared");
    std::atomic<std::uint64_t> value_{0};
};

// Counts of durations in buckets about 3 % wide.
class LatencyHistogram {
  public:
    void record(std::uint64_t ns);
    [[nodiscard]] std::uint64_t count() const;
    [[nodiscard]] std::uint64_t max() const { return max_.get(); }
    // The duration that `fraction` of all stayed at or below; 0 when nothing was recorded.
    [[nodiscard]] std::uint64_t percentile(double fraction) const;
    void merge(const LatencyHistogram& other);

  private:
    static constexpr unsigned kSubBits = 5;  // 32 buckets for each doubling
    static constexpr std::size_t kBuckets = (64 - kSubBits) << kSubBits;
    std::array<Figure, kBuckets> buckets_{};
    Figure max_{};
};

// The processes that the demo starts, and the names under which it starts them.
enum class Role : std::uint8_t {
    producer,
    worker_1,
    worker_2,
    pricer_1,
    pricer_2,
    subscriber,
    slow_subscriber,
    bridge,
    remote_subscriber
};
inline constexpr std::array<std::string_view, 9> kRoleNames{"producer",
                                                            "worker-1",
                                                            "worker-2",
                                                            "pricer-1",
                                                            "pricer-2",
                                                            "subscriber",
                                                            "slow-subscriber",
                                                            "bridge",
                                                            "remote-subscriber"};
[[nodiscard]] constexpr std::size_t index_of(Role role) { return static_cast<std::size_t>(role); }

// A worker calls the function for one order in so many: a call waits for another process, which an
// order alone does not.
inline constexpr std::uint64_t kCallEvery = 10;

inline constexpr std::size_t kWorkers = 2;
inline constexpr std::size_t kPricers = 2;
inline constexpr std::size_t kSubscribers = 3;  // the second one is slow, the third one remote

struct alignas(128) WorkerAccount {  // a cache line pair each: workers must not slow each other
    Figure handled;                  // orders finished
    Figure in_hands;                 // the number of the order taken and not finished, 0 = none
    Figure total;                    // of all orders finished, hundredths
    Figure wrong_totals;             // orders whose total is not the producer's
    Figure asked;                    // calls of the function
    Figure answered;                 // of these
    Figure wrong_prices;             // answers that are not the worker's total
    Figure wrong_sequences;          // orders out of order, seen twice, or under another number
    Figure last_ns;                  // when the last order was finished
    // Longest time between two orders at full speed: before the kills, after the first, after both.
    std::array<Figure, 3> stall_ns;
    LatencyHistogram latency;  // of the paced orders
    LatencyHistogram calls;    // of the calls among these
    Figure slowest_call_ns;    // of all
};

struct alignas(128) PricerAccount {
    Figure holds;   // 1 = holds a request, to be killed with it
    Figure priced;  // requests handled, whether or not the answer reached anybody
};

struct alignas(128) SubscriberAccount {
    Figure received;
    Figure lost;             // as it was told
    Figure last_sequence;    // of the last message, in the topic
    Figure wrong_sequences;  // not the one before, what was lost in between, and one
    Figure wrong_receipts;   // torn, with a wrong total, or of an order heard of before
};

struct Account {
    // Written by the parent.
    Figure messages;  // orders to send
    Figure orders;    // different ones among them
    Figure paced;     // the first ones, sent at a steady rate
    Figure rate;      // orders per second of these
    Figure gate;      // the producer does not go beyond this order before the last kill
    Figure go;        // everyone is ready
    // When worker 1 was killed, and later pricer 1; 0 = not yet.
    Figure worker_kill_ns;
    Figure pricer_kill_ns;
    Figure hold;       // pricer 1 shall not finish the next request that it gets
    Figure finish;     // nothing more will come: workers end when the queue is empty
    Figure closing;    // the workers have ended: so shall all others
    Figure published;  // on the topic, set before `closing`
    // Written by the producer.
    alignas(128) Figure offered;
    Figure full_speed_ns;  // when the paced orders were all sent
    // Written by the bridge, and by the remote subscriber when it has ended.
    alignas(128) Figure bridge_port;
    Figure remote_done;
    // Written by each role when it can begin.
    alignas(128) std::array<Figure, kRoleNames.size()> ready;
    std::array<WorkerAccount, kWorkers> workers;
    std::array<PricerAccount, kPricers> pricers;
    std::array<SubscriberAccount, kSubscribers> subscribers;
};

// The mapping of an Account and, behind it, what the orders cost, one bit per worker and order
// (finished) and one per subscriber and order (heard of). Move-only.
class SharedAccount {
  public:
    // For so many messages, of orders with these totals over and over. Errors: out_of_memory.
    static Result<SharedAccount> create(std::uint64_t messages,
                                        std::span<const std::int64_t> totals);
    // In a child: the one behind the inherited descriptor. Errors: bad_request.
    static Result<SharedAccount> attach(int fd);

    SharedAccount(SharedAccount&& other) noexcept;
    SharedAccount& operator=(SharedAccount&&) = delete;
    SharedAccount(const SharedAccount&) = delete;
    SharedAccount& operator=(const SharedAccount&) = delete;
    ~SharedAccount();

    Account* operator->() const { return account_; }
    Account& operator*() const { return *account_; }
    [[nodiscard]] int fd() const { return fd_; }

    // What order `sequence` (1, 2, ...) costs.
    [[nodiscard]] std::int64_t total(std::uint64_t sequence) const;
    // Notes that the worker has finished the order. False if it had before.
    [[nodiscard]] bool mark_handled(std::size_t worker, std::uint64_t sequence) const {
        return mark(worker, sequence);
    }
    [[nodiscard]] bool handled(std::size_t worker, std::uint64_t sequence) const {
        return marked(worker, sequence);
    }
    // Notes that the subscriber has heard of the order. False if it had before.
    [[nodiscard]] bool mark_heard(std::size_t subscriber, std::uint64_t sequence) const {
        return mark(kWorkers + subscriber, sequence);
    }
    [[nodiscard]] bool heard(std::size_t subscriber, std::uint64_t sequence) const {
        return marked(kWorkers + subscriber, sequence);
    }

  private:
    SharedAccount(int fd, void* memory, std::size_t size_bytes);
    static Result<SharedAccount> map(int fd, std::size_t size_bytes);
    [[nodiscard]] bool mark(std::size_t row, std::uint64_t sequence) const;
    [[nodiscard]] bool marked(std::size_t row, std::uint64_t sequence) const;
    [[nodiscard]] Figure& word(std::size_t row, std::uint64_t sequence) const;

    int fd_ = -1;
    Account* account_ = nullptr;
    Figure* totals_ = nullptr;
    std::size_t size_bytes_ = 0;
};

// Memory as a file, zeroed, that children inherit; -1 on failure.
[[nodiscard]] int make_memory_file(const char* name, std::size_t size_bytes);

// Steady clock, the same in all processes of the machine.
[[nodiscard]] std::uint64_t now_ns();

}  // namespace telpher::cli

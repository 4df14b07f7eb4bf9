#pragma once
// A consumer with a handler: threads that poll, run it, and say what it said; and one that extends their leases.
// Made of a Queue's public members only: the same over every way to a domain.
//
//   Threads    those of the handle, named telpher-consume, and one telpher-extend for a queue with leases;
//              the members any number at once.
//   Leases     each thread of handlers has a Batch: the deliveries it has in hand, under a lock that is held
//              while they are extended and while one of them leaves it, never while a handler runs. The
//              extender looks when the first lease has a third of its time behind it, and sleeps without end
//              when it has found nothing in hand.
//   Gate       what waits for its cause lies in a ParkingLot. As many threads again, named telpher-gate, take what
//              may go on from there, each into a Batch of its own. A lease's next time goes with it.
//   Lifetime   each thread holds this object, this object the queue.
//   Crash      as a Delivery: nothing else of it is shared.

#include "telpher/consumer.hpp"
#include "telpher/queue.hpp"

#include "src/client/parking_lot.hpp"

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string_view>
#include <thread>
#include <vector>

namespace telpher::detail {

inline constexpr std::uint32_t kConsumeThreadsMax = 64;
inline constexpr std::uint32_t kPrefetchMax = 256;

class Consuming : public std::enable_shared_from_this<Consuming> {
  public:
    // Errors: bad_request (threads, prefetch, retry_after), limit_reached (threads), and those of
    // Queue::status.
    static Result<std::shared_ptr<Consuming>> start(Queue queue,
                                                    ConsumeHandler handler,
                                                    const ConsumeOptions& options);
    Consuming(Queue queue,
              ConsumeHandler handler,
              const ConsumeOptions& options,
              const QueueStatus& status);
    Consuming(const Consuming&) = delete;
    Consuming& operator=(const Consuming&) = delete;
    ~Consuming();

    void stop() noexcept;
    [[nodiscard]] bool running() const noexcept;
    [[nodiscard]] ConsumerStatus status() const noexcept;

  private:
    using Clock = std::chrono::steady_clock;
    // What one thread has in hand.
    struct Batch {
        std::mutex mutex;
        std::vector<Delivery>
            deliveries;          // guarded where another thread looks at it: from `next` on
        std::vector<bool> lost;  // of each: its lease has ended
        std::size_t next = 0;    // the first that is not through
        Clock::time_point due;   // when their leases are to be extended

        [[nodiscard]] bool empty() const noexcept { return next == deliveries.size(); }
    };
    using Next = std::optional<Clock::time_point>;

    Result<void> start_threads();
    void run(std::size_t thread);
    [[nodiscard]] Error fetch(Batch& batch);
    void hold(Batch& batch, std::vector<Delivery> deliveries, Clock::time_point due);
    void handle(Batch& batch);
    [[nodiscard]] bool parks(Batch& batch);
    void run_parked(std::size_t thread);
    void let_go_lost(Delivery& delivery) noexcept;
    [[nodiscard]] std::optional<Handled> run_handler(const Delivery& delivery) noexcept;
    void settle(Delivery& delivery, const Handled& said) noexcept;
    [[nodiscard]] bool pause(const Error& trouble, std::uint32_t streak);
    void end(const Error& why) noexcept;
    void extend_leases();
    [[nodiscard]] Next extend_due() noexcept;
    void extend_due(Batch& batch, Next& next) noexcept;
    [[nodiscard]] bool extend(Delivery& delivery) noexcept;
    void call_extender(Clock::time_point due) noexcept;
    void tell(Status status, std::string_view text, const Delivery* delivery) noexcept;
    [[nodiscard]] bool forked() const noexcept;

    Queue queue_;
    ConsumeHandler handler_;
    const ConsumeOptions options_;
    const Duration lease_;  // how long the queue's leases hold; 0: it has none
    const std::uint32_t deliveries_max_;
    const pid_t pid_;
    std::stop_source stop_;
    std::vector<Batch> batches_;       // one for each thread of handlers
    std::shared_ptr<ParkingLot> lot_;  // null: there is no gate, and the next is empty
    std::vector<Batch> going_on_;      // one for each, of what has waited
    std::atomic<std::uint32_t> running_{0};
    std::mutex rest_mutex_;  // guards the next three
    std::condition_variable rest_;
    // When the extender looks next: before anything in hand is due.
    Clock::time_point soonest_ = Clock::time_point::max();
    Error why_;  // why it ended by itself
    std::atomic<std::uint64_t> acknowledged_{0};
    std::atomic<std::uint64_t> given_back_{0};
    std::atomic<std::uint64_t> rejected_{0};
    std::atomic<std::uint64_t> handler_errors_{0};
    std::atomic<std::uint64_t> extended_{0};
    std::atomic<std::uint64_t> leases_lost_{0};
    std::mutex threads_mutex_;  // guards threads_, and is held by who joins them
    std::vector<std::thread> threads_;
};

}  // namespace telpher::detail

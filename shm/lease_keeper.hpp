#pragma once
// Looks after a domain's leases: ends those that expired, hands out again what is parked, and brings to
// the dead letters what is there for good.
//
//   Shape      no table: leases and parked messages are chunks, found by a pass over all of them. An
//              entry's `lease_look` says when the next pass is worth its while: set by the first lease
//              (0 -> its end) and by whoever parks something for later; a pass begins by setting it to 0,
//              so that leases that begin meanwhile set it again, and ends by lowering it to what it saw.
//              What finds no room in the returns lane stays parked; whoever empties that lane comes back for it.
//   Who        whoever polls such a queue, finds nothing and sees that it is time; and the janitor of every
//              process of the domain, when it is time, after each death that it reaps, and every 5 s whatever
//              `lease_look` says.
//   Threads    any number in any process; two passes at once disturb nobody, each step is one CAS.
//   Crash      killed in a pass: the next death's pass, this one's, does all of it again.
//   Cost       a pass reads every chunk's word: 0.3 ms for the 55,000 chunks of the default 24 MiB (ARCHITECTURE.md, 48).

#include "shm/directory.hpp"
#include "shm/doorbell.hpp"
#include "shm/leases.hpp"
#include "shm/thread_context.hpp"

#include <optional>
#include <vector>

namespace telpher::shm {

// A queue with leases, pinned.
struct LeasedQueue {
    Found found;
    Ring ring;
    Ring lane;
};

class LeaseKeeper {
  public:
    LeaseKeeper() = default;
    LeaseKeeper(ChunkPool* pool,
                Directory* directory,
                std::span<ThreadRecord> threads,
                std::uint32_t me) noexcept
        : pool_(pool), directory_(directory), threads_(threads), me_(me), leases_(pool, me) {}

    // The queue that a leased chunk belongs to, if it still exists, pinned: `unpin` it.
    [[nodiscard]] std::optional<LeasedQueue> pin(std::uint32_t chunk) const;
    // Whether it was removed meanwhile: then the directory is to be tidied.
    [[nodiscard]] bool unpin(const LeasedQueue& queue) const;

    // Whether any queue of the domain has leases.
    [[nodiscard]] bool any() const noexcept;
    // When a pass is worth its while, in us of the lease clock; ~0: never.
    [[nodiscard]] std::uint64_t next_look() const noexcept;
    // Not later than `us`. Whether that is earlier than it was.
    static bool look_by(DirectoryEntry& entry, std::uint64_t us) noexcept;

    // One pass over everything. Without a thread's record leases end, and consumers hand out themselves.
    // Returns whether a queue was removed meanwhile: then the directory is to be tidied.
    bool pass(ThreadContext* context);

    // Hands a parked message out again, or buries it if it was delivered often enough. ok, queue_full
    // (PARKED, for who empties the lane), none (another was faster), corrupt.
    Status hand_out(const LeasedQueue& queue,
                    std::uint32_t chunk,
                    std::uint64_t parked,
                    ThreadContext& context) const;
    // Brings a message that is CLAIMED by us or PARKED to the queue's dead letters; without such a queue
    // it is dropped, and counted. ok, lease_expired (another was faster).
    //   crash  killed in it: the message is parked in this queue, or in the dead letters'
    Status bury(const LeasedQueue& queue,
                std::uint32_t chunk,
                std::uint64_t seen,
                ReturnReason reason,
                ThreadContext& context) const;
    // Brings a one-way request, CLAIMED by us, to the dead letters of its function; without such a queue it
    // is freed. Whether that queue was removed meanwhile: then the directory is to be tidied.
    //   crash  killed in it: a letter, and not counted as one at worst
    [[nodiscard]] bool condemn(const Found& function,
                               std::uint32_t chunk,
                               ReturnReason reason,
                               ThreadContext& context) const;

  private:
    struct Parked {
        std::size_t queue;
        std::uint64_t sequence;
        std::uint64_t due;
        std::uint32_t chunk;
        std::uint64_t word;
    };
    [[nodiscard]] std::vector<LeasedQueue> pin_all() const;
    [[nodiscard]] std::optional<LeasedQueue> open(const Found& found) const;
    [[nodiscard]] std::optional<LeasedQueue> dead_letters(const Found& of) const;
    void look_at_all();
    void look_at(std::uint32_t chunk, std::uint64_t now_us);
    [[nodiscard]] Status post(const LeasedQueue& queue,
                              std::uint32_t chunk,
                              std::uint64_t parked,
                              ThreadContext& context) const;
    [[nodiscard]] Status send_letter(LeasedQueue& dead,
                                     std::uint32_t chunk,
                                     std::uint64_t& taken,
                                     std::uint64_t note,
                                     ThreadContext& context) const;
    void leave_more(const LeasedQueue& queue) const noexcept;
    bool make_room(const LeasedQueue& queue, PoolCursor& cursor) const;

    ChunkPool* pool_ = nullptr;
    Directory* directory_ = nullptr;
    std::span<ThreadRecord> threads_;
    std::uint32_t me_ = 0;
    Leases leases_;
    // Of the pass under way.
    std::vector<LeasedQueue> queues_;
    std::vector<std::uint32_t> queue_of_entry_;
    std::vector<std::uint64_t> next_;  // of each queue: when something ends or is due
    std::vector<Parked> parked_;
};

}  // namespace telpher::shm

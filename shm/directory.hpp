#pragma once
// Names and control blocks of the queues, topics and functions of a domain, and the memory of their
// rings.
//
//   Shape      a table of entries. An entry's word = state | generation; a destination word
//              (layout.hpp: make_dest) names an entry and its generation, so that old handles fail.
//   Lookup     lock-free: read the word, copy the entry word by word, read the word again.
//   Change     under the directory lock: an OFD byte lock (between processes) and a mutex (between
//              the threads of one), taken with a timeout. The one declared exception to "nobody
//              waits".
//   Memory     the rings' region, and data segments that are added when it is full. No free list:
//              what LIVE, CLOSED and RECYCLING entries do not cover is free.
//   Crash      a lock holder killed anywhere leaves `directory_busy` set: the next holder makes
//              CREATING entries FREE again, closes the rings of CLOSED ones and finishes RECYCLING ones.
//   Recycling  a CLOSED entry goes when no process has its attached bit: RECYCLING is stored first,
//              the bits are read second; an opener sets its bit first and reads the word second.
//              Checked by tests/model/recycle.pml and tests/crash/.

#include "telpher/result.hpp"

#include "shm/chunk_pool.hpp"
#include "shm/idempotency.hpp"
#include "shm/layout.hpp"
#include "shm/ring.hpp"
#include "shm/segment.hpp"
#include "shm/topic_ring.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace telpher::shm {

inline constexpr std::chrono::seconds kDirectoryPatience{2};
// The owner of a temporary queue that nobody wants any more: an identity that is never alive.
inline constexpr std::uint64_t kNobody = ~0ULL;

// One destination, as found: a private copy.
struct Found {
    std::uint32_t entry = 0;
    std::uint64_t generation = 0;
    EntryState state = EntryState::free;
    EntryInfo info{};
    [[nodiscard]] std::string name() const { return {info.name, info.name_bytes}; }
    [[nodiscard]] Kind kind() const { return static_cast<Kind>(info.kind); }
    [[nodiscard]] Family family() const { return family_of(kind()); }
    // Whether its chunks carry a LeaseBlock.
    [[nodiscard]] bool leased() const { return info.delivery != 0; }
    // Of durable queues: their number in the log.
    [[nodiscard]] std::uint32_t log_number() const {
        return static_cast<std::uint32_t>(info.durable_log_id);
    }
    [[nodiscard]] std::uint64_t dest() const {
        return make_dest(entry, generation, leased() ? Lane::leased : Lane::main);
    }
};

// What a destination remembers of requests. All zero: nothing.
struct IdempotencySpec {
    std::uint8_t on = 0;
    std::uint8_t scope = 0;  // IdempotencyScope
    std::uint8_t flags = 0;  // kIdempotency...
    std::uint32_t entries_max = 0;
    std::uint64_t bytes_max = 0;
    std::uint64_t ttl_ns = 0;
};

struct DestinationSpec {
    std::string_view name;
    Kind kind = Kind::queue;
    std::uint32_t capacity = 0;
    std::uint64_t options_hash = 0;
    std::uint64_t byte_budget = 0;
    std::uint64_t owner = 0;  // identity of the process that the queue dies with, 0 = none
    // Of topics.
    std::uint32_t subscribers_max = 0;
    std::uint32_t history = 0;
    SlowPolicy policy = SlowPolicy::drop_oldest;
    std::uint64_t disconnect_after = 0;
    std::uint8_t flags = 0;  // kEntry...
    // Of queues with leases.
    std::uint8_t delivery = 0;  // DeliveryMode
    std::uint64_t lease_ns = 0;
    std::uint32_t deliveries_max = 0;  // 0 = any number
    // Of queues with leases, and of functions, for one-way requests: index + 1, 0 = none; generation.
    std::uint32_t dead_letter_entry = 0;
    std::uint32_t dead_letter_generation = 0;
    IdempotencySpec idempotency{};
    std::uint64_t log_id = 0;      // of durable queues: their number in the log | kLogSynced
    std::uint64_t created_ns = 0;  // wall clock; 0 = now
};

class Directory {
  public:
    // Holds the lock from `lock` to the end of its life.
    class Guard {
      public:
        Guard(Guard&& other) noexcept : directory_(std::exchange(other.directory_, nullptr)) {}
        Guard& operator=(Guard&&) = delete;
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        ~Guard();

      private:
        friend class Directory;
        explicit Guard(Directory* directory) noexcept : directory_(directory) {}
        Directory* directory_;
    };

    // `slot` is this process' place in the process table: its bit in `attached`.
    void start(Segment* segment, ChunkPool* pool, std::uint32_t slot) noexcept;

    // Waits at most `patience` for the directory lock, and mends what a dead holder left. Error:
    // timed_out.
    [[nodiscard]] Result<Guard> lock(std::chrono::nanoseconds patience = kDirectoryPatience);

    // The LIVE destination of that name.
    [[nodiscard]] std::optional<Found> find(std::string_view name,
                                            Family family = Family::queue) const noexcept;
    // Entry `index` if it is LIVE or CLOSED and reads consistently.
    [[nodiscard]] std::optional<Found> at(std::uint32_t index) const noexcept;
    // The same, also while it is being taken apart: for the reaper, whose dead may pin it.
    [[nodiscard]] std::optional<Found> pinned(std::uint32_t index) const noexcept;
    // The LIVE queue that the dead letters of `of`, a queue or a function, go to.
    [[nodiscard]] std::optional<Found> dead_letters(const Found& of) const noexcept;
    [[nodiscard]] std::vector<Found> list() const;

    // Makes a destination, or returns the one of that name and family with `created` false. Errors: limit_reached
    // (destinations, ring memory), out_of_memory (/dev/shm), timed_out. The caller compares options.
    [[nodiscard]] Result<Found> create(const DestinationSpec& spec, bool* created);
    // Closes a LIVE destination: nothing is accepted any more; rings its waiters. Errors:
    // queue_not_found (topic_, function_), timed_out, corrupt.
    [[nodiscard]] Result<Found> remove(std::string_view name, Family family = Family::queue);

    // Pins a destination's ring for this process (counted). False: it is gone.
    [[nodiscard]] bool attach(const Found& found);
    void detach(std::uint32_t entry);
    // Takes CLOSED entries apart that nobody has attached. The caller holds the lock.
    void recycle();

    // Functions live as long as a process serves them: its bit in `consumers`. `create` counts one more
    // server of this process, this one less; with the last one everywhere the next `close_orphans`
    // closes it.
    //   crash  killed before it: the reaper takes the bit away. Afterwards: as `disown`.
    void stop_serving(std::uint32_t entry) noexcept;
    // Whether `found` is a function that nobody serves.
    [[nodiscard]] bool unserved(const Found& found) const noexcept;

    // From here on the queue has an owner who is not alive. Pinned by the caller, or in its list.
    void disown(const Found& found) noexcept;
    // Closes functions that nobody serves, and queues whose owner is not alive: `alive(identity)`. The caller holds the lock. Waiters are
    // rung here.
    template <typename Alive>
    void close_orphans(Alive&& alive) {
        const std::uint32_t count = used();
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto found = read(i);
            if (found && found->state == EntryState::live &&
                ((found->info.owner != 0 && !alive(found->info.owner)) || unserved(*found)) &&
                !bug(Bug::orphans_stay)) {
                close_entry(*found);
            }
        }
    }
    // Whether there is such a queue or function.
    template <typename Alive>
    [[nodiscard]] bool any_orphan(Alive&& alive) const {
        const std::uint32_t count = used();
        for (std::uint32_t i = 0; i < count; ++i) {
            // E2: pairs with E1 (directory.cpp:E1). A first look.
            const std::uint64_t owner = std::atomic_ref<std::uint64_t>(entries_[i].info.owner)
                                            .load(std::memory_order_acquire);
            if (owner != 0 && !alive(owner) && at(i) && at(i)->state == EntryState::live) {
                return true;
            }
            // E2: pairs with E1 (directory.cpp:E1). A first look at the word that holds the kind.
            const std::uint64_t kinds = std::atomic_ref<std::uint64_t>(
                                            reinterpret_cast<std::uint64_t*>(&entries_[i].info)[1])
                                            .load(std::memory_order_acquire);
            if (static_cast<Kind>(kinds & 0xFFU) == Kind::function) {
                const auto found = at(i);
                if (found && found->state == EntryState::live && unserved(*found)) {
                    return true;
                }
            }
        }
        return false;
    }

    // The ring of a destination, if its place and shape lie in bounds.
    [[nodiscard]] std::optional<Ring> ring(const Found& found) const noexcept;
    // The ring of a queue's returns lane: what was polled and put back, served before the other. Its
    // waiter maps are not used, it has no sentinel.
    [[nodiscard]] std::optional<Ring> returns_lane(const Found& found) const noexcept;
    // How many handles of this process serve it.
    [[nodiscard]] std::uint32_t serving_here(std::uint32_t entry);
    // What a function counts its calls in, if its place lies in bounds; whoever adds to it has it pinned.
    [[nodiscard]] LatencyCounts* latency(const Found& found) const noexcept;
    // The ring of a topic, if it is one and its place and shape lie in bounds.
    [[nodiscard]] std::optional<TopicRing> topic(const Found& found) const noexcept;
    // Frees `chunk` if it is RETIRED, of `owner`, and nobody reads it: nobody's, or a dead process'.
    bool free_retired(std::uint32_t chunk, std::uint32_t owner) noexcept;
    // One pass over all chunks for nobody's: whether any was freed.
    bool free_retired() noexcept;
    [[nodiscard]] DirectoryEntry& entry(std::uint32_t index) const noexcept {
        return entries_[index];
    }
    [[nodiscard]] std::uint32_t used() const noexcept;
    [[nodiscard]] IdempotencyStore& idempotency() noexcept { return idempotency_; }
    // A first look: whether entry `index` is a queue with leases.
    [[nodiscard]] bool live_and_leased(std::uint32_t index) const noexcept {
        // E5: pairs with E6 (directory.cpp:E6).
        if (entry_state(entries_[index].word.load(std::memory_order_acquire)) != EntryState::live) {
            return false;
        }
        // E2: pairs with E1 (directory.cpp:E1). The word that holds kind and delivery.
        const std::uint64_t kinds = std::atomic_ref<std::uint64_t>(
                                        reinterpret_cast<std::uint64_t*>(&entries_[index].info)[1])
                                        .load(std::memory_order_acquire);
        return (kinds >> 8 & 0xFFU) != 0;
    }

  private:
    // What a destination's memory is divided into.
    struct Shape {
        std::uint64_t slots;
        std::uint64_t second_slots;  // of the returns lane, 0 = none
        std::uint64_t bytes;
    };
    [[nodiscard]] static Shape shape_of(const DestinationSpec& spec);
    [[nodiscard]] Found write_entry(std::uint32_t index,
                                    const DestinationSpec& spec,
                                    const Shape& shape,
                                    std::uint64_t offset);
    Status close_entry(const Found& found);
    void mend();
    void recycle_entry(std::uint32_t index);
    void drain(const Found& found);
    void drain_parked(const Found& found);
    void condemn_left(std::uint32_t index);
    void drain_topic(const Found& found);
    [[nodiscard]] std::optional<Found> read(std::uint32_t index,
                                            bool recycling = false) const noexcept;
    [[nodiscard]] std::optional<std::uint64_t> find_space(std::uint64_t bytes) const;
    // An area that rings may lie in: the first segment's, then those of data segments. By offset.
    struct Area {
        std::uint64_t begin, end;
    };
    [[nodiscard]] std::optional<Area> area_of(std::uint64_t offset) const noexcept;
    [[nodiscard]] std::vector<Area> areas() const;
    [[nodiscard]] Result<std::uint64_t> make_space(std::uint64_t bytes);
    void unlock() noexcept;
    void start_serving(std::uint32_t entry) noexcept;
    void ring_callers() noexcept;

    Segment* segment_ = nullptr;
    ChunkPool* pool_ = nullptr;
    DirectoryEntry* entries_ = nullptr;
    std::span<ThreadRecord> threads_;  // of the segment, to ring waiters
    std::uint32_t entry_count_ = 0;
    std::uint32_t slot_ = 0;
    std::span<std::byte> rings_;
    IdempotencyStore idempotency_;
    std::mutex mutex_;           // the directory lock among our threads
    std::mutex attached_mutex_;  // guards the counts below
    std::vector<std::uint32_t> attach_counts_;
    std::vector<std::uint32_t> serve_counts_;
};

// Bytes of a ring of `slots`.
constexpr std::uint64_t ring_bytes(std::uint64_t slots) {
    return (kRingSlotsOffset + slots * sizeof(Slot) + kLinePair - 1) / kLinePair * kLinePair;
}
// Bytes behind a topic's ring.
constexpr std::uint64_t topic_bytes(std::uint64_t subscribers) {
    return sizeof(TopicControl) + subscribers * sizeof(SubscriberRecord);
}
// Slots of the returns lane of a queue of `slots`: as many as messages are likely to be out at once.
constexpr std::uint64_t returns_slots(std::uint64_t slots) {
    return std::clamp<std::uint64_t>(slots, 16, 1024);
}
std::uint64_t name_hash(std::string_view name, Family family = Family::queue) noexcept;
// "queue", "topic", "function".
const char* to_string(Family family) noexcept;
// queue_not_found, topic_not_found, function_not_found.
Status not_found_status(Family family) noexcept;

}  // namespace telpher::shm

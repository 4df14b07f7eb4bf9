#pragma once
// A topic: one ring that everybody reads. Who publishes replaces the oldest message; each subscriber
// has a cursor of its own and loses what it is too slow for.
//
//   Shape      a ring block (ring.hpp; its head hint is the floor: positions below were trimmed; its
//              waiter maps are subscribers, and publishers who wait for blocking subscribers), then
//              TopicControl and `subscribers_max` subscriber records.
//   Publish    one 16-byte CAS puts the message at the tail and thereby evicts the one a lap before;
//              whoever evicted it (or whoever finds it evicted, or trims it) makes it RETIRED by one
//              CAS, is its owner from then on, and frees it when no hazard names it.
//   Read       a copy of what the publisher wrote word by word (Lane::copied), valid if the chunk's
//              word is unchanged afterwards; or in place, while a hazard of the subscriber's record
//              names the chunk.
//   Threads    any number of publishers and subscribers, in any number of processes; a subscriber's
//              record is one thread's at a time.
//   Progress   publish and retire are lock-free. A reader that is overtaken again and again by a
//              small ring may not read anything in bounded time, but it is told what it lost.
//   Crash      publish: before its CAS the chunk is OFFERED and in flight, and the reaper retires it
//              (never frees it at once: it may have been read already, and evicted); after the CAS it
//              is published, and `victim` of the thread record names what it evicted, which the
//              reaper retires. What the dead had retired, the reaper frees, or leaves as nobody's to the
//              next full pass (reaper, or an allocation that fails). A dead subscriber's record goes by one CAS on
//              its owner, and its hazards with it: the next owner clears them.
//   Order      one ring, so that all subscribers see one order; positions are dense, so that
//              published = received + lost, exactly.
//   Checked by tests/model/topic.pml, tests/crash/topic_*; memory orders as in ring.hpp, and the
//              pairs of this file:
//   H1 H2      not seen by TSan, which has no store buffers: model topic/bug-hazard-after-check

#include "shm/ring.hpp"

#include <mutex>
#include <span>

namespace telpher::shm {

// What becomes of a subscriber that is overtaken. On the wire and in memory: append only.
enum class SlowPolicy : std::uint8_t {
    drop_oldest = 0,  // it loses the oldest messages, and is told how many
    block = 1,        // publishers wait for it
    latest_only = 2,  // it wants the newest alone
    disconnect = 3    // it is ended when it has lost more than the topic allows
};

// Small chunks are written word by word, so that readers may copy them without a hazard.
inline constexpr std::size_t kCopiedChunkBytes = 256;
// Of a message that is asked for ahead: its chunk's header, its head, and a payload of up to 128 bytes.
inline constexpr std::size_t kFetchedLines = 4;

// Chunks that a thread retired and has yet to free. Private memory: its process' reaper finds them.
struct RetiredList {
    static constexpr std::uint32_t kBatch = 16;
    static constexpr std::uint32_t kMax = 64;
    static constexpr std::uint64_t kBytesMax = 64U << 10U;
    std::uint64_t refs[kMax] = {};
    std::uint32_t count = 0;
    std::uint64_t bytes = 0;
    // Of one class: RETIRED chunks that no hazard names, and none can name any more, to be used next by
    // this thread, in the order of their retirement.
    std::uint64_t clean[kMax] = {};
    std::uint32_t clean_first = 0;
    std::uint32_t clean_count = 0;
    std::uint32_t clean_bytes = 0;  // of each
};

// How far a publisher may go before it must look at the cursors of blocking subscribers again. Private
// memory, one thread at a time.
struct GateCache {
    std::uint64_t changes = ~0ULL;  // of the set of subscribers, when it was taken
    std::uint64_t limit = 0;        // the first position that may be too far
};

class TopicRing : public Ring {
  public:
    TopicRing() = default;
    TopicRing(const Ring& ring, TopicControl* control, std::uint32_t subscribers, SlowPolicy policy)
        : Ring(ring), topic_(control), subscribers_max_(subscribers), policy_(policy) {}

    // Puts `chunk`, OWNED by `me`, at the tail. ok (`*position`; `*evicted` is the reference to be
    // handed to `retire`, or kNoRef), queue_full (a blocking subscriber has not read what would be
    // evicted), topic_not_found (closed), corrupt. On any failure the chunk is OWNED by `me` again.
    struct Outgoing {
        std::uint32_t chunk;
        Lane lane;
        std::uint32_t me;
    };
    [[nodiscard]] Status publish(const Outgoing& what,
                                 ThreadRecord& thread,
                                 GateCache& known,
                                 std::uint64_t* position,
                                 std::uint64_t* evicted) noexcept;
    // Makes an evicted or trimmed chunk RETIRED, and `owner`'s. True: this call did.
    bool retire(std::uint64_t ref, std::uint32_t owner) noexcept;
    // The same, and notes it in `list`, which is emptied as far as hazards allow when it is long.
    void retire(std::uint64_t ref, std::uint32_t me, RetiredList& list) noexcept;
    void free_retired(RetiredList& list) noexcept;
    // A chunk of `chunk_bytes` out of `list`, OWNED by `me`: spares its way through the pool. kNoChunk
    // if there is none.
    [[nodiscard]] std::uint32_t take_retired(RetiredList& list,
                                             std::uint32_t chunk_bytes,
                                             std::uint32_t me) noexcept;
    // Frees what `list` has kept for use.
    void give_back(RetiredList& list) noexcept;
    // Frees `ref` if it is RETIRED, of `owner`, and no hazard names it; else makes it nobody's. For
    // nobody's, and for those of the dead.
    bool free_if_unused(std::uint64_t ref, std::uint32_t owner) noexcept;

    // What is at position `cursor`: ok (`*ref`); queue_empty; gap (`*cursor` has moved to the oldest
    // that is likely to stay); topic_not_found (the end); out_of_memory, corrupt.
    [[nodiscard]] Status look(std::uint64_t* cursor, std::uint64_t* ref) const noexcept;
    // Whether `ref`, read at position `cursor`, is still there: false = evicted or trimmed meanwhile.
    [[nodiscard]] bool still(std::uint64_t ref) const noexcept;
    // Whether the message was written word by word.
    [[nodiscard]] bool may_copy(std::uint64_t ref) const noexcept;
    // Copies the first out.size() message bytes (a multiple of 8) of a chunk that may be copied. False:
    // evicted meanwhile, and `out` is nonsense.
    [[nodiscard]] bool copy(std::uint64_t ref, std::span<std::byte> out) const noexcept;
    // Fetches the message a few positions on, for reading.
    void look_ahead(std::uint64_t cursor) const noexcept;
    // Names `ref` in `hazard`, so that its chunk stays. False: it was too late.
    [[nodiscard]] bool pin(Word& hazard, std::uint64_t ref) const noexcept;
    static void unpin(Word& hazard) noexcept;
    // Whether there may be something at `cursor`: the cheap question, and the exact one asked after
    // arming.
    [[nodiscard]] bool maybe_at(std::uint64_t cursor) const noexcept {
        // relaxed: `look` looks again
        return slot(cursor).pos.load(std::memory_order_relaxed) >= cursor + 1;
    }
    [[nodiscard]] bool is_at(std::uint64_t cursor) const noexcept {
        // W12: pairs with W1 (doorbell.hpp:W1): the look after arming.
        return slot(cursor).pos.load(std::memory_order_seq_cst) >= cursor + 1;
    }

    // Takes a record for process `identity`: active, at `*cursor` = the true tail. Null: all are
    // taken. Killed in it: the record is the dead's, and the reaper frees it.
    [[nodiscard]] SubscriberRecord* join(std::uint64_t identity,
                                         SlowPolicy policy,
                                         std::uint64_t* cursor) noexcept;
    // Moves a joined subscriber's start back to `position`, if it is not evicted.
    void start_at(SubscriberRecord& record, std::uint64_t position) noexcept;
    // It counts no more, and blocks nobody; its hazards do.
    void retire_subscriber(SubscriberRecord& record) noexcept;
    void leave(SubscriberRecord& record) noexcept;
    // Frees a record of the dead process `identity`. True: this call did.
    bool reap(SubscriberRecord& record, std::uint64_t identity) noexcept;
    // Records that may be in use.
    [[nodiscard]] std::span<SubscriberRecord> subscribers() const noexcept;
    // How many subscribers there are; cheap while none joins or leaves.
    [[nodiscard]] std::uint32_t subscriber_count() noexcept;

    // Whether a publisher would find room.
    [[nodiscard]] bool has_room() noexcept;
    // The same where blocking subscribers may be at most `byte_budget` bytes behind; 0 = any.
    [[nodiscard]] bool has_room(std::uint64_t byte_budget) noexcept;
    // The lowest position that an active subscriber (or only a blocking one) has yet to read; the
    // tail if there is none.
    [[nodiscard]] std::uint64_t lowest_cursor(bool blocking_only) const noexcept;
    [[nodiscard]] std::uint64_t tail() const noexcept { return committed(); }
    // The first position that was not trimmed; may have been evicted since.
    [[nodiscard]] std::uint64_t floor() const noexcept {
        // R2: pairs with R1 (ring_inline.hpp:R1).
        return control().head.load(std::memory_order_acquire);
    }
    // Retires what lies from the floor on below `position`, and raises the floor.
    void trim(std::uint64_t position, std::uint32_t me, RetiredList& list) noexcept;
    // Bytes of the chunks from the floor on, and below `position` only.
    [[nodiscard]] std::uint64_t bytes_between(std::uint64_t from, std::uint64_t to) const noexcept;
    [[nodiscard]] SlowPolicy policy() const noexcept { return policy_; }
    [[nodiscard]] TopicControl& topic_control() const noexcept { return *topic_; }

  private:
    [[nodiscard]] bool gate(std::uint64_t t, GateCache& known) noexcept;
    std::uint64_t put_forward(const Outgoing& what, ThreadRecord& thread) noexcept;
    void fetch_victim(std::uint64_t position) const noexcept;
    void disown(std::uint64_t ref) noexcept;
    void free_or_keep(std::uint64_t ref, RetiredList& list) noexcept;
    [[nodiscard]] bool named_by_hazard(std::uint64_t ref) const noexcept;
    [[nodiscard]] SubscriberRecord* records() const noexcept {
        return reinterpret_cast<SubscriberRecord*>(topic_ + 1);
    }

    TopicControl* topic_ = nullptr;
    std::uint32_t subscribers_max_ = 0;
    SlowPolicy policy_ = SlowPolicy::drop_oldest;
};

}  // namespace telpher::shm

#include "shm/topic_ring_inline.hpp"

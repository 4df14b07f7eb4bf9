#pragma once
// The idempotency store: a table of the requests that were seen, and what became of them.
//
//   Shape      a hash table of records in buckets of 8; a key may lie in two buckets. The word of a place
//              (state, owner, generation, tag) is the only truth about its record. All-zero bytes are
//              a valid table in which nothing is remembered.
//   Word       FREE -> WRITING(p) -> PROPOSED(p) -> RUNNING(p)     somebody begins a request
//              PROPOSED -> FREE            by its owner, who found another; or by another of its key
//              RUNNING(p) -> DONE          the outcome, and the chunk that keeps the response
//              RUNNING(p) -> FAILED, FREE  the handler failed; nothing happened
//              RUNNING(p) -> UNCERTAIN     p died; an offer: DONE or FREE, as its chunk tells
//              UNCERTAIN, FAILED -> RUNNING(q)                  q runs it again
//              DONE -> READING(p) -> DONE                       p copies the response
//              DONE -> ENDING(p) -> FREE   forgotten, with its response: its time, or for want of room
//              UNCERTAIN, FAILED -> FREE   the same, without
//   Unique     of two that propose one key at once, one gets to RUNNING: each looks at all places of the key
//              behind its own proposal; it gives way to whatever is further than PROPOSED, and takes back
//              other proposals by a CAS, or fails to, because that one has got further. Then it confirms its
//              own by a CAS, which fails if the other has taken it back. (tests/model/idempotency.pml)
//   Response   lies in a chunk that is KEPT: the record names it, then says DONE, then the chunk's word goes
//              OWNED -> KEPT, by its owner or whoever needs it so. Who ends a record frees the chunk by a CAS
//              that raises the generation, so that nobody frees it twice, nor its next life.
//   Offers     the record names the chunk as it will be OFFERED, before each attempt, and names none again
//              before an attempt is undone (Ring::commit): so a reaper tells by the chunk's word and the
//              ring whether the message was committed, whatever has become of it since.
//   Threads    any number. Progress: lock-free but for one case: a proposal is taken back only after a while,
//              so that two do not take back each other's for ever.
//   Crash      WRITING, PROPOSED: FREE again, by the reaper. RUNNING, READING, ENDING: as above, by the
//              reaper, before it looks at chunks. A chunk that is OWNED by the dead and that a record names
//              as its response becomes KEPT instead of FREE.
//   Generation has 24 bits: a process that is stopped between a look and its CAS would have to sleep until
//              its place was taken 16,777,216 times, and met the same tag and state.
//   Checked by tests/model/idempotency.pml, tests/crash/idempotency_*.cpp and `audit`. Not seen by
//              tests/tools/memory_orders_test.py, which has no driver for it: ID1 to ID6; x86: each is a
//              locked instruction or a load.

#include "shm/chunk_pool.hpp"
#include "shm/idempotency_layout.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace telpher::shm {

class Directory;

struct Hash128 {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(const Hash128&) const = default;
};

class IdempotencyStore {
  public:
    IdempotencyStore() = default;
    // `region` was checked by Segment. `me`: this process' slot.
    IdempotencyStore(std::span<std::byte> region, ChunkPool* pool, std::uint32_t me) noexcept;

    // What is asked for.
    struct Asked {
        Hash128 key{};
        Hash128 print{};
        std::uint64_t destination = 0;
        std::uint64_t ttl_ns = 0;
        bool offer = false;  // of a message to a queue
        bool rerun = false;  // run what is UNCERTAIN or FAILED again
        bool evict = false;  // make room by forgetting the destination's oldest outcome
    };
    enum class Found {
        begun,      // by us: the caller runs it, then completes, fails or withdraws it
        rerun,      // the same, and it had begun before
        running,    // somebody else runs it, or is about to
        done,       // ours to read: `release` it
        uncertain,  // it had begun, and nobody knows how it ended
        failed,     // it failed: `outcome`
        conflict,   // it was seen with another content
        full        // no room
    };
    struct Answer {
        Found found = Found::full;
        std::uint32_t record = 0;
        std::uint64_t word = 0;     // as we hold it: begun, rerun, done
        std::uint64_t outcome = 0;  // done, failed
        std::uint32_t evicted = 0;
    };
    // Looks the key up, and begins it if it is new.
    //   crash  killed anywhere: as above; a request that was not begun is as if it had not been seen
    [[nodiscard]] Answer begin(const Asked& asked, std::uint64_t now_ns) noexcept;

    // ---- of what `begin` gave us as begun -------------------------------------------------------
    // It happened. `chunk`: OWNED by us, with the response; kNoChunk: none is kept.
    //   crash  before the word's store: RUNNING; behind it: DONE
    void complete(const Answer& ours, std::uint64_t outcome, std::uint32_t chunk) noexcept;
    // Its handler failed, and something may have happened.
    void fail(const Answer& ours, std::uint64_t outcome) noexcept;
    // It did not happen: forgotten.
    void withdraw(const Answer& ours) noexcept;
    // Where Ring::commit notes the chunk that it offers.
    [[nodiscard]] Word* note(const Answer& ours) const noexcept {
        return &records_[ours.record].ref;
    }

    // ---- of offers that a log confirms ------------------------------------------------------------
    // What the offer that notes its chunk there is called until it ends: never 0, and no other one's.
    [[nodiscard]] std::uint64_t name_of(const Word* note) const noexcept;
    // The message has that number in the log; 0: it has none. Set by who offers it: before the message can be in
    // its queue, and to 0 before the log is told that it never will be.
    //   crash  behind it: the reaper frees or completes the record; its outcome then tells the number
    void set_logged(Word* note, std::uint64_t lsn) noexcept;
    struct Begun {
        Hash128 key;
        Hash128 print;
        std::uint64_t ttl_ns = 0;  // from its end on
    };
    // What that name's offer asked for, while it is under way.
    [[nodiscard]] std::optional<Begun> begun(std::uint64_t name) const noexcept;
    // Whether that name's offer was accepted, with that number in the log.
    [[nodiscard]] bool accepted(std::uint64_t name, std::uint64_t lsn) const noexcept;
    // Whether a message of that key, with that number in the log, was accepted, or may be yet. Nothing: others are
    // at it without end.
    [[nodiscard]] std::optional<bool> remembers(const Hash128& key,
                                                std::uint64_t lsn) const noexcept;
    // Places in use, of all destinations. A pass over all words.
    [[nodiscard]] std::uint32_t in_use() const noexcept;

    // ---- of what is done ------------------------------------------------------------------------
    // The response, or nothing: none was kept, or it cannot be reached here.
    [[nodiscard]] std::span<const std::byte> response(const Answer& ours) const noexcept;
    void release(const Answer& ours) noexcept;

    // ---- whoever looks after it -----------------------------------------------------------------
    struct Usage {
        std::uint64_t entries = 0;
        std::uint64_t bytes = 0;
    };
    // What a destination has, what has expired ended. A pass over all words.
    [[nodiscard]] Usage usage(std::uint64_t destination, std::uint64_t now_ns) noexcept;
    // Forgets the oldest outcomes of a destination until `entries` and `bytes` fewer are there. How many.
    std::uint32_t evict(std::uint64_t destination, const Usage& fewer) noexcept;
    // Ends everything that has expired, if nobody did for a while. A pass over all words.
    void sweep(std::uint64_t now_ns) noexcept;
    // For reapers, before they look at chunks: resolves what process `slot` had.
    void reap(std::uint32_t slot, Directory& directory) noexcept;
    // For reapers: whether an OWNED chunk of the dead is a response that a record names; then it is KEPT.
    [[nodiscard]] bool adopt(std::uint32_t chunk, std::uint64_t seen) noexcept;

    // ---- for the audit ---------------------------------------------------------------------------
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t word_of(std::uint32_t record) const noexcept {
        // ID2: pairs with ID1.
        return words_[record].load(std::memory_order_seq_cst);
    }
    [[nodiscard]] Hash128 key_of(std::uint32_t record) const noexcept;
    // Whether `record` names `chunk` as its response.
    [[nodiscard]] bool keeps(std::uint32_t chunk, std::uint64_t word) const noexcept;
    [[nodiscard]] bool in_place(std::uint32_t record) const noexcept;

  private:
    struct Places {
        std::uint32_t first[2];  // records of the two buckets
        std::uint64_t tag;
    };
    [[nodiscard]] std::optional<bool> holds(std::uint32_t record,
                                            const Hash128& key,
                                            std::uint64_t lsn) const noexcept;
    [[nodiscard]] Places places_of(const Hash128& key) const noexcept;
    // What stands where the key may be. `mine`: left out; kNoRecord: nothing is.
    struct Seen {
        std::uint32_t record;
        std::uint64_t word;  // 0: nothing
        std::uint32_t free;  // a place to take, or kNoRecord
    };
    [[nodiscard]] Seen search(const Hash128& key,
                              const Places& places,
                              std::uint32_t mine) noexcept;
    [[nodiscard]] std::optional<Answer> judge(const Asked& asked,
                                              const Seen& seen,
                                              std::uint64_t now_ns) noexcept;
    [[nodiscard]] std::uint32_t make_room(const Asked& asked,
                                          const Places& places,
                                          std::uint64_t now_ns,
                                          std::uint32_t& evicted) noexcept;
    [[nodiscard]] std::optional<Answer> propose(const Asked& asked,
                                                const Places& places,
                                                std::uint32_t place,
                                                std::uint64_t now_ns) noexcept;
    [[nodiscard]] bool confirm(const Hash128& key,
                               const Places& places,
                               std::uint32_t place,
                               std::uint64_t mine) noexcept;
    void write(std::uint32_t record, const Asked& asked, std::uint64_t now_ns) noexcept;
    void store(const Answer& ours, RecordState state) noexcept;
    [[nodiscard]] bool change(std::uint32_t record, std::uint64_t& seen, std::uint64_t to) noexcept;
    // A record that nobody has at work, as `seen`: gone. False: it has changed.
    bool end(std::uint32_t record, std::uint64_t seen) noexcept;
    void finish_end(std::uint32_t record, std::uint64_t ending) noexcept;
    void free_kept(std::uint64_t ref) noexcept;
    [[nodiscard]] bool expired(std::uint32_t record, std::uint64_t now_ns) const noexcept;
    void resolve(std::uint32_t record, std::uint64_t seen, Directory& directory) noexcept;
    [[nodiscard]] bool committed(std::uint64_t ref,
                                 std::uint32_t owner,
                                 Directory& directory) const noexcept;

    IdempotencyHead* head_ = nullptr;
    Word* words_ = nullptr;
    IdempotencyRecord* records_ = nullptr;
    ChunkPool* pool_ = nullptr;
    std::uint32_t count_ = 0;
    std::uint32_t me_ = 0;
};

inline constexpr std::uint32_t kNoRecord = ~0U;
// A record that holds something, and that nobody is at work on.
constexpr bool at_rest(RecordState state) {
    return state == RecordState::done || state == RecordState::uncertain ||
           state == RecordState::failed;
}

}  // namespace telpher::shm

#pragma once
// Every structure that lies in a segment: shapes, sizes and state numbers, and nothing else.
//
//   Lives in   shared memory, mapped at different addresses: only offsets and indices, fixed width.
//   Contract   shm/FORMAT.md says the same in prose. A change of any size or offset changes
//              `abi_hash()`, so that two builds that disagree refuse each other at attach.
//   Hostile    any byte may be damaged by a buggy peer: readers copy a scalar once and check it.

#include "shm/latency_layout.hpp"
#include "shm/settings_layout.hpp"
#include "shm/words.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace telpher::shm {

// The first 16 bytes of every chunk; the message bytes follow (FORMAT.md, "Message").
struct ChunkHeader {
    Word word;  // state, owner, generation: the only truth about the chunk
    Word dest;  // where it was offered; written before the word says OFFERED
};
static_assert(sizeof(ChunkHeader) == 16);
inline constexpr std::size_t kMessageOffset = sizeof(ChunkHeader);

// One ring position. Written only by one 16-byte CAS, never by consumers. All-zero = never filled.
struct alignas(16) Slot {
    Word pos;  // position + 1
    Word ref;  // reference, or kClosedRef
};
static_assert(sizeof(Slot) == 16);

// Two-level bitmap of waiting threads (bit = thread record). All-zero = nobody waits.
struct alignas(kLinePair) WaiterMap {
    Word summary;  // bit w: words[w] may be non-zero
    std::uint64_t pad[7];
    Word words[kThreadsMax / 64];
};
static_assert(sizeof(WaiterMap) == 640);

// Head of a ring block; `slots` (a power of two of Slot) follow at kRingSlotsOffset.
struct RingControl {
    alignas(kLinePair) Word tail;  // hint: every position below is filled; may lag, never leads
    alignas(kLinePair) Word head;  // hint: every position below is claimed; may lag, never leads
    WaiterMap items;               // consumers waiting for a message
    WaiterMap space;               // producers waiting for room
};
inline constexpr std::size_t kRingSlotsOffset = sizeof(RingControl);
static_assert(sizeof(RingControl) == 2 * kLinePair + 2 * sizeof(WaiterMap));

// ---- topics ---------------------------------------------------------------------------------------
inline constexpr std::uint32_t kSubscribersMax = 1024;  // of one topic
inline constexpr std::uint32_t kHazards = 7;

// What a topic has besides its ring block: followed by its subscriber records.
struct alignas(kLinePair) TopicControl {
    Word changes;  // of the set of subscribers: +1 at each join, leave and reaping
    Word used;     // records ever used: the others need not be looked at
    std::uint64_t reserved[14];
};
static_assert(sizeof(TopicControl) == 128);

enum class SubscriberState : std::uint8_t { free = 0, joining = 1, active = 2 };
constexpr std::uint64_t make_subscriber_word(SubscriberState state, std::uint8_t policy) {
    return static_cast<std::uint64_t>(state) | static_cast<std::uint64_t>(policy) << 8;
}
constexpr SubscriberState subscriber_state(std::uint64_t word) {
    return static_cast<SubscriberState>(word & 0xFFU);
}
constexpr std::uint8_t subscriber_policy(std::uint64_t word) {
    return static_cast<std::uint8_t>(word >> 8);
}

struct alignas(kLinePair) SubscriberRecord {
    Word owner;              // identity of the process, 0 = free
    Word hazards[kHazards];  // references that it reads in place, 0 = none
    Word control;            // state | policy
    Word cursor;             // every position below is read or lost; may lag
    Word first;              // where it began
    Word lost;               // how many it was told it lost
    std::uint64_t reserved[4];
};
static_assert(sizeof(SubscriberRecord) == 128);

// ---- process table ------------------------------------------------------------------------------
enum class ProcessState : std::uint8_t { free = 0, joining = 1, live = 2, dead = 3, swept = 4 };
inline constexpr int kEpochBits = 48;
inline constexpr std::uint64_t kEpochMask = (1ULL << kEpochBits) - 1;
constexpr std::uint64_t make_process_word(ProcessState state, std::uint64_t epoch) {
    return (static_cast<std::uint64_t>(state) << kEpochBits) | (epoch & kEpochMask);
}
constexpr ProcessState process_state(std::uint64_t word) {
    return static_cast<ProcessState>((word >> kEpochBits) & 0xFFU);
}
constexpr std::uint64_t process_epoch(std::uint64_t word) { return word & kEpochMask; }
// Names one life of one slot: (slot+1):16 | epoch:48; 0 = nobody.
constexpr std::uint64_t make_identity(std::uint32_t slot, std::uint64_t epoch) {
    return (static_cast<std::uint64_t>(slot + 1) << kEpochBits) | (epoch & kEpochMask);
}
constexpr std::uint32_t identity_slot(std::uint64_t identity) {
    return static_cast<std::uint32_t>(identity >> kEpochBits) - 1;
}

struct alignas(kLinePair) ProcessRecord {
    Word word;     // state | epoch; every transition is one CAS
    Word reaping;  // identity of the dead process this one is helping to reap, or 0
    Word pid;
    Word pid_namespace;  // inode of /proc/self/ns/pid: a pidfd is asked only inside the same one
    Word start_time;     // field 22 of /proc/PID/stat: tells a reused pid
    Word uid;
    Word joined_ns;  // monotonic
    Word reserved;
    char command[64];  // for people: the first bytes of /proc/self/comm
};
static_assert(sizeof(ProcessRecord) == 128);

struct alignas(kLinePair) ThreadRecord {
    Word owner;                           // identity of the process, 0 = free
    Word inflight;                        // reference of the chunk this thread last tried to commit
    Word victim;                          // (topics)
    std::atomic<std::uint32_t> doorbell;  // futex
    std::atomic<std::uint32_t> tid;
    std::uint64_t reserved[4]{};
    Word awaits_call;  // 1: sleeps until a call is answered; on a line that offers do not write
    std::uint64_t reserved1[7]{};
};
static_assert(sizeof(ThreadRecord) == 128 && offsetof(ThreadRecord, awaits_call) == kCacheLine);

// ---- name directory ----------------------------------------------------------------------------
enum class EntryState : std::uint8_t {
    free = 0,
    creating =
        1,  // being written under the directory lock; found by a later holder = its writer died
    live = 2,
    closed = 3,     // removed: nothing is accepted, what is committed may still be polled
    recycling = 4,  // being taken apart under the directory lock
};
enum class Kind : std::uint8_t {
    none = 0,
    queue = 1,
    circular = 2,
    durable = 3,
    temporary = 4,
    topic = 5,
    function = 6
};
// A name means one thing in each family: a queue, a topic and a function may share it.
enum class Family : std::uint8_t { queue, topic, function };
constexpr Family family_of(Kind kind) {
    return kind == Kind::topic      ? Family::topic
           : kind == Kind::function ? Family::function
                                    : Family::queue;
}
constexpr std::uint64_t make_entry_word(EntryState state, std::uint64_t generation) {
    return (static_cast<std::uint64_t>(state) << 56) | (generation & ((1ULL << 40) - 1));
}
constexpr EntryState entry_state(std::uint64_t word) { return static_cast<EntryState>(word >> 56); }
constexpr std::uint64_t entry_generation(std::uint64_t word) { return word & ((1ULL << 40) - 1); }

inline constexpr std::uint8_t kEntryIdempotent = 1;      // functions: a request may run twice
inline constexpr std::uint8_t kIdempotencyEvicts = 1;    // when full: the oldest outcome goes
inline constexpr std::uint8_t kIdempotencyReruns = 2;    // what is uncertain runs again
inline constexpr std::uint8_t kIdempotencyRequired = 4;  // requests need an id

// Of a durable queue's durable_log_id, beside its number in the log: messages are synced before they are confirmed.
inline constexpr std::uint64_t kLogSynced = 1ULL << 32U;

// The control block of a destination: what `create` fixed, immutable while LIVE or CLOSED. Read and
// written as 45 words, each atomically (directory.cpp), because readers take no lock.
struct EntryInfo {
    std::uint64_t name_hash;
    std::uint8_t kind;
    std::uint8_t delivery;  // 0 at_most_once, 1 at_least_once, 2 exactly_once_effect
    std::uint8_t name_bytes;
    std::uint8_t flags;
    std::uint32_t capacity;  // messages
    std::uint32_t slots;     // power of two >= capacity + 1
    std::uint32_t returns_max;
    std::uint64_t ring_offset;     // from the segment's start
    std::uint64_t ring_bytes;      // of both rings, and what lies behind them
    std::uint64_t returns_offset;  // ring of the returns lane, of returns_max + 1 slots
    std::uint64_t byte_budget;     // 0 = none
    std::uint64_t lease_ns;
    std::uint32_t leases_max;
    std::uint32_t deliveries_max;
    std::uint32_t dead_letter_entry;       // directory index + 1, 0 = none
    std::uint32_t dead_letter_generation;  // low bits of that entry's generation
    std::uint64_t durable_log_id;
    std::uint64_t sequence_base;     // sequence = sequence_base + position + 1
    std::uint64_t histogram_offset;  // functions: LatencyCounts, behind both rings
    std::uint64_t owner;             // identity of the process that a temporary queue dies with
    std::uint64_t options_hash;
    std::uint64_t created_ns;          // wall clock
    std::uint64_t subscribers_offset;  // topics: the table of subscribers
    std::uint64_t disconnect_after;    // topics: what a subscriber may lose before it is ended
    std::uint32_t subscribers_max;
    std::uint32_t history;     // topics: messages kept for those who come later
    std::uint8_t policy;       // topics: what becomes of a slow subscriber
    std::uint8_t idempotency;  // 1: requests are remembered; the next five say how
    std::uint8_t idempotency_scope;
    std::uint8_t idempotency_flags;         // kIdempotency...
    std::uint32_t idempotency_entries_max;  // 0 = any
    std::uint64_t idempotency_bytes_max;    // 0 = any
    std::uint64_t idempotency_ttl_ns;
    std::uint8_t reserved[80];
    char name[104];
};
static_assert(sizeof(EntryInfo) == 360);

struct alignas(kLinePair) DirectoryEntry {
    Word word;          // state | generation
    Word expired;       // messages skipped at poll because their time had passed
    Word abandoned;     // polled by a process that died before it released them
    Word redelivered;   // handed out after they had been put back
    Word dropped;       // for room in a circular queue, or left over when it was removed
    Word dropped_told;  // of these, told to a consumer
    Word lease_look;    // when to look for leases that expired, or what is due (lease_layout.hpp)
    std::uint64_t pad[1];
    EntryInfo info;
    Word errors;         // functions: calls answered with something else than ok
    Word late;           // functions: answers whose caller had given up
    Word timed_out;      // functions: callers that gave up
    Word lease_expired;  // leases that ended because their holder said nothing
    Word dead_lettered;  // messages, one-way requests, that went to the dead letters
    Word duplicates;     // requests that came again
    Word replays;        // of these, answered with the first outcome
    Word conflicts;      // of these, with another content
    Word evicted;        // outcomes forgotten before their time
    std::uint64_t pad2[2];
    Word attached[kProcessesMax /
                  64];  // processes that hold a handle: the ring is not recycled under them
    Word consumers[kProcessesMax / 64];  // processes that polled
};
static_assert(sizeof(DirectoryEntry) == 768);

// ---- chunk classes -----------------------------------------------------------------------------
struct ChunkClass {
    std::uint32_t chunk_bytes;  // multiple of 128
    std::uint32_t chunk_count;  // multiple of kSlabChunks
    std::uint32_t first_chunk;  // index of its first chunk among all classes
    std::uint32_t reserved;
    std::uint64_t offset;  // of its first chunk, from the segment's start
};
static_assert(sizeof(ChunkClass) == 24);

// ---- segment header ----------------------------------------------------------------------------
enum class RegionKind : std::uint32_t {
    processes = 1,
    threads = 2,
    directory = 3,
    rings = 4,
    slab_hints = 5,
    chunks = 6,
    pool_waiters = 7,
    data_segments = 8,
    idempotency = 16,
    // reserved for what arrives later; histograms lie behind the rings of their functions instead
    histograms = 17,
    settings = 18,
    delays = 19,
    access = 20,
    log = 21,  // log_layout.hpp
};
inline constexpr std::uint16_t kRegionRequired =
    1;  // a reader that does not know the kind must refuse
struct Region {
    std::uint32_t kind;
    std::uint16_t version;
    std::uint16_t flags;
    std::uint64_t offset;
    std::uint64_t bytes;
};
static_assert(sizeof(Region) == 24);

// ---- data segments: what a domain grows by -----------------------------------------------------
enum class DataKind : std::uint32_t { none = 0, chunks = 1, rings = 2 };

// One more file, telpher.NAME.UUID.(k + 1) for entry k of the table. Written before `segment_count`
// counts it, and never changed afterwards.
struct DataSegment {
    std::uint64_t offset;   // of its first byte, from the first segment's start, in every process
    std::uint64_t bytes;    // of the file
    std::uint64_t content;  // offset of its first chunk or ring; before it: header, slab hints
    std::uint32_t kind;     // DataKind
    std::uint32_t chunk_bytes;
    std::uint32_t chunk_count;
    std::uint32_t first_chunk;
    std::uint64_t reserved[3];
};
static_assert(sizeof(DataSegment) == 64);

inline constexpr std::uint64_t kDataMagic = 0x3144'5248'504C'4554;  // "TELPHRD1"

// The beginning of a data segment's file.
struct DataHeader {
    std::uint64_t magic;
    std::uint8_t uuid[16];  // of the domain
    std::uint32_t index;    // k + 1
    std::uint32_t reserved;
    std::uint64_t bytes;
};
static_assert(sizeof(DataHeader) == 40);
// The slab hints of a data segment of chunks follow at:
inline constexpr std::uint64_t kDataHintsOffset = 64;

enum class DomainState : std::uint32_t { creating = 0, ready = 1, removed = 2 };

struct SegmentHeader {
    std::uint64_t magic;
    std::uint16_t layout_major;
    std::uint16_t layout_minor;
    std::uint32_t header_bytes;
    std::uint64_t features;  // bits a reader must know, else refuse
    std::uint64_t abi_hash;
    std::uint8_t boot_id[16];
    std::uint8_t uuid[16];
    std::uint64_t segment_bytes;
    std::uint32_t segment_index;  // k of NAME.UUID.k
    std::uint32_t lifetime;       // 0 persistent, 1 ephemeral
    std::uint32_t uid;
    std::uint32_t mode;
    std::uint32_t processes_max;
    std::uint32_t threads_max;
    std::uint32_t destinations_max;
    std::uint32_t class_count;
    std::uint64_t message_bytes_max;
    std::uint64_t segment_bytes_max;  // of all segments
    std::uint64_t process_bytes_max;  // in loans and deliveries of one process; 0 = any
    std::uint64_t options_hash;
    std::uint64_t created_ns;
    std::uint32_t temporary_queues_max;  // of one client
    std::uint32_t reserved;
    std::uint32_t region_count;
    std::uint32_t name_bytes;
    char name[104];
    ChunkClass classes[kClassesMax];
    Region regions[kRegionsMax];
    // Changing words, each pair on lines of its own.
    alignas(kLinePair) std::atomic<std::uint32_t> state;  // DomainState; stored last by the creator
    std::atomic<std::uint32_t> segment_count;             // data segments that are complete
    Word id_source;                                       // prefixes of message ids
    alignas(kLinePair) Word join_generation;              // counts joins and leaves
    Word directory_generation;                            // counts changes of the name directory
    Word directory_busy;  // 1 while a lock holder changes it: found at 1 = it died
    Word directory_used;  // 1 + the highest entry ever used
    Word reaps;           // processes reaped
    Word starving;        // threads that wait for memory, a hint
};
static_assert(sizeof(SegmentHeader) <= kPageBytes);

// FNV-1a over every size and offset above: two builds that disagree refuse each other.
constexpr std::uint64_t abi_hash() {
    constexpr std::uint64_t kFacts[] = {sizeof(ChunkHeader),
                                        sizeof(Slot),
                                        sizeof(WaiterMap),
                                        sizeof(RingControl),
                                        offsetof(RingControl, items),
                                        sizeof(ProcessRecord),
                                        sizeof(ThreadRecord),
                                        offsetof(ThreadRecord, doorbell),
                                        offsetof(ThreadRecord, awaits_call),
                                        sizeof(EntryInfo),
                                        offsetof(EntryInfo, name),
                                        sizeof(DirectoryEntry),
                                        offsetof(DirectoryEntry, attached),
                                        sizeof(ChunkClass),
                                        sizeof(Region),
                                        sizeof(TopicControl),
                                        sizeof(SubscriberRecord),
                                        offsetof(SubscriberRecord, control),
                                        kHazards,
                                        sizeof(DataSegment),
                                        sizeof(DataHeader),
                                        kDataSegmentsMax,
                                        sizeof(LatencyCounts),
                                        detail::kLatencyBuckets,
                                        sizeof(SettingsBlock),
                                        sizeof(SegmentHeader),
                                        offsetof(SegmentHeader, classes),
                                        offsetof(SegmentHeader, regions),
                                        offsetof(SegmentHeader, state),
                                        offsetof(SegmentHeader, join_generation),
                                        kCacheLine,
                                        kPageBytes,
                                        kSlabChunks,
                                        kProcessesMax,
                                        kThreadsMax,
                                        kMessageOffset,
                                        0x0102030405060708ULL};
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const std::uint64_t fact : kFacts) {
        for (int byte = 0; byte < 8; ++byte) {
            hash = (hash ^ ((fact >> (8 * byte)) & 0xFFU)) * 0x100000001b3ULL;
        }
    }
    return hash;
}

}  // namespace telpher::shm

#pragma once
// Every option and every limit, with units and defaults. Plain structs for designated initialisers.

#include "telpher/idempotency.hpp"
#include "telpher/lease.hpp"
#include "telpher/retry.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace telpher {

using Duration = std::chrono::nanoseconds;

// How long a domain lives: until it is removed (or the machine restarts), or until its last process
// leaves.
enum class Lifetime : std::uint8_t { persistent = 0, ephemeral = 1 };

// What `Server::open` may do with the domain's name.
enum class OpenMode : std::uint8_t { open_or_create, create, attach };

// Who waits how. `latency` spins longest, `eco` sleeps at once, `balanced` adapts between the two.
enum class WaitStrategy : std::uint8_t { latency, balanced, eco };

// The limits of a domain, fixed when it is created. Reaching one is `limit_reached`, naming it.
struct DomainLimits {
    std::uint32_t processes = 1024;          // 1..1024 attached at once
    std::uint32_t threads = 4096;            // 1..4096 that send or receive at once
    std::uint32_t destinations = 4096;       // 1..4096 queues, topics and functions together
    std::size_t message_bytes = 20U << 20U;  // the largest message, 2 KiB..250 MiB
    // What the domain begins with; it grows when that is used up.
    std::size_t ring_bytes = 18U << 20U;  // memory for the rings of all destinations, 64 KiB..4 GiB
    std::size_t pool_bytes = 24U << 20U;  // memory for messages up to 64 KiB, 1 MiB..1 TiB
    // What it may grow to, in all, ..1 TiB; not beyond what it begins with if that is more.
    std::size_t segment_bytes = std::size_t{4} << 30U;
    // What one process may hold in loans and deliveries, in memory taken; 0 = no limit.
    std::size_t process_bytes = 0;
    std::uint32_t temporary_queues = 50;  // of one Server or Client, 0..4096
    // Requests that all destinations together remember (idempotency.hpp), 64..1'048'576; 72 bytes each.
    std::uint32_t idempotency_entries = 1U << 15U;
};

struct ServerOptions {
    OpenMode mode = OpenMode::open_or_create;
    // Fixed at creation; when given for a domain that exists, they must match it.
    std::optional<Lifetime> lifetime{};
    std::optional<DomainLimits> limits{};
    std::optional<std::uint32_t> file_mode{};  // 0600 (default) or 0660: who may attach
    // A folder of its own for the log of the domain's durable queues; made (0700) if only its last part is missing.
    // A domain that is made with a folder that holds its log already is built again from it before anybody
    // else is admitted. Fixed at creation. Empty: it has no log, or (mode attach) whatever it has.
    std::string log_directory{};
    // Of each of its files, a multiple of 4096 from 64 KiB to 256 MiB; larger messages get larger files.
    std::size_t log_segment_bytes = 64U << 20U;
    // Messages of at least so many encoded bytes are compressed in the log (gzip) where that makes them smaller;
    // 0 = all, -1 = none. Fixed at creation: a domain that exists keeps its own; a log may hold both. It saves disk, and
    // time where the disk writes more slowly than a processor compresses: whoever writes the log does it for all who
    // wait.
    std::int64_t log_compress_from_bytes = -1;
    Duration wait{};  // OpenMode::attach: how long to wait for the domain
    WaitStrategy wait_strategy = WaitStrategy::balanced;
    std::optional<RetryPolicy> retry{};  // of its sends, offers and publishes; nothing: no retries
};

// Whom an encrypted connection trusts, and as whom it speaks (SECURITY.md). Empty = the default. At most
// one of `pin`, `ca` and `psk`; without them the peer's key is trusted on first use, and recorded in
// known_hosts.
struct Tls {
    std::string pin{};           // "sha256:HEX", the SHA-256 of the peer's public key (its SPKI)
    std::string ca{};            // PEM file of the authorities that may vouch for the peer
    std::string certificate{};   // PEM file; default: the identity made by `telpher keygen`, if any
    std::string key{};           // PEM file of its private key, readable by this user only
    std::string psk{};           // file of a pre-shared key, made by `telpher keygen --psk`
    std::string psk_identity{};  // the name of that key, told to the peer; default "telpher"
    // Where identity and known_hosts lie; default $TELPHER_CONFIG_DIR, $XDG_CONFIG_HOME/telpher or
    // ~/.config/telpher.
    std::string config_dir{};
};

struct ConnectOptions {
    Duration wait{};  // how long to wait for the domain to exist; 0 = do not wait
    WaitStrategy wait_strategy = WaitStrategy::balanced;
    // tcp: and unix: only. Messages of at least this many encoded bytes travel compressed, in both
    // directions, where that makes them smaller; 0 = all, -1 = what the bridge says (by default none). Worth
    // its time on links below about 1 Gbit/s.
    std::int64_t compress_from_bytes = -1;
    // Connections by TCP only. `tls` says whom to trust, and implies `encrypt`.
    bool encrypt = false;
    std::optional<Tls> tls{};
    // Of `connect` itself, and of the Client's sends, offers and publishes; nothing: no retries. A remote
    // Client that was cut connects again by itself, without it.
    std::optional<RetryPolicy> retry{};
    RetryReport* retry_report = nullptr;  // of `connect`
    // A folder for messages that outlive this client (outbox.hpp), made with mode 0700 if only its last part is
    // missing; of one client at a time. Empty: none.
    std::string outbox{};
    // What the messages in it may need on disk: each its encoded bytes and at most 64 more.
    std::uint64_t outbox_bytes_max = std::uint64_t{256} << 20U;
    // Messages of at least so many encoded bytes are compressed there where that makes them smaller; 0 = all, -1 = none.
    std::int64_t outbox_compress_from_bytes = -1;
};

// What an offer to a full queue does: waits or fails (`bounded`, `durable`), or drops the oldest message
// (`circular`). Messages of a `durable` queue that are durable (Message::durable) are in the domain's log, too.
enum class QueueKind : std::uint8_t { bounded, circular, durable };

// What a durable message has survived when its offer returns:
//   power    the death of all processes, and of the machine: it was synced to the disk (fdatasync)
//   process  the death of all processes; a loss of power takes what the kernel had not written yet, some 30 s
enum class Durability : std::uint8_t { power, process };

struct QueueOptions {
    std::uint32_t capacity = 1024;  // messages, 1..16'777'215
    QueueKind kind = QueueKind::bounded;
    // Memory that the queued messages may take, in bytes of their chunks (128, 256, ... each); 0 = no
    // limit. An empty queue takes any message; producers that offer at the same moment may exceed it
    // by one message each.
    std::uint64_t byte_budget = 0;
    DeliveryMode delivery = DeliveryMode::at_most_once;
    // at_least_once: how long a consumer has for a message, unless it extends its lease; 10 ms..1 day. A
    // consumer's death is noticed at once, whatever this says. 0 = 30 s.
    Duration lease{};
    // at_least_once: how often a message is handed out before it goes to the dead letters; 0 = any
    // number of times.
    std::uint32_t deliveries_max = 0;
    // at_least_once: the queue that messages go to which were refused, were delivered too often, or whose
    // time has passed. Made with the queue unless it exists: circular, so that the oldest dead letter goes
    // when it is full (counted as dropped), at_least_once, of the same capacity. One that exists and is
    // bounded drops the letters for which it has no room, and counts them. Empty: they are dropped, and
    // counted.
    std::string dead_letter{};
    // Messages that carry a request id are remembered: one that is offered again is accepted again, with
    // the first one's sequence number, and not enqueued. Nothing: each offer is a new message.
    std::optional<Idempotency> idempotency{};
    Durability durability =
        Durability::power;  // of a durable queue, which needs delivery = at_least_once
};

struct TemporaryQueueOptions {
    std::uint32_t capacity = 64;  // messages, 1..16'777'215
};

// What becomes of a subscriber that is too slow for its topic.
enum class SlowSubscriber : std::uint8_t {
    drop_oldest,  // it loses the oldest messages, and is told which
    block,        // publishers wait for it, up to their timeouts
    latest_only,  // it is given the newest message alone, and told what it passed by
    // Its subscription, with all its topics, ends when it has lost more than `disconnect_after`.
    disconnect
};

struct TopicOptions {
    // How many messages a subscriber may be behind before it loses some; rounded up to a power of two
    // unless subscribers block. 1..16'777'215.
    std::uint32_t capacity = 1024;
    std::uint32_t history = 0;  // messages kept for those who subscribe later, 0..capacity
    SlowSubscriber slow = SlowSubscriber::drop_oldest;  // unless a subscription says otherwise
    std::uint64_t disconnect_after = 0;                 // messages lost
    std::uint32_t subscribers = 64;                     // at once, 1..1024
    // Memory that the messages kept may take, in bytes of their chunks; 0 = no limit. Beyond it the
    // oldest go, though subscribers have not read them; with `block`, publishers wait.
    std::uint64_t byte_budget = 0;
};

struct FindOptions {
    Duration wait{};  // how long to wait for the destination to exist; 0 = do not wait
};

}  // namespace telpher

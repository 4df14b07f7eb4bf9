#pragma once
// What one destination remembers of its requests: the idempotency store with that destination's options.
//
//   Hashes     XXH3 of 128 bits, seeded by the domain's uuid, or its log's: what tells requests apart within one
//              domain, never across, and no proof of anything: whoever may write to the segment may do worse.
//   Log        a durable queue's keys are the same when the domain is built again from its log, which has them beside
//              the messages; not those of scope client, whose clients end with the domain.
//   Limits     entries_max and bytes_max have no counter in shared memory, which a kill would leave wrong:
//              each process counts the table's words, again after a share of the room that it found.
//   Threads    any number at once.
//   Crash      as shm/idempotency.hpp.

#include "telpher/idempotency.hpp"
#include "telpher/message.hpp"

#include "shm/attachment.hpp"
#include "shm/idempotency.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace telpher::detail {

// Whose request it is.
struct Requester {
    std::uint64_t process = 0;    // identity of the process that sent it
    std::uint64_t principal = 0;  // its user
    std::uint64_t client = 0;     // of the remote client that it acts for; 0: none
};

class RequestMemory {
  public:
    using Answer = shm::IdempotencyStore::Answer;
    using Found = shm::IdempotencyStore::Found;

    RequestMemory(shm::Attachment& attachment, const shm::Found& found);
    RequestMemory(const RequestMemory&) = delete;
    RequestMemory& operator=(const RequestMemory&) = delete;
    ~RequestMemory() = default;

    // Whether it remembers anything.
    [[nodiscard]] bool on() const noexcept { return info_.idempotency != 0; }
    [[nodiscard]] bool required() const noexcept {
        return (info_.idempotency_flags & shm::kIdempotencyRequired) != 0;
    }
    [[nodiscard]] bool reruns() const noexcept {
        return (info_.idempotency_flags & shm::kIdempotencyReruns) != 0;
    }

    // Whether what it remembers of durable messages goes to the log.
    [[nodiscard]] bool logged() const noexcept { return logged_; }
    // What the log says of a request that is still remembered for so long. False: there is no room.
    bool restore(const shm::Hash128& key,
                 const shm::Hash128& print,
                 std::uint64_t lsn,
                 std::uint64_t ttl_ns);
    // Outcomes that may be remembered at once.
    [[nodiscard]] std::uint64_t entries_max() noexcept;

    // `id`: the request's, or one of more than 255 bytes that a fingerprint made. As IdempotencyStore::begin, counted. `full` by the destination's limits, too.
    [[nodiscard]] Answer begin(const MessageView& request,
                               std::string_view id,
                               const Requester& requester);
    // A response of so many bytes, of its chunk, is about to be kept: when they come to what was left, the next
    // request counts.
    void charge(std::size_t chunk_bytes) noexcept;
    [[nodiscard]] shm::IdempotencyStore& store() noexcept { return attachment_.idempotency(); }
    // Why `begin` answered so: what a caller is told.
    [[nodiscard]] static Error explain(Found found, std::string_view id);
    [[nodiscard]] static Error id_missing(std::string_view label);

    [[nodiscard]] IdempotencyFigures figures() const;

  private:
    [[nodiscard]] shm::Hash128 key_of(std::string_view id,
                                      const Requester& requester) const noexcept;
    [[nodiscard]] shm::Hash128 print_of(const MessageView& request) const noexcept;
    [[nodiscard]] bool room(std::uint64_t now_ns);
    [[nodiscard]] bool count_room(std::uint64_t now_ns);
    [[nodiscard]] std::uint64_t sharers() const;

    shm::Attachment& attachment_;
    const shm::EntryInfo info_;
    const std::uint32_t entry_;
    const bool offers_;
    const bool logged_;
    const std::uint64_t seed_;
    const std::uint64_t destination_;
    std::atomic<std::int64_t> credit_{0};  // requests until the next count
    std::atomic<std::int64_t> bytes_credit_{
        0};             // bytes of responses until then; where they are limited
    std::mutex mutex_;  // guards the next, and the count
    std::uint64_t full_until_ns_ = 0;
};

}  // namespace telpher::detail

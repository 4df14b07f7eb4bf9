// The outcome of every operation: one number, one name, one cause, one fix.
//
//   Status       what happened, as a number that travels on the wire and lies in shared memory
//   Outcome      whether the operation took effect: what a retry has to know
//   StatusInfo   the sentences shown to people; `describe` has one for every status
//   Error        a status with the failing system call's errno and a text for people
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace telpher {

// The outcome of an operation. The numbers travel on the wire and lie in shared memory:
// never change or reuse one, only append. The gaps between the groups are for growth.
enum class Status : std::uint8_t {
    ok = 0,
    none = 1,  // a message that is no response yet

    // Expected: wait, retry or drop.
    queue_empty = 2,
    queue_full = 3,
    timed_out = 4,
    duplicate = 5,
    closed = 6,
    gap = 7,
    lease_expired = 8,
    cancelled = 9,
    expired = 10,

    // The caller's mistake: change the call.
    bad_request = 16,
    queue_not_found = 17,
    topic_not_found = 18,
    function_not_found = 19,
    domain_not_found = 20,
    domain_removed = 21,
    already_exists = 22,
    mismatch = 23,
    not_permitted = 24,
    message_too_large = 25,
    limit_reached = 26,
    idempotency_conflict = 27,
    forked = 28,

    // The other side's trouble: a retry may help.
    handler_error = 32,
    server_error = 33,
    peer_died = 34,
    disconnected = 35,
    out_of_memory = 36,
    storage_failed = 37,
    overloaded = 38,

    // Damage: tell a person.
    corrupt = 48,
    version_mismatch = 49,
};

// Whether the operation took effect. Where one status covers operations that differ (an offer that
// timed out was not accepted, a call that timed out may have run), it says the more careful of the
// two.
enum class Outcome : std::uint8_t { did_not_happen, may_have_happened, happened };

struct StatusInfo {
    Status status;
    std::string_view name;  // as in the enumeration: "queue_full"
    Outcome outcome;
    std::string_view cause;  // a sentence without its full stop
    std::string_view fix;    // a sentence without its full stop; what to do next
};

// A failed operation, with what a person needs to find out why.
struct [[nodiscard]] Error {
    Status status = Status::ok;
    int os_error = 0;      // errno of the failing system call, or 0
    std::string detail{};  // for people, never for branching; empty on hot paths (no allocation)
    // Whether the operation took effect, where that is known and the status alone leaves it open.
    std::optional<Outcome> effect{};
    // overloaded: how long to wait at least before it is tried again, at most 24 h; 0 = nobody has said.
    std::chrono::nanoseconds retry_after{};

    // `effect`, or else what the status says, which is careful.
    [[nodiscard]] Outcome outcome() const noexcept;
    bool operator==(const Error&) const = default;
};

// The name in the enumeration; "unknown" for a number this version does not know.
[[nodiscard]] std::string_view to_string(Status status) noexcept;

// The status of that name, exactly as `to_string` writes it; nothing for any other text.
[[nodiscard]] std::optional<Status> parse_status(std::string_view name) noexcept;

[[nodiscard]] std::string_view to_string(Outcome outcome) noexcept;

// Name, outcome, cause and fix; never fails: a number this version does not know has an entry of
// its own.
[[nodiscard]] const StatusInfo& describe(Status status) noexcept;

// Every status this version knows, in the order of the numbers.
[[nodiscard]] std::span<const StatusInfo> all_statuses() noexcept;

// "queue_full: DETAIL (os error 12: Cannot allocate memory); CAUSE; FIX", without the parts that
// are empty.
[[nodiscard]] std::string to_string(const Error& error);

}  // namespace telpher

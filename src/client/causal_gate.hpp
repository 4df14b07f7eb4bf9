#pragma once
// What a CausalGate remembers: names of processed messages, and who waits for which.
//
//   Names      hashes in a set, and in a ring in the order in which they came, so that the oldest can go.
//   Waiting    tickets of parking lots (parking_lot.hpp). One that is called for is told after the lock is
//              given back: a gate never waits for a consumer.
//   Threads    all members any number at once, under one lock; nobody waits inside it.
//   Fork       a child does nothing: the lock may be another thread's of its parent.

#include "telpher/causal_gate.hpp"
#include "telpher/message_view.hpp"

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <map>
#include <mutex>
#include <span>
#include <tuple>
#include <unordered_set>
#include <vector>

namespace telpher::detail {

class ParkingLot;

// A name of a message.
struct CauseId {
    std::uint64_t low = 0;
    std::uint64_t high = 0;

    bool operator==(const CauseId&) const = default;
};
[[nodiscard]] CauseId cause_id(std::string_view name) noexcept;

// The names of a message, taken before its views end.
class MessageNames {
  public:
    MessageNames() = default;
    explicit MessageNames(const MessageView& message);
    [[nodiscard]] std::span<const CauseId> all() const noexcept { return {ids_.data(), count_}; }

  private:
    std::array<CauseId, 2> ids_{};
    std::size_t count_ = 0;
};

// Why a message waits no longer.
enum class Leaving : std::uint8_t {
    cause,  // was processed
    time,   // has passed
    lost,   // its lease
    end     // of its consumer
};

class GateCore {
  public:
    explicit GateCore(const CausalGateOptions& options);
    GateCore(const GateCore&) = delete;
    GateCore& operator=(const GateCore&) = delete;
    ~GateCore() = default;

    [[nodiscard]] const CausalGateOptions& options() const noexcept { return options_; }
    // The names of one message, or of several.
    void processed(std::span<const CauseId> ids);
    [[nodiscard]] bool was_processed(CauseId id) const;
    // A message begins to wait: its lot is told (ParkingLot::open). False: it need not, and is not told.
    [[nodiscard]] bool await(CauseId id,
                             const std::shared_ptr<ParkingLot>& lot,
                             std::uint64_t ticket);
    // It waits no longer.
    void leave(CauseId id, const ParkingLot* lot, std::uint64_t ticket, Leaving how);
    [[nodiscard]] CausalGateStatus status() const;

  private:
    struct Waiting {
        CauseId id;
        const ParkingLot* lot = nullptr;
        std::uint64_t ticket = 0;

        bool operator<(const Waiting& other) const noexcept {
            return std::tie(id.low, id.high, lot, ticket) <
                   std::tie(other.id.low, other.id.high, other.lot, other.ticket);
        }
    };
    struct Hash {
        std::size_t operator()(CauseId id) const noexcept { return id.low; }
    };

    void remember(CauseId id);
    [[nodiscard]] bool forked() const noexcept;

    const CausalGateOptions options_;
    const pid_t pid_;
    mutable std::mutex mutex_;  // guards all below
    std::unordered_set<CauseId, Hash> ids_;
    std::vector<CauseId> ring_;  // the same, in their order
    std::size_t oldest_ = 0;     // in the ring, once it is full
    std::map<Waiting, std::shared_ptr<ParkingLot>> waiting_;
    CausalGateStatus counts_;
};

}  // namespace telpher::detail

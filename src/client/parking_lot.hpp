#pragma once
// The messages of one consumer that wait for their causes, and whose turn it is to run a handler.
//
//   Open       a message whose cause was processed, or whose lease was lost: the next that is taken.
//   Threads    those of the consumer: pollers, which park what has to wait, and takers, which handle what has waited.
//              So no poll is cancelled for a message that may go on: what a cancelled poll brings all the same
//              counts as a delivery. Of both together no more run handlers at once than there are pollers,
//              takers first.
//   Locks      `extended_` is held while one lease is extended, `mutex_` never for long; in this order, and
//              neither while the gate is asked. So `open` is not held up by an extension.
//   Lifetime   the gate holds it while somebody waits here.

#include "telpher/loan.hpp"

#include "src/client/causal_gate.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

namespace telpher::detail {

class ParkingLot : public std::enable_shared_from_this<ParkingLot> {
  public:
    using Clock = std::chrono::steady_clock;
    struct Parked {
        Delivery delivery{};
        CauseId cause{};
        Clock::time_point until{};  // then it goes on
        Clock::time_point due{};    // then its lease is to be extended
        bool open = false;
        bool lost = false;  // its lease
        Leaving why = Leaving::end;
    };

    ParkingLot(std::shared_ptr<GateCore> gate, std::uint32_t pollers);
    ParkingLot(const ParkingLot&) = delete;
    ParkingLot& operator=(const ParkingLot&) = delete;
    ~ParkingLot() = default;

    [[nodiscard]] GateCore& gate() const noexcept { return *gate_; }

    // ---- pollers
    // Waits while too many are parked, unless the consumer ends.
    void wait_for_room();
    void park(Delivery delivery, CauseId cause, Clock::time_point due);
    // Waits for a turn to run a handler, and while something parked may go on.
    void begin_handling();
    // One polls no more. `patient`: what is parked goes on in its time.
    void leave(bool patient) noexcept;

    // ---- takers
    // Waits for the next one that may go on, and for a turn to run its handler; when nobody polls any more, takes what
    // may not, too. Nothing: there is none, nor will be.
    [[nodiscard]] std::optional<Parked> take();

    // ---- both
    void end_handling() noexcept;

    // ---- anybody
    // The consumer ends.
    void close() noexcept;
    void open(std::uint64_t ticket);
    // Extends each lease that is due, and then again after `every`; `extend` answers false when it is lost. When
    // the next is due; nothing: there is none.
    [[nodiscard]] std::optional<Clock::time_point> extend_due(
        Duration every, const std::function<bool(Delivery& delivery)>& extend);

  private:
    using Parking = std::map<std::uint64_t, Parked>;

    [[nodiscard]] bool full() const noexcept {
        return parked_.size() >= gate_->options().parked_max;
    }
    // Why the next one may go on now; nothing: none may.
    [[nodiscard]] std::optional<Leaving> next() const noexcept;
    [[nodiscard]] Parking::node_type extract(Leaving why);

    const std::shared_ptr<GateCore> gate_;
    std::mutex extended_;  // held by who takes a delivery out, and while one's lease is extended
    std::mutex mutex_;     // guards the next
    std::condition_variable changed_;  // takers: something may go on, or sooner than before
    std::condition_variable free_;     // pollers: a turn
    std::condition_variable room_;
    Parking parked_;                  // by ticket: the oldest first
    std::deque<std::uint64_t> open_;  // tickets of those that are open
    std::uint64_t last_ticket_ = 0;
    const std::uint32_t handling_max_;
    std::uint32_t handling_ = 0;
    std::uint32_t pollers_;  // that have not left
    bool patient_ = true;
    bool closed_ = false;
};

}  // namespace telpher::detail

#pragma once
// Waiting for many queues and futures at once: of one domain of this host, or of any bridges.
//
//   WaitSet set;
//   const auto orders = set.add(orders_queue, Ready::message).value();
//   const auto answer = set.add(future).value();
//   for (const std::size_t key : set.wait(1s).value()) ...

#include "telpher/future.hpp"
#include "telpher/options.hpp"
#include "telpher/queue.hpp"
#include "telpher/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

namespace telpher {

// What to wait for at a queue: a message to poll, or room to offer.
enum class Ready : std::uint8_t { message, room };

// A set of things to wait for. Move-only.
//
//   Threads   one at a time.
//   Keys      0, 1, 2, ... in the order of `add`, never used again.
//   Ready     a queue that is closed or removed counts as ready, a finished or cancelled future,
//             too: the next call on it tells why. Ready is a hint: others may be faster.
//   Lifetime  a member keeps its queue (or future's operation) alive until it is removed.
//   Fork      in a child `wait` answers `forked`.
//   Crash     killed while it waits: bits stay behind as those of any sleeper, and cost one futile
//             ring each.
class WaitSet {
  public:
    WaitSet();
    WaitSet(WaitSet&&) noexcept;
    WaitSet& operator=(WaitSet&&) noexcept;
    WaitSet(const WaitSet&) = delete;
    WaitSet& operator=(const WaitSet&) = delete;
    ~WaitSet();

    // Returns the member's key. Errors: bad_request (an empty queue or future; another domain than
    // that of the first member; of a bridge beside one of this host; one future in two sets is not
    // noticed, and rings one of them).
    Result<std::size_t> add(const Queue& queue, Ready what);
    Result<std::size_t> add(const detail::FutureBase& future);
    // False: no such member.
    bool remove(std::size_t key);
    [[nodiscard]] std::size_t size() const noexcept;

    // Waits until at least one member is ready.
    //
    //   returns  the keys of all that are ready, in ascending order
    //   errors   timed_out, cancelled, bad_request (negative timeout, empty set), limit_reached
    //            (threads), forked
    //   bridges  timeout 0 is one round trip for those of which nothing is known
    //   cost     a look at each member; one sleep for all of them, without spinning
    //   wakes    a wake that chose this thread is passed on, since nothing is taken here
    Result<std::vector<std::size_t>> wait(Duration timeout, std::stop_token stop = {});

  private:
    struct Core;
    std::unique_ptr<Core> core_;
};

}  // namespace telpher

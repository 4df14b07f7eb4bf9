#pragma once
// Waking behind a batch of operations that one thread finishes.

#include <array>
#include <cstddef>
#include <cstdint>

namespace telpher::detail {

class Operation;

// Who finishes many operations makes one of these: while it lives, those who sleep for what its thread finishes
// are not woken one by one, but together at its end. Whoever is woken by the first of a batch may take the
// processor, and finds one of them ready; then it is woken for the next one.
//
//   Room     for kMost sleepers; further ones are woken at once
//   Nested   the outermost counts
//   Threads  its own thread only. No code of a user's runs in it, but for a coroutine that there is no thread to
//            resume in (tcp_bridge/resumer.cpp).
class WakesLater {
  public:
    WakesLater() noexcept;
    WakesLater(const WakesLater&) = delete;
    WakesLater& operator=(const WakesLater&) = delete;
    ~WakesLater();
    // False: wake at once.
    static bool put_off(Operation& operation, std::uint32_t flags) noexcept;

  private:
    static constexpr std::size_t kMost = 64;
    struct Sleeper {
        Operation* operation;
        std::uint32_t flags;
    };
    std::array<Sleeper, kMost> sleepers_;
    std::size_t count_ = 0;
    bool outermost_ = false;
};

}  // namespace telpher::detail

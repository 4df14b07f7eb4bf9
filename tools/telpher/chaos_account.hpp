// What the processes of `telpher chaos` did, in memory that they share and that outlives each of them.
//
//   Lives in   a memfd: the parent makes it, its children inherit the descriptor.
//   Threads    any number of writers: each note is one atomic operation.
//   Crash      a process killed before a note has not done it as far as anybody knows; killed behind it, it has.
#pragma once

#include "telpher/message.hpp"
#include "telpher/result.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace telpher::cli {

inline constexpr std::uint64_t kChaosMessagesMost = 1U << 24U;

struct ChaosAccount {
    enum Fate : std::uint8_t { offered = 1, confirmed = 2, taken = 4 };

    std::atomic<std::uint64_t> next;  // the number of the next message
    std::atomic<std::uint64_t>
        allowed;  // those below it may be offered now: there are notes for so many in all
    std::atomic<std::uint64_t> finish;  // 1: nothing more is to be offered
    std::atomic<std::uint64_t> again;   // messages that were delivered a second time
    std::atomic<std::uint64_t> wrong;   // messages that were torn, or never offered
    std::array<std::atomic<std::uint8_t>, kChaosMessagesMost> fate;
};

// The mapping. Move-only.
class SharedChaos {
  public:
    // Errors: out_of_memory.
    static Result<SharedChaos> create();
    // In a child: the one behind the inherited descriptor. Errors: bad_request.
    static Result<SharedChaos> attach(int fd);
    SharedChaos(SharedChaos&& other) noexcept;
    SharedChaos& operator=(SharedChaos&&) = delete;
    SharedChaos(const SharedChaos&) = delete;
    SharedChaos& operator=(const SharedChaos&) = delete;
    ~SharedChaos();

    ChaosAccount* operator->() const { return account_; }
    [[nodiscard]] int fd() const { return fd_; }

  private:
    SharedChaos(int fd, ChaosAccount* account) : fd_(fd), account_(account) {}
    static Result<SharedChaos> map(int fd);

    int fd_ = -1;
    ChaosAccount* account_ = nullptr;
};

// A message whose bytes all follow from its number, of 16 to 2000 bytes; and its number again, if all of them do.
[[nodiscard]] Message chaos_message(std::uint64_t number);
[[nodiscard]] std::optional<std::uint64_t> number_of_chaos(const MessageView& message);

}  // namespace telpher::cli

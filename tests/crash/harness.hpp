#pragma once
// What the crash tests share: scratch domains, children that are killed and reaped by their pid,
// memory that outlives a kill, seeds, and the audit of a domain that has seen a death.
//
//   Children   are forked, attach afresh, and end by _exit, by a kill, or with their parent.
//   Domains    are small (attach in less than a millisecond) and named after the test and its
//              process; nothing stays in /dev/shm, not even when the watchdog ends a test that
//              hangs.

#include "telpher/telpher.hpp"

#include <sys/mman.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::crash {

// TELPHER_SOAK=1: the long versions.
bool soak();
inline std::uint32_t scaled(std::uint32_t usual, std::uint32_t in_soak) {
    return soak() ? in_soak : usual;
}
// TELPHER_SEED, or a random one; printed at the first call.
std::uint64_t seed();

// A fast generator whose sequence a seed repeats (splitmix64).
class Random {
  public:
    explicit Random(std::uint64_t from) : state_(from) {}
    std::uint64_t next();
    // 0..bound-1
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>((next() >> 33U) % bound);
    }

  private:
    std::uint64_t state_;
};

// Ends the program, and what it left in /dev/shm, when `seconds` have passed. One per test.
class Watchdog {
  public:
    explicit Watchdog(unsigned seconds);
    ~Watchdog();
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;
};

// A name for a domain; its files are gone after the test.
class ScratchDomain {
  public:
    explicit ScratchDomain(std::string_view test);
    ~ScratchDomain();
    ScratchDomain(const ScratchDomain&) = delete;
    ScratchDomain& operator=(const ScratchDomain&) = delete;

    [[nodiscard]] const std::string& name() const { return name_; }
    // What `open` asks for.
    [[nodiscard]] DomainLimits& limits() { return limits_; }
    [[nodiscard]] const DomainLimits& limits() const { return limits_; }
    // Opens it, making it if need be; ends the process if that fails.
    [[nodiscard]] Server open(Lifetime lifetime = Lifetime::persistent) const;
    // Its files in /dev/shm, public and private.
    [[nodiscard]] std::vector<std::string> files() const;
    void remove_files() const;

  private:
    std::string name_;
    DomainLimits limits_;
};
// Small limits, as a new ScratchDomain has them.
ServerOptions small_options(Lifetime lifetime = Lifetime::persistent);

// A forked process. Its destructor kills it.
class Child {
  public:
    Child() = default;
    // `role` runs in the child; its result is the exit status. Fork from the main thread: a child
    // dies with the thread that made it.
    explicit Child(const std::function<int()>& role);
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
    Child& operator=(Child&& other) noexcept;
    ~Child() { kill(); }

    [[nodiscard]] pid_t pid() const { return pid_; }
    explicit operator bool() const { return pid_ != 0; }
    void stop() const;
    void go_on() const;
    // SIGKILL; returns when the kernel has taken everything from it.
    void kill();
    // Waits for its end. The wait status; -1 when it has not ended in time (it lives on).
    [[nodiscard]] int wait_for_end(std::chrono::milliseconds patience);
    // Whether it stops (or ends) in time; false also when it ended.
    [[nodiscard]] bool wait_for_stop(std::chrono::milliseconds patience);
    // After the caller has waited for it itself.
    void forget() { pid_ = 0; }

  private:
    pid_t pid_ = 0;
};
// What a wait status says, for people.
std::string describe_end(int status);

// A T in memory that parent and children share. T is constructed once (default-initialised: a large
// array of plain structures costs nothing until it is used), never destroyed.
template <typename T>
class Shared {
  public:
    Shared()
        : memory_(mmap(nullptr,
                       sizeof(T),
                       PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1,
                       0)),
          value_(new (memory_) T) {}
    ~Shared() { munmap(memory_, sizeof(T)); }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    T* operator->() const { return value_; }
    T& operator*() const { return *value_; }

  private:
    void* memory_;
    T* value_;
};

// A message that carries its number and bytes that follow from it, and the check of one that
// arrived.
Message numbered(std::uint64_t number, std::size_t payload_bytes);
void fill_numbered(std::span<std::byte> payload, std::uint64_t number);
// The number; ~0 when the payload is not complete. At least 8 bytes.
std::uint64_t number_of(const MessageView& message);
inline constexpr std::uint64_t kTorn = ~0ULL;

// What is wrong with a domain at rest: `verify`, and nothing held by anybody but `owned` chunks
// that the calling process keeps for reuse. Empty = nothing.
std::string audit(const Server& server, std::uint64_t owned, std::uint64_t offered = 0);
// Makes the calling thread's hot stacks full, so that the number of chunks that it keeps is always
// the same; returns that number, for `audit`.
std::uint64_t settle(Queue& queue);
// Polls until the queue is empty: the numbers of what was in it.
std::vector<std::uint64_t> drain(Queue& queue);

std::uint64_t now_ns();

}  // namespace telpher::crash

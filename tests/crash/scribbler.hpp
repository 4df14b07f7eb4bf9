#pragma once
// A process that uses everything of a domain, and a pen that writes nonsense into its segment.
//
//   Pen       maps the file itself, without the library: what a stray pointer of a peer would do.
//             It writes values that are random, and values that are nearly right.
//   User      calls the public API at random, with short timeouts. Every call is timed (less the
//             time that its thread was ready and had no processor), and every outcome counted, in
//             memory that survives the user.

#include "shm/layout.hpp"
#include "tests/crash/harness.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace telpher::crash {

// Where a run of writes goes.
enum class Aim : std::uint8_t {
    everywhere,
    header,
    processes,
    threads,
    directory,
    waiters,
    hints,
    rings,
    chunks,  // their words and the first bytes of the messages
    data,    // the table of data segments, and their count
    mixed,
    count
};
const char* name_of(Aim aim);

class Pen {
  public:
    // Of a domain that is still sound.
    Pen(const std::string& domain, std::uint64_t from);
    ~Pen();
    Pen(const Pen&) = delete;
    Pen& operator=(const Pen&) = delete;

    void scribble(Aim aim);

  private:
    [[nodiscard]] std::size_t target(Aim aim);
    [[nodiscard]] std::size_t within(shm::RegionKind kind);
    [[nodiscard]] std::uint64_t nonsense(std::uint64_t old);

    Random random_;
    std::byte* base_ = nullptr;
    std::size_t size_bytes_ = 0;
    std::vector<shm::Region> regions_;
    std::vector<shm::ChunkClass> classes_;
    std::uint64_t last_ = 0;
};

enum class Call : std::uint8_t {
    open,
    close,
    create_queue,
    find_queue,
    remove_queue,
    offer,
    offer_n,
    poll,
    poll_n,
    loan,
    offer_loan,
    release,
    peek,
    purge,
    queue_status,
    domain_status,
    processes,
    verify,
    list,
    count
};
const char* name_of(Call call);

// What a user did, and what it is at.
struct UserLog {
    static constexpr std::size_t kCalls = static_cast<std::size_t>(Call::count);

    std::atomic<std::uint64_t> since_ns{0};  // when the call that it is in began, 0 = none
    std::atomic<Call> call{Call::count};     // that call, or the last one
    std::atomic<std::uint64_t> calls{0};
    std::atomic<std::uint64_t> reports{0};  // damage told: a problem of `verify`, or `corrupt`
    std::array<std::atomic<std::uint64_t>, kCalls> slowest_ns{};
    std::array<std::atomic<std::uint64_t>, 256> outcomes{};  // by status
};

class User {
  public:
    User(std::string domain, UserLog& log, std::uint64_t from);
    // One call, of any kind.
    void step();
    // Closes everything.
    void end();

  private:
    // Times a call and counts its outcome. Returns what the call returned.
    template <typename F>
    auto timed(Call call, F&& run);
    void note(const Error& error);
    [[nodiscard]] Queue* any_queue();
    void open();
    [[nodiscard]] std::size_t size_of_next();
    void send(Queue& queue);
    void take(Queue& queue);
    void use_loan(Queue& queue);
    void manage();
    void look(Queue& queue);
    void look_at_domain();

    std::string domain_;
    UserLog& log_;
    Random random_;
    std::optional<Server> server_;
    std::vector<Queue> queues_;
    std::vector<Loan> loans_;
    std::vector<Delivery> deliveries_;
};

}  // namespace telpher::crash

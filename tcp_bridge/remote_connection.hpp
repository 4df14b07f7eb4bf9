#pragma once
// A remote client's connection: its session, its socket, and the thread that reads.
//
//   Threads   any number at once. Who begins an operation also writes what is to be sent, unless somebody
//             else writes at the moment, who takes it along, or the socket is full: then the I/O thread goes
//             on. Answers arrive on the I/O thread, or, where only one caller waits, on its own.
//   Cut       the I/O thread connects again, with backoff, until end()
//   Locks     mutex_ guards the session and who writes. No system call and no code of others runs under it.
//   Fork      a child must not touch it: ask `forked` first
//   Life      the I/O thread keeps it; end() makes that go

#include "src/broker/operation.hpp"
#include "tcp_bridge/address.hpp"
#include "tcp_bridge/backoff.hpp"
#include "tcp_bridge/channel.hpp"
#include "tcp_bridge/remote_session.hpp"
#include "tcp_bridge/resumer.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

namespace telpher::bridge {

inline constexpr std::uint64_t kNanosecondsPerMillisecond = 1'000'000;
inline constexpr std::uint64_t kSleepMs = 60'000;  // then a sleeper looks around
inline constexpr std::size_t kReadAtOnce = std::size_t{256} << 10U;

// When what an operation gave to send leaves: now, by its caller; or gathered with what others give: then the
// I/O thread sends it on its next turn, at the latest. With `read_by_caller`, its caller waits for the answer at
// once, and reads it itself where it can.
enum class Leave : std::uint8_t { now, gathered, read_by_caller };

struct RemoteOptions {
    Address address{};
    std::uint64_t wait_ns = 0;  // for somebody to listen there
    std::string name{};         // told to the bridge
    RemoteLimits limits{};
    std::function<std::uint64_t()> random{};
    std::function<std::unique_ptr<Channel>()> make_channel{};
};

class RemoteConnection final : public detail::OperationHost,
                               public std::enable_shared_from_this<RemoteConnection> {
  public:
    // Connected, and welcomed by the bridge.
    // Errors: disconnected (the text tells), what REFUSED said, timed_out, limit_reached (descriptors, threads).
    static Result<std::shared_ptr<RemoteConnection>> start(RemoteOptions options);
    explicit RemoteConnection(RemoteOptions options);
    RemoteConnection(const RemoteConnection&) = delete;
    RemoteConnection& operator=(const RemoteConnection&) = delete;
    ~RemoteConnection() override;

    // GOODBYE; everything ends with `closed`. Returns within 100 ms.
    void end() noexcept;
    [[nodiscard]] bool forked() const noexcept { return forks_ != shm::fork_count(); }
    [[nodiscard]] bool running() noexcept;
    [[nodiscard]] Welcome welcome();

    // Begins it, or waits for room up to its timeout. Where it does not begin, its waiter hears why, too.
    //   ticket   set before anybody can answer
    void begin(Request request,
               Waiter& waiter,
               Ticket& ticket,
               const std::stop_token& stop,
               Leave how = Leave::now);
    // `action(session, now)` under the lock; what it gave to send is sent, whom it answered hears it.
    template <typename Action>
    auto with(Action&& action, Leave how = Leave::now) {
        std::unique_lock hold(mutex_);
        if constexpr (std::is_void_v<decltype(action(session_, std::uint64_t{}))>) {
            action(session_, now());
            leave(hold, how);
        } else {
            auto result = action(session_, now());
            leave(hold, how);
            return result;
        }
    }
    bool settle(std::uint64_t session_number, std::uint64_t correlation, bool taken) noexcept;
    // Of a message that goes out now.
    [[nodiscard]] wire::Stamp stamp(MessageType type) noexcept;

    // ---- OperationHost ----
    bool wait_for(detail::Operation& operation, std::uint64_t deadline) noexcept override;
    bool may_withdraw(detail::Operation& operation) noexcept override;
    void withdrawn(detail::Operation& operation) noexcept override;
    bool can_resume() noexcept override { return resumer_.start(); }
    void resume(detail::Operation& operation) noexcept override { resumer_.resume(operation); }

  private:
    static std::uint64_t now() noexcept;
    Result<void> open();
    Result<void> await_welcome();
    void leave(std::unique_lock<std::mutex>& hold, Leave how = Leave::now) noexcept;
    [[nodiscard]] Events take_events() noexcept;
    [[nodiscard]] bool may_gather() const noexcept;
    [[nodiscard]] bool must_read() const noexcept;
    [[nodiscard]] bool may_read() const noexcept;
    [[nodiscard]] bool on_io_thread() const noexcept;
    Result<void> look(std::uint64_t deadline);
    [[nodiscard]] bool spin() noexcept;
    void nudge() noexcept;
    void flush(std::unique_lock<std::mutex>& hold, bool from_io) noexcept;
    void poke() noexcept;

    // ---- the I/O thread ----
    void run() noexcept;
    void serve(int socket);
    Error talk();
    Result<void> read_all();
    Result<void> take(ssize_t got, int error, bool* more, Leave how);
    Result<void> read(bool* more, Leave how);
    [[nodiscard]] std::uint64_t rest_until() noexcept;
    void hang_up(const Error& why);
    void say_goodbye(std::unique_lock<std::mutex>& hold);
    [[nodiscard]] bool tick();
    void pause(std::uint64_t ns);
    // Until something happens or `until`. The events of the socket.
    short sleep(std::uint64_t until);
    void note_failure(const Error& error);

    const RemoteOptions options_;
    const std::uint32_t forks_ = shm::fork_count();
    std::uint64_t id_prefix_ = 0;
    std::atomic<std::uint64_t> id_counter_{0};
    Resumer resumer_;
    int poked_descriptor_ = -1;
    int nudged_descriptor_ = -1;  // wakes a caller that reads

    std::mutex mutex_;  // guards what follows
    RemoteSession session_;
    std::unique_ptr<Channel> channel_;
    int socket_ = -1;
    bool writing_ = false;        // somebody writes, without the lock
    bool blocked_ = false;        // the socket was full: the I/O thread writes
    bool wake_wanted_ = false;    // for that
    std::uint32_t gathered_ = 0;  // operations that wait to leave together
    std::uint32_t follows_ = 0;   // confirmations and operations that a batch of answers may bring
    bool hanging_up_ = false;     // nobody else begins to write or read
    bool reading_ = false;        // somebody reads, without the lock
    bool caller_reads_ = false;   // it is a caller
    bool io_rests_ =
        false;  // the I/O thread leaves the socket to callers, and comes back when they rest
    bool used_ = false;  // by a caller, since the I/O thread looked last
    std::uint64_t rest_ns_ = 0;
    std::optional<Error> broken_{};  // what a caller met when it read
    std::uint32_t spin_skips_ = 0;   // of who reads
    Bytes plain_;                    // of who writes
    Bytes wire_;
    std::size_t wire_sent_ = 0;
    std::uint64_t wakes_at_ = 0;  // the I/O thread
    bool poked_ = false;
    std::uint32_t waits_for_room_ = 0;
    std::condition_variable room_;
    std::condition_variable changed_;  // up, failures_, writing_, finished_
    std::uint64_t failures_ = 0;
    Error failure_{};
    bool finished_ = false;

    // The I/O thread's own.
    Backoff backoff_;
    std::unique_ptr<std::byte[]>
        input_;  // kReadAtOnce, of who reads; not cleared: a small answer touches one page
};

}  // namespace telpher::bridge

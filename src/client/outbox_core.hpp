#pragma once
// What the handles of one outbox share: its store, what waits in it, and the thread that delivers.
//
//   Pen        the store is used by one thread at a time, without mutex_: who has the pen. A change of the store
//              is put into intake_; whoever finds the pen free takes it, carries out all changes that are there,
//              commits them together, and tells their callers: who arrives while the disk works joins the next
//              round.
//   Threads    one of its own, telpher-outbox; the members any number at once.
//   Order      of locks: close_mutex_, then mutex_, which is held for moments only: never in a system call of the
//              disk or of a delivery.
//   Lifetime   the thread does not keep this object; the destructor ends it.
//   Crash      as Outbox says: what a round has confirmed is on disk.

#include "telpher/outbox.hpp"

#include "src/client/backoff.hpp"
#include "src/client/outbox_courier.hpp"
#include "src/client/outbox_store.hpp"

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::detail {

class OutboxCore {
  public:
    // Errors: bad_request (options), and those of OutboxStore::open.
    static Result<std::shared_ptr<OutboxCore>> open(const ConnectOptions& options);
    OutboxCore(std::unique_ptr<OutboxStore> store, std::uint64_t bytes_max);
    OutboxCore(const OutboxCore&) = delete;
    OutboxCore& operator=(const OutboxCore&) = delete;
    ~OutboxCore();
    // What the last handle does: in a forked child it leaves all as it is, and lets go of the folder.
    static void end(OutboxCore* core) noexcept;

    // Begins to deliver; once. `way`: the client's connection, if there is one. Error: limit_reached (threads).
    Result<void> start(OutboxCourier courier);
    // Asks the thread to end, and refuses what comes from now on.
    void stop() noexcept;
    // The same, and waits for it; then the folder is free.
    void close() noexcept;

    Result<std::string> put(bool function, std::string_view name, const Message& message);
    Result<void> flush(Duration timeout);
    Result<std::vector<OutboxFailure>> failed() const;
    Result<std::size_t> retry(std::string_view request_id);
    Result<std::size_t> discard(std::string_view request_id);
    Result<OutboxStatus> status() const;

  private:
    using Lsn = OutboxStore::Lsn;
    using Clock = std::chrono::steady_clock;
    using Lock = std::unique_lock<std::mutex>;
    // A change of the store, on its caller's stack.
    struct Change {
        std::function<Result<void>(OutboxStore& store)> write;
        std::function<void()> note;  // when it is on disk; under mutex_
        Result<void> outcome{};
        bool over = false;
    };
    // The messages that wait for one destination; never none.
    struct Line {
        OutboxDestination to;
        std::set<Lsn> waiting{};
        Backoff backoff;
        Clock::time_point due{};  // not before
    };
    using Lines = std::map<std::uint32_t, Line>;
    struct Refused {
        std::uint32_t destination = 0;
        OutboxDestination to;
        OutboxRefusal refusal;
    };
    struct Loaded {
        Lsn origin = 0;
        Result<Message> message;
    };

    Result<void> read_what_was_left();
    [[nodiscard]] Status usable() const noexcept;
    [[nodiscard]] bool forked() const noexcept;
    void wait_in_line(Lsn origin, std::uint32_t destination, const OutboxDestination& to);
    [[nodiscard]] std::vector<std::pair<Lsn, std::uint32_t>> refused_as(std::string_view id) const;
    Result<std::size_t> forget_refusal(std::string_view request_id, bool take_up);
    // ---- the pen (outbox_pen.cpp) ----
    Result<void> carry_out(Change& change);
    void take_pen(Lock& hold);
    void give_pen(Lock& hold);
    void write_round(Lock& hold);
    // ---- the thread (outbox_run.cpp) ----
    void run();
    void step(Lock& hold);
    [[nodiscard]] bool record_is_due(Clock::time_point now) const;
    [[nodiscard]] const Lines::value_type* choose(Clock::time_point now, Clock::time_point& wake);
    void connect(Lock& hold);
    void deliver(Lock& hold, std::uint32_t destination);
    [[nodiscard]] std::vector<Loaded> load(Lock& hold, const Line& line);
    [[nodiscard]] bool settle(Lock& hold,
                              std::uint32_t destination,
                              Lsn origin,
                              const Message& message,
                              OutboxCourier::Attempt attempt);
    void wait_longer(std::uint32_t destination, Error why);
    void note_delivered(std::uint32_t destination, Lsn origin);
    [[nodiscard]] bool put_aside(Lock& hold,
                                 std::uint32_t destination,
                                 Lsn origin,
                                 OutboxRefusal refusal);
    void leave_line(std::uint32_t destination, Lsn origin);

    const std::uint64_t bytes_max_;
    const pid_t pid_;
    std::mutex close_mutex_;
    mutable std::mutex mutex_;          // guards what follows, but for the pen's things
    std::condition_variable pen_free_;  // or a change is over
    std::condition_variable work_;      // for the thread
    std::condition_variable settled_;   // for flush
    bool pen_taken_ = false;
    bool recording_ = false;              // the round under way notes what was delivered
    std::unique_ptr<OutboxStore> store_;  // the pen's; null when closed
    std::vector<Change*> intake_;
    Lines lines_;
    std::uint32_t last_line_ = 0;  // that had its turn
    std::map<Lsn, Refused> refused_;
    std::vector<Lsn> unrecorded_;  // delivered, and that is not on disk yet
    Clock::time_point record_due_{};
    std::uint64_t pending_ = 0;
    std::uint64_t delivered_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint32_t flushing_ = 0;
    Error trouble_;
    std::optional<Error> disk_failed_;
    bool stopping_ = false;
    std::stop_source stop_;
    // Of the thread alone.
    std::optional<OutboxCourier> courier_;
    Backoff connect_backoff_;
    Clock::time_point connect_due_{};
    std::mt19937_64 random_;
    std::thread thread_;
};

}  // namespace telpher::detail

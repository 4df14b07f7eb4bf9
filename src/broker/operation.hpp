#pragma once
// One asynchronous poll, offer, publish or call: what a Future and the parker share.
//
//   Word       a phase and flags, in one atomic:
//                PENDING -> TAKING      the parker alone, before each attempt
//                TAKING  -> DONE        the result stands; or back to PENDING: nothing was there
//                PENDING -> CANCELLED   cancel, a stop request, the end of the Future
//              Cancelled during TAKING is too late: what the attempt takes stands. If it takes
//              nothing, the operation is CANCELLED instead of PENDING again.
//   Contents   queue, message and result belong to the parker while TAKING, to whoever cancelled it
//              when CANCELLED, to the Future when DONE; nobody touches them while PENDING.
//   References two: the Future's and the parker's. The last one deletes it.
//   Crash      private memory of one process: gone with it.

#include "telpher/future.hpp"
#include "telpher/loan.hpp"
#include "telpher/message.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include "shm/attachment.hpp"
#include "src/broker/request_origin.hpp"

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>

#include <atomic>
#include <coroutine>
#include <memory>
#include <optional>
#include <stop_token>

namespace telpher::detail {

class Operation;
class Parker;
class QueueCore;
class WakesLater;
struct Lane;

// Completes the operations that no parker serves: the connection of a remote client. It holds one
// reference of each until it has answered it or let it go.
//
//   Threads  any number at once; no call is made while the host calls the operation
class OperationHost {
  public:
    OperationHost() = default;
    OperationHost(const OperationHost&) = delete;
    OperationHost& operator=(const OperationHost&) = delete;
    virtual ~OperationHost() = default;
    // Somebody cancels it. False: what it asks for can happen still; its answer will tell.
    virtual bool may_withdraw(Operation& operation) noexcept = 0;
    // It is CANCELLED: an answer is no longer wanted.
    virtual void withdrawn(Operation& operation) noexcept = 0;
    // Its caller waits until it is over, or for `deadline`: it may do what the host would do meanwhile. False:
    // it is to sleep until it is woken.
    virtual bool wait_for(Operation& operation, std::uint64_t deadline) noexcept = 0;
    // Whether coroutines can be resumed. Error: there is no thread for them.
    virtual bool can_resume() noexcept = 0;
    // Takes over one reference, and resumes its coroutine soon.
    virtual void resume(Operation& operation) noexcept = 0;
};

enum class OperationKind : std::uint8_t { poll, offer, publish, call };

class Operation : public boost::intrusive::list_base_hook<>,
                  public boost::intrusive::set_base_hook<> {
  public:
    static constexpr std::uint32_t kPending = 0, kTaking = 1, kDone = 2, kCancelled = 3;
    static constexpr std::uint32_t kPhase = 3;       // mask
    static constexpr std::uint32_t kWaited = 4;      // somebody sleeps on the word
    static constexpr std::uint32_t kRung = 8;        // `bell_` wants to be rung
    static constexpr std::uint32_t kContinued = 16;  // `continuation_` wants to be resumed
    static constexpr std::uint32_t kAbandoned = 32;  // no Future any more
    static constexpr std::uint32_t kUnwanted = 64;   // cancelled too late

    // Finished from the start.
    explicit Operation(std::shared_ptr<QueueCore> core);
    // Pending, with a reference for the parker.
    Operation(std::shared_ptr<QueueCore> core, Parker& parker, OperationKind kind);
    // The same for a topic, or for what concerns no destination (`found` empty); `owner` is let go with
    // the contents.
    Operation(std::shared_ptr<void> owner,
              Parker& parker,
              OperationKind kind,
              shm::Attachment& attachment,
              const shm::Found& found = {});
    // Pending, with a reference for `host`, for `owner` as above.
    Operation(std::shared_ptr<void> owner, std::shared_ptr<OperationHost> host, OperationKind kind);
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    // ---- the Future's side --------------------------------------------------------------------
    [[nodiscard]] bool over() const noexcept;
    // 0 = only look.
    bool wait(Duration timeout);
    bool cancel() noexcept;
    // The Future ends; drops its reference.
    void abandon() noexcept;
    // False: it is over.
    bool suspend(std::coroutine_handle<> coroutine) noexcept;
    // Rings `thread` when it is over. False: it is over.
    bool ring_when_over(shm::ThreadRecord& thread) noexcept;
    void do_not_ring() noexcept;
    [[nodiscard]] bool cancelled() const noexcept;
    [[nodiscard]] bool forked() const noexcept { return forks_ != shm::fork_count(); }
    [[nodiscard]] bool remote() const noexcept { return host_ != nullptr; }
    [[nodiscard]] std::shared_ptr<shm::Attachment> attachment() const { return memory_.lock(); }
    void cancel_by(const std::stop_token& stop) { on_stop_.emplace(stop, StopHook{this}); }
    // The result was read: queue and connection are let go.
    void close_contents() noexcept;
    // Hands it to the parker, whose reference is gone afterwards; `overloaded` if it does not get through.
    void submit();
    // The same, to end after `timeout`, or when asked to stop.
    void submit(Duration timeout, const std::stop_token& stop);

    // ---- the parker's side --------------------------------------------------------------------
    // Which queue or topic; may be read in every phase.
    [[nodiscard]] const shm::Found& found() const noexcept { return found_; }
    // PENDING -> TAKING. False: it was withdrawn.
    [[nodiscard]] bool claim() noexcept;
    // Back to PENDING. False: withdrawn, since it was cancelled or its Future went meanwhile.
    bool unclaim() noexcept;
    // TAKING -> DONE; wakes who waits. Returns whether a coroutine is to be resumed.
    [[nodiscard]] bool finish() noexcept;
    // Resumes the coroutine, unless it was destroyed.
    void resume();
    // Says that a coroutine waits for this withdrawn operation.
    [[nodiscard]] bool to_resume() const noexcept;
    // While TAKING: one attempt. queue_empty, queue_full, out_of_memory: nothing happened, the
    // result is not set.
    virtual Status run() = 0;
    virtual void fail(Status status) = 0;
    // Whether `run` only began it, and another thread ends it: then `hand_over` gives it the reference of the one
    // who ran it.
    [[nodiscard]] virtual bool begun() const noexcept { return false; }
    virtual void hand_over() noexcept {}
    // Whether an attempt makes sense. Asked while PENDING.
    [[nodiscard]] virtual bool ready() const noexcept { return true; }
    // ok, closed, domain_removed, forked.
    [[nodiscard]] virtual Status usable() const noexcept;
    [[nodiscard]] const std::shared_ptr<QueueCore>& core() const noexcept { return core_; }
    [[nodiscard]] OperationKind kind() const noexcept { return kind_; }

    void hold() noexcept;
    void drop() noexcept;
    // The Future takes the result now.
    virtual void before_read() noexcept {}

    // The parker's own notes; set before it is submitted, or by the parker alone.
    std::uint64_t deadline_ns = ~0ULL;
    Lane* lane = nullptr;
    bool awaited = false;    // linked among the calls
    bool starved = false;    // the last attempt found no memory
    bool elsewhere = false;  // another of the same request is under way: others may go before it
    // The host's own note.
    std::uint64_t ticket = 0;
    // The Future's own note: its result was read.
    bool read = false;
    friend bool operator<(const Operation& a, const Operation& b) {
        return a.deadline_ns < b.deadline_ns;
    }

  protected:
    virtual ~Operation() = default;
    // What is not needed when it is withdrawn.
    virtual void forget_input() noexcept = 0;
    // Gives an unread result back.
    virtual void put_back() noexcept = 0;
    [[nodiscard]] OperationHost* host() const noexcept { return host_.get(); }
    virtual void account() noexcept;

  private:
    friend WakesLater;
    struct StopHook {
        Operation* operation;
        void operator()() const noexcept { operation->cancel_by_request(); }
    };
    static bool is_over(std::uint32_t word) noexcept { return (word & kPhase) >= kDone; }
    void cancel_by_request() noexcept;
    void withdraw(std::uint32_t flags) noexcept;
    void wake(std::uint32_t flags) noexcept;

    std::atomic<std::uint32_t> word_;
    std::atomic<std::uint32_t> references_;
    const OperationKind kind_ = OperationKind::poll;
    const std::uint32_t forks_ = shm::fork_count();
    Parker* const parker_ = nullptr;
    // Instead of the parker; until the operation is deleted, since who cancels may come late.
    const std::shared_ptr<OperationHost> host_{};
    const shm::Found found_{};
    std::shared_ptr<QueueCore> core_;
    std::shared_ptr<void> owner_;
    std::weak_ptr<shm::Attachment> memory_;
    std::atomic<shm::ThreadRecord*> bell_{nullptr};
    std::coroutine_handle<> continuation_{};
    std::optional<std::stop_callback<StopHook>> on_stop_;
};

class PollOperation : public Operation {
  public:
    using Operation::Operation;
    Status run() override;
    void fail(Status status) override { result.emplace(status); }
    std::optional<Result<Delivery>> result;

  protected:
    void forget_input() noexcept override {}
    void put_back() noexcept override;
};

class OfferOperation : public Operation {
  public:
    using Operation::Operation;
    Status run() override;
    void fail(Status status) override;
    Message message;
    Origin origin{};  // of who asked for it
    std::optional<Result<std::uint64_t>> result;

  protected:
    void forget_input() noexcept override { message = Message{}; }
    void put_back() noexcept override {}  // sent is sent
};

// Whether an offer was not accepted because another of its request id is under way.
[[nodiscard]] inline bool runs_elsewhere(const Result<std::uint64_t>& offered) {
    return offered.status() == Status::queue_full &&
           offered.error().effect == Outcome::may_have_happened;
}

struct FutureAccess {
    template <typename T>
    static Future<T> make(Operation* operation) noexcept {
        return Future<T>(operation);
    }
    static Operation* operation(const FutureBase& future) noexcept { return future.operation_; }
};

// A future that is ready. `core`: where an unread message goes back to.
Future<Delivery> ready_future(Result<Delivery> result, std::shared_ptr<QueueCore> core = nullptr);
Future<std::uint64_t> ready_future(Result<std::uint64_t> result);

}  // namespace telpher::detail

#pragma once
// The thread that confirms the durable messages of asynchronous offers, as many as there are with one sync.
//
//   One per    DomainCore, made at the first such offer; its thread ends with it.
//   Way        an offer finds room and memory where it is made, or with the parker, and is encoded there. Then it is
//              the sender's: in the log together with all others that came meanwhile, into its queue, and over. While
//              one sync runs, the next messages gather.
//   Room       an offer counts as one message of its queue from the moment it found room. Where producers elsewhere
//              took that room, its record is taken back, and it waits without one, up to its timeout, and those of its
//              queue behind it; other queues go on. Nothing that waits for room holds one of the 1024 submissions
//              (shm/log_layout.hpp) that all processes share.
//   Requests   what has a request id is begun with the idempotency store where it found room, and ends there when it is
//              in its queue. What is under way already waits for that, and is looked at every millisecond.
//   Slow ones  messages of a queue with a byte budget are confirmed one by one.
//   Cancel     is too late once it is the sender's.
//   Threads    `take` any number at once; the rest is its own.
//   Crash      what was not logged is gone, as with offers that wait; what was is in its queue, or the reaper ends it.

#include "shm/attachment.hpp"
#include "src/broker/durable_way.hpp"
#include "src/broker/operation.hpp"
#include "src/broker/own_thread.hpp"
#include "src/store/shared_log.hpp"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace telpher::detail {

class DurableSender;

class DurableOffer final : public OfferOperation {
  public:
    // Both end after it: its queue keeps the domain that has them.
    DurableOffer(std::shared_ptr<QueueCore> queue, Parker& parker, DurableSender& sender);

    // Room and memory, no disk: ok = it is begun.
    Status run() override;
    [[nodiscard]] bool begun() const noexcept override { return begun_; }
    void hand_over() noexcept override;

    // The sender has it: who offers next need not queue up behind it at the parker.
    void let_pass() noexcept;

    DurableWay way;
    bool waits = false;  // for room

  protected:
    void account() noexcept override;

  private:
    DurableSender& sender_;
    bool begun_ = false;
    bool passed_ = false;
};

class DurableSender : public std::enable_shared_from_this<DurableSender> {
  public:
    // Errors: limit_reached (threads), as Attachment::context.
    static Result<std::shared_ptr<DurableSender>> start(std::shared_ptr<shm::Attachment> attachment,
                                                        std::shared_ptr<Parker> parker,
                                                        store::SharedLog& log);
    DurableSender(std::shared_ptr<shm::Attachment> attachment,
                  std::shared_ptr<Parker> parker,
                  store::SharedLog& log);
    DurableSender(const DurableSender&) = delete;
    DurableSender& operator=(const DurableSender&) = delete;
    ~DurableSender() = default;

    // One that is begun, with a reference.
    void take(DurableOffer& offer);
    // Ends the thread; from the thread itself: when it comes back. It has no offers: each keeps its domain.
    void stop() noexcept;
    // In a forked child: nothing of it is ours, and nothing of it is destroyed.
    void forget() noexcept { forgotten_ = weak_from_this().lock(); }

  private:
    using Offers = boost::intrusive::list<Operation>;

    void run();
    [[nodiscard]] bool collect();
    void log_some();
    [[nodiscard]] bool may_be_logged(const DurableOffer& offer);
    void deliver();
    // One that is in the log or need not be; whether it is over. Otherwise its queue has no room.
    [[nodiscard]] bool deliver(DurableOffer& offer);
    [[nodiscard]] Result<std::uint64_t> send(DurableOffer& offer);
    // One that waits for room; whether it is over.
    [[nodiscard]] bool give_up(DurableOffer& offer, const Error& refused);
    void complete(DurableOffer& offer);

    const std::shared_ptr<shm::Attachment> attachment_;
    const std::shared_ptr<Parker> parker_;
    store::SharedLog& log_;
    OwnThread thread_;
    std::shared_ptr<DurableSender> forgotten_;

    std::mutex mutex_;
    std::condition_variable changed_;
    Offers incoming_;      // guarded by mutex_
    bool sleeps_ = false;  // guarded by it
    bool stop_ = false;    // guarded by it

    // The thread's own.
    Offers offers_;  // in the order in which they came
    std::vector<store::Pending> slice_;
    std::vector<DurableOffer*> sliced_;
    std::vector<std::pair<const QueueCore*, std::uint64_t>> rooms_;  // of queues, in this commit
    std::vector<const QueueCore*> full_;                             // those without, in this round
    bool more_ = false;                                              // that can be logged at once
};

}  // namespace telpher::detail

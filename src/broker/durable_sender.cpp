#include "src/broker/durable_sender.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/signals.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"

#include <pthread.h>

#include <algorithm>

namespace telpher::detail {
namespace {

constexpr std::size_t kTogether = 256;  // messages of one commit
// Messages in the log whose room others took. Each keeps a place of those that all processes share.
constexpr std::size_t kLoggedMost = 64;
// Between looks for room: nobody tells us, and it is rare.
constexpr std::chrono::milliseconds kLook{1};

DurableOffer& offer_of(Operation& operation) { return static_cast<DurableOffer&>(operation); }

bool no_room(Status status) {
    return status == Status::queue_full || status == Status::out_of_memory;
}

}  // namespace

// ---- an offer ----------------------------------------------------------------------------------

DurableOffer::DurableOffer(std::shared_ptr<QueueCore> queue, Parker& parker, DurableSender& sender)
    : OfferOperation(std::move(queue), parker, OperationKind::offer), sender_(sender) {}

Status DurableOffer::run() {
    const OriginScope scope(origin);
    auto prepared = core()->begin_durable(message, pending);
    if (prepared) {
        account();  // others need not queue up behind it any more
        begun_ = true;
        if (pending.bytes != 0) {
            forget_input();
        }
    } else if (!no_room(prepared.status())) {
        result.emplace(prepared.error());
    }
    return prepared.status();
}

void DurableOffer::account() noexcept {
    if (!begun_) {
        OfferOperation::account();
    }
}

void DurableOffer::hand_over() noexcept { sender_.take(*this); }

// ---- the thread --------------------------------------------------------------------------------

DurableSender::DurableSender(std::shared_ptr<shm::Attachment> attachment,
                             std::shared_ptr<Parker> parker,
                             store::SharedLog& log)
    : attachment_(std::move(attachment)), parker_(std::move(parker)), log_(log) {}

Result<std::shared_ptr<DurableSender>> DurableSender::start(
    std::shared_ptr<shm::Attachment> attachment,
    std::shared_ptr<Parker> parker,
    store::SharedLog& log) {
    auto sender = std::make_shared<DurableSender>(std::move(attachment), std::move(parker), log);
    try {
        const shm::SignalsBlocked blocked;
        sender->thread_ = std::make_unique<std::thread>([self = sender] {
            pthread_setname_np(pthread_self(), "telpher-durable");
            self->run();
        });
    } catch (const std::system_error& failed) {
        return Error{Status::limit_reached, failed.code().value(), "no thread could be started"};
    }
    return sender;
}

void DurableSender::take(DurableOffer& offer) {
    bool wake = false;
    {
        const std::lock_guard hold(mutex_);
        incoming_.push_back(offer);
        wake = std::exchange(sleeps_, false);
    }
    if (wake) {
        changed_.notify_one();
    }
}

void DurableSender::stop() noexcept {
    {
        const std::lock_guard hold(mutex_);
        stop_ = true;
        sleeps_ = false;
    }
    changed_.notify_one();
    if (thread_->get_id() == std::this_thread::get_id()) {
        thread_->detach();  // it keeps itself and the attachment until it is back in `run`
    } else {
        thread_->join();
    }
}

void DurableSender::run() {
    while (collect()) {
        log_some();
        deliver();
    }
}

// False: the end.
bool DurableSender::collect() {
    std::unique_lock hold(mutex_);
    const auto something = [this] { return stop_ || !incoming_.empty(); };
    if (!something()) {
        sleeps_ = true;
        if (offers_.empty()) {
            changed_.wait(hold, something);
        } else {
            changed_.wait_for(hold, kLook, something);  // for room
        }
        sleeps_ = false;
    }
    offers_.splice(offers_.end(), incoming_);
    return !offers_.empty() || !stop_;
}

void DurableSender::log_some() {
    slice_.clear();
    sliced_.clear();
    std::size_t logged = 0;
    for (Operation& operation : offers_) {
        DurableOffer& offer = offer_of(operation);
        logged += static_cast<std::size_t>(offer.pending.lsn != 0);
        if (offer.pending.bytes != 0 && offer.pending.lsn == 0) {
            if (slice_.size() == kTogether || logged >= kLoggedMost) {
                break;
            }
            slice_.push_back(offer.pending);
            sliced_.push_back(&offer);
        }
    }
    if (slice_.empty()) {
        return;
    }
    log_.commit(slice_, {});
    for (std::size_t i = 0; i < slice_.size(); ++i) {
        sliced_[i]->pending = slice_[i];
    }
}

void DurableSender::deliver() {
    full_.clear();
    for (auto at = offers_.begin(); at != offers_.end();) {
        DurableOffer& offer = offer_of(*at);
        const QueueCore* const queue = offer.core().get();
        const bool untouched = offer.pending.bytes != 0 && offer.pending.status == Status::none;
        if (untouched || std::find(full_.begin(), full_.end(), queue) != full_.end()) {
            ++at;
        } else if (deliver(offer)) {
            at = offers_.erase(at);
            complete(offer);
        } else {
            full_.push_back(queue);
            ++at;
        }
    }
}

bool DurableSender::deliver(DurableOffer& offer) {
    QueueCore& queue = *offer.core();
    const bool alone = offer.pending.bytes == 0;
    Result<std::uint64_t> sent(Status::none);
    if (alone) {
        const OriginScope scope(offer.origin);
        sent = queue.offer(offer.message, {}, {});
    } else if (offer.pending.status != Status::ok) {
        sent = offer.pending.status == Status::storage_failed ? log_.failure()
                                                              : Error{offer.pending.status, 0, {}};
    } else {
        sent = queue.deliver_durable(offer.pending);
    }
    if (no_room(sent.status()) && offer.pending.chunk != shm::kNoChunk) {
        const Status usable = offer.usable();
        const bool late = shm::monotonic_ns() >= offer.deadline_ns;
        if (usable == Status::ok && offer.waits && !late) {
            return false;
        }
        if (usable != Status::ok || offer.waits) {
            sent = Error{usable != Status::ok ? usable : Status::timed_out, 0, {}};
        }
    }
    queue.end_durable(offer.pending, sent.status() == Status::ok);
    offer.result.emplace(std::move(sent));
    return true;
}

void DurableSender::complete(DurableOffer& offer) {
    if (!offer.finish()) {
        offer.drop();
    } else {
        // Its coroutine is the parker's to resume. One that keeps the parker busy keeps us waiting.
        while (!parker_->try_submit(offer)) {
            const std::lock_guard hold(mutex_);
            if (stop_) {
                offer.drop();
                break;
            }
        }
    }
    parker_->note_ended_elsewhere();
}

}  // namespace telpher::detail

#include "src/broker/durable_sender.hpp"

#include "shm/base/clock.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace telpher::detail {
namespace {

constexpr std::size_t kTogether = 256;  // messages of one commit
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
    Error why;
    const Status status = core()->begin_durable(message, way, &why);
    begun_ = status == Status::ok;
    if (way.pending.bytes != 0) {
        forget_input();
    }
    if (!begun_ && !no_room(status)) {
        result.emplace(std::move(why));
    }
    return status;
}

void DurableOffer::let_pass() noexcept {
    account();
    passed_ = true;
}

void DurableOffer::account() noexcept {
    if (!passed_) {
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
    auto started = sender->thread_.start(
        "telpher-durable", sender->attachment_, [self = sender] { self->run(); });
    if (!started) {
        return started.error();
    }
    return sender;
}

void DurableSender::take(DurableOffer& offer) {
    bool wake = false;
    {
        const std::lock_guard hold(mutex_);
        incoming_.push_back(offer);
        offer.let_pass();  // not before: who sees that it passed comes behind it
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
    thread_.end();  // on it: it keeps itself and the attachment until it is back in `run`
}

void DurableSender::run() {
    while (collect()) {
        try {
            log_some();
            deliver();
        } catch (const std::bad_alloc&) {
            more_ = false;  // again in a moment: what was begun is noted in the offers
        }
    }
}

// False: the end.
bool DurableSender::collect() {
    std::unique_lock hold(mutex_);
    const auto something = [this] { return stop_ || !incoming_.empty(); };
    if (!something() && !more_) {
        attachment_->pool().flush(
            thread_.context().cursor);  // a sleeper keeps no memory from others
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

// No more than have room, or each of them would have a record that is taken back.
bool DurableSender::may_be_logged(const DurableOffer& offer) {
    if (offer.way.pending.lsn != 0 || offer.way.pending.status != Status::none) {
        return false;
    }
    if (!offer.way.counted || offer.way.pending.submission != shm::LogTable::kNone) {
        return true;
    }
    const QueueCore* const queue = offer.core().get();
    auto found = std::find_if(
        rooms_.begin(), rooms_.end(), [queue](const auto& room) { return room.first == queue; });
    if (found == rooms_.end()) {
        found = rooms_.insert(found, {queue, offer.core()->room()});
    }
    if (found->second == 0) {
        return false;
    }
    --found->second;
    return true;
}

void DurableSender::log_some() {
    slice_.clear();
    sliced_.clear();
    rooms_.clear();
    more_ = false;
    slice_.reserve(kTogether);
    sliced_.reserve(kTogether);
    for (Operation& operation : offers_) {
        DurableOffer& offer = offer_of(operation);
        if (offer.way.pending.bytes == 0 || !may_be_logged(offer)) {
            continue;
        }
        if (slice_.size() == kTogether) {
            more_ = true;
            break;
        }
        slice_.push_back(offer.way.pending);
        sliced_.push_back(&offer);
    }
    if (slice_.empty()) {
        return;
    }
    const auto note = [this] {
        for (std::size_t i = 0; i < slice_.size(); ++i) {
            sliced_[i]->way.pending = slice_[i];
            more_ = more_ || slice_[i].status == Status::none;
        }
    };
    try {
        log_.commit(slice_, {});
    } catch (const std::bad_alloc&) {
        note();
        throw;
    }
    note();
}

void DurableSender::deliver() {
    full_.clear();
    full_.reserve(offers_.size());
    for (auto at = offers_.begin(); at != offers_.end();) {
        DurableOffer& offer = offer_of(*at);
        store::Pending& pending = offer.way.pending;
        const QueueCore* const queue = offer.core().get();
        const bool behind = std::find(full_.begin(), full_.end(), queue) != full_.end();
        const bool ready = pending.bytes == 0 || pending.lsn != 0;
        const bool failed = !ready && pending.status != Status::none;
        bool over = false;
        bool blocked = false;
        if (failed || (ready && !behind) || offer.way.accepted_before) {
            over = deliver(offer);
            blocked = !over && !offer.elsewhere;
        } else {
            if (pending.lsn != 0) {
                offer.core()->take_back_durable(offer.way);
            }
            // One that has a place among those that wait for the disk is the log's.
            blocked = behind || (offer.way.counted && pending.submission == shm::LogTable::kNone &&
                                 !offer.core()->writable());
            over = blocked && pending.submission == shm::LogTable::kNone &&
                   give_up(offer, Error{Status::queue_full, 0, {}});
        }
        if (blocked && !behind) {
            full_.push_back(queue);
        }
        ++at;
        if (over) {
            offers_.erase(offers_.iterator_to(offer));
            complete(offer);
        }
    }
}

Result<std::uint64_t> DurableSender::send(DurableOffer& offer) {
    if (offer.way.accepted_before) {
        return *offer.way.accepted_before;
    }
    if (offer.way.pending.bytes == 0) {
        const OriginScope scope(offer.origin);
        return offer.core()->offer(offer.message, {}, {});
    }
    if (offer.way.pending.status == Status::storage_failed) {
        return log_.failure();
    }
    if (offer.way.pending.status != Status::ok) {
        return offer.way.pending.status;
    }
    return offer.core()->deliver_durable(offer.way);
}

bool DurableSender::deliver(DurableOffer& offer) {
    Result<std::uint64_t> sent(Status::none);
    bool lost = false;
    try {
        sent = send(offer);
    } catch (const std::bad_alloc&) {
        sent = Error{Status::out_of_memory, 0, {}};
        lost = true;  // how far it came nobody knows
    }
    offer.elsewhere = runs_elsewhere(sent);
    if (no_room(sent.status()) && !lost && offer.way.pending.chunk != shm::kNoChunk) {
        if (offer.way.pending.lsn != 0) {
            offer.core()->take_back_durable(offer.way);
        }
        return give_up(offer, sent.error());
    }
    offer.core()->end_durable(offer.way, sent.status() == Status::ok);
    offer.result.emplace(std::move(sent));
    return true;
}

bool DurableSender::give_up(DurableOffer& offer, const Error& refused) {
    const Status usable = offer.usable();
    const bool late = shm::monotonic_ns() >= offer.deadline_ns;
    if (usable == Status::ok && offer.waits && !late) {
        return false;
    }
    if (usable != Status::ok) {
        offer.fail(usable);
    } else if (offer.waits) {
        offer.fail(Status::timed_out);
    } else {
        offer.result.emplace(refused);
    }
    offer.core()->end_durable(offer.way, false);
    return true;
}

void DurableSender::complete(DurableOffer& offer) {
    // Room that it had and others wait for.
    // relaxed: a poke that is missed here comes with the next offer's end, or the parker looks after a second
    const bool room =
        offer.core()->pending(OperationKind::offer).load(std::memory_order_relaxed) != 0;
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
    if (room) {
        parker_->poke();
    } else {
        parker_->note_ended_elsewhere();
    }
}

}  // namespace telpher::detail

// Durable messages of asynchronous offers: what is theirs of a queue. The rest is durable_sender.hpp's.

#include "shm/base/clock.hpp"
#include "src/broker/durable_sender.hpp"
#include "src/broker/note_scope.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/domain_log.hpp"
#include "src/store/shared_log.hpp"
#include "src/wire/message_check.hpp"

namespace telpher::detail {

Future<std::uint64_t> QueueCore::offer_durable_async(Message message,
                                                     Duration timeout,
                                                     const std::stop_token& stop) {
    if (auto fits = check_durable(); !fits) {
        return ready_future(Result<std::uint64_t>(fits.error()));
    }
    if (wire::encoded_bytes(message) > source_.bytes_max()) {
        return ready_future(offer(message, {}, {}));  // it hears why at once
    }
    auto sender = domain_->durable_sender();
    auto parker = sender ? domain_->parker() : Result<Parker*>(sender.error());
    if (!parker) {
        return ready_future(Result<std::uint64_t>(parker.error()));
    }
    const bool first = offers_pending_.load(std::memory_order_relaxed) == 0;  // relaxed: as there
    auto* offer = new DurableOffer(shared_from_this(), **parker, **sender);
    offer->message = std::move(message);
    offer->origin = t_origin;
    offer->waits = timeout.count() != 0;
    offer->deadline_ns = deadline_after(timeout);
    if (!offer->waits || first) {
        // Ours, as the parker's otherwise: nobody cancels it before there is a Future, or a stop token is asked.
        if (stop.stop_requested() || !offer->claim()) {
            offer->drop();
            offer->abandon();
            return ready_future(Result<std::uint64_t>(Status::cancelled));
        }
        const Status status = offer->run();
        if (status == Status::ok) {
            offer->hand_over();
            return FutureAccess::make<std::uint64_t>(offer);
        }
        const bool again = status == Status::queue_full || status == Status::out_of_memory;
        if (!again || !offer->waits) {
            if (again) {
                offer->fail(status);
            }
            static_cast<void>(offer->finish());
            offer->drop();
            return FutureAccess::make<std::uint64_t>(offer);
        }
        static_cast<void>(offer->unclaim());
    }
    offer->submit(timeout, stop);
    if (refuse({}) != Status::ok) {
        (*parker)->look_at_all();  // closed meanwhile: its sweep may have been before
    }
    return FutureAccess::make<std::uint64_t>(offer);
}

// Killed with its request begun: as offer_once.
Status QueueCore::begin_durable(const Message& message, DurableWay& out, Error* why) {
    *why = {};
    out = {};
    if (const Status status = refuse({}); status != Status::ok) {
        *why = explain(status, {});
        return status;
    }
    auto context = attachment_.context();
    if (!context) {
        *why = context.error();
        return why->status;
    }
    if (message.delay() && !leased_) {
        *why = wire::delay_refused("a message in queue '" + name_ + "'");
        return why->status;
    }
    if (budget_ != 0) {
        return Status::ok;  // confirmed by itself, with all that such an offer does
    }
    if (memory_.on()) {
        if (auto begun = begin_request(message, out); !begun || out.accepted_before) {
            *why = begun ? Error{} : begun.error();
            return begun.status();
        }
        if (!message.request_id().empty() && !out.request) {
            return Status::ok;  // the same is under way: it waits for that
        }
    }
    Status status = Status::out_of_memory;
    try {
        status = encode_durable(**context, message, out, why);
    } catch (const std::bad_alloc&) {
        out.pending = {};
    }
    if (status != Status::ok && out.request) {
        memory_.store().withdraw(*out.request);
        out.request.reset();
    }
    return status;
}

// Begun with us, accepted before, or neither: then another has begun it.
Result<void> QueueCore::begin_request(const Message& message, DurableWay& out) {
    const std::string_view id = message.request_id();
    if (id.empty()) {
        return memory_.required() ? RequestMemory::id_missing("queue '" + name_ + "'")
                                  : Result<void>();
    }
    const auto answer = memory_.begin(MessageView(message.parts()), id, requester());
    switch (answer.found) {
        case RequestMemory::Found::begun:
            out.request = answer;
            return {};
        case RequestMemory::Found::done:
            memory_.store().release(answer);
            out.accepted_before = answer.outcome & ~shm::kOfferOutcome;
            return {};
        case RequestMemory::Found::running:
            return {};
        default:
            return RequestMemory::explain(answer.found, id);
    }
}

Status QueueCore::encode_durable(shm::ThreadContext& context,
                                 const Message& message,
                                 DurableWay& out,
                                 Error* why) {
    const bool delayed = message.delay().has_value();
    // What is on its way counts as if it were there; read first, so that what arrives meanwhile counts twice.
    // relaxed: others take room in any case
    const std::uint32_t on_way = on_way_.load(std::memory_order_relaxed);
    if (!delayed && (room() <= on_way || ring_.closed())) {
        *why = ring_.closed() ? Error{Status::queue_not_found} : Error{Status::queue_full};
        return why->status;
    }
    const std::size_t bytes = wire::encoded_bytes(message);
    Duration patience{};
    auto chunk = source_.allocate(context, bytes, patience, {});
    if (!chunk) {
        *why = chunk.error();
        return why->status;
    }
    wire::encode(message, stamp(context), message_in(*chunk).first(bytes));
    out.pending = pending(*chunk, bytes);
    if (out.request && memory_.logged()) {
        out.pending.request = memory_.store().name_of(note_of(out));
    }
    if (!delayed) {
        on_way_.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
    }
    out.counted = !delayed;
    out.begun_ns = shm::monotonic_coarse_ns();
    return Status::ok;
}

shm::Word* QueueCore::note_of(const DurableWay& way) noexcept {
    return way.request ? memory_.store().note(*way.request) : nullptr;
}

Result<std::uint64_t> QueueCore::deliver_durable(DurableWay& way) {
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    const NoteScope noted(**context, note_of(way));
    const Status status = send_logged(**context, way.pending, {}, {});
    return status == Status::ok ? Result<std::uint64_t>(way.pending.lsn) : explain(status, {});
}

void QueueCore::take_back_durable(DurableWay& way) noexcept {
    withdraw_logged(note_of(way), way.pending);
    const std::uint64_t request = way.pending.request;
    way.pending = pending(way.pending.chunk, way.pending.bytes);
    way.pending.request = request;
}

// Killed before its request is complete: the reaper tells by the chunk that its record names.
void QueueCore::end_durable(DurableWay& way, bool sent) {
    if (way.counted) {
        on_way_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: as above
    }
    if (auto context = attachment_.context(); context && way.pending.bytes != 0) {
        const NoteScope noted(**context, note_of(way));
        settle(**context, way.pending, sent);
    }
    if (!way.request) {
        return;
    }
    if (sent) {
        log_outcome(way.pending, way.begun_ns);
        memory_.store().complete(*way.request, shm::kOfferOutcome | way.pending.lsn, shm::kNoChunk);
    } else {
        memory_.store().withdraw(*way.request);
    }
    way.request.reset();
}

}  // namespace telpher::detail

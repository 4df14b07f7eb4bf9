#include "src/broker/call_target.hpp"

#include "src/broker/request_origin.hpp"
#include "src/wire/codec.hpp"
#include "src/wire/message_check.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>

namespace telpher::detail {
namespace {

// The coarse clock lags by that much: a deadline by it is never early.
constexpr std::uint64_t kCoarseNs = 10'000'000;

// Between two looks whether a request of the same id still runs elsewhere.
constexpr Duration kFirstRest = std::chrono::microseconds(500);
constexpr Duration kLongestRest = std::chrono::milliseconds(16);

std::uint64_t coarse_deadline(Duration timeout) noexcept {
    const std::uint64_t now = shm::monotonic_coarse_ns() + kCoarseNs;
    const auto wait = static_cast<std::uint64_t>(timeout.count());
    return wait > ~0ULL - now ? ~0ULL : now + wait;
}

}  // namespace

CallTarget::CallTarget(std::shared_ptr<shm::Attachment> attachment,
                       const shm::Found& found,
                       const shm::Ring& ring,
                       const shm::Ring& lane,
                       const std::atomic<bool>& closed)
    : attachment_(std::move(attachment)),
      ring_(ring),
      lane_(lane),
      calls_(attachment_->calls()),
      found_(found),
      slot_(attachment_->slot()),
      memory_(*attachment_, found),
      resends_((found.info.flags & shm::kEntryIdempotent) != 0 || memory_.reruns()),
      user_(getuid()),
      source_(*attachment_, {nullptr, &closed}, sizeof(shm::CallBlock)),
      measure_(attachment_->directory().latency(found)) {}

CallTarget::~CallTarget() {
    if (attachment_->forked()) {
        return;
    }
    const bool ended = gone();
    attachment_->directory().detach(found_.entry);
    if (ended) {
        attachment_->tidy_directory();  // we may have been the last who used it
    }
}

Result<std::shared_ptr<CallTarget>> CallTarget::open(std::shared_ptr<shm::Attachment> attachment,
                                                     const shm::Found& found,
                                                     const std::atomic<bool>& closed) {
    shm::Directory& directory = attachment->directory();
    const auto ring = directory.ring(found);
    const auto lane = directory.returns_lane(found);
    if (!ring || !lane) {
        return Error{Status::corrupt, 0, "the control block of the function is damaged"};
    }
    if (!directory.attach(found)) {
        return Status::function_not_found;
    }
    return std::make_shared<CallTarget>(std::move(attachment), found, *ring, *lane, closed);
}

bool CallTarget::gone() const noexcept {
    // E8: pairs with shm/directory.cpp:E6. After a mark (call_wait.hpp:CW3): whoever closes sees that, or we
    // see CLOSED.
    const std::uint64_t word = entry().word.load(std::memory_order_seq_cst);
    return shm::entry_generation(word) != found_.generation ||
           shm::entry_state(word) != shm::EntryState::live;
}

std::string CallTarget::label() const {
    return found_.name() == kDefaultFunction ? "the function without a name"
                                             : "function '" + found_.name() + "'";
}

Error CallTarget::refused(Status status) const {
    switch (status) {
        case Status::function_not_found:
            return {status, 0, label() + " has no server any more; nobody had begun"};
        case Status::overloaded:
            return {status,
                    0,
                    "inflight_max of " + label() + " is " + std::to_string(found_.info.capacity) +
                        ", as many requests wait for a free thread"};
        case Status::corrupt:
            return {status, 0, "the ring of " + label() + " is damaged"};
        default:
            return {status, 0, {}};
    }
}

// ---- sending -----------------------------------------------------------------------------------

Result<std::uint32_t> CallTarget::begin(const Message& request,
                                        shm::ThreadContext& context,
                                        std::uint64_t thread,
                                        const CallOptions& options,
                                        CallClock& clock) {
    if (auto sound = request.check(); !sound) [[unlikely]] {
        return sound.error();
    }
    if (request.delay()) [[unlikely]] {
        return wire::delay_refused("a call");
    }
    ring_.prepare_commit();
    const std::size_t bytes = wire::encoded_bytes(request);
    std::uint32_t chunk = shm::kNoChunk;
    if (bytes <= source_.small_bytes_max()) [[likely]] {
        chunk = source_.allocate_small(context, bytes);
    }
    if (chunk == shm::kNoChunk) [[unlikely]] {
        Duration wait = options.waits_for_room ? clock.left() : Duration{};
        auto taken = source_.allocate(context, bytes, wait, *options.stop);
        if (!taken) {
            Error error = std::move(taken).error();
            error.effect = Outcome::did_not_happen;
            return error;
        }
        chunk = *taken;
    }
    const bool oneway = (shm::call_flags(thread) & shm::kCallOneway) != 0;
    calls_.open(
        chunk, attachment_->identity(), thread, oneway ? ~0ULL : coarse_deadline(options.timeout));
    calls_.sign(chunk, t_origin.principal != 0 ? t_origin.principal : user_, t_origin.client);
    const auto out = calls_.message(chunk).first(bytes);
    const wire::Stamp stamp{MessageId{context.id_prefix, ++context.id_counter},
                            shm::wall_coarse_ns(),
                            MessageType::request};
    wire::encode(request, stamp, out);
    if (oneway) {
        out[offsetof(MessageHead, flags)] |= std::byte{kFlagOneway};
    }
    const Status status = commit(context, chunk, options, clock);
    if (status != Status::ok) [[unlikely]] {
        attachment_->pool().release(chunk, slot_, context.cursor);
        return refused(status);
    }
    return chunk;
}

// Waits for room as long as the call may take.
Status CallTarget::commit(shm::ThreadContext& context,
                          std::uint32_t chunk,
                          const CallOptions& options,
                          CallClock& clock) {
    std::uint64_t position = 0;
    Status status = ring_.commit(chunk, slot_, *context.record, &position);
    if (status == Status::queue_full && options.timeout.count() > 0 && options.waits_for_room)
        [[unlikely]] {
        const WaitOptions wait{
            clock.left(), options.stop, {options.closed, options.closed}, options.strategy};
        Waiter waiter(*attachment_, context, ring_.control().space, wait);
        const auto writable = [this] { return ring_.writable(); };
        const auto maybe = [this](std::uint32_t /*look*/) { return ring_.room_hint() != 0; };
        while (status == Status::queue_full) {
            status = waiter.wait(maybe, writable);
            if (status == Status::ok) {
                status = ring_.commit(chunk, slot_, *context.record, &position);
            }
        }
        waiter.leave(writable);
    }
    if (status == Status::ok) [[likely]] {
        shm::wake(
            ring_.control().items, attachment_->threads(), [this] { return ring_.readable(); });
        return status;
    }
    return status == Status::queue_full || status == Status::timed_out ? Status::overloaded
           : status == Status::queue_not_found                         ? Status::function_not_found
                                                                       : status;
}

Result<void> CallTarget::post(const Message& request, const CallOptions& options) {
    auto context = attachment_->context();
    if (!context) {
        return context.error();
    }
    CallClock clock(options.timeout);
    const auto sent =
        begin(request, **context, shm::make_call_thread(0, shm::kCallOneway), options, clock);
    return sent ? Result<void>() : Result<void>(sent.error());
}

// ---- waiting -----------------------------------------------------------------------------------

Result<Message> CallTarget::call(const Message& request, const CallOptions& options) {
    shm::ThreadContext* context = attachment_->quick_context();
    if (context == nullptr) [[unlikely]] {
        auto made = attachment_->context();
        if (!made) {
            return made.error();
        }
        context = *made;
    }
    const std::uint32_t weight = measure_.weight(*context);
    if (weight == 0) [[likely]] {
        return wait_for(request, options, *context);
    }
    const std::uint64_t began = shm::monotonic_ns();
    auto result = wait_for(request, options, *context);
    measure_.ended(began, weight, result.status());
    return result;
}

Result<Message> CallTarget::wait_for(const Message& request,
                                     const CallOptions& options,
                                     shm::ThreadContext& context) {
    CallClock clock(options.timeout);
    const auto sent =
        begin(request, context, shm::make_call_thread(context.index, 0), options, clock);
    if (!sent) [[unlikely]] {
        return sent.error();
    }
    const std::uint32_t chunk = *sent;
    std::uint32_t attempts = 1;
    Duration rest = kFirstRest;
    CallWait waiting(*attachment_, context, options, clock);
    for (;;) {
        const Status status = waiting.wait(
            [&] { return calls_.look(chunk, slot_) != shm::Calls::Look::pending; },
            [&] { return calls_.look_before_sleep(chunk, slot_) != shm::Calls::Look::pending; },
            [&] { return gone() && calls_.queued(chunk); },
            [&] {
                attachment_->check_deaths();
                attachment_->tidy_orphans();
            });
        if (status != Status::ok) [[unlikely]] {
            auto result = give_up(chunk, status);
            if (result.status() != Status::queue_empty) {
                return truthful(std::move(result), rest != kFirstRest);
            }
            continue;
        }
        if (calls_.look(chunk, slot_) == shm::Calls::Look::replied) [[likely]] {
            if (!calls_.deferred(chunk)) [[likely]] {
                return truthful(take(chunk, context), rest != kFirstRest);
            }
            if (const Status ended = pause(rest, options, clock); ended != Status::ok) {
                release(chunk);
                return Error{ended, 0, kRunsElsewhere, Outcome::may_have_happened};
            }
            rest = std::min(2 * rest, kLongestRest);
            if (auto sent_again = send_again(chunk, context); !sent_again) {
                return sent_again.error();
            }
            continue;
        }
        auto result = advance(chunk, context, attempts);
        if (result.status() != Status::queue_empty) {
            return truthful(std::move(result), rest != kFirstRest);
        }
    }
}

Result<Message> CallTarget::advance(std::uint32_t chunk,
                                    shm::ThreadContext& context,
                                    std::uint32_t& attempts) {
    switch (calls_.look(chunk, slot_)) {
        case shm::Calls::Look::pending:
            // What a server has begun it will end.
            return gone() && calls_.queued(chunk) ? give_up(chunk, Status::function_not_found)
                                                  : Result<Message>(Status::queue_empty);
        case shm::Calls::Look::replied:
            return calls_.deferred(chunk) ? Result<Message>(Status::queue_empty)
                                          : take(chunk, context);
        case shm::Calls::Look::lost:
            return Error{Status::corrupt, 0, "the word of a call of " + label() + " is damaged"};
        case shm::Calls::Look::failed:
            break;
    }
    if (!resends_ || attempts >= kAttemptsMax || gone()) {
        return failed(chunk);
    }
    ++attempts;
    calls_.reopen(chunk);
    std::uint64_t place = 0;
    // Into the lane: it is older than what is queued.
    if (lane_.commit(chunk, slot_, *context.record, &place) != Status::ok) {
        return failed(chunk);
    }
    shm::wake(ring_.control().items, attachment_->threads(), [this] {
        return lane_.readable() || ring_.readable();
    });
    return Status::queue_empty;
}

Result<Message> CallTarget::truthful(Result<Message> result, bool was_deferred) {
    if (was_deferred && !result && result.error().outcome() == Outcome::did_not_happen)
        [[unlikely]] {
        Error error = std::move(result).error();
        error.effect = Outcome::may_have_happened;
        return error;
    }
    return result;
}

// A request of its id runs elsewhere: who waits for that keeps no server.
Status CallTarget::pause(Duration time, const CallOptions& options, CallClock& clock) const {
    const Duration left = clock.left();
    if (left.count() == 0) {
        return Status::timed_out;
    }
    std::this_thread::sleep_for(std::min(time, left));
    if (options.stop->stop_requested()) {
        return Status::cancelled;
    }
    // relaxed: a moment's truth, looked at again
    return options.closed->load(std::memory_order_relaxed) ? Status::closed : attachment_->usable();
}

// The chunk is ours, and holds the request as it was sent. Killed before the commit: the reaper frees it.
Result<void> CallTarget::send_again(std::uint32_t chunk, shm::ThreadContext& context) {
    calls_.reopen(chunk);
    std::uint64_t place = 0;
    const Status status = ring_.commit(chunk, slot_, *context.record, &place);
    if (status != Status::ok) {
        release(chunk);
        return Error{status == Status::queue_full ? Status::timed_out : Status::function_not_found,
                     0,
                     kRunsElsewhere,
                     Outcome::may_have_happened};
    }
    shm::wake(ring_.control().items, attachment_->threads(), [this] { return ring_.readable(); });
    return {};
}

Result<Message> CallTarget::failed(std::uint32_t chunk) {
    calls_.free_second(chunk);
    release(chunk);
    return Error{Status::peer_died, 0, "the process that ran the call of " + label() + " died"};
}

// The chunk is ours again, whatever it holds.
void CallTarget::release(std::uint32_t chunk) noexcept {
    if (shm::ThreadContext* context = attachment_->known_context(); context != nullptr) {
        attachment_->pool().release(chunk, slot_, context->cursor);
    } else {
        attachment_->pool().free_now(chunk);
    }
}

Result<Message> CallTarget::give_up(std::uint32_t chunk, Status reason) {
    const shm::Calls::GivenUp how =
        calls_.give_up(chunk,
                       slot_,
                       reason == Status::function_not_found ? shm::Calls::Give::up_unless_begun
                                                            : shm::Calls::Give::up);
    if (how == shm::Calls::GivenUp::ended) {
        const shm::Calls::Look look = calls_.look(chunk, slot_);
        if (look == shm::Calls::Look::pending) {
            return Status::queue_empty;  // begun after all: it will end
        }
        if (look == shm::Calls::Look::failed) {
            return failed(chunk);
        }
        shm::ThreadContext* context = attachment_->known_context();
        if (look == shm::Calls::Look::replied) {
            shm::ThreadContext none;  // of a thread without a record: nothing is kept in it
            auto result = take(chunk, context != nullptr ? *context : none);
            attachment_->pool().flush(none.cursor);
            return result;
        }
        return Error{Status::corrupt, 0, "the word of a call of " + label() + " is damaged"};
    }
    if (reason == Status::timed_out) {
        // relaxed: a statistic
        entry().timed_out.fetch_add(1, std::memory_order_relaxed);
    }
    if (how == shm::Calls::GivenUp::unsent) {
        release(chunk);
        return reason == Status::timed_out
                   ? Error{reason,
                           0,
                           "no server of " + label() + " was free: nobody had begun",
                           Outcome::did_not_happen}
                   : refused(reason);
    }
    // `overloaded` would say, through a bridge too, that it did not happen.
    return Error{reason == Status::overloaded ? Status::timed_out : reason,
                 0,
                 "a server of " + label() + " had begun, and may go on",
                 Outcome::may_have_happened};
}

}  // namespace telpher::detail

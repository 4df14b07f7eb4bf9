// Offers to a queue that remembers its messages.

#include "shm/base/clock.hpp"
#include "src/broker/note_scope.hpp"
#include "src/broker/queue_core.hpp"
#include "src/broker/request_origin.hpp"

#include <algorithm>
#include <thread>

namespace telpher::detail {
namespace {

// Between two looks whether another has offered a message of the same request id.
constexpr auto kAnotherPause = std::chrono::microseconds(500);

}  // namespace

Requester QueueCore::requester() const {
    return {attachment_.identity(),
            t_origin.principal != 0 ? t_origin.principal : user_,
            t_origin.client};
}

// Killed with the record RUNNING: the reaper tells from the chunk whether the message was committed.
Result<std::uint64_t> QueueCore::offer_once(const MessageView& message,
                                            Duration timeout,
                                            const std::stop_token& stop) {
    const std::string_view id = message.request_id();
    if (id.empty()) {
        return memory_.required() ? RequestMemory::id_missing("queue '" + name_ + "'")
                                  : offer_new(message, timeout, stop);
    }
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    const Requester requester = this->requester();
    shm::IdempotencyStore& store = memory_.store();
    const std::uint64_t now = timeout.count() != 0 ? shm::monotonic_ns() : 0;
    const auto wait = static_cast<std::uint64_t>(timeout.count());
    const std::uint64_t until = wait > ~0ULL - now ? ~0ULL : now + wait;
    for (;;) {
        const RequestMemory::Answer answer = memory_.begin(message, id, requester);
        switch (answer.found) {
            case RequestMemory::Found::begun: {
                Result<std::uint64_t> offered(Status::none);
                {
                    const NoteScope noted(**context, store.note(answer));
                    // What is left of it, if we had to wait for another.
                    const std::uint64_t at = timeout.count() != 0 ? shm::monotonic_ns() : 0;
                    const Duration left =
                        timeout.count() == 0 || until == ~0ULL
                            ? timeout
                            : Duration(std::max<std::uint64_t>(until - std::min(at, until), 1));
                    offered = offer_new(message, left, stop);
                }
                if (offered) {
                    store.complete(answer, shm::kOfferOutcome | *offered, shm::kNoChunk);
                } else {
                    store.withdraw(answer);
                }
                return offered;
            }
            case RequestMemory::Found::done:
                store.release(answer);
                return answer.outcome & ~shm::kOfferOutcome;
            case RequestMemory::Found::running:
                break;
            default:
                return RequestMemory::explain(answer.found, id);
        }
        if (timeout.count() == 0 || shm::monotonic_ns() >= until) {
            Error error = RequestMemory::explain(answer.found, id);
            error.status = timeout.count() == 0 ? Status::queue_full : Status::timed_out;
            return error;
        }
        if (const Status ended = pause_for_another(stop); ended != Status::ok) {
            return explain(ended, timeout);
        }
    }
}

// The message is on its way by another: a moment.
Status QueueCore::pause_for_another(const std::stop_token& stop) const {
    std::this_thread::sleep_for(kAnotherPause);
    return stop.stop_requested() ? Status::cancelled : refuse({});
}

}  // namespace telpher::detail

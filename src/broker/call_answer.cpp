// How a caller reads what came back.

#include "src/broker/call_target.hpp"
#include "src/wire/codec.hpp"

#include <algorithm>
#include <cstdio>

namespace telpher::detail {

// Killed before the second chunk is freed, or between: REPLIED, and swept with it.
Result<Message> CallTarget::take(std::uint32_t chunk, shm::ThreadContext& context) {
    const shm::CallBlock& block = calls_.block(chunk);
    // relaxed, both: written before REPLIED, which we have seen
    const std::uint64_t outcome = block.outcome.load(std::memory_order_relaxed);
    shm::ChunkPool& pool = attachment_->pool();
    if (outcome != 0) [[unlikely]] {
        const std::uint64_t error_id =
            block.error_id.load(std::memory_order_relaxed);  // relaxed: as above
        calls_.free_second(chunk);
        pool.release(chunk, slot_, context.cursor);
        return answered_with(outcome, error_id);
    }
    const std::uint32_t from = calls_.response(chunk, slot_);
    if (from == shm::kNoChunk) [[unlikely]] {
        pool.release(chunk, slot_, context.cursor);
        return Error{Status::out_of_memory,
                     0,
                     "the response of " + label() +
                         " lies in a data segment that cannot be mapped into this process",
                     Outcome::happened};
    }
    Result<Message> result(std::in_place);
    // To be read now, and written by the next call.
    const auto* line = reinterpret_cast<const std::byte*>(pool.header(from));
    shm::prefetch_for_write(line + shm::kCacheLine);
    shm::prefetch_for_write(line + 2 * shm::kCacheLine);
    MessageView view;
    if (wire::decode_in_place(calls_.message(from), view)) [[likely]] {
        result->assign(view);
    } else if (auto rare = wire::decode(calls_.message(from)); rare) {
        result->assign(*rare);
    } else {
        result = rare.error();
    }
    if (from != chunk) {
        SHM_STEP("call.take.second");
        pool.release(from, slot_, context.cursor);
    }
    SHM_STEP("call.take.release");
    pool.release(chunk, slot_, context.cursor);
    return result;
}

// What the idempotency store answered; its effect is known.
Error CallTarget::remembered_as(Status status, Outcome effect, std::uint64_t error_id) const {
    char id[32] = {};
    std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(error_id));
    switch (status) {
        case Status::bad_request:
            return RequestMemory::id_missing(label());
        case Status::idempotency_conflict:
            return {status, 0, "the request id was used for another request of " + label(), effect};
        case Status::limit_reached:
            return {status,
                    0,
                    label() +
                        " remembers as many requests as it may (idempotency: entries_max, "
                        "bytes_max; limits.idempotency_entries)",
                    effect};
        case Status::peer_died:
            return {status, 0, "it had begun when its server died; it was not run again", effect};
        case Status::duplicate:
            return {status, 0, "it was done before; its response was not kept", effect};
        default:
            return {status,
                    0,
                    std::string("it failed before, error id ") + id + "; it was not run again",
                    effect};
    }
}

Error CallTarget::answered_with(std::uint64_t word, std::uint64_t error_id) const {
    if (word == shm::kCallDeferred) {
        return {Status::timed_out, 0, kRunsElsewhere, Outcome::may_have_happened};
    }
    const auto outcome = static_cast<Status>(word & 0xFFU);
    if (const std::uint64_t effect = word >> 8U & 0xFFU; effect != 0) {
        return remembered_as(
            outcome, static_cast<Outcome>(std::min<std::uint64_t>(effect - 1, 2)), error_id);
    }
    char id[32] = {};
    std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(error_id));
    switch (outcome) {
        case Status::handler_error:
            return {outcome, 0, "the handler of " + label() + " failed, error id " + id};
        case Status::overloaded: {
            constexpr auto kMost = static_cast<std::uint32_t>(limits::kRetryAfterMax.count());
            const std::uint32_t after_ms = std::min(shm::outcome_after_ms(word), kMost);
            return {outcome,
                    0,
                    "the handler of " + label() + " refuses work, error id " + id +
                        (after_ms == 0 ? "" : "; try again in " + std::to_string(after_ms) + " ms"),
                    Outcome::did_not_happen,
                    std::chrono::milliseconds(after_ms)};
        }
        case Status::timed_out:
            return {outcome,
                    0,
                    "its time had passed before a server of " + label() + " began",
                    Outcome::did_not_happen};
        case Status::message_too_large:
        case Status::out_of_memory:
        case Status::bad_request:
            return {outcome,
                    0,
                    "the response of " + label() + " could not be sent, error id " + id,
                    Outcome::happened};
        default:
            return {outcome, 0, "from a server of " + label()};
    }
}

}  // namespace telpher::detail

// What a serving thread does with a request that may have come before.

#include "src/broker/serving.hpp"
#include "src/wire/codec.hpp"

#include <exception>

namespace telpher::detail {
namespace {

std::uint64_t outcome_word(Status status, Outcome effect) noexcept {
    return shm::make_outcome(static_cast<std::uint8_t>(status),
                             static_cast<std::uint8_t>(static_cast<unsigned>(effect) + 1U));
}

}  // namespace

// The request's id, or what takes its place; empty: it has none.
std::string Serving::id_of(const Message& request) const {
    if (const std::string_view id = request.request_id(); !id.empty()) {
        return std::string(id);
    }
    if (!options_.idempotency || !options_.idempotency->fingerprint) {
        return {};
    }
    try {
        std::string made = options_.idempotency->fingerprint(request);
        // Never equal to an id that somebody chose: those are at most 255 bytes of text.
        return made.empty() ? made : std::string(256, '\0') + made;
    } catch (...) {
        return {};
    }
}

// Killed before the record says RUNNING: the request had not begun. Behind it: UNCERTAIN.
bool Serving::recall(Work& work, std::uint32_t chunk, const MessageView& view, bool oneway) {
    work.remembered.reset();
    const std::string id = id_of(work.request);
    if (id.empty()) {
        if (!memory_.required()) {
            return true;
        }
        count(attachment_.directory().entry(found_.entry).errors);
        if (oneway) {
            condemn(work, chunk, ReturnReason::rejected);
        } else {
            answer_without(
                work, chunk, outcome_word(Status::bad_request, Outcome::did_not_happen), 0);
        }
        return false;
    }
    const shm::CallBlock& block = calls_.block(chunk);
    // relaxed, all: written before OFFERED, which the claim has seen
    const Requester requester{block.client.load(std::memory_order_relaxed),
                              block.principal.load(std::memory_order_relaxed),  // relaxed: as above
                              block.origin.load(std::memory_order_relaxed)};    // relaxed: as above
    const RequestMemory::Answer answer = memory_.begin(view, id, requester);
    if (answer.found == RequestMemory::Found::begun || answer.found == RequestMemory::Found::rerun)
        [[likely]] {
        work.remembered = answer;
        if (answer.found == RequestMemory::Found::rerun) {
            work.request.with_rerun();
        }
        return true;
    }
    if (answer.found == RequestMemory::Found::done) {
        replay(work, chunk, answer, oneway);
    } else {
        turn_away(work, chunk, answer, oneway);
    }
    return false;
}

// Neither begun nor replayed. Of one that runs elsewhere its caller waits, and sends it again: this thread
// has others to serve.
void Serving::turn_away(Work& work,
                        std::uint32_t chunk,
                        const RequestMemory::Answer& answer,
                        bool oneway) {
    using Found = RequestMemory::Found;
    if (oneway) {
        if (answer.found == Found::running) {
            attachment_.pool().release(chunk, attachment_.slot(), work.context.cursor);
        } else {
            count(attachment_.directory().entry(found_.entry).errors);
            condemn(work, chunk, ReturnReason::rejected);
        }
        return;
    }
    if (answer.found == Found::running) {
        answer_without(work, chunk, shm::kCallDeferred, 0);
        return;
    }
    count(attachment_.directory().entry(found_.entry).errors);
    std::uint64_t outcome = outcome_word(Status::idempotency_conflict, Outcome::did_not_happen);
    std::uint64_t error_id = 0;
    if (answer.found == Found::full) {
        outcome = outcome_word(Status::limit_reached, Outcome::did_not_happen);
    } else if (answer.found == Found::uncertain) {
        outcome = outcome_word(Status::peer_died, Outcome::may_have_happened);
    } else if (answer.found == Found::failed) {
        outcome =
            outcome_word(static_cast<Status>(answer.outcome & 0xFFU), Outcome::may_have_happened);
        error_id = answer.outcome >> 8U;
    }
    answer_without(work, chunk, outcome, error_id);
}

// The first response, to this caller. Killed before `release`: DONE again, by the reaper.
void Serving::replay(Work& work,
                     std::uint32_t chunk,
                     const RequestMemory::Answer& answer,
                     bool oneway) {
    Message response;
    bool there = false;
    if (const auto bytes = memory_.store().response(answer); !bytes.empty() && !oneway) {
        if (const auto view = wire::decode(bytes)) {
            response.assign(*view);
            response.with_replayed();
            there = true;
        }
    }
    memory_.store().release(answer);
    if (oneway) {
        attachment_.pool().release(chunk, attachment_.slot(), work.context.cursor);
    } else if (!there) {
        answer_without(work, chunk, outcome_word(Status::duplicate, Outcome::happened), 0);
    } else if (auto put = put_response(work, chunk, response); put) {
        this->answer(work, chunk, &response);
    } else {
        refuse(
            work, chunk, word_of(put.status()), report(work, put.status(), to_string(put.error())));
    }
}

// Before the answer: whoever hears it hears it again. Killed before the record says DONE: UNCERTAIN.
// `response`: null if none is wanted.
void Serving::remember(Work& work, Message* response) {
    const RequestMemory::Answer ours = *work.remembered;
    work.remembered.reset();
    std::uint32_t chunk = shm::kNoChunk;
    if (response != nullptr && response->check()) {
        const std::size_t bytes = wire::encoded_bytes(*response);
        Duration none{};
        if (bytes <= kept_.small_bytes_max()) [[likely]] {
            chunk = kept_.allocate_small(work.context, bytes);
        }
        if (chunk == shm::kNoChunk) {
            const auto taken = kept_.allocate(work.context, bytes, none, {});
            chunk = taken ? *taken : shm::kNoChunk;
        }
        if (chunk != shm::kNoChunk) {
            const wire::Stamp stamp{MessageId{work.context.id_prefix, ++work.context.id_counter},
                                    shm::wall_coarse_ns(),
                                    MessageType::response};
            wire::encode(*response, stamp, attachment_.pool().message(chunk).first(bytes));
            memory_.charge(attachment_.pool().class_of(chunk).chunk_bytes);
        }
    }
    memory_.store().complete(ours, 0, chunk);
}

// A handler that says that nothing happened may run again.
void Serving::remember_failure(Work& work, const Error& error, std::uint64_t error_id) {
    const RequestMemory::Answer ours = *work.remembered;
    work.remembered.reset();
    if (!work.thrown && error.outcome() == Outcome::did_not_happen) {
        memory_.store().withdraw(ours);
    } else {
        memory_.store().fail(ours,
                             error_id << 8U | static_cast<std::uint64_t>(Status::handler_error));
    }
}

}  // namespace telpher::detail

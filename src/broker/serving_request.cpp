// What a serving thread does with one request.

#include "src/broker/call_target.hpp"
#include "src/broker/causation.hpp"
#include "src/broker/retry_chain.hpp"
#include "src/broker/serving.hpp"
#include "src/wire/codec.hpp"

#include <algorithm>
#include <exception>

namespace telpher::detail {
namespace {

// How long a response waits for memory.
constexpr Duration kResponsePatience = std::chrono::seconds(1);

// In whole milliseconds, not less than what the handler said.
std::uint64_t overload_word(const Error& error) noexcept {
    using std::chrono::milliseconds;
    const auto after = std::clamp(std::chrono::ceil<milliseconds>(error.retry_after),
                                  milliseconds(0),
                                  limits::kRetryAfterMax);
    return shm::make_overloaded(static_cast<std::uint8_t>(Status::overloaded),
                                static_cast<std::uint32_t>(after.count()));
}

}  // namespace

void Serving::count(shm::Word& counter) const noexcept {
    counter.fetch_add(1, std::memory_order_relaxed);  // relaxed: a statistic
}

// Killed before the request is answered or freed: FAILED by the reaper, or freed and counted as abandoned.
void Serving::serve(Work& work, std::uint32_t chunk) {
    // relaxed: written before OFFERED, which the claim has seen
    const std::uint64_t thread = calls_.block(chunk).thread.load(std::memory_order_relaxed);
    const bool oneway = (shm::call_flags(thread) & shm::kCallOneway) != 0;
    MessageView view;
    if (!begin(work, chunk, view, oneway)) [[unlikely]] {
        return;
    }
    if (memory_.on() && !recall(work, chunk, view, oneway)) [[unlikely]] {
        return;
    }
    Result<Message> response = handle(work, view);
    if (attachment_.forked()) [[unlikely]] {
        return;  // in a child that the handler made: the request is the parent's
    }
    if (!response) [[unlikely]] {
        fail(work, chunk, response.error(), oneway);
        return;
    }
    if (oneway) {
        if (work.remembered) [[unlikely]] {
            remember(work, nullptr);
        }
        attachment_.pool().release(chunk, attachment_.slot(), work.context.cursor);
    } else {
        respond(work, chunk, view, *response);
    }
}

Result<Message> Serving::handle(Work& work, const MessageView& view) {
    // Most requests have no extension, and are spared the look into it.
    const RetryChain chain(view.head().extension_bytes != 0 && view.no_retry());
    const CauseScope cause(view);
    work.thrown = false;
    try {
        return handler_(work.request);
    } catch (const std::exception& thrown) {
        work.thrown = true;
        return Error{Status::handler_error, 0, thrown.what()};
    } catch (...) {
        work.thrown = true;
        return Error{Status::handler_error, 0, "something that is no std::exception was thrown"};
    }
}

void Serving::fail(Work& work, std::uint32_t chunk, const Error& error, bool oneway) {
    const bool overloaded = !work.thrown && error.status == Status::overloaded;
    const std::uint64_t error_id =
        report(work, error.status, work.thrown ? error.detail : to_string(error));
    if (work.remembered) [[unlikely]] {
        remember_failure(work, error, error_id);
    }
    if (oneway) {
        count(attachment_.directory().entry(found_.entry).errors);
        condemn(work, chunk, ReturnReason::rejected);
    } else {
        refuse(work,
               chunk,
               overloaded ? overload_word(error) : word_of(Status::handler_error),
               error_id);
    }
}

// Killed in it: it is a dead letter, or our reaper makes it one.
void Serving::condemn(Work& work, std::uint32_t chunk, ReturnReason reason) {
    if (found_.info.dead_letter_entry == 0) {
        attachment_.pool().release(chunk, attachment_.slot(), work.context.cursor);
    } else if (attachment_.keeper().condemn(found_, chunk, reason, work.context)) {
        attachment_.tidy_directory();
    }
}

bool Serving::begin(Work& work, std::uint32_t chunk, MessageView& view, bool oneway) {
    const std::span<const std::byte> bytes = calls_.message(chunk);
    Status status = oneway || calls_.wanted(chunk) ? Status::ok : Status::closed;
    if (status == Status::ok && !wire::decode_in_place(bytes, view)) [[unlikely]] {
        if (auto rare = wire::decode(bytes); rare) {
            view = *rare;
        } else {
            status = Status::corrupt;
        }
    }
    // relaxed: as in `serve`
    const std::uint64_t deadline = calls_.block(chunk).deadline.load(std::memory_order_relaxed);
    const std::uint64_t now = deadline != ~0ULL ? shm::monotonic_coarse_ns() : 0;
    if (status == Status::ok && deadline != ~0ULL && now >= deadline) [[unlikely]] {
        status = Status::timed_out;
    }
    if (status == Status::ok && view.head().expires_ms != 0 &&
        view.expired(std::chrono::system_clock::now())) [[unlikely]] {
        status = Status::expired;
    }
    if (status == Status::ok) [[likely]] {
        work.request.assign(view);
        if (deadline != ~0ULL) {
            constexpr auto kMost = static_cast<std::uint64_t>(limits::kTimeoutMax.count());
            work.request.with_timeout(std::chrono::milliseconds(
                std::clamp<std::uint64_t>((deadline - now) / 1'000'000, 1, kMost)));
        }
        return true;
    }
    if (status != Status::corrupt) {
        count(attachment_.directory().entry(found_.entry).expired);
    }
    if (oneway && status != Status::corrupt) {
        condemn(work, chunk, ReturnReason::expired);
    } else if (oneway || status == Status::closed) {
        attachment_.pool().release(chunk, attachment_.slot(), work.context.cursor);
    } else {
        refuse(work, chunk, word_of(status), 0);
    }
    return false;
}

void Serving::respond(Work& work, std::uint32_t chunk, const MessageView& view, Message& response) {
    if (view.head().extension_bytes != 0) [[unlikely]] {
        response.answering(view);
        response.with_attempt(1).with_no_retry(false);  // of a handler that returned its request
    }
    response.without_timeout().with_response_status(Status::ok);
    if (work.remembered) [[unlikely]] {
        remember(work, &response);
    }
    if (auto put = put_response(work, chunk, response); !put) [[unlikely]] {
        const std::uint64_t error_id = report(work, put.status(), to_string(put.error()));
        refuse(work, chunk, word_of(put.status()), error_id);
        return;
    }
    answer(work, chunk, &response);
}

// Into the request's own chunk, unless the request must stay whole or the response does not fit. Killed
// anywhere: nobody reads a response before the answer's CAS.
Result<void> Serving::put_response(Work& work, std::uint32_t chunk, Message& response) {
    if (auto sound = response.check(); !sound) [[unlikely]] {
        return sound;
    }
    const wire::Stamp stamp{MessageId{work.context.id_prefix, ++work.context.id_counter},
                            shm::wall_coarse_ns(),
                            MessageType::response};
    const std::size_t bytes = wire::encoded_bytes(response);
    const auto own = calls_.message(chunk);
    if (!whole_ && bytes <= own.size()) [[likely]] {
        wire::encode(response, stamp, own.first(bytes));
        return {};
    }
    Duration patience = kResponsePatience;
    auto second = source_.allocate(work.context, bytes, patience, {});
    if (!second) {
        return second.error();
    }
    wire::encode(response, stamp, calls_.message(*second).first(bytes));
    calls_.hand_over(chunk, *second);
    return {};
}

// Answers. A caller that had given up leaves the chunk, and what it names, to us.
void Serving::answer(Work& work, std::uint32_t chunk, const Message* response) {
    if (calls_.answer(chunk, attachment_.slot())) [[likely]] {
        return;
    }
    calls_.free_second(chunk);
    attachment_.pool().release(chunk, attachment_.slot(), work.context.cursor);
    if (response == nullptr) {
        return;
    }
    count(attachment_.directory().entry(found_.entry).late);
    if (options_.on_late) {
        try {
            options_.on_late(*response);
        } catch (...) {
            // A hook that fails concerns nobody else.
            static_cast<void>(0);
        }
    }
}

void Serving::refuse(Work& work,
                     std::uint32_t chunk,
                     std::uint64_t outcome,
                     std::uint64_t error_id) {
    count(attachment_.directory().entry(found_.entry).errors);
    answer_without(work, chunk, outcome, error_id);
}

void Serving::answer_without(Work& work,
                             std::uint32_t chunk,
                             std::uint64_t outcome,
                             std::uint64_t error_id) {
    shm::CallBlock& block = calls_.block(chunk);
    // relaxed, both: ours until the answer, which publishes them
    block.error_id.store(error_id, std::memory_order_relaxed);
    block.outcome.store(outcome, std::memory_order_relaxed);  // relaxed: as above
    answer(work, chunk, nullptr);
}

// Tells the server's log; returns the error id.
std::uint64_t Serving::report(Work& work, Status status, const std::string& text) noexcept {
    // 55 bits: a record of a failure has room for that many.
    const std::uint64_t error_id =
        (work.context.id_prefix ^ ++work.context.id_counter) * 0x9E3779B97F4A7C15ULL >> 9U;
    if (options_.on_error) {
        try {
            options_.on_error({name_, error_id, status, text});
        } catch (...) {
            // As above.
            static_cast<void>(0);
        }
    }
    return error_id;
}

}  // namespace telpher::detail

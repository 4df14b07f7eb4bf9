#include "tests/crash/queue_history.hpp"

#include <algorithm>

namespace telpher::crash {

// Whether `operation` would get the answer it got if it happened now.
bool QueueHistory::fits(const Operation& operation) const {
    if (operation.answer == Answer::unknown) {
        return changes(operation);
    }
    switch (operation.verb) {
        case Verb::offer:
            if (closed_) {
                return operation.answer == Answer::not_found;
            }
            return operation.answer == (content_.size() < capacity_ ? Answer::ok : Answer::full);
        case Verb::poll:
            if (content_.empty()) {
                return operation.answer == (closed_ ? Answer::not_found : Answer::empty);
            }
            return operation.answer == Answer::ok && operation.value == content_.front();
        case Verb::close:
            return operation.answer == Answer::ok;
    }
    return false;
}

bool QueueHistory::changes(const Operation& operation) const {
    if (operation.answer != Answer::ok && operation.answer != Answer::unknown) {
        return false;
    }
    switch (operation.verb) {
        case Verb::offer:
            return !closed_ && content_.size() < capacity_;
        case Verb::poll:
            return !content_.empty();
        case Verb::close:
            return true;
    }
    return false;
}

// `done`: bit i = operation i has happened already. Tries everything that may happen next.
bool QueueHistory::explain(std::uint64_t done) {
    std::uint64_t first_return = ~0ULL;
    for (std::size_t i = 0; i < operations_.size(); ++i) {
        if ((done >> i & 1U) == 0 && operations_[i].answer != Answer::unknown) {
            first_return = std::min(first_return, operations_[i].returned);
        }
    }
    if (first_return == ~0ULL) {
        return true;
    }
    for (std::size_t i = 0; i < operations_.size(); ++i) {
        const Operation& next = operations_[i];
        if ((done >> i & 1U) != 0 || next.called > first_return || !fits(next)) {
            continue;
        }
        const bool was_closed = closed_;
        const bool changed = changes(next);
        const std::uint32_t front = content_.empty() ? 0 : content_.front();
        closed_ = closed_ || next.verb == Verb::close;
        if (changed && next.verb == Verb::offer) {
            content_.push_back(next.value);
        } else if (changed && next.verb == Verb::poll) {
            content_.pop_front();
        }
        if (explain(done | 1ULL << i)) {
            return true;
        }
        closed_ = was_closed;
        if (changed && next.verb == Verb::offer) {
            content_.pop_back();
        } else if (changed && next.verb == Verb::poll) {
            content_.push_front(front);
        }
    }
    return false;
}

std::string QueueHistory::judge() {
    content_.clear();
    closed_ = false;
    if (operations_.size() > 64) {
        return "a history of more than 64 operations";
    }
    return explain(0) ? std::string() : "no order of the operations explains the answers:" + text();
}

std::string QueueHistory::text() const {
    static constexpr const char* kVerbs[] = {"offer", "poll", "close"};
    static constexpr const char* kAnswers[] = {
        "ok", "full", "empty", "not_found", "damaged", "(died)"};
    std::string text;
    for (const Operation& o : operations_) {
        text += "\n  [" + std::to_string(o.called) + ".." + std::to_string(o.returned) + "] " +
                kVerbs[static_cast<std::size_t>(o.verb)] + " " + std::to_string(o.value) + " -> " +
                kAnswers[static_cast<std::size_t>(o.answer)];
    }
    return text;
}

}  // namespace telpher::crash

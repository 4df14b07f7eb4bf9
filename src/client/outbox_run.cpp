// What the thread of an outbox does.

#include "src/client/outbox_core.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace telpher::detail {
namespace {

// That were delivered and not noted: what a client that dies sends twice.
constexpr auto kRecordAfter = std::chrono::milliseconds(20);
constexpr std::size_t kRecordMax = 1024;
// Of one destination in a row.
constexpr std::size_t kTurnMessages = 64;
constexpr std::size_t kTurnBytes = 1U << 20U;
// For room, while nothing else is to be done.
constexpr Duration kLinePatience = std::chrono::milliseconds(50);
// Between two looks whether there is room.
constexpr Duration kLookForRoom = std::chrono::milliseconds(20);
constexpr auto kShortOfMemory = std::chrono::milliseconds(100);

}  // namespace

void OutboxCore::run() {
    Lock hold(mutex_);
    while (!stopping_) {
        try {
            step(hold);
        } catch (const std::bad_alloc&) {
            if (!hold.owns_lock()) {
                hold.lock();
            }
            trouble_ = Error{Status::out_of_memory};
            work_.wait_for(hold, kShortOfMemory);
        }
    }
}

// The next thing to be done, or the wait for it.
void OutboxCore::step(Lock& hold) {
    const auto now = Clock::now();
    auto wake = Clock::time_point::max();
    if (!unrecorded_.empty() && !disk_failed_ && !pen_taken_) {
        if (record_is_due(now)) {
            write_round(hold);
            return;
        }
        wake = record_due_;
    }
    if (pending_ != 0 && !disk_failed_) {
        if (courier_->ready()) {
            if (const auto* line = choose(now, wake)) {
                deliver(hold, line->first);
                return;
            }
        } else if (connect_due_ <= now) {
            connect(hold);
            return;
        } else {
            wake = std::min(wake, connect_due_);
        }
    }
    if (wake == Clock::time_point::max()) {
        work_.wait(hold);
    } else {
        work_.wait_until(hold, wake);
    }
}

bool OutboxCore::record_is_due(Clock::time_point now) const {
    return unrecorded_.size() >= kRecordMax || record_due_ <= now ||
           (flushing_ != 0 && pending_ == 0);
}

// Each line that may go has its turn. Null: none may, and `wake` is not after the first that will.
const OutboxCore::Lines::value_type* OutboxCore::choose(Clock::time_point now,
                                                        Clock::time_point& wake) {
    const Lines::value_type* first = nullptr;
    for (const auto& line : lines_) {
        if (line.second.due > now) {
            wake = std::min(wake, line.second.due);
        } else if (line.first > last_line_) {
            return &line;
        } else if (first == nullptr) {
            first = &line;
        }
    }
    return first;
}

void OutboxCore::connect(Lock& hold) {
    hold.unlock();
    auto connected = courier_->connect();
    hold.lock();
    if (connected) {
        connect_backoff_.reset();
        return;
    }
    trouble_ = std::move(connected).error();
    connect_due_ = Clock::now() + connect_backoff_.next(random_());
}

// A turn of one destination. This thread alone takes messages out of a line, and lines away.
void OutboxCore::deliver(Lock& hold, std::uint32_t destination) {
    last_line_ = destination;
    const Line& line = lines_.at(destination);
    const OutboxDestination to = line.to;
    const Duration patience = lines_.size() == 1 ? kLinePatience : Duration{};
    for (Loaded& one : load(hold, line)) {
        if (stopping_) {
            return;
        }
        if (one.message.status() == Status::corrupt) {
            if (!put_aside(hold, destination, one.origin, {"", one.message.error()})) {
                return;
            }
            continue;
        }
        if (!one.message) {
            wait_longer(destination, one.message.error());
            return;
        }
        hold.unlock();
        auto attempt = courier_->deliver(to, *one.message, patience, stop_.get_token());
        hold.lock();
        if (!settle(hold, destination, one.origin, *one.message, std::move(attempt))) {
            return;
        }
    }
}

// The first messages of a line, as far as they can be read.
std::vector<OutboxCore::Loaded> OutboxCore::load(Lock& hold, const Line& line) {
    std::vector<Loaded> loaded;
    loaded.reserve(std::min(line.waiting.size(), kTurnMessages));
    std::vector<Lsn> origins;
    origins.reserve(loaded.capacity());
    for (const Lsn origin : line.waiting) {
        if (origins.size() == kTurnMessages) {
            break;
        }
        origins.push_back(origin);
    }
    take_pen(hold);
    hold.unlock();
    std::size_t bytes = 0;
    for (const Lsn origin : origins) {
        loaded.push_back({origin, store_->message(origin)});
        if (!loaded.back().message) {
            break;
        }
        bytes += loaded.back().message->payload().size();
        if (bytes >= kTurnBytes) {
            break;
        }
    }
    hold.lock();
    give_pen(hold);
    return loaded;
}

// Whether the next one of that destination may go.
bool OutboxCore::settle(Lock& hold,
                        std::uint32_t destination,
                        Lsn origin,
                        const Message& message,
                        OutboxCourier::Attempt attempt) {
    switch (attempt.fate) {
        case Fate::delivered:
            note_delivered(destination, origin);
            return true;
        case Fate::refused:
            return put_aside(hold,
                             destination,
                             origin,
                             {std::string(message.request_id()), std::move(attempt.why)});
        case Fate::waits:
            break;
    }
    if (!stopping_) {
        wait_longer(destination, std::move(attempt.why));
    }
    return false;
}

void OutboxCore::wait_longer(std::uint32_t destination, Error why) {
    Line& line = lines_.at(destination);
    Duration wait = line.backoff.next(random_());
    if (why.status == Status::queue_full || why.status == Status::timed_out) {
        wait = std::min(wait, kLookForRoom);
    }
    line.due = Clock::now() + std::max<Duration>(wait, why.retry_after);
    trouble_ = std::move(why);
}

void OutboxCore::note_delivered(std::uint32_t destination, Lsn origin) {
    if (unrecorded_.empty()) {
        record_due_ = Clock::now() + kRecordAfter;
    }
    unrecorded_.push_back(origin);
    lines_.at(destination).backoff.reset();
    leave_line(destination, origin);
    ++delivered_;
    trouble_ = {};
}

// False: that could not be written, or the outbox ends; it stays where it is.
bool OutboxCore::put_aside(Lock& hold,
                           std::uint32_t destination,
                           Lsn origin,
                           OutboxRefusal refusal) {
    const OutboxDestination to = lines_.at(destination).to;
    Change change{
        .write = [&](OutboxStore& store) { return store.refuse(origin, destination, refusal); },
        .note =
            [&] {
                refused_.emplace(origin, Refused{destination, to, refusal});
                leave_line(destination, origin);
            }};
    hold.unlock();
    const auto done = carry_out(change);
    hold.lock();
    trouble_ = done ? refusal.why : done.error();
    if (!done && !stopping_) {
        wait_longer(destination, done.error());
    }
    return done.status() == Status::ok;
}

void OutboxCore::leave_line(std::uint32_t destination, Lsn origin) {
    const auto line = lines_.find(destination);
    line->second.waiting.erase(origin);
    --pending_;
    if (line->second.waiting.empty()) {
        lines_.erase(line);
    }
}

}  // namespace telpher::detail

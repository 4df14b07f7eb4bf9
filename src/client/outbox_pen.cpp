// Who writes the store of an outbox: one thread at a time, for all who wait.

#include "src/client/outbox_core.hpp"

#include <algorithm>
#include <new>

namespace telpher::detail {
namespace {

// Behind a note that was not taken though the disk works: memory was short.
constexpr auto kRecordAgain = std::chrono::seconds(1);

}  // namespace

Result<void> OutboxCore::carry_out(Change& change) {
    Lock hold(mutex_);
    if (disk_failed_) {
        return *disk_failed_;
    }
    if (stopping_) {
        return Status::closed;
    }
    intake_.push_back(&change);
    while (!change.over) {
        if (pen_taken_) {
            pen_free_.wait(hold);
        } else {
            write_round(hold);
        }
    }
    return std::move(change.outcome);
}

void OutboxCore::take_pen(Lock& hold) {
    pen_free_.wait(hold, [this] { return !pen_taken_; });
    pen_taken_ = true;
}

void OutboxCore::give_pen(Lock& /*hold*/) {
    pen_taken_ = false;
    pen_free_.notify_all();
}

// All changes that are there, and one sync. The pen is free, and is again afterwards.
void OutboxCore::write_round(Lock& hold) {
    take_pen(hold);
    std::vector<Change*> changes;
    std::vector<Lsn> delivered;
    changes.swap(intake_);
    delivered.swap(unrecorded_);
    recording_ = !delivered.empty();
    hold.unlock();
    for (Change* change : changes) {
        try {
            change->outcome = change->write(*store_);
        } catch (const std::bad_alloc&) {
            change->outcome = Status::out_of_memory;
        }
    }
    const auto noted = store_->done(delivered);
    const auto committed = store_->commit();
    const std::uint64_t bytes = store_->bytes();
    hold.lock();
    bytes_ = bytes;
    if (!committed) {
        disk_failed_ = trouble_ = committed.error();
    }
    for (Change* change : changes) {
        if (!committed && change->outcome) {
            change->outcome = committed.error();
        }
        try {
            if (change->outcome) {
                change->note();
            }
        } catch (const std::bad_alloc&) {
            // It is on disk, and the next client finds it there.
            change->outcome = Status::out_of_memory;
        }
        change->over = true;
    }
    if (!noted && committed) {
        // What was delivered meanwhile comes behind it.
        unrecorded_.swap(delivered);
        unrecorded_.insert(unrecorded_.end(), delivered.begin(), delivered.end());
        record_due_ = Clock::now() + kRecordAgain;
    }
    recording_ = false;
    give_pen(hold);
    work_.notify_one();
    settled_.notify_all();
}

}  // namespace telpher::detail

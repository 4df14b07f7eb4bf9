// Who waits for the disk, and who leads.

#include "src/store/shared_log.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/futex.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fstream>
#include <thread>

namespace telpher::store {
namespace {

using shm::LogState;
using shm::SubmissionState;

// A leader that dies rings nobody: who waits looks that often.
constexpr std::chrono::milliseconds kLookAgain{10};
// Nor does who gives a submission back, or could not write.
constexpr std::chrono::milliseconds kLookSoon{1};
constexpr std::uint64_t kStoppedNs = 1'000'000'000;  // of a leader that is stopped
constexpr std::uint64_t kHangsNs = 30'000'000'000;   // of one that runs

// Whether the kernel says that the process is stopped, by a signal or a debugger.
bool is_stopped(std::uint64_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    const std::size_t name_end = text.rfind(')');
    return name_end != std::string::npos && name_end + 2 < text.size() &&
           (text[name_end + 2] == 'T' || text[name_end + 2] == 't');
}

}  // namespace

SharedLog::SharedLog(shm::Attachment& attachment, std::unique_ptr<Storage> folder, Hooks hooks)
    : attachment_(attachment),
      table_(attachment.log()),
      folder_(std::move(folder)),
      hooks_(std::move(hooks)),
      name_(attachment.segment().name()),
      packer_(table_.compress_from()) {
    std::copy_n(table_.control().log, uuid_.size(), uuid_.begin());
    seed_ = seed_of(uuid_);
}

Error SharedLog::failure() const {
    // relaxed: published by the state, or a hint
    const auto error = static_cast<int>(table_.control().failure.load(std::memory_order_relaxed));
    const std::string why = shm::errno_text(folder_->path_of("").c_str(), error);
    if (table_.state() == LogState::failed) {
        return {Status::storage_failed,
                error,
                "the log of domain '" + name_ +
                    "' stopped, and nothing is confirmed any more: " + why +
                    "; what waited may be on disk or not. End the domain's processes, remove "
                    "the domain, mend the disk, and open the domain again"};
    }
    return {Status::storage_failed,
            error,
            "no room for more messages in the log of domain '" + name_ +
                "', what is acknowledged is still taken: " + why};
}

void SharedLog::fail(const Error& error) {
    table_.fail(error.os_error != 0 ? error.os_error : EIO);
}

// ---- who waits ---------------------------------------------------------------------------------

bool SharedLog::put_up(Pending& message) {
    if (message.submission == shm::LogTable::kNone && message.status == Status::none) {
        message.submission = table_.submit(attachment_.identity(),
                                           {.chunk = message.chunk,
                                            .offset = message.offset,
                                            .bytes = message.bytes,
                                            .destination = message.destination,
                                            .sync = message.sync,
                                            .request = message.request});
    }
    return message.status != Status::none || message.submission != shm::LogTable::kNone;
}

bool SharedLog::settled(Pending& message, std::uint64_t* seen) const {
    if (message.status != Status::none) {
        return true;
    }
    *seen = table_.look(message.submission);
    if (shm::submission_state(*seen) == SubmissionState::done) {
        message.lsn = shm::submission_number(*seen);
        message.share = table_.share(message.submission);
        message.status = Status::ok;
    } else if (shm::submission_state(*seen) == SubmissionState::failed) {
        table_.finish(message.submission);
        message.status = Status::storage_failed;
    }
    return message.status != Status::none;
}

// Whatever it is by now: it becomes free, or the leader's.
void SharedLog::give_up(Pending& message, Status status) {
    std::uint64_t seen = 0;
    while (message.status == Status::none) {
        if (message.submission == shm::LogTable::kNone || table_.withdraw(message.submission) ||
            table_.abandon(message.submission)) {
            message.status = status;
        } else {
            static_cast<void>(settled(message, &seen));
        }
    }
}

void SharedLog::commit(std::span<Pending> messages, const Patience& patience) {
    const std::uint64_t begun = shm::monotonic_ns();
    for (;;) {
        // LG17: pairs with shm/log_table.cpp:LG12. Before the look at the submissions.
        const std::uint32_t commits = table_.control().commits.load(std::memory_order_acquire);
        bool waits = false;
        bool over = true;
        bool some_over = false;
        for (Pending& message : messages) {
            std::uint64_t seen = 0;
            if (!put_up(message)) {  // all submissions are taken; none behind it may come before it
                over = false;
                break;
            }
            const bool is_over = settled(message, &seen);
            some_over = some_over || is_over;
            waits = waits || !is_over;
        }
        // Those that are over keep their submissions until their caller has finished them: others may wait for just these.
        if (!waits && (over || some_over)) {
            return;
        }
        const std::uint64_t spent = shm::monotonic_ns() - begun;
        const auto timeout = static_cast<std::uint64_t>(patience.timeout.count());
        const bool cancelled = patience.stop != nullptr && patience.stop->stop_requested();
        const LogState state = table_.state();
        // relaxed: a hint; on a full disk whoever comes next tries again
        const bool full = table_.control().failure.load(std::memory_order_relaxed) != 0;
        if (cancelled || state == LogState::failed || (spent > timeout && timeout != 0)) {
            const Status status = cancelled                   ? Status::cancelled
                                  : state == LogState::failed ? Status::storage_failed
                                                              : Status::timed_out;
            std::for_each(
                messages.begin(), messages.end(), [&](Pending& m) { give_up(m, status); });
            return;
        }
        if (lead(nullptr) || overtake()) {
            // relaxed: as above; it was set by us, or found by us
            if (full && table_.control().failure.load(std::memory_order_relaxed) != 0) {
                for (Pending& message : messages) {
                    std::uint64_t seen = 0;
                    if (message.status == Status::none &&
                        (message.submission == shm::LogTable::kNone || !settled(message, &seen))) {
                        give_up(message, Status::storage_failed);
                    }
                }
            }
            if (!waits) {
                std::this_thread::sleep_for(kLookSoon);
            }
            continue;
        }
        wait(commits, std::chrono::nanoseconds(timeout == 0 ? timeout : timeout - spent));
    }
}

// Killed in it: `waiting` stays one too high, which costs system calls.
void SharedLog::wait(std::uint32_t seen, std::chrono::nanoseconds left) {
    auto& waiting = table_.control().waiting;
    // LG19: pairs with LG20. Our count, then the look in futex_wait; the leader's commit, then its look at the count.
    waiting.fetch_add(1, std::memory_order_seq_cst);
    const std::chrono::nanoseconds most = kLookAgain;
    shm::futex_wait(table_.control().commits, seen, left.count() > 0 ? std::min(left, most) : most);
    waiting.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a hint
}

Result<void> SharedLog::append(const NewRecord& record,
                               std::chrono::nanoseconds timeout,
                               bool synced) {
    const std::uint64_t deadline =
        shm::monotonic_ns() + static_cast<std::uint64_t>(timeout.count());
    Extra extra{&record, synced};
    while (!extra.written) {
        if (table_.state() == LogState::failed) {
            return failure();
        }
        const bool led = lead(&extra);
        if (extra.written) {
            break;
        }
        // relaxed: set by us
        if (led && table_.control().failure.load(std::memory_order_relaxed) != 0) {
            return failure();
        }
        if (shm::monotonic_ns() > deadline) {
            return Error{Status::timed_out, 0, "the log of domain '" + name_ + "' is busy"};
        }
        if (!led && !overtake()) {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }
    return {};
}

Result<void> SharedLog::sync(const Patience& patience) {
    const std::uint64_t begun = shm::monotonic_ns();
    const auto timeout = static_cast<std::uint64_t>(patience.timeout.count());
    const std::uint64_t asked = table_.ask_flush();
    for (;;) {
        // LG17: pairs with shm/log_table.cpp:LG12. Before the look at what is done.
        const std::uint32_t commits = table_.control().commits.load(std::memory_order_acquire);
        if (table_.flushed() >= asked) {
            return {};
        }
        if (table_.state() == LogState::failed) {
            return failure();
        }
        if (patience.stop != nullptr && patience.stop->stop_requested()) {
            return Status::cancelled;
        }
        const std::uint64_t spent = shm::monotonic_ns() - begun;
        if (spent > timeout) {
            return Status::timed_out;
        }
        if (!lead(nullptr) && !overtake()) {
            wait(commits, std::chrono::nanoseconds(timeout - spent + 1));
            continue;
        }
        if (table_.flushed() < asked) {
            // relaxed: set by us
            if (table_.control().failure.load(std::memory_order_relaxed) != 0) {
                return failure();  // no room for the notes
            }
            std::this_thread::sleep_for(kLookSoon);  // overtaken, or a file that cannot be opened
        }
    }
}

void SharedLog::flush(bool sync) {
    Extra extra{nullptr, sync};
    static_cast<void>(lead(&extra));
}

// ---- who leads ---------------------------------------------------------------------------------

// Whether we led. Killed in it: see batch.
bool SharedLog::lead(Extra* extra) {
    std::unique_lock hold(mutex_, std::try_to_lock);
    if (!hold || table_.leader() != 0 || !table_.lead(0, attachment_.identity())) {
        return false;
    }
    const bool had_memory = batch(false, extra);
    hold.unlock();
    if (!had_memory) {
        std::this_thread::sleep_for(kLookAgain);  // another process may have it
    }
    return true;
}

// Takes the lead from one who will not give it back. Whether it did.
bool SharedLog::overtake() {
    const std::uint64_t leader = table_.leader();
    if (leader == 0 || leader == attachment_.identity() || !stuck(leader)) {
        return false;
    }
    const std::unique_lock hold(mutex_, std::try_to_lock);
    if (!hold || !table_.lead(leader, attachment_.identity())) {
        return false;
    }
    static_cast<void>(batch(true, nullptr));
    return true;
}

bool SharedLog::stuck(std::uint64_t leader) const {
    shm::ProcessTable& processes = attachment_.processes();
    const std::uint32_t slot = shm::identity_slot(leader);
    // No process of this domain, or one of the dead; perhaps the one whose place we have now.
    if (slot >= processes.count() || !processes.alive(leader)) {
        return true;
    }
    attachment_.check_death(slot);
    if (!processes.alive(leader)) {
        return true;
    }
    // relaxed, both: hints
    const std::uint64_t beat = table_.control().heartbeat_ns.load(std::memory_order_relaxed);
    const std::uint64_t now = shm::monotonic_ns();
    const std::uint64_t quiet = now > beat ? now - beat : 0;
    return quiet > kHangsNs ||
           (quiet > kStoppedNs && is_stopped(processes.record(slot).pid.load(
                                      std::memory_order_relaxed)));  // relaxed: as above
}

// False: there was no memory. Killed anywhere in it: we lead until we are overtaken; what we published counts, what we took behind that is taken
// again, and what we had published and not told is told by who overtakes us.
bool SharedLog::batch(bool overtaken, Extra* extra) {
    bool starved = false;
    table_.beat(shm::monotonic_ns());
    at_ = table_.position();
    table_.settle_all(at_);
    try {
        Result<void> ready;
        // A number that was given away, and no segment: whoever was overtaken must not find the one that it knows
        // growing.
        if (overtaken || at_.reserved != 0) {
            auto rolled = roll(0, true);
            ready = !rolled   ? rolled.error()
                    : *rolled ? Result<void>()
                              : Result<void>(Status::closed);
        } else {
            ready = reach(at_);
        }
        Batch batch;
        if (ready && table_.state() != LogState::failed && fill(batch, extra)) {
            const bool written = put_down(batch);
            if (extra != nullptr) {
                extra->written = written && (extra->added || extra->record == nullptr);
            }
        }
    } catch (const std::bad_alloc&) {
        // What was taken is READY again with the next leader, who takes it for another's.
        table_.settle_all(table_.position());
        packer_.rest();
        starved = true;
    }
    table_.resign(attachment_.identity());
    // LG20: pairs with LG19.
    if (table_.control().waiting.load(std::memory_order_seq_cst) != 0) {
        shm::futex_wake(table_.control().commits, INT_MAX);
    }
    return !starved;
}

}  // namespace telpher::store

// The parker's thread: how it starts, is fed, sleeps and ends. What it does in a round lies in
// parker_round.cpp.

#include "src/broker/parker.hpp"

#include "shm/base/clock.hpp"
#include "src/broker/queue_core.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace telpher::detail {
namespace {

// How long who submits waits for a parker that a coroutine keeps busy.
constexpr auto kPatience = std::chrono::seconds(1);
// A sleep with no queue to watch: others can do nothing that concerns it.
constexpr std::uint64_t kNothingToWatchNs = 3'600'000'000'000;
constexpr std::uint64_t kMemoryLookNs = 2'000'000;
// Withdrawn operations are let go together; until then each is a few hundred empty bytes.
constexpr std::int64_t kWithdrawnFew = 64;

thread_local const Parker* t_parker = nullptr;

}  // namespace

std::uint64_t deadline_after(Duration timeout) noexcept {
    const std::uint64_t now = shm::monotonic_ns();
    const auto wait = static_cast<std::uint64_t>(timeout.count());
    return wait > ~0ULL - now ? ~0ULL : now + wait;
}

Parker::Parker(std::shared_ptr<shm::Attachment> attachment) : attachment_(std::move(attachment)) {}
Parker::~Parker() = default;

Result<std::shared_ptr<Parker>> Parker::start(std::shared_ptr<shm::Attachment> attachment) {
    auto parker = std::make_shared<Parker>(std::move(attachment));
    auto started = parker->thread_.start(
        "telpher-parker", parker->attachment_, [self = parker] { self->run(); });
    if (!started) {
        return started.error();
    }
    return parker;
}

bool Parker::on_thread_of(const Parker* parker) noexcept { return t_parker == parker; }

// ---- other threads -----------------------------------------------------------------------------

void Parker::poke() noexcept {
    // K1: pairs with K2. What was submitted before is seen by the round that this one begins, and
    // by the round that an earlier poke is about to begin.
    if (!poked_.exchange(true, std::memory_order_acq_rel)) {
        shm::ring_doorbell(*thread_.context().record);
    }
}

bool Parker::try_submit(Operation& operation) {
    const auto patience = std::chrono::steady_clock::now() + kPatience;
    while (!submitted_.push(&operation)) {
        if (on_thread_of(this)) {
            adopt_submitted();  // in a coroutine: nobody else makes room
            continue;
        }
        poke();
        if (std::chrono::steady_clock::now() >= patience) {
            return false;
        }
        std::this_thread::yield();
    }
    poke();
    return true;
}

void Parker::submit(Operation& operation) {
    if (!try_submit(operation)) {
        operation.drop();
        look_at_all();  // finds it where it is linked
    }
}

void Parker::watch(std::shared_ptr<Watch> watch) {
    {
        const std::lock_guard hold(watches_mutex_);
        new_watches_.push_back(std::move(watch));
    }
    poke();
}

void Parker::note_withdrawn() noexcept {
    // relaxed: only decides when to tidy
    if ((withdrawn_.fetch_add(1, std::memory_order_relaxed) + 1) % kWithdrawnFew == 0) {
        poke();
    }
}

void Parker::look_at_all() noexcept {
    sweep_.store(true, std::memory_order_relaxed);  // relaxed: published by the poke
    poke();
}

void Parker::stop() noexcept {
    stop_.store(true, std::memory_order_relaxed);  // relaxed: published by the poke
    poke();
    thread_.end();  // on it: it keeps itself and the attachment until it is back in `run`
}

// ---- the thread --------------------------------------------------------------------------------

void Parker::run() {
    t_parker = this;
    // relaxed: published by the poke
    while (!stop_.load(std::memory_order_relaxed)) {
        round(~0ULL);
        resume_all();
    }
    drop_all();
    t_parker = nullptr;
}

void Parker::resume_all() {
    while (!resumes_.empty()) {
        std::vector<Operation*> now;
        now.swap(resumes_);
        for (Operation* operation : now) {
            operation->resume();
            operation->drop();
        }
    }
}

bool Parker::help(const Operation& operation, std::uint64_t deadline_ns) {
    // K3: pairs with K4. Whose end we do not see here sees us, and pokes.
    helps_.fetch_add(1, std::memory_order_acq_rel);
    const Operation* const outer = std::exchange(helped_, &operation);
    while (!operation.over() && shm::monotonic_ns() < deadline_ns) {
        round(deadline_ns);
    }
    helped_ = outer;
    helps_.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a poke too many is harmless
    return operation.over();
}

void Parker::note_ended_elsewhere() noexcept {
    // K4: pairs with K3. Written, too, so that one of the two comes second and sees the other.
    if (helps_.fetch_add(0, std::memory_order_acq_rel) != 0) {
        poke();
    }
}

// The sequence of waiter.hpp, for many queues: seen, bits and summaries, look, sleep, disarm.
void Parker::round(std::uint64_t until_ns) {
    // D2: pairs with shm/doorbell.hpp:D1. Read before the bits are set: a ring after it is not slept
    // over.
    const std::uint32_t seen = thread_.context().record->doorbell.load(std::memory_order_acquire);
    // K2: pairs with K1. A poke after it rings again.
    static_cast<void>(poked_.exchange(false, std::memory_order_acq_rel));
    changed_ = false;
    adopt_submitted();
    adopt_watches();
    arm();
    const std::int64_t withdrawn =
        withdrawn_.load(std::memory_order_relaxed);  // relaxed: when to tidy
    const bool ended =
        sweep_.exchange(false, std::memory_order_relaxed) ||  // relaxed: published by the poke
        attachment_->usable() != Status::ok;
    if (ended || (idle_ && withdrawn > 0) ||
        (withdrawn >= kWithdrawnFew && withdrawn >= linked_ / 2)) {
        sweep(ended);
    }
    idle_ = false;
    look();
    // Of one that another thread ends we hear by a poke, which `seen` is older than.
    if (!changed_ && (helped_ == nullptr || !helped_->over())) {
        sleep(seen, until_ns);
    }
    disarm();
}

void Parker::sleep(std::uint32_t seen, std::uint64_t until_ns) {
    const std::uint64_t now = shm::monotonic_ns();
    auto longest = static_cast<std::uint64_t>(shm::kSleepMax.count());
    if (lanes_.empty() && calls_.empty()) {
        longest = kNothingToWatchNs;
    } else if (starving_) {
        longest = kMemoryLookNs;
    }
    std::uint64_t until = std::min(until_ns, now + longest);
    until = std::min(until, look_by_ns_);
    look_by_ns_ = ~0ULL;
    if (!deadlines_.empty()) {
        until = std::min(until, deadlines_.begin()->deadline_ns);
    }
    if (until <= now) {
        return;
    }
    attachment_->pool().flush(thread_.context().cursor);  // a sleeper keeps no memory from others
    shm::Word& starving = attachment_->segment().header().starving;
    if (starving_) {
        starving.store(1, std::memory_order_relaxed);  // relaxed: a hint, the look is repeated
    }
    shm::futex_wait(thread_.context().record->doorbell, seen, Duration(until - now));
    if (starving_) {
        starving.store(0, std::memory_order_relaxed);  // relaxed: a hint
        starving_ = false;
    }
    idle_ = shm::monotonic_ns() >= until;
    if (idle_ && !calls_.empty()) {
        // Nobody answers: perhaps a server died, and nobody noticed.
        attachment_->check_deaths();
        attachment_->tidy_orphans();
    }
}

// What is left when the last handle has gone: operations that were withdrawn.
void Parker::drop_all() {
    adopt_submitted();
    while (!calls_.empty()) {
        let_go(calls_.front());
    }
    for (auto& [destination, lane] : lanes_) {
        for (LaneEnd* end : {&lane.items, &lane.space}) {
            while (!end->pending.empty()) {
                let_go(end->pending.front());
            }
        }
        lane.watches.clear();
    }
    disarm();
    resume_all();
}

}  // namespace telpher::detail

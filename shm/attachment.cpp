#include "shm/attachment.hpp"

#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace telpher::shm {
namespace {

// Descriptors of this process' attachments, for the child of a fork. Process-wide by nature.
constexpr std::size_t kAttachmentsMax = 256;
std::array<std::atomic<int>, kAttachmentsMax> g_descriptors{};  // descriptor + 1, 0 = none
std::atomic<std::uint64_t> g_serials{0};

// A stopped visitor delays those who find the table full by that much.
constexpr auto kVisitorPatience = std::chrono::milliseconds(100);

bool remember(int descriptor) {
    for (auto& place : g_descriptors) {
        int empty = 0;
        // relaxed: read only in the child of a fork, or by the thread that wrote it
        if (place.compare_exchange_strong(
                empty, descriptor + 1, std::memory_order_relaxed, std::memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void forget(int descriptor) {
    for (auto& place : g_descriptors) {
        int ours = descriptor + 1;
        // relaxed: as in `remember`
        if (place.compare_exchange_strong(
                ours, 0, std::memory_order_relaxed, std::memory_order_relaxed)) {
            return;
        }
    }
}

// The directory lock without the directory: for those who have no slot yet. Does not mend.
class RawDirectoryLock {
  public:
    explicit RawDirectoryLock(int descriptor) : descriptor_(descriptor) {
        const auto deadline = std::chrono::steady_clock::now() + kDirectoryPatience;
        while ((held_ = try_lock_byte(descriptor_, kDirectoryLock) == LockResult::locked) ==
                   false &&
               std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }
    RawDirectoryLock(const RawDirectoryLock&) = delete;
    RawDirectoryLock& operator=(const RawDirectoryLock&) = delete;
    ~RawDirectoryLock() { release(); }
    void release() {
        if (held_) {
            unlock_byte(descriptor_, kDirectoryLock);
            held_ = false;
        }
    }
    explicit operator bool() const { return held_; }

  private:
    int descriptor_;
    bool held_ = false;
};

bool ready(const Segment& segment) {
    // S2: pairs with S1 (segment.cpp:S1) and with the remover's store (S3).
    return segment.header().state.load(std::memory_order_seq_cst) ==
           static_cast<std::uint32_t>(DomainState::ready);
}

void mark_removed(Segment& segment) {
    SHM_STEP("domain.removed");
    // S3: pairs with S2. Stored before the names go: whoever joined meanwhile sees it after it
    // joined.
    segment.header().state.store(static_cast<std::uint32_t>(DomainState::removed),
                                 std::memory_order_seq_cst);
    segment.unlink();
}

Error not_found(std::string_view name) {
    return {Status::domain_not_found, 0, "no domain '" + std::string(name) + "' on this machine"};
}

// Parts needed to reap before we have a slot.
struct Visitor {
    ProcessTable table;
    Directory directory;
    ChunkPool pool;
    Reaper reaper;
    LogTable log;
    explicit Visitor(Segment& segment)
        : pool(segment.base(),
               segment.classes(),
               reinterpret_cast<std::atomic<std::uint8_t>*>(
                   segment.region(RegionKind::slab_hints).data()),
               &segment.data()),
          log(segment.region(RegionKind::log)) {
        if (log.on()) {
            pool.write_endings_to(&log);
        }
        table.start(&segment);
        directory.start(&segment, &pool, 0);
        reaper.start(&table,
                     {reinterpret_cast<ThreadRecord*>(segment.region(RegionKind::threads).data()),
                      segment.threads_max()},
                     &directory,
                     &pool,
                     true);
    }
    // Reaps everybody who died, from the spare record, after whoever is at it. A stopped one keeps
    // it: then nothing is reaped.
    void reap_all(Segment& segment) {
        const auto deadline = std::chrono::steady_clock::now() + kVisitorPatience;
        while (try_lock_byte(segment.descriptor(), kVisitorLock) != LockResult::locked) {
            if (std::chrono::steady_clock::now() >= deadline) {
                return;
            }
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        static_cast<void>(reaper.help_all(table.visitor()));
        unlock_byte(segment.descriptor(), kVisitorLock);
    }
};

}  // namespace

thread_local std::uint64_t Attachment::tls_serial = 0;
thread_local ThreadContext* Attachment::tls_context = nullptr;

void Attachment::close_in_child() {
    forget_orphans();
    for (auto& place : g_descriptors) {
        // relaxed: the child has one thread
        const int descriptor = place.exchange(0, std::memory_order_relaxed) - 1;
        if (descriptor >= 0) {
            close(descriptor);
        }
    }
}

Result<std::uint32_t> Attachment::join(Segment& segment) {
    ProcessTable table;
    table.start(&segment);
    std::uint32_t slot = table.join();
    if (slot == kProcessesMax) {
        Visitor(segment).reap_all(segment);
        slot = table.join();
    }
    if (slot == kProcessesMax) {
        return Error{Status::limit_reached,
                     0,
                     "limits.processes is " + std::to_string(segment.processes_max()) +
                         ", all slots are taken by live processes"};
    }
    return slot;
}

Result<std::shared_ptr<Attachment>> Attachment::create(const SegmentPlan& plan) {
    for (int attempt = 0; attempt < 8; ++attempt) {
        auto segment = Segment::create(plan);
        if (!segment) {
            return segment.error();
        }
        // Joined before it is published: a domain that can be found has a process.
        auto slot = join(*segment);
        if (!slot) {
            segment->unlink();
            return slot.error();
        }
        if (auto published = segment->publish(); !published) {
            segment->unlink();
            if (published.status() == Status::domain_not_found) {
                continue;  // swept before it had its lock
            }
            return published.error();
        }
        return adopt(std::move(*segment), *slot);
    }
    return Error{Status::server_error, 0, "the new segment was swept away eight times"};
}

Result<std::shared_ptr<Attachment>> Attachment::attach(std::string_view name) {
    if (auto named = check_domain_name(name); !named) {
        return named.error();
    }
    for (int attempt = 0; attempt < 16; ++attempt) {
        auto segment = Segment::open(public_file(name));
        if (!segment) {
            return segment.status() == Status::domain_not_found ? not_found(name) : segment.error();
        }
        if (segment->name() != name) {
            return Error{Status::corrupt,
                         0,
                         "the file of domain '" + std::string(name) + "' holds domain '" +
                             segment->name() + "'"};
        }
        // S2: pairs with S1 (segment.cpp:S1) and with the remover's store (S3).
        const std::uint32_t state = segment->header().state.load(std::memory_order_seq_cst);
        const bool removed = state == static_cast<std::uint32_t>(DomainState::removed);
        if (!removed && state != static_cast<std::uint32_t>(DomainState::ready)) {
            return Error{Status::corrupt,
                         0,
                         "the state of domain '" + std::string(name) + "' is " +
                             std::to_string(state) + ", allowed are 1 (ready) and 2 (removed)"};
        }
        if (removed) {
            // A remover died between the state and the names.
            RawDirectoryLock lock(segment->descriptor());
            if (!lock) {
                return Error{
                    Status::timed_out, 0, "another process (stopped?) is removing the domain"};
            }
            segment->unlink();
            continue;
        }
        // In an ephemeral domain join and last leave exclude each other.
        std::optional<RawDirectoryLock> lock;
        if (segment->ephemeral()) {
            lock.emplace(segment->descriptor());
            if (!*lock) {
                return Error{Status::timed_out,
                             0,
                             "another process (stopped?) holds the directory lock of the domain"};
            }
            Visitor visitor(*segment);
            visitor.reap_all(*segment);
            if (ready(*segment) && visitor.table.others(kProcessesMax) == 0) {
                mark_removed(*segment);
            }
        }
        auto slot = join(*segment);
        if (!slot) {
            return slot.error();
        }
        SHM_STEP("domain.attach.check");
        if (!ready(*segment) && !bug(Bug::no_recheck_after_join)) {
            ProcessTable table;
            table.start(&*segment);
            table.leave(*slot);
            continue;
        }
        lock.reset();
        return adopt(std::move(*segment), *slot);
    }
    return not_found(name);
}

Result<std::shared_ptr<Attachment>> Attachment::adopt(Segment segment, std::uint32_t slot) {
    std::shared_ptr<Attachment> made(new Attachment, Closer{});
    Attachment& a = *made;
    a.segment_ = std::move(segment);
    a.forks_ = fork_count();
    a.quota_ = a.segment_.process_bytes_max();
    a.slot_ = slot;
    a.processes_.start(&a.segment_);
    // relaxed: the word is ours
    a.identity_ = make_identity(
        slot, process_epoch(a.processes_.record(slot).word.load(std::memory_order_relaxed)));
    a.serial_ = g_serials.fetch_add(1, std::memory_order_relaxed) + 1;  // relaxed: only unique
    a.pool_ = ChunkPool(a.segment_.base(),
                        a.segment_.classes(),
                        reinterpret_cast<std::atomic<std::uint8_t>*>(
                            a.segment_.region(RegionKind::slab_hints).data()),
                        &a.segment_.data());
    a.threads_ = {reinterpret_cast<ThreadRecord*>(a.segment_.region(RegionKind::threads).data()),
                  a.segment_.threads_max()};
    a.log_ = LogTable(a.segment_.region(RegionKind::log));
    if (a.log_.on()) {
        a.pool_.write_endings_to(&a.log_);
    }
    a.pool_waiters_ = &a.segment_.pool_waiters();
    a.settings_ =
        Settings(reinterpret_cast<SettingsBlock*>(a.segment_.region(RegionKind::settings).data()));
    a.directory_.start(&a.segment_, &a.pool_, slot);
    a.reaper_.start(&a.processes_, a.threads_, &a.directory_, &a.pool_);
    watch_forks(&Attachment::close_in_child);
    if (!remember(a.segment_.descriptor())) {
        return Error{Status::limit_reached,
                     0,
                     "this process is attached to " + std::to_string(kAttachmentsMax) + " domains"};
    }
    // First: who is killed while it looks after the dead is watched.
    a.open_mailbox();
    a.announce();
    a.check_deaths();
    a.start_janitor();
    return made;
}

Attachment::~Attachment() {
    if (janitor_event_ >= 0) {
        close(janitor_event_);
    }
    forget(segment_.descriptor());
}

void Attachment::leave() noexcept {
    if (segment_.header().magic != kMagic || slot_ == kProcessesMax) {
        return;
    }
    for (auto& context : contexts_) {
        end_context(context.get());
    }
    // Our threads have no records any more: what the dead had leased is handed out by others.
    static_cast<void>(reap_deaths());
    tidy_orphans();
    if (segment_.ephemeral()) {
        auto guard = directory_.lock(std::chrono::milliseconds(50));
        if (guard && ready(segment_) && processes_.others(slot_) == 0) {
            mark_removed(segment_);
        }
        processes_.leave(
            slot_);  // under the lock: nobody joins a domain between our look and our leaving
        return;
    }
    processes_.leave(slot_);
}

Result<void> Attachment::remove() {
    {
        auto guard = directory_.lock();
        if (!guard) {
            return guard.error();
        }
        mark_removed(segment_);
    }
    ring_all();
    return {};
}

void Attachment::check_deaths() {
    if (reap_deaths()) {
        keep_leases();
    }
}

bool Attachment::reap_deaths() {
    const std::lock_guard hold(reap_mutex_);
    const bool reaped = reaper_.help_all(slot_) != 0;
    if (reaped) {
        tidy_directory();
    }
    return reaped;
}

void Attachment::check_death(std::uint32_t slot, std::uint64_t gone) {
    bool reaped = false;
    {
        const std::lock_guard hold(reap_mutex_);
        reaped = reaper_.help(slot, slot_, gone);
        if (reaped) {
            tidy_directory();
        }
    }
    if (reaped) {
        keep_leases();
    }
}

// After a death: what it left half done under the directory lock, its temporary queues, and rings of
// removed queues that it kept. A busy lock leaves it to the next death, or to the janitor's rescan.
void Attachment::tidy_directory() {
    if (auto guard = directory_.lock(std::chrono::milliseconds(20))) {
        directory_.close_orphans([this](std::uint64_t owner) { return processes_.alive(owner); });
        directory_.recycle();
    }
    // One-way requests of a function that ended are among the dead letters now, not handed out yet.
    if (keeper().next_look() <= lease_clock_us()) {
        poke_janitor();
    }
}

void Attachment::tidy_orphans() {
    if (directory_.any_orphan([this](std::uint64_t owner) { return processes_.alive(owner); })) {
        tidy_directory();
    }
}

}  // namespace telpher::shm

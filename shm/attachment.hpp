#pragma once
// One process attached to one domain: the mapping, this process' slot, its threads' records, the
// pool, the directory, and a janitor thread that notices deaths.
//
//   Threads   everything any number at once.
//   Fork      in a child the attachment is dead: `usable` says `forked`, destructors do nothing,
//             and the descriptor is closed at once, so that the parent's death is seen.
//   Crash     killed anywhere: the kernel drops our lock, and others give back what we held.
//   Janitor   sleeps in poll(2) on the pidfds of the next live processes; wakes every 5 s to
//             look whom to watch. All signals are blocked in it.

#include "telpher/result.hpp"

#include "shm/chunk_pool.hpp"
#include "shm/directory.hpp"
#include "shm/doorbell.hpp"
#include "shm/lease_keeper.hpp"
#include "shm/log_table.hpp"
#include "shm/process_table.hpp"
#include "shm/reaper.hpp"
#include "shm/segment.hpp"
#include "shm/settings.hpp"
#include "shm/thread_context.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace telpher::shm {

class Attachment : public std::enable_shared_from_this<Attachment> {
  public:
    // Makes the domain and attaches to it. Errors: already_exists, and those of Segment::create.
    static Result<std::shared_ptr<Attachment>> create(const SegmentPlan& plan);
    // Attaches to the domain. Errors: domain_not_found, limit_reached (processes), timed_out, and
    // those of Segment::open. An ephemeral domain whose processes were all killed is removed:
    // domain_not_found.
    static Result<std::shared_ptr<Attachment>> attach(std::string_view name);

    Attachment(const Attachment&) = delete;
    Attachment& operator=(const Attachment&) = delete;

    // ok, forked, domain_removed.
    [[nodiscard]] Status usable() const noexcept {
        if (forks_ != fork_count()) [[unlikely]] {
            return Status::forked;
        }
        // S2: pairs with S1 (segment.cpp:S1). A removed domain answers so from the next call on.
        return segment_.header().state.load(std::memory_order_acquire) ==
                       static_cast<std::uint32_t>(DomainState::ready)
                   ? Status::ok
                   : Status::domain_removed;
    }
    [[nodiscard]] bool forked() const noexcept { return forks_ != fork_count(); }

    // The calling thread's context if this was the attachment it used last; else null: ask
    // `context`.
    [[nodiscard]] ThreadContext* quick_context() const noexcept {
        return tls_serial == serial_ ? tls_context : nullptr;
    }
    // The calling thread's context; made at its first call. Error: limit_reached (threads).
    [[nodiscard]] Result<ThreadContext*> context();
    // The calling thread's context if it has one.
    [[nodiscard]] ThreadContext* known_context() noexcept;

    // The account of what loans and deliveries of this process hold, kept only where the domain limits
    // it. `full`: whether no more may be taken.
    [[nodiscard]] bool full() const noexcept {
        // relaxed, all three: one number of one process
        return quota_ != 0 && held_bytes_.load(std::memory_order_relaxed) >= quota_;
    }
    void charge(std::uint32_t chunk) noexcept {
        if (quota_ != 0) [[unlikely]] {
            held_bytes_.fetch_add(pool_.class_of(chunk).chunk_bytes,
                                  std::memory_order_relaxed);  // relaxed: as above
        }
    }
    void discharge(std::uint32_t chunk) noexcept {
        if (quota_ != 0) [[unlikely]] {
            held_bytes_.fetch_sub(pool_.class_of(chunk).chunk_bytes,
                                  std::memory_order_relaxed);  // relaxed: as above
        }
    }
    // Gives back a chunk held by this process (a released delivery, a dropped loan). In a forked
    // child: nothing.
    void give_back(std::uint32_t chunk) noexcept;
    // The account of a chunk that this process holds no more, whoever has it: its last access to us.
    void returned(std::uint32_t chunk, ThreadContext* context) noexcept;

    // Looks for dead processes now and reaps them: on time-outs, and when memory or slots run out.
    void check_deaths();
    // The same for one slot; `gone` as in ProcessTable::judge.
    void check_death(std::uint32_t slot, std::uint64_t gone = 0);
    // Under the directory lock, if it can be had within 20 ms: closes queues of owners who are gone,
    // and takes apart what was removed and is used by nobody.
    void tidy_directory();
    // The same if there is something of the first kind: what a busy lock left undone after a death.
    void tidy_orphans();
    // The same without looking after the leases of the dead: where the calling thread may have no record.
    // Whether anybody was reaped.
    bool reap_deaths();
    // Hands out again what is parked, and ends leases that expired. False: another thread is at it.
    // Our janitor knows then when to look again.
    bool keep_leases();
    // Something is to be looked at earlier than the janitor knows.
    void poke_janitor() noexcept;
    // Adds chunks of `chunk_bytes` to the domain, unless others did since we knew of `classes`.
    // `patience`: how long to wait for the directory lock. Errors: out_of_memory (/dev/shm is full,
    // or the memory cannot be mapped here), limit_reached (limits.segment_bytes), timed_out (the
    // lock), domain_removed, corrupt.
    //   crash  killed anywhere: as DataSegments::add
    Result<void> grow(std::size_t chunk_bytes,
                      std::uint32_t classes,
                      std::chrono::nanoseconds patience);
    // Ends the domain: state, names, everybody rung. Error: timed_out.
    Result<void> remove();
    // Rings all threads of this process, so that they look at why (close).
    void ring_own_threads() noexcept;
    // Rings everybody.
    void ring_all() noexcept;

    [[nodiscard]] Segment& segment() noexcept { return segment_; }
    [[nodiscard]] ChunkPool& pool() noexcept { return pool_; }
    [[nodiscard]] Directory& directory() noexcept { return directory_; }
    [[nodiscard]] ProcessTable& processes() noexcept { return processes_; }
    [[nodiscard]] std::span<ThreadRecord> threads() noexcept { return threads_; }
    [[nodiscard]] Calls calls() noexcept { return {&pool_, &processes_, threads_}; }
    [[nodiscard]] Leases leases() noexcept { return {&pool_, slot_}; }
    [[nodiscard]] LogTable& log() noexcept { return log_; }
    // What others keep with this attachment, made at the first call; ends with it.
    [[nodiscard]] std::shared_ptr<void> companion(
        const std::function<std::shared_ptr<void>()>& make);
    [[nodiscard]] IdempotencyStore& idempotency() noexcept { return directory_.idempotency(); }
    [[nodiscard]] LeaseKeeper keeper() noexcept { return {&pool_, &directory_, threads_, slot_}; }
    [[nodiscard]] WaiterMap& pool_waiters() noexcept { return *pool_waiters_; }
    [[nodiscard]] const Settings& settings() const noexcept { return settings_; }
    [[nodiscard]] Settings& settings() noexcept { return settings_; }
    [[nodiscard]] std::uint32_t slot() const noexcept { return slot_; }
    [[nodiscard]] std::uint64_t identity() const noexcept { return identity_; }

    // Ends a thread's use of its context: flushes it and frees its record. Called at thread exit.
    void end_context(ThreadContext* context) noexcept;
    // Closes the descriptor in a forked child, so that the parent's locks end with the parent.
    static void close_in_child();

  private:
    Attachment() = default;
    ~Attachment();
    struct Closer {
        void operator()(Attachment* attachment) const noexcept;
    };

    static Result<std::shared_ptr<Attachment>> adopt(Segment segment, std::uint32_t slot);
    static Result<std::uint32_t> join(Segment& segment);
    void open_mailbox();
    void start_janitor();
    void janitor();
    bool pass_over_leases();
    void announce();
    void watch(std::vector<std::pair<std::uint64_t, int>>& watched);
    void leave() noexcept;
    [[nodiscard]] std::uint64_t outstanding() noexcept;
    static void keep_orphan(Attachment* orphan) noexcept;
    // Ends the attachments without a handle that wait for nothing any more.
    static void end_orphans() noexcept;
    static void forget_orphans() noexcept;
    Result<ThreadContext*> make_context();

    Segment segment_;
    ChunkPool pool_;
    ProcessTable processes_;
    LogTable log_;
    Directory directory_;
    Reaper reaper_;
    std::span<ThreadRecord> threads_;
    WaiterMap* pool_waiters_ = nullptr;
    Settings settings_;
    std::uint32_t slot_ = kProcessesMax;
    std::uint64_t identity_ = 0;
    std::uint64_t serial_ = 0;  // never reused in this process
    std::uint32_t forks_ = 0;
    std::mutex contexts_mutex_;  // guards contexts_
    std::vector<std::unique_ptr<ThreadContext>> contexts_;
    std::uint64_t quota_ = 0;  // bytes that loans and deliveries may hold, 0 = any
    std::atomic<std::uint64_t> held_bytes_{0};
    std::atomic<std::uint64_t> returned_elsewhere_{0};  // by threads without a context
    Attachment* next_orphan_ = nullptr;
    std::mutex reap_mutex_;  // one reaping at a time in this process: it has one `reaping` word
    std::mutex keep_mutex_;  // one pass of the lease keeper at a time in this process
    std::mutex companion_mutex_;  // guards companion_
    std::shared_ptr<void> companion_;
    std::thread janitor_;
    std::atomic<bool> janitor_stops_{false};
    int janitor_event_ = -1;
    int mailbox_ = -1;  // others tell us that they joined

    static thread_local std::uint64_t tls_serial;
    static thread_local ThreadContext* tls_context;
};

}  // namespace telpher::shm

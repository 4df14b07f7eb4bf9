// The janitor thread of an attachment: notices deaths within a fraction of a millisecond.

#include "shm/attachment.hpp"
#include "shm/base/clock.hpp"
#include "shm/base/signals.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace telpher::shm {
namespace {

constexpr std::uint32_t kWatchedMax =
    4;                           // the next live slots after ours: each process has four watchers
constexpr int kRescanMs = 5000;  // each look wakes an idle process
constexpr std::uint64_t kUsPerMs = 1000;

// The janitor's mailbox: an abstract datagram socket, gone with the process. A datagram says "look
// whom to watch"; its content is not read. Where it cannot be had (other network namespace), the
// rescan does it.
socklen_t mailbox_address(const Uuid& uuid, std::uint32_t slot, sockaddr_un* address) {
    *address = {};
    address->sun_family = AF_UNIX;
    const std::string name = "telpher." + to_string(uuid) + "." + std::to_string(slot);
    std::memcpy(address->sun_path + 1, name.data(), name.size());
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

int open_pidfd(std::uint32_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0U)); }

}  // namespace

void Attachment::open_mailbox() {
    mailbox_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    const socklen_t length = mailbox_address(segment_.uuid(), slot_, &address);
    if (mailbox_ >= 0 && bind(mailbox_, reinterpret_cast<sockaddr*>(&address), length) != 0) {
        close(mailbox_);
        mailbox_ = -1;
    }
}

void Attachment::start_janitor() {
    janitor_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    try {
        const SignalsBlocked blocked;
        janitor_ = std::thread([this] { janitor(); });
    } catch (const std::system_error&) {
        // Without a janitor deaths are noticed on time-outs and when something runs out.
    }
}

void Attachment::poke_janitor() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(!write(janitor_event_, &one, sizeof one));
}

// The pass took the next time away while it looked. Another process' janitor that looked then sleeps until its
// rescan: it is ours that keeps the time from now on.
bool Attachment::keep_leases() {
    const bool kept = pass_over_leases();
    if (kept && keeper().next_look() < lease_clock_us() + kRescanMs * kUsPerMs) {
        poke_janitor();
    }
    return kept;
}

bool Attachment::pass_over_leases() {
    const std::unique_lock hold(keep_mutex_, std::try_to_lock);
    if (!hold) {
        return false;
    }
    if (keeper().any()) {
        auto mine = context();
        try {
            if (keeper().pass(mine ? *mine : nullptr)) {
                tidy_directory();
            }
        } catch (const std::bad_alloc&) {
            return false;  // nothing was looked at: later
        }
    }
    return true;
}

// Tells the live processes before us in the table that there is somebody new to watch.
void Attachment::announce() {
    std::uint32_t told = 0;
    for (std::uint32_t i = 1; i < processes_.count() && told < kWatchedMax; ++i) {
        const std::uint32_t slot = (slot_ + processes_.count() - i) % processes_.count();
        // J2: pairs with process_table.cpp:J1.
        if (process_state(processes_.record(slot).word.load(std::memory_order_seq_cst)) ==
            ProcessState::live) {
            sockaddr_un address{};
            const socklen_t length = mailbox_address(segment_.uuid(), slot, &address);
            static_cast<void>(sendto(mailbox_,
                                     "",
                                     1,
                                     MSG_DONTWAIT | MSG_NOSIGNAL,
                                     reinterpret_cast<sockaddr*>(&address),
                                     length));
            ++told;
        }
    }
}

// Opens pidfds of the next live processes in the table.
void Attachment::watch(std::vector<std::pair<std::uint64_t, int>>& watched) {
    for (const auto& [identity, descriptor] : watched) {
        close(descriptor);
    }
    watched.clear();
    const std::uint64_t our_namespace = pid_namespace();
    for (std::uint32_t i = 1; i < processes_.count() && watched.size() < kWatchedMax; ++i) {
        const std::uint32_t slot = (slot_ + i) % processes_.count();
        ProcessRecord& record = processes_.record(slot);
        // J2: pairs with process_table.cpp:J1.
        const std::uint64_t word = record.word.load(std::memory_order_seq_cst);
        if (process_state(word) == ProcessState::joining) {
            check_death(slot);  // perhaps killed there; it announces itself later if it lives
            continue;
        }
        if (process_state(word) != ProcessState::live ||
            // relaxed, all: written before LIVE
            record.pid_namespace.load(std::memory_order_relaxed) != our_namespace) {
            continue;
        }
        const auto pid = static_cast<std::uint32_t>(
            record.pid.load(std::memory_order_relaxed));  // relaxed: as above
        if (pid == static_cast<std::uint32_t>(getpid())) {
            continue;
        }
        const int descriptor = open_pidfd(pid);
        // A reused pid has another start time; then the lock tells.
        const bool same =
            descriptor >= 0 &&
            process_start_time(pid) ==
                record.start_time.load(std::memory_order_relaxed);  // relaxed: as above
        if (same) {
            watched.emplace_back(make_identity(slot, process_epoch(word)), descriptor);
            continue;
        }
        if (descriptor >= 0) {
            close(descriptor);
        }
        check_death(slot);
    }
}

void Attachment::janitor() {
    pthread_setname_np(pthread_self(), "telpher-janitor");
    // The first touch of a page costs microseconds: the pool's page tables are filled here, not in
    // an offer.
    const auto chunks = segment_.region(RegionKind::chunks);
    static_cast<void>(madvise(chunks.data(), chunks.size(), MADV_POPULATE_WRITE));
    const auto records = segment_.region(RegionKind::idempotency);
    static_cast<void>(madvise(records.data(), records.size(), MADV_POPULATE_WRITE));
    segment_.data().populate();
    std::vector<std::pair<std::uint64_t, int>> watched;  // identity, pidfd
    std::uint64_t seen_generation = ~0ULL;
    std::uint64_t rescan_after = lease_clock_us() + kRescanMs * kUsPerMs;
    std::uint64_t keep_after =
        0;  // us: the last pass over the leases has cost its share until then
    for (;;) {
        // relaxed: a hint to look again
        const std::uint64_t generation =
            segment_.header().join_generation.load(std::memory_order_relaxed);
        if (generation != seen_generation) {
            seen_generation = generation;
            watch(watched);
        }
        pollfd waits[2 + kWatchedMax] = {{janitor_event_, POLLIN, 0}, {mailbox_, POLLIN, 0}};
        for (std::size_t i = 0; i < watched.size(); ++i) {
            waits[2 + i] = {watched[i].second, POLLIN, 0};
        }
        const std::uint64_t until =
            std::min(std::max(keeper().next_look(), keep_after), rescan_after);
        const std::uint64_t before = lease_clock_us();
        const int patience = until > before ? static_cast<int>((until - before) / kUsPerMs) + 1 : 0;
        poll(waits, 2 + watched.size(), patience);
        std::uint64_t pokes = 0;
        static_cast<void>(!read(janitor_event_, &pokes, sizeof pokes));
        if (janitor_stops_.load(std::memory_order_relaxed)) {  // relaxed: written before the event
            break;
        }
        char ignored = 0;
        while ((waits[1].revents & POLLIN) != 0 && recv(mailbox_, &ignored, 1, MSG_DONTWAIT) >= 0) {
        }
        bool changed = (waits[1].revents & POLLIN) != 0;
        for (std::size_t i = 0; i < watched.size(); ++i) {
            if (waits[2 + i].revents != 0) {
                check_death(identity_slot(watched[i].first), watched[i].first);
                changed = true;
            }
        }
        if (changed) {
            seen_generation = ~0ULL;  // watch others instead
        }
        const std::uint64_t now = lease_clock_us();
        const bool rescan = now >= rescan_after;
        if (rescan) {
            rescan_after = now + kRescanMs * kUsPerMs;
            check_deaths();  // the whole table, by locks: processes nobody could watch
            tidy_orphans();
            idempotency().sweep(monotonic_coarse_ns());
        }
        if (rescan || (keeper().next_look() <= now && keep_after <= now)) {
            // A pass over all chunks takes a millisecond or more: nine times as long goes to others. What others
            // took from it counts not: on a busy machine they would delay the next pass by ten times that.
            const std::uint64_t began = thread_cpu_ns();
            const bool kept = pass_over_leases();
            const std::uint64_t took_us = (thread_cpu_ns() - began) / 1000;
            keep_after = now + (kept ? 10 * took_us : kUsPerMs);
        }
    }
    for (const auto& [identity, descriptor] : watched) {
        close(descriptor);
    }
}

}  // namespace telpher::shm

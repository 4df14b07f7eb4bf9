#pragma once
// The thread that waits for all asynchronous operations of one Server or Client, and for its
// queues' descriptors. Calls name its thread record; each round looks at the words of all that are out.
//
//   One per    DomainCore, made at the first operation that has to wait: closing a Server or Client
//              and ending its last handle concern no other, and its thread ends with it.
//   Sleeps     on its one doorbell, with its bit in the items map of each queue with pending polls
//              and in the space map of each with pending offers: the sequence of waiter.hpp. At
//              most 1 s, or until the next deadline; with nothing to wait for, until it is poked.
//   Fed by     a lock-free queue of kSubmittedMax operations; who finds it full waits for the
//              parker, which takes them over at once unless a coroutine keeps it busy.
//   Order      first in, first out for each end of each queue.
//   User code  (coroutines) runs between rounds, when no operation is being worked on, and may do
//              everything; the last handle may end there, too.
//   Threads    `round` and what it calls: the parker's own. The others any number at once.
//   Crash      private memory; a killed process leaves bits behind, as any sleeper (doorbell.hpp).

#include "shm/attachment.hpp"
#include "shm/ring.hpp"
#include "shm/topic_ring.hpp"
#include "src/broker/operation.hpp"
#include "src/broker/own_thread.hpp"
#include "src/broker/watch.hpp"

#include <boost/lockfree/queue.hpp>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace telpher::detail {

inline constexpr std::size_t kSubmittedMax = 1024;

// The monotonic time at which `timeout` (0 or more) has passed; ~0 = never.
std::uint64_t deadline_after(Duration timeout) noexcept;

using Operations = boost::intrusive::list<Operation>;
using Deadlines = boost::intrusive::multiset<Operation>;

// One end of one queue; of a topic, whose publishers wait for space.
struct LaneEnd {
    Operations pending;
    bool armed = false;
    bool chosen = false;  // a waker took our bit, and nobody has had the message or the room yet
    bool some_elsewhere = false;  // some of them may be (Operation::elsewhere)
};

// One queue or topic that somebody waits for; pinned for as long as our bits may be in its maps.
struct Lane {
    Lane(shm::Directory& from,
         const shm::Found& what,
         const shm::Ring& where,
         const shm::Ring& returns_where)
        : directory(from), found(what), ring(where), returns(returns_where) {}
    Lane(shm::Directory& from, const shm::Found& what, const shm::TopicRing& where)
        : directory(from), found(what), ring(static_cast<const shm::Ring&>(where)), topic(where) {}
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    ~Lane() { directory.detach(found.entry); }

    // Of queues only.
    [[nodiscard]] bool readable() { return !topic && (returns.readable() || ring.readable()); }
    // A circular queue always takes a message: what waits there waits for memory.
    [[nodiscard]] bool writable() {
        return topic ? topic->has_room(found.info.byte_budget) : circular || ring.writable();
    }
    [[nodiscard]] bool watched() const noexcept;  // by a descriptor that is to be raised

    shm::Directory& directory;
    const shm::Found found;
    const bool circular = found.info.kind == static_cast<std::uint8_t>(shm::Kind::circular);
    shm::Ring ring;
    shm::Ring returns;  // what was polled and put back
    std::optional<shm::TopicRing> topic;
    LaneEnd items;
    LaneEnd space;
    std::vector<std::shared_ptr<Watch>> watches;
};

class Parker : public std::enable_shared_from_this<Parker> {
  public:
    // Error: limit_reached (threads).
    static Result<std::shared_ptr<Parker>> start(std::shared_ptr<shm::Attachment> attachment);
    explicit Parker(std::shared_ptr<shm::Attachment> attachment);
    Parker(const Parker&) = delete;
    Parker& operator=(const Parker&) = delete;
    ~Parker();

    // Takes over one reference. False: it did not get through for kPatience; the reference is still
    // the caller's.
    [[nodiscard]] bool try_submit(Operation& operation);
    // The same for an operation that was withdrawn and has a coroutine to resume.
    void submit(Operation& operation);
    void watch(std::shared_ptr<Watch> watch);
    // An operation was cancelled; nothing needs to happen soon.
    void note_withdrawn() noexcept;
    // Makes it look at everything: after a close.
    void look_at_all() noexcept;
    // Makes it look again.
    void poke() noexcept;
    // An operation ended on another thread: who helps on ours may wait for it.
    void note_ended_elsewhere() noexcept;
    // Ends the thread; from the thread itself: when it comes back. No operation is pending.
    void stop() noexcept;
    // In a forked child: nothing of it is ours, and nothing of it is destroyed.
    void forget() noexcept { forgotten_ = weak_from_this().lock(); }

    // Of its thread: what requests name whose answers it awaits.
    [[nodiscard]] std::uint32_t thread_index() const noexcept { return thread_.context().index; }
    // For its thread alone.
    [[nodiscard]] shm::ThreadContext& context() const noexcept { return thread_.context(); }
    // The same: no sleep beyond that moment, this time.
    void look_by(std::uint64_t ns) noexcept { look_by_ns_ = ns < look_by_ns_ ? ns : look_by_ns_; }
    [[nodiscard]] static bool on_thread_of(const Parker* parker) noexcept;
    // On the parker's thread: serves everybody until `operation` is over. Returns whether it is.
    bool help(const Operation& operation, std::uint64_t deadline_ns);

  private:
    void run();
    void round(std::uint64_t until_ns);
    void adopt_submitted();
    void adopt(Operation& operation);
    void adopt_watches();
    Lane* lane_of(const shm::Found& found);
    void arm();
    void disarm();
    void look();
    template <typename Ready>
    void serve(LaneEnd& end, Ready&& ready);
    template <typename Ready>
    void serve_all(LaneEnd& end, Ready&& ready);
    template <typename Left>
    void disarm_end(LaneEnd& end, shm::WaiterMap& map, bool wanted, Left&& left);
    void serve_watches(Lane& lane);
    void serve_calls();
    bool attempt(Operation& operation);
    void expire();
    void sweep(bool ended);
    void sweep(Operations& pending, bool ended);
    void sleep(std::uint32_t seen, std::uint64_t until_ns);
    void complete(Operation& operation);
    void let_go(Operation& operation);
    void unlink(Operation& operation);
    void resume_all();
    void drop_all();

    const std::shared_ptr<shm::Attachment> attachment_;
    OwnThread thread_;
    std::shared_ptr<Parker> forgotten_;

    boost::lockfree::queue<Operation*,
                           boost::lockfree::fixed_sized<true>,
                           boost::lockfree::capacity<kSubmittedMax>>
        submitted_;
    std::mutex watches_mutex_;
    std::vector<std::shared_ptr<Watch>> new_watches_;  // guarded by it
    std::atomic<bool> poked_{false};
    std::atomic<bool> sweep_{false};
    std::atomic<bool> stop_{false};
    std::atomic<std::uint32_t> helps_{0};     // calls of help() that run
    std::atomic<std::int64_t> withdrawn_{0};  // since the last sweep

    // The thread's own.
    std::map<std::uint64_t, Lane> lanes_;  // by destination
    Operations calls_;                     // sent, and not answered when last looked at
    Deadlines deadlines_;
    std::int64_t linked_ = 0;
    // Something ended in this round: bits may be ours no longer, wakes may have to be passed on, and
    // coroutines resumed. No sleep before that.
    bool changed_ = false;
    bool starving_ = false;
    std::uint64_t look_by_ns_ = ~0ULL;   // monotonic
    const Operation* helped_ = nullptr;  // whom help() waits for
    bool idle_ = false;                  // the last sleep ended by time
    std::vector<Operation*> resumes_;
};

}  // namespace telpher::detail

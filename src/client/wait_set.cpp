// WaitSet: the sequence of src/broker/waiter.hpp over many maps.

#include "telpher/wait.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/os.hpp"
#include "src/broker/operation.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/remote.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>

namespace telpher {
namespace {

// A queue and its end, a remote one, or an operation.
struct Member {
    std::size_t key = 0;
    std::shared_ptr<detail::QueueCore> queue{};
    std::shared_ptr<detail::RemoteQueue> remote{};
    Ready what = Ready::message;
    detail::Operation* operation = nullptr;  // one reference is ours
    Future<std::uint64_t> watch{};           // of a remote queue: over when that is ready

    [[nodiscard]] shm::WaiterMap& map() const {
        return what == Ready::message ? queue->control().items : queue->control().space;
    }
    [[nodiscard]] bool left() const {
        return what == Ready::message ? queue->readable() : queue->writable();
    }
    // Null: a queue of this host.
    [[nodiscard]] detail::Operation* awaited() const {
        return remote != nullptr ? detail::FutureAccess::operation(watch) : operation;
    }
    // Futures that were ready from the start are of neither.
    [[nodiscard]] bool of_bridge() const {
        return remote != nullptr || (operation != nullptr && operation->remote());
    }
    [[nodiscard]] bool of_host() const {
        return queue != nullptr || (operation != nullptr && operation->attachment() != nullptr);
    }
    [[nodiscard]] bool ready() const {
        if (queue != nullptr) {
            return queue->usable() != Status::ok || left();
        }
        const auto* const what_ends = awaited();
        return what_ends != nullptr && what_ends->over();
    }
};

// What a thread that waits for remote members sleeps on. Whoever completes one may ring it when the wait is long over:
// they are used again, and never freed.
class Bells {
  public:
    static std::unique_ptr<shm::ThreadRecord> take() {
        Bells& bells = all();
        const std::lock_guard hold(bells.mutex_);
        if (bells.free_.empty()) {
            return std::make_unique<shm::ThreadRecord>();
        }
        auto bell = std::move(bells.free_.back());
        bells.free_.pop_back();
        return bell;
    }
    static void give_back(std::unique_ptr<shm::ThreadRecord> bell) {
        Bells& bells = all();
        const std::lock_guard hold(bells.mutex_);
        bells.free_.push_back(std::move(bell));
    }

  private:
    static Bells& all() {
        static auto* const bells = new Bells;  // for ever: threads may ring at exit
        return *bells;
    }
    std::mutex mutex_;
    std::vector<std::unique_ptr<shm::ThreadRecord>> free_;
};

bool is_not_yet(Status status) {
    return status == Status::queue_empty || status == Status::queue_full ||
           status == Status::timed_out || status == Status::overloaded;
}

}  // namespace

struct WaitSet::Core {
    Core() = default;
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;
    ~Core() {
        for (const Member& member : members) {
            release(member);
        }
    }

    static void release(const Member& member) {
        if (member.operation != nullptr && !member.operation->forked()) {
            member.operation->drop();
        }
    }
    Result<std::size_t> add(Member member, const std::shared_ptr<shm::Attachment>& of) {
        const bool mixed =
            std::any_of(members.begin(), members.end(), [&member](const Member& known) {
                return (known.of_host() && member.of_bridge()) ||
                       (known.of_bridge() && member.of_host());
            });
        if (mixed) {
            return Error{Status::bad_request,
                         0,
                         "the members of a set are of one domain of this host, or of bridges"};
        }
        if (of != nullptr) {
            if (attachment != nullptr && attachment != of) {
                return Error{Status::bad_request, 0, "the members of a set are of one domain"};
            }
            attachment = of;
        }
        if (member.operation != nullptr) {
            member.operation->hold();
        }
        member.key = next_key++;
        members.push_back(std::move(member));
        return members.back().key;
    }
    [[nodiscard]] std::vector<std::size_t> look() const {
        std::vector<std::size_t> ready;
        for (const Member& member : members) {
            if (member.ready()) {
                ready.push_back(member.key);
            }
        }
        return ready;
    }
    // `index`: of the thread's record in the domain; nothing: all members are remote.
    using Index = std::optional<std::uint32_t>;
    void arm(shm::ThreadRecord& me, Index index) const {
        for (const Member& member : members) {
            if (auto* const operation = member.awaited()) {
                static_cast<void>(operation->ring_when_over(me));
            } else if (index) {
                shm::arm(member.map(), *index);
            }
        }
    }
    // A wake that chose us is passed on: what is there stays there.
    void disarm(Index index) const {
        for (const Member& member : members) {
            if (auto* const operation = member.awaited()) {
                operation->do_not_ring();
            } else if (index && shm::disarm(member.map(), *index) && member.left()) {
                shm::wake(member.map(), attachment->threads(), [&member] { return member.left(); });
            }
        }
    }
    void begin_watches(bool only_look);
    void end_watches(const std::vector<std::size_t>& told);
    Result<std::vector<std::size_t>> wait(Duration timeout, const std::stop_token& stop);
    Result<std::vector<std::size_t>> sleep(shm::ThreadRecord& me,
                                           Index index,
                                           Duration timeout,
                                           const std::stop_token& stop) const;

    std::vector<Member> members;
    std::shared_ptr<shm::Attachment> attachment;  // of the first member that has one
    std::size_t next_key = 0;
    std::uint32_t forks = shm::fork_count();
};

// Asks the bridges of those of which nothing is known. Only to look: and waits for their answers.
void WaitSet::Core::begin_watches(bool only_look) {
    std::vector<Member*> asked;
    for (Member& member : members) {
        if (member.remote != nullptr && !member.watch) {
            member.watch = member.remote->ready_async(member.what == Ready::room,
                                                      only_look ? Duration{} : Duration::max());
            asked.push_back(&member);
        }
    }
    for (Member* const member : only_look ? asked : std::vector<Member*>{}) {
        member->watch.wait(Duration::max());
        const auto answer = member->watch.get({});
        member->watch =
            is_not_yet(answer.status()) ? Future<std::uint64_t>{} : detail::ready_future(answer);
    }
}

// What was told is asked anew by the next wait.
void WaitSet::Core::end_watches(const std::vector<std::size_t>& told) {
    for (Member& member : members) {
        if (member.remote != nullptr && std::binary_search(told.begin(), told.end(), member.key)) {
            member.watch = {};
        }
    }
}

Result<std::vector<std::size_t>> WaitSet::Core::wait(Duration timeout,
                                                     const std::stop_token& stop) {
    begin_watches(timeout.count() == 0);
    std::vector<std::size_t> ready = look();
    if (!ready.empty()) {
        return ready;
    }
    if (timeout.count() == 0) {
        return Status::timed_out;
    }
    if (attachment == nullptr) {
        auto bell = Bells::take();
        auto told = sleep(*bell, {}, timeout, stop);
        Bells::give_back(std::move(bell));
        return told;
    }
    auto context = attachment->context();
    if (!context) {
        return context.error();
    }
    attachment->pool().flush((*context)->cursor);  // a sleeper keeps no memory from others
    return sleep(*(*context)->record, (*context)->index, timeout, stop);
}

Result<std::vector<std::size_t>> WaitSet::Core::sleep(shm::ThreadRecord& me,
                                                      Index index,
                                                      Duration timeout,
                                                      const std::stop_token& stop) const {
    const std::uint64_t deadline = detail::deadline_after(timeout);
    auto ring_me = [&me] { shm::ring_doorbell(me); };
    const std::stop_callback on_stop(stop, ring_me);
    for (;;) {
        // D2: pairs with shm/doorbell.hpp:D1. Read before the bits are set: a ring after it is not
        // slept over.
        const std::uint32_t seen = me.doorbell.load(std::memory_order_acquire);
        arm(me, index);
        std::vector<std::size_t> ready = look();
        Status status = Status::ok;
        if (ready.empty()) {
            const std::uint64_t now = shm::monotonic_ns();
            if (stop.stop_requested()) {
                status = Status::cancelled;
            } else if (now >= deadline) {
                status = Status::timed_out;
            } else {
                const auto longest = static_cast<std::uint64_t>(shm::kSleepMax.count());
                shm::futex_wait(me.doorbell, seen, Duration(std::min(deadline - now, longest)));
                ready = look();
            }
        }
        disarm(index);
        if (!ready.empty()) {
            return ready;
        }
        if (status != Status::ok) {
            return status;
        }
    }
}

WaitSet::WaitSet() : core_(std::make_unique<Core>()) {}
WaitSet::WaitSet(WaitSet&&) noexcept = default;
WaitSet& WaitSet::operator=(WaitSet&&) noexcept = default;
WaitSet::~WaitSet() = default;

Result<std::size_t> WaitSet::add(const Queue& queue, Ready what) {
    if (core_ == nullptr || !queue) {
        return Error{Status::bad_request, 0, "the queue handle is empty"};
    }
    Member member;
    member.what = what;
    if (queue.core_ == nullptr) {
        member.remote = queue.remote_;
        return core_->add(std::move(member), nullptr);
    }
    member.queue = queue.core_;
    return core_->add(std::move(member), queue.core_->attachment().shared_from_this());
}

Result<std::size_t> WaitSet::add(const detail::FutureBase& future) {
    if (core_ == nullptr || !future) {
        return Error{Status::bad_request, 0, "the future is empty: never filled, or read already"};
    }
    Member member;
    member.operation = detail::FutureAccess::operation(future);
    const auto attachment = member.operation->attachment();
    return core_->add(std::move(member), attachment);
}

bool WaitSet::remove(std::size_t key) {
    if (core_ == nullptr) {
        return false;
    }
    auto& members = core_->members;
    const auto found = std::find_if(
        members.begin(), members.end(), [key](const Member& member) { return member.key == key; });
    if (found == members.end()) {
        return false;
    }
    Core::release(*found);
    members.erase(found);
    if (members.empty()) {
        core_->attachment.reset();
    }
    return true;
}

std::size_t WaitSet::size() const noexcept { return core_ != nullptr ? core_->members.size() : 0; }

Result<std::vector<std::size_t>> WaitSet::wait(Duration timeout, std::stop_token stop) {
    if (size() == 0) {
        return Error{Status::bad_request, 0, "the set is empty: nothing could end the wait"};
    }
    if (timeout.count() < 0) {
        return Error{
            Status::bad_request,
            0,
            "timeout is " + std::to_string(timeout.count()) + " ns, allowed are 0 and more"};
    }
    if (core_->forks != shm::fork_count()) {
        return Status::forked;
    }
    auto ready = core_->wait(timeout, stop);
    if (ready) {
        core_->end_watches(*ready);
    }
    return ready;
}

}  // namespace telpher

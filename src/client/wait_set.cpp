// WaitSet: the sequence of src/broker/waiter.hpp over many maps.

#include "telpher/wait.hpp"

#include "shm/base/clock.hpp"
#include "src/broker/operation.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/remote.hpp"

#include <algorithm>

namespace telpher {
namespace {

// A queue and its end, or an operation.
struct Member {
    std::size_t key = 0;
    std::shared_ptr<detail::QueueCore> queue;
    Ready what = Ready::message;
    detail::Operation* operation = nullptr;  // one reference is ours

    [[nodiscard]] shm::WaiterMap& map() const {
        return what == Ready::message ? queue->control().items : queue->control().space;
    }
    [[nodiscard]] bool left() const {
        return what == Ready::message ? queue->readable() : queue->writable();
    }
    [[nodiscard]] bool ready() const {
        return operation != nullptr ? operation->over() : queue->usable() != Status::ok || left();
    }
};

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
    void arm(shm::ThreadContext& context) const {
        for (const Member& member : members) {
            if (member.operation != nullptr) {
                static_cast<void>(member.operation->ring_when_over(*context.record));
            } else {
                shm::arm(member.map(), context.index);
            }
        }
    }
    // A wake that chose us is passed on: what is there stays there.
    void disarm(shm::ThreadContext& context) const {
        for (const Member& member : members) {
            if (member.operation != nullptr) {
                member.operation->do_not_ring();
            } else if (shm::disarm(member.map(), context.index) && member.left()) {
                shm::wake(member.map(), attachment->threads(), [&member] { return member.left(); });
            }
        }
    }
    Result<std::vector<std::size_t>> sleep(shm::ThreadContext& context,
                                           Duration timeout,
                                           const std::stop_token& stop) const;

    std::vector<Member> members;
    std::shared_ptr<shm::Attachment> attachment;  // of the first member that has one
    std::size_t next_key = 0;
};

Result<std::vector<std::size_t>> WaitSet::Core::sleep(shm::ThreadContext& context,
                                                      Duration timeout,
                                                      const std::stop_token& stop) const {
    attachment->pool().flush(context.cursor);  // a sleeper keeps no memory from others
    const std::uint64_t deadline = detail::deadline_after(timeout);
    shm::ThreadRecord& me = *context.record;
    auto ring_me = [&me] { shm::ring_doorbell(me); };
    const std::stop_callback on_stop(stop, ring_me);
    for (;;) {
        // D2: pairs with shm/doorbell.hpp:D1. Read before the bits are set: a ring after it is not
        // slept over.
        const std::uint32_t seen = me.doorbell.load(std::memory_order_acquire);
        arm(context);
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
        disarm(context);
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
    if (queue.core_ == nullptr) {
        return detail::not_over_a_bridge("WaitSet");
    }
    Member member;
    member.queue = queue.core_;
    member.what = what;
    return core_->add(std::move(member), queue.core_->attachment().shared_from_this());
}

Result<std::size_t> WaitSet::add(const detail::FutureBase& future) {
    if (core_ == nullptr || !future) {
        return Error{Status::bad_request, 0, "the future is empty: never filled, or read already"};
    }
    if (detail::FutureAccess::operation(future)->remote()) {
        return detail::not_over_a_bridge("WaitSet");
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
    if (core_->attachment != nullptr && core_->attachment->forked()) {
        return Status::forked;
    }
    std::vector<std::size_t> ready = core_->look();
    if (!ready.empty()) {
        return ready;
    }
    if (timeout.count() == 0) {
        return Status::timed_out;
    }
    auto context = core_->attachment->context();
    if (!context) {
        return context.error();
    }
    return core_->sleep(**context, timeout, stop);
}

}  // namespace telpher

// What the parker does in one round.

#include "shm/base/clock.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

// Between two looks whether another message of the same request id is through.
constexpr std::uint64_t kElsewhereNs = 1'000'000;

bool try_again(Status status) {
    return status == Status::queue_empty || status == Status::queue_full ||
           status == Status::out_of_memory;
}

// Of a linked poll, offer or publish.
LaneEnd& end_of(Operation& operation) {
    return operation.kind() == OperationKind::poll ? operation.lane->items : operation.lane->space;
}

}  // namespace

bool Lane::watched() const noexcept {
    return std::any_of(
        watches.begin(), watches.end(), [](const auto& watch) { return watch->quiet(); });
}

// ---- taking over -------------------------------------------------------------------------------

void Parker::adopt_submitted() {
    Operation* operation = nullptr;
    while (submitted_.pop(operation)) {
        adopt(*operation);
    }
}

void Parker::adopt(Operation& operation) {
    if (operation.over()) {
        changed_ = true;
        // Withdrawn before we saw it; or submitted so that its coroutine is resumed.
        if (operation.lane != nullptr || operation.awaited) {
            let_go(operation);
        }
        if (operation.to_resume()) {
            resumes_.push_back(&operation);
        } else {
            operation.drop();
        }
        return;
    }
    if (operation.kind() == OperationKind::call) {
        operation.awaited = true;
        calls_.push_back(operation);
        deadlines_.insert(operation);
        ++linked_;
        // CW3: pairs with shm/call.hpp:CW4. Before the look at its word.
        thread_.context().record->awaits_call.store(1, std::memory_order_seq_cst);
        return;
    }
    // Not claimed for this: a cancellation beside it is in time.
    operation.lane = lane_of(operation.found());
    if (operation.lane == nullptr) {  // removed and gone meanwhile
        if (!operation.claim()) {
            let_go(operation);
            return;
        }
        if (try_again(operation.run())) {
            operation.fail(operation.kind() == OperationKind::publish ? Status::topic_not_found
                                                                      : Status::queue_not_found);
        }
        complete(operation);
        return;
    }
    end_of(operation).pending.push_back(operation);
    end_of(operation).some_elsewhere = end_of(operation).some_elsewhere || operation.elsewhere;
    deadlines_.insert(operation);
    ++linked_;
}

void Parker::adopt_watches() {
    const std::lock_guard hold(watches_mutex_);
    for (auto& watch : new_watches_) {
        if (Lane* lane = lane_of(watch->found()); lane != nullptr) {
            lane->watches.push_back(std::move(watch));
        } else {
            watch->raise();  // gone: `poll` tells
        }
    }
    new_watches_.clear();
}

// Null: the destination is gone.
Lane* Parker::lane_of(const shm::Found& found) {
    const auto known = lanes_.find(found.dest());
    if (known != lanes_.end()) {
        return &known->second;
    }
    shm::Directory& directory = attachment_->directory();
    if (found.family() == shm::Family::topic) {
        const auto ring = directory.topic(found);
        if (!ring || !directory.attach(found)) {
            return nullptr;
        }
        return &lanes_.try_emplace(found.dest(), directory, found, *ring).first->second;
    }
    const auto ring = directory.ring(found);
    const auto returns = directory.returns_lane(found);
    if (!ring || !returns || !directory.attach(found)) {
        return nullptr;
    }
    return &lanes_.try_emplace(found.dest(), directory, found, *ring, *returns).first->second;
}

// ---- bits --------------------------------------------------------------------------------------

void Parker::arm() {
    if (!calls_.empty()) {
        // CW3: pairs with shm/call.hpp:CW4. The mark, then the looks at the words.
        thread_.context().record->awaits_call.store(1, std::memory_order_seq_cst);
    }
    for (auto& [destination, lane] : lanes_) {
        if (!lane.items.pending.empty() || lane.watched()) {
            shm::arm(lane.ring.control().items, thread_.context().index);
            lane.items.armed = true;
        }
        if (!lane.space.pending.empty()) {
            shm::arm(lane.ring.control().space, thread_.context().index);
            lane.space.armed = true;
        }
    }
}

template <typename Left>
void Parker::disarm_end(LaneEnd& end, shm::WaiterMap& map, bool wanted, Left&& left) {
    if (end.armed) {
        end.chosen = shm::disarm(map, thread_.context().index) || end.chosen;
        end.armed = false;
    }
    if (!wanted && end.chosen) {
        end.chosen = false;
        if (left()) {
            shm::wake(map, attachment_->threads(), left);
        }
    }
}

// Passes on the wakes that chose us where nobody of ours wants what is there, and forgets queues
// that nobody waits for.
void Parker::disarm() {
    // Awake: no answer needs to ring. relaxed: a ring too many is harmless
    thread_.context().record->awaits_call.store(0, std::memory_order_relaxed);
    for (auto at = lanes_.begin(); at != lanes_.end();) {
        Lane& lane = at->second;
        const bool polls = !lane.items.pending.empty() || lane.watched();
        const bool offers = !lane.space.pending.empty();
        disarm_end(
            lane.items, lane.ring.control().items, polls, [&lane] { return lane.readable(); });
        disarm_end(
            lane.space, lane.ring.control().space, offers, [&lane] { return lane.writable(); });
        at = polls || offers || !lane.watches.empty() ? std::next(at) : lanes_.erase(at);
    }
}

// ---- looking -----------------------------------------------------------------------------------

void Parker::look() {
    for (auto& [destination, lane] : lanes_) {
        serve(lane.items, [&queue = lane] { return queue.readable(); });
        serve(lane.space, [&queue = lane] { return queue.writable(); });
        serve_watches(lane);
    }
    serve_calls();
    expire();
}

void Parker::serve_calls() {
    for (auto at = calls_.begin(); at != calls_.end();) {
        Operation& operation = *at++;
        if (operation.cancelled()) {
            let_go(operation);
        } else if (operation.ready()) {
            static_cast<void>(attempt(operation));
        }
    }
}

template <typename Ready>
void Parker::serve(LaneEnd& end, Ready&& ready) {
    if (end.some_elsewhere) [[unlikely]] {
        serve_all(end, ready);
        return;
    }
    while (!end.pending.empty()) {
        Operation& operation = end.pending.front();
        if (operation.cancelled()) {
            let_go(operation);
        } else if (!ready()) {
            end.chosen = false;  // others were faster
            break;
        } else if (!attempt(operation)) {
            if (operation.elsewhere) {
                end.some_elsewhere = true;
                serve_all(end, ready);
            }
            break;
        }
    }
}

// The same while some wait for another message of their request id, and not for room: each is looked at once,
// those let others pass, and all stay in their order.
template <typename Ready>
void Parker::serve_all(LaneEnd& end, Ready&& ready) {
    end.some_elsewhere = false;
    bool blocked = false;
    for (std::size_t left = end.pending.size(); left != 0 && !end.pending.empty(); --left) {
        Operation& operation = end.pending.front();
        if (operation.cancelled()) {
            let_go(operation);
            continue;
        }
        blocked = blocked || !ready();
        if ((operation.elsewhere || !blocked) && attempt(operation)) {
            continue;
        }
        blocked = blocked || !operation.elsewhere;
        end.some_elsewhere = end.some_elsewhere || operation.elsewhere;
        end.pending.pop_front();
        end.pending.push_back(operation);
    }
    end.chosen = end.chosen && !blocked;
    if (end.some_elsewhere) {
        look_by(shm::monotonic_ns() + kElsewhereNs);
    }
}

void Parker::serve_watches(Lane& lane) {
    std::erase_if(lane.watches, [](const auto& watch) { return watch->gone(); });
    if (!lane.watched()) {
        return;
    }
    const bool something = lane.readable() || attachment_->usable() != Status::ok;
    for (const auto& watch : lane.watches) {
        if (watch->quiet() && (something || watch->closed())) {
            watch->raise();
            changed_ = true;
        }
    }
}

// One try. False: it is to wait.
bool Parker::attempt(Operation& operation) {
    if (!operation.claim()) {
        let_go(operation);
        return true;
    }
    const Status status = operation.run();
    if (!try_again(status)) {
        complete(operation);
        return true;
    }
    operation.starved = status == Status::out_of_memory;
    starving_ = starving_ || operation.starved;
    if (!operation.unclaim()) {
        let_go(operation);
        return true;
    }
    return false;
}

void Parker::expire() {
    const std::uint64_t now = deadlines_.empty() ? 0 : shm::monotonic_ns();
    while (!deadlines_.empty() && deadlines_.begin()->deadline_ns <= now) {
        Operation& operation = *deadlines_.begin();
        if (operation.claim()) {
            // Behind one that waits for memory, it waited for memory, too.
            const bool starved =
                operation.lane != nullptr && end_of(operation).pending.front().starved;
            operation.fail(starved ? Status::out_of_memory : Status::timed_out);
            complete(operation);
        } else {
            let_go(operation);
        }
    }
}

// Everybody: those withdrawn are let go; after a close or the end of the domain, those that it
// concerns end.
void Parker::sweep(bool ended) {
    for (auto& [destination, lane] : lanes_) {
        sweep(lane.items.pending, ended);
        sweep(lane.space.pending, ended);
    }
    sweep(calls_, ended);
    withdrawn_.store(0, std::memory_order_relaxed);  // relaxed: only decides when to tidy
}

void Parker::sweep(Operations& pending, bool ended) {
    for (auto at = pending.begin(); at != pending.end();) {
        Operation& operation = *at++;
        if (operation.cancelled() || (ended && !operation.claim())) {
            let_go(operation);
            continue;
        }
        if (!ended) {
            continue;
        }
        if (const Status status = operation.usable(); status != Status::ok) {
            operation.fail(status);
            complete(operation);
        } else if (!operation.unclaim()) {
            let_go(operation);
        }
    }
}

// ---- ends --------------------------------------------------------------------------------------

void Parker::unlink(Operation& operation) {
    if (operation.lane == nullptr && !operation.awaited) {
        return;
    }
    Operations& pending = operation.awaited ? calls_ : end_of(operation).pending;
    pending.erase(pending.iterator_to(operation));
    deadlines_.erase(deadlines_.iterator_to(operation));
    operation.lane = nullptr;
    operation.awaited = false;
    --linked_;
}

// TAKING, with its result.
void Parker::complete(Operation& operation) {
    unlink(operation);
    changed_ = true;
    if (operation.begun()) {
        operation.hand_over();
    } else if (operation.finish()) {
        resumes_.push_back(&operation);
    } else {
        operation.drop();
    }
}

// Withdrawn.
void Parker::let_go(Operation& operation) {
    unlink(operation);
    changed_ = true;
    if (operation.to_resume()) {
        resumes_.push_back(&operation);
    } else {
        operation.drop();
    }
}

}  // namespace telpher::detail

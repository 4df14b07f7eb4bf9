// Many acknowledgements in one call.

#include "shm/attachment.hpp"
#include "src/client/remote.hpp"

#include <algorithm>

namespace telpher {
namespace {

using detail::RemoteAccess;
using detail::RemoteLease;
using detail::RemoteMemory;

bool remote(const detail::Held& held) {
    return held.memory != nullptr && held.chunk == detail::kRemoteChunk && held.lease != 0;
}

// Those of bridges, client by client; their deliveries are at their end whatever is answered, as with
// Delivery::ack.
Result<void> acknowledge_remote(std::span<Delivery* const> deliveries, Acknowledged& account) {
    std::vector<RemoteLease*> left;
    left.reserve(deliveries.size());
    for (Delivery* delivery : deliveries) {
        left.push_back(&RemoteMemory::lease(RemoteAccess::held(*delivery)));
    }
    Result<void> done;
    while (!left.empty()) {
        const auto told = left.front()->ack_with(left);
        std::vector<RemoteLease*> others;
        for (std::size_t i = 0; told && i < left.size(); ++i) {
            const Status status = (*told)[i];
            account.acknowledged += status == Status::ok ? 1U : 0U;
            account.lease_expired += status == Status::lease_expired ? 1U : 0U;
            if (status == Status::none) {
                others.push_back(left[i]);
            } else if (done && status != Status::ok && status != Status::lease_expired) {
                done = status;
            }
        }
        if (!told) {
            done = done ? Result<void>(told.error()) : std::move(done);
            break;  // what it did not reach comes again
        }
        left = std::move(others);
    }
    for (Delivery* delivery : deliveries) {
        RemoteMemory::end_lease(RemoteAccess::held(*delivery));
    }
    return done;
}

template <typename Pick>
Result<Acknowledged> acknowledge(std::vector<Delivery>& held, const Pick& pick) {
    const auto forked = [](Delivery& delivery) {
        const detail::Held& what = RemoteAccess::held(delivery);
        return what.memory != nullptr && what.chunk != detail::kRemoteChunk &&
               what.memory->forked();
    };
    if (std::ranges::any_of(held, forked)) {
        return Status::forked;
    }
    Acknowledged account;
    std::vector<Delivery*> remotes;
    Result<void> done;
    for (Delivery& delivery : held) {
        if (!delivery || !pick(delivery)) {
            continue;
        }
        if (remote(RemoteAccess::held(delivery))) {
            remotes.push_back(&delivery);
            continue;
        }
        const Result<void> one = delivery.ack();
        account.acknowledged += one ? 1U : 0U;
        account.lease_expired += one.status() == Status::lease_expired ? 1U : 0U;
        if (!one && one.status() != Status::lease_expired && done) {
            done = one;
        }
    }
    if (!remotes.empty()) {
        auto told = acknowledge_remote(remotes, account);
        done = done ? std::move(told) : std::move(done);
    }
    std::erase_if(held, [](const Delivery& delivery) { return !delivery; });
    return done ? Result<Acknowledged>(account) : Result<Acknowledged>(done.error());
}

}  // namespace

Result<Acknowledged> Queue::ack_up_to(std::vector<Delivery>& held, std::uint64_t sequence) {
    return acknowledge(held, [sequence](const Delivery& delivery) {
        return delivery.sequence() != 0 && delivery.sequence() <= sequence;
    });
}

Result<Acknowledged> Queue::ack_all(std::vector<Delivery>& held) {
    return acknowledge(held, [](const Delivery& /*delivery*/) { return true; });
}

}  // namespace telpher

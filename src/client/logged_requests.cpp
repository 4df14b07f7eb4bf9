#include "src/client/logged_requests.hpp"

#include "shm/base/clock.hpp"
#include "src/broker/request_memory.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::detail {
namespace {

constexpr std::uint64_t kNsInMs = 1'000'000;
constexpr std::uint64_t kClocksMs = 1000;

}  // namespace

void LoggedRequests::take(const store::Record& record, const store::Place& place) {
    if (const auto entry = held_.pass(record, place)) {
        add(*entry);
    }
    if (record.kind() == store::RecordKind::withdrawn) {
        withdraw(record.payload);
    } else if (record.kind() == store::RecordKind::removed) {
        forget(record.header.destination);
    }
}

// The newest counts. One whose time had not passed when the next was made is kept before it: see brought_again.
void LoggedRequests::add(const store::EntryCopy& entry) {
    if (entry.value.size() != sizeof(store::RememberedRequest)) {
        return;  // not ours
    }
    Accepted accepted{.origin = entry.origin};
    std::memcpy(&accepted.request, entry.value.data(), sizeof accepted.request);
    const Id id{entry.destination, entry.key};
    std::deque<Accepted>& known = accepted_[id];
    const auto at = std::lower_bound(
        known.begin(), known.end(), entry.origin, [](const Accepted& a, store::Lsn origin) {
            return a.origin < origin;
        });
    if (at != known.end() && at->origin == entry.origin) {
        // Moved to another segment, or logged again with the time of its outcome, which may lie before that.
        if (accepted.request.expires_wall_ms > at->request.expires_wall_ms) {
            at->request = accepted.request;
        }
        return;
    }
    known.insert(at, accepted);
    while (known.size() > 1 && known[0].request.expires_wall_ms <= known[1].request.made_wall_ms) {
        by_origin_.erase(known[0].origin);
        known.pop_front();
    }
    if (entry.origin != 0) {
        by_origin_.insert_or_assign(entry.origin, id);
    }
}

void LoggedRequests::withdraw(store::Bytes ranges) {
    for (; ranges.size() >= sizeof(store::DoneRange);
         ranges = ranges.subspan(sizeof(store::DoneRange))) {
        store::DoneRange range{};
        std::memcpy(&range, ranges.data(), sizeof range);
        for (auto at = by_origin_.lower_bound(range.first);
             at != by_origin_.end() && at->first <= range.last;
             at = by_origin_.erase(at)) {
            const auto known = accepted_.find(at->second);
            if (known == accepted_.end()) {
                continue;
            }
            std::erase_if(known->second, [&](const Accepted& a) { return a.origin == at->first; });
            if (known->second.empty()) {
                accepted_.erase(known);
            }
        }
    }
}

void LoggedRequests::forget(std::uint32_t destination) {
    const auto first = accepted_.lower_bound({destination, store::EntryKey{}});
    auto last = first;
    while (last != accepted_.end() && last->first.first == destination) {
        ++last;
    }
    accepted_.erase(first, last);
}

std::vector<store::Lsn> LoggedRequests::brought_again(
    const std::function<bool(store::Lsn)>& waits) const {
    std::vector<store::Lsn> first_ones;
    for (const auto& [id, known] : accepted_) {
        if (known.size() < 2 || !waits(known.back().origin)) {
            continue;
        }
        const store::RememberedRequest& last = known.back().request;
        for (const Accepted& a : known) {
            // Not at the end of its time, which two clocks may see differently: then they are two.
            if (a.origin != known.back().origin && a.request.print == last.print &&
                a.request.expires_wall_ms > last.made_wall_ms + kClocksMs) {
                first_ones.push_back(a.origin);
            }
        }
    }
    return first_ones;
}

void LoggedRequests::restore(shm::Attachment& attachment,
                             const std::map<std::uint32_t, shm::Found>& queues) {
    const std::uint64_t now_ms = shm::wall_coarse_ns() / kNsInMs;
    for (const auto& [number, found] : queues) {
        RequestMemory memory(attachment, found);
        if (!memory.on() || !memory.logged() || found.log_number() != number) {
            continue;
        }
        std::vector<std::pair<store::Lsn, store::EntryKey>> order;
        for (auto at = accepted_.lower_bound({number, store::EntryKey{}});
             at != accepted_.end() && at->first.first == number;
             ++at) {
            if (at->second.back().request.expires_wall_ms > now_ms) {
                order.emplace_back(at->second.back().origin, at->first.second);
            }
        }
        std::sort(order.begin(), order.end());
        const std::uint64_t most = memory.entries_max();
        const std::size_t too_many = order.size() > most ? order.size() - most : 0;
        for (std::size_t i = too_many; i < order.size(); ++i) {
            const Accepted& accepted = accepted_.at({number, order[i].second}).back();
            const store::RememberedRequest& request = accepted.request;
            shm::Hash128 key;
            std::memcpy(&key, order[i].second.data(), sizeof key);
            // A clock that went back remembers nothing for longer than was asked for.
            const std::uint64_t left_ms = std::min<std::uint64_t>(
                request.expires_wall_ms - now_ms, found.info.idempotency_ttl_ns / kNsInMs + 1);
            static_cast<void>(memory.restore(
                key, {request.print[0], request.print[1]}, accepted.origin, left_ms * kNsInMs));
        }
    }
}

}  // namespace telpher::detail

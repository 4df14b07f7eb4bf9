#pragma once
// What a domain's log says of requests: which were accepted, so that their ids are known when the domain is built again.
//
//   Memory   a node of two ordered maps for each entry of the log.
//   Threads  one at a time.
//   Cost     a search in an ordered map for each entry.

#include "shm/attachment.hpp"
#include "src/store/held_entry.hpp"
#include "src/store/log_format.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace telpher::detail {

class LoggedRequests {
  public:
    // Each record, in the order of the log. Those that say nothing of requests are passed by.
    void take(const store::Record& record, const store::Place& place);
    // Messages whose request was accepted again while it was to be remembered, with the same content, by a message that
    // still waits: the first one never came to its queue, or had been forgotten for want of room. `waits`: of an origin.
    [[nodiscard]] std::vector<store::Lsn> brought_again(
        const std::function<bool(store::Lsn)>& waits) const;
    // Of the queues that are there, by their numbers in the log: as many of the newest ones as each may have.
    void restore(shm::Attachment& attachment, const std::map<std::uint32_t, shm::Found>& queues);

  private:
    struct Accepted {
        store::Lsn origin = 0;
        store::RememberedRequest request{};
    };
    using Id = std::pair<std::uint32_t, store::EntryKey>;

    void add(const store::EntryCopy& entry);
    void withdraw(store::Bytes ranges);
    void forget(std::uint32_t destination);

    store::HeldEntry held_;
    std::map<Id, std::deque<Accepted>> accepted_;  // in order; the last one counts
    std::map<store::Lsn, Id> by_origin_;
};

}  // namespace telpher::detail

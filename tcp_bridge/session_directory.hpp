#pragma once
// Which I/O thread of a bridge has which session, and how many there are: what its threads must agree on.
//
//   Threads  any
//   Memory   an entry for each session
//   Cost     a lock held for a look-up; `admit` of a full bridge looks at every session

#include "tcp_bridge/bodies.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>

namespace telpher::bridge {

// Of a session or a bridge, unlike every other.
[[nodiscard]] SessionId random_id();

class SessionDirectory {
  public:
    using Clock = std::chrono::steady_clock;

    // A session that has to end on its thread: a new one took its place.
    struct Victim {
        SessionId id{};
        std::size_t loop = 0;
    };
    struct Admitted {
        bool admitted = false;
        std::optional<Victim> victim{};
    };

    explicit SessionDirectory(std::size_t sessions_max) : sessions_max_(sessions_max) {}

    // The thread that has it; nothing: there is no such session, or no more.
    [[nodiscard]] std::optional<std::size_t> find(const SessionId& id) const;
    // A new one. If there are too many, one of those that are cut goes: first who never began anything, then who
    // was cut first. Not admitted: none is cut.
    [[nodiscard]] Admitted admit(const SessionId& id, std::size_t loop);
    // Its connection is gone; `idle`: it never began anything.
    void cut(const SessionId& id, bool idle, Clock::time_point now);
    // It has a connection again. False: it has gone meanwhile.
    [[nodiscard]] bool resume(const SessionId& id);
    void erase(const SessionId& id);
    [[nodiscard]] std::size_t size() const;

  private:
    struct Entry {
        std::size_t loop = 0;
        bool is_cut = false;
        bool idle = false;
        Clock::time_point cut{};
    };
    using Entries = std::map<SessionId, Entry>;
    [[nodiscard]] Entries::iterator first_to_go();

    const std::size_t sessions_max_;
    mutable std::mutex mutex_;  // guards entries_
    Entries entries_;
};

}  // namespace telpher::bridge

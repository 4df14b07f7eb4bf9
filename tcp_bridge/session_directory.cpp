#include "tcp_bridge/session_directory.hpp"

#include "shm/base/os.hpp"

namespace telpher::bridge {

SessionId random_id() {
    SessionId id{};
    static_cast<void>(shm::fill_random(id.data(), id.size()));
    return id;
}

std::optional<std::size_t> SessionDirectory::find(const SessionId& id) const {
    const std::lock_guard hold(mutex_);
    const auto known = entries_.find(id);
    return known != entries_.end() ? std::optional(known->second.loop) : std::nullopt;
}

SessionDirectory::Entries::iterator SessionDirectory::first_to_go() {
    const auto goes_before = [](const Entry& one, const Entry& other) {
        return one.idle != other.idle ? one.idle : one.cut < other.cut;
    };
    auto victim = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
        if (at->second.is_cut &&
            (victim == entries_.end() || goes_before(at->second, victim->second))) {
            victim = at;
        }
    }
    return victim;
}

SessionDirectory::Admitted SessionDirectory::admit(const SessionId& id, std::size_t loop) {
    const std::lock_guard hold(mutex_);
    Admitted result{.admitted = true};
    if (entries_.size() >= sessions_max_) {
        const auto victim = first_to_go();
        if (victim == entries_.end()) {
            return {};
        }
        result.victim = Victim{victim->first, victim->second.loop};
        entries_.erase(victim);
    }
    entries_[id].loop = loop;
    return result;
}

void SessionDirectory::cut(const SessionId& id, bool idle, Clock::time_point now) {
    const std::lock_guard hold(mutex_);
    if (const auto known = entries_.find(id); known != entries_.end()) {
        known->second.is_cut = true;
        known->second.idle = idle;
        known->second.cut = now;
    }
}

bool SessionDirectory::resume(const SessionId& id) {
    const std::lock_guard hold(mutex_);
    const auto known = entries_.find(id);
    if (known == entries_.end()) {
        return false;
    }
    known->second.is_cut = false;
    return true;
}

void SessionDirectory::erase(const SessionId& id) {
    const std::lock_guard hold(mutex_);
    entries_.erase(id);
}

std::size_t SessionDirectory::size() const {
    const std::lock_guard hold(mutex_);
    return entries_.size();
}

}  // namespace telpher::bridge

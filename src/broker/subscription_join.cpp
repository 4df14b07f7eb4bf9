// How a subscriber finds its topics, and begins in each.

#include "src/broker/subscription_core.hpp"
#include "src/client/domain_core.hpp"
#include "src/wire/names.hpp"

#include <algorithm>
#include <vector>

namespace telpher::detail {

std::uint64_t SubscriptionCore::directory_generation() const noexcept {
    // W12: pairs with shm/doorbell.hpp:W1: the look after arming.
    return attachment_.segment().header().directory_generation.load(std::memory_order_seq_cst);
}

bool SubscriptionCore::wanted(const std::string& topic) const noexcept {
    const bool asked =
        std::any_of(patterns_.begin(), patterns_.end(), [&topic](const std::string& pattern) {
            return wire::topic_matches(pattern, topic);
        });
    return asked && std::none_of(readers_.begin(), readers_.end(), [&topic](const auto& reader) {
               return !reader->ended && reader->topic->name() == topic;
           });
}

Result<void> SubscriptionCore::start() {
    seen_generation_ = directory_generation();
    for (const std::string& pattern : patterns_) {
        if (wire::is_wildcard(pattern)) {
            continue;
        }
        auto topic = domain_->topic(pattern);
        if (!topic) {
            return topic.error();
        }
        if (!wanted(pattern)) {
            continue;  // named twice
        }
        if (auto joined = join((*topic)->found(), options_.from); !joined) {
            return joined;
        }
    }
    if (wild_) {
        for (const shm::Found& found : attachment_.directory().list()) {
            if (found.state == shm::EntryState::live && found.family() == shm::Family::topic &&
                wanted(found.name())) {
                if (auto joined = join(found, options_.from);
                    !joined && joined.status() != Status::topic_not_found) {
                    return joined;
                }
            }
        }
    }
    return {};
}

// A pattern outlives topics: of removed ones nothing is kept that nobody reads, or their rings and
// places in the directory would never be free again.
void SubscriptionCore::forget_removed() {
    std::vector<std::unique_ptr<TopicReader>> removed;  // end after the lock
    {
        const std::lock_guard hold(readers_mutex_);
        const auto goes = [](const std::unique_ptr<TopicReader>& reader) {
            // H7: pairs with src/broker/subscription_core.cpp:H8: who let go of the last sample does
            // not touch the reader any more.
            return reader->ended && reader->pinned.load(std::memory_order_acquire) == 0;
        };
        for (auto& reader : readers_) {
            if (goes(reader)) {
                removed.push_back(std::move(reader));
            }
        }
        std::erase(readers_, nullptr);
    }
    for (auto& reader : removed) {
        reader->topic->ring().leave(*reader->record);
    }
}

// Topics that were made since, for patterns: from their first message on, because none of them was
// published before we could know.
Result<void> SubscriptionCore::follow() {
    const std::uint64_t generation = directory_generation();
    if (generation == seen_generation_) {
        return {};
    }
    forget_removed();
    for (const shm::Found& found : attachment_.directory().list()) {
        if (found.state == shm::EntryState::live && found.family() == shm::Family::topic &&
            wanted(found.name())) {
            if (auto joined = join(found, From::sequence(1));
                !joined && joined.status() != Status::topic_not_found) {
                return joined;
            }
        }
    }
    seen_generation_ = generation;
    return {};
}

Result<void> SubscriptionCore::join(const shm::Found& found, const From& from) {
    auto opened = domain_->open_topic(found);
    if (!opened) {
        return opened.error();
    }
    auto reader = std::make_unique<TopicReader>();
    reader->topic = std::move(*opened);
    shm::TopicRing& ring = reader->topic->ring();
    reader->policy = options_.slow ? static_cast<shm::SlowPolicy>(*options_.slow) : ring.policy();
    if (reader->policy == shm::SlowPolicy::block && ring.policy() != shm::SlowPolicy::block) {
        return Error{Status::not_permitted,
                     0,
                     "topic '" + reader->topic->name() +
                         "' does not let subscribers block its publishers: create it with slow = "
                         "SlowSubscriber::block"};
    }
    reader->record = ring.join(attachment_.identity(), reader->policy, &reader->cursor);
    if (reader->record == nullptr) {
        attachment_.check_deaths();
        reader->record = ring.join(attachment_.identity(), reader->policy, &reader->cursor);
    }
    if (reader->record == nullptr) {
        return Error{Status::limit_reached,
                     0,
                     "topic '" + reader->topic->name() + "' has " +
                         std::to_string(found.info.subscribers_max) +
                         " subscribers, which is its limit (TopicOptions::subscribers)"};
    }
    reader->tell_every = std::clamp<std::uint64_t>(ring.capacity() / 8, 1, reader->tell_every);
    const std::uint64_t tail = reader->cursor;
    std::uint64_t begin = tail;
    if (from.kind == From::Kind::earliest) {
        begin = tail - std::min<std::uint64_t>(tail, found.info.history);
        begin = std::max(begin, std::min(ring.floor(), tail));
    } else if (from.kind == From::Kind::sequence && from.number <= tail) {
        begin = from.number == 0 ? 0 : from.number - 1;
    }
    if (begin != tail) {
        reader->cursor = begin;
        ring.start_at(*reader->record, begin);
    }
    // Until it stood at the tail, a publisher may have taken it for one that is far behind.
    shm::wake_all(ring.control().space, attachment_.threads());
    const std::lock_guard hold(readers_mutex_);
    if (ended_.load(std::memory_order_acquire)) {  // Q1: pairs with subscription_run.cpp:Q2
        ring.retire_subscriber(*reader->record);   // `end` has come by already
    }
    readers_.push_back(std::move(reader));
    return {};
}

}  // namespace telpher::detail

// The topics of a domain: made at first use, one core for all handles of a connection.

#include "src/broker/publish_operation.hpp"
#include "src/broker/subscription_core.hpp"
#include "src/broker/topic_core.hpp"
#include "src/client/domain_core.hpp"
#include "src/wire/names.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

// A topic that is removed again and again while it is being used.
constexpr int kRemovedRounds = 8;

std::uint64_t topic_options_hash(const TopicOptions& options) {
    // FNV-1a.
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const std::uint64_t value : {std::uint64_t{options.capacity},
                                      std::uint64_t{options.history},
                                      static_cast<std::uint64_t>(options.slow),
                                      options.disconnect_after,
                                      std::uint64_t{options.subscribers},
                                      options.byte_budget}) {
        hash = (hash ^ value) * 0x100000001b3ULL;
    }
    return hash;
}

Result<void> check_topic(const TopicOptions& options) {
    const auto wrong = [](const char* field, std::uint64_t value, const std::string& allowed) {
        return Error{
            Status::bad_request,
            0,
            std::string(field) + " is " + std::to_string(value) + ", allowed are " + allowed};
    };
    if (options.capacity == 0 || options.capacity >= shm::kCapacityMax) {
        return wrong("capacity", options.capacity, "1.." + std::to_string(shm::kCapacityMax - 1));
    }
    if (options.history > options.capacity) {
        return wrong("history",
                     options.history,
                     "0.." + std::to_string(options.capacity) + " (the capacity)");
    }
    if (options.subscribers == 0 || options.subscribers > shm::kSubscribersMax) {
        return wrong(
            "subscribers", options.subscribers, "1.." + std::to_string(shm::kSubscribersMax));
    }
    if (options.slow > SlowSubscriber::disconnect) {
        return wrong("slow",
                     static_cast<std::uint64_t>(options.slow),
                     "drop_oldest (0), block (1), latest_only (2) and disconnect (3)");
    }
    return {};
}

}  // namespace

Result<shm::Found> DomainCore::make_topic(std::string_view name,
                                          const TopicOptions& options,
                                          bool* created) {
    shm::DestinationSpec spec;
    spec.name = name;
    spec.kind = shm::Kind::topic;
    spec.capacity = options.capacity;
    spec.options_hash = topic_options_hash(options);
    spec.byte_budget = options.byte_budget;
    spec.subscribers_max = options.subscribers;
    spec.history = options.history;
    spec.policy = static_cast<shm::SlowPolicy>(options.slow);
    spec.disconnect_after = options.disconnect_after;
    return create_in_directory(spec, created);
}

Result<std::shared_ptr<TopicCore>> DomainCore::open_topic(const shm::Found& found) {
    const std::string name = found.name();
    {
        const std::shared_lock hold(topics_mutex_);
        const auto known = topics_.find(name);
        if (known != topics_.end() && known->second->found().dest() == found.dest()) {
            return known->second;
        }
    }
    auto opened = TopicCore::open(*this, found);
    if (!opened) {
        return opened;
    }
    std::vector<std::shared_ptr<TopicCore>> removed;  // end after the lock, as the next
    std::shared_ptr<TopicCore> old;
    const std::unique_lock hold(topics_mutex_);
    // Others remove topics, too: a core kept here would keep its ring as long as our connection lives.
    for (auto entry = topics_.begin(); entry != topics_.end();) {
        if (entry->second->ring().closed()) {
            removed.push_back(std::move(entry->second));
            entry = topics_.erase(entry);
        } else {
            ++entry;
        }
    }
    auto& place = topics_[name];
    if (place != nullptr && place->found().dest() == found.dest()) {
        old = std::move(*opened);
        return place;  // another thread was faster
    }
    old = std::exchange(place, *opened);
    return opened;
}

Result<std::shared_ptr<TopicCore>> DomainCore::topic(std::string_view name) {
    {
        const std::shared_lock hold(topics_mutex_);
        const auto known = topics_.find(name);
        if (known != topics_.end() && !known->second->ring().closed()) {
            return known->second;
        }
    }
    if (auto named = wire::check_name("topic", name); !named) {
        return named.error();
    }
    for (int round = 0;; ++round) {
        if (const Status status = usable(); status != Status::ok) {
            return status;
        }
        bool created = false;
        const auto existing = attachment_->directory().find(name, shm::Family::topic);
        auto found = existing ? Result<shm::Found>(*existing) : make_topic(name, {}, &created);
        if (!found) {
            return found.error();
        }
        auto opened = open_topic(*found);
        if (opened || opened.status() != Status::topic_not_found || round == kRemovedRounds) {
            return opened;
        }
    }
}

Result<Topic> DomainCore::create_topic(std::string_view name, const TopicOptions& options) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (auto named = wire::check_name("topic", name); !named) {
        return named.error();
    }
    if (auto sound = check_topic(options); !sound) {
        return sound.error();
    }
    bool created = false;
    auto found = make_topic(name, options, &created);
    if (!found) {
        return found.error();
    }
    if (!created && found->info.options_hash != topic_options_hash(options)) {
        return Error{Status::mismatch,
                     0,
                     "topic '" + std::string(name) + "' exists with other options: capacity " +
                         std::to_string(found->info.capacity) + ", history " +
                         std::to_string(found->info.history) + ", slow " +
                         policy_name(static_cast<shm::SlowPolicy>(found->info.policy)) +
                         ", disconnect_after " + std::to_string(found->info.disconnect_after) +
                         ", subscribers " + std::to_string(found->info.subscribers_max) +
                         ", byte_budget " + std::to_string(found->info.byte_budget) +
                         "; a topic made at first use has the default ones"};
    }
    auto opened = open_topic(*found);
    if (!opened) {
        return opened.error();
    }
    return Topic(shared_from_this(), std::move(*opened), created);
}

Result<Topic> DomainCore::find_topic(std::string_view name) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    auto opened = topic(name);
    if (!opened) {
        return opened.error();
    }
    return Topic(shared_from_this(), std::move(*opened), false);
}

Result<void> DomainCore::remove_topic(std::string_view name) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (auto named = wire::check_name("topic", name); !named) {
        return named.error();
    }
    auto found = attachment_->directory().remove(name, shm::Family::topic);
    if (!found) {
        return found.error();
    }
    {
        std::shared_ptr<TopicCore> ours;  // ends after the lock
        const std::unique_lock hold(topics_mutex_);
        if (const auto known = topics_.find(name); known != topics_.end()) {
            ours = std::move(known->second);
            topics_.erase(known);
        }
    }
    if (auto guard = attachment_->directory().lock()) {
        attachment_->directory().recycle();
    }
    return {};
}

Result<TopicStatus> DomainCore::topic_status(std::string_view name) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (auto named = wire::check_name("topic", name); !named) {
        return named.error();
    }
    const auto found = attachment_->directory().find(name, shm::Family::topic);
    if (!found) {
        return Error{Status::topic_not_found,
                     0,
                     "no topic '" + std::string(name) + "' in domain '" + this->name() + "'"};
    }
    // A core of its own, not one of topics_: that would keep the memory of a topic that others remove
    // for as long as we look at the domain.
    auto opened = TopicCore::open(*this, *found);
    return opened ? (*opened)->status() : Result<TopicStatus>(opened.error());
}

Result<Published> DomainCore::publish(const Message& message,
                                      Duration timeout,
                                      const std::stop_token& stop) {
    for (int round = 0;; ++round) {
        auto found = topic(message.topic());
        if (!found) {
            return found.error();
        }
        auto published = (*found)->publish(message, timeout, stop);
        if (published || published.status() != Status::topic_not_found || round == kRemovedRounds) {
            return published;
        }
    }
}

Future<Published> DomainCore::publish_async(Message message,
                                            Duration timeout,
                                            const std::stop_token& stop) {
    // Finds a topic that is not removed at this moment, or makes it.
    auto found = topic(message.topic());
    return found ? (*found)->publish_async(std::move(message), timeout, stop)
                 : ready_future(Result<Published>(found.error()));
}

Result<Subscription> DomainCore::subscribe(std::vector<std::string> patterns,
                                           SampleHandler handler,
                                           SubscribeOptions options) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (patterns.empty()) {
        return Error{Status::bad_request, 0, "no topic to subscribe to"};
    }
    for (const std::string& pattern : patterns) {
        if (auto sound = wire::check_topic_pattern(pattern); !sound) {
            return sound.error();
        }
    }
    if (options.slow && *options.slow > SlowSubscriber::disconnect) {
        return Error{Status::bad_request,
                     0,
                     "slow is " + std::to_string(static_cast<unsigned>(*options.slow)) +
                         ", allowed are 0 to 3"};
    }
    auto core = std::make_shared<SubscriptionCore>(
        shared_from_this(), std::move(patterns), std::move(options));
    if (auto started = core->start(); !started) {
        return started.error();
    }
    if (handler) {
        if (auto runs = core->run(std::move(handler)); !runs) {
            return runs.error();
        }
    }
    return Subscription(std::move(core));
}

}  // namespace telpher::detail

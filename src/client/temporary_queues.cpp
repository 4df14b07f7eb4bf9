// Queues that die with whoever made them, and replies to them.

#include "shm/base/os.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_core.hpp"
#include "src/wire/names.hpp"

#include <algorithm>

namespace telpher::detail {

Result<Queue> DomainCore::create_temporary_queue(const TemporaryQueueOptions& options) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (auto sound = check_capacity(options.capacity); !sound) {
        return sound.error();
    }
    const std::uint32_t most = attachment_->segment().temporary_queues_max();
    {
        const std::lock_guard hold(temporaries_mutex_);
        if (temporaries_.size() + temporaries_begun_ >= most) {
            return Error{
                Status::limit_reached,
                0,
                "limits.temporary_queues is " + std::to_string(most) + ", this client has as many"};
        }
        ++temporaries_begun_;  // its place is kept while it is made
    }
    auto made = make_temporary(options);
    const std::lock_guard hold(temporaries_mutex_);
    --temporaries_begun_;
    return made;
}

Result<Queue> DomainCore::make_temporary(const TemporaryQueueOptions& options) {
    const auto random = shm::random_uuid();
    if (!random) {
        return random.error();
    }
    const std::string name = "temporary." + shm::to_string(*random);
    shm::DestinationSpec spec;
    spec.name = name;
    spec.kind = shm::Kind::temporary;
    spec.capacity = options.capacity;
    spec.owner = attachment_->identity();
    bool created = false;
    auto found = create_in_directory(spec, &created);
    if (!found) {
        return found.error();
    }
    if (!created) {
        return Error{Status::already_exists, 0, "a queue '" + name + "' exists"};
    }
    {
        const std::lock_guard hold(temporaries_mutex_);
        temporaries_.push_back(*found);
    }
    auto queue = QueueCore::open(shared_from_this(), *found, true);
    if (!queue) {
        end_temporary(*found);
    }
    return queue;
}

// The owner goes first: if the lock cannot be had, whoever has it next finds an orphan.
void DomainCore::end_temporary(const shm::Found& found) noexcept {
    {
        const std::lock_guard hold(temporaries_mutex_);
        if (std::erase_if(temporaries_, [&found](const shm::Found& known) {
                return known.entry == found.entry && known.generation == found.generation;
            }) == 0) {
            return;  // by `close`
        }
    }
    attachment_->directory().disown(found);
    attachment_->tidy_directory();
}

void DomainCore::end_temporaries() noexcept {
    std::vector<shm::Found> all;
    {
        const std::lock_guard hold(temporaries_mutex_);
        all.swap(temporaries_);
    }
    for (const shm::Found& found : all) {
        attachment_->directory().disown(found);
    }
    if (!all.empty()) {
        attachment_->tidy_directory();
    }
}

Result<std::uint64_t> DomainCore::reply(const MessageView& request,
                                        Message message,
                                        Duration timeout) {
    if (request.reply_to().empty()) {
        return Error{Status::bad_request, 0, "the request names no reply-to queue"};
    }
    auto queue = find_queue(request.reply_to(), {});
    if (!queue) {
        return queue.error();
    }
    message.answering(request);
    return queue->offer(message, timeout);
}

}  // namespace telpher::detail

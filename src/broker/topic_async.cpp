// Publishes that complete later.

#include "src/broker/parker.hpp"
#include "src/broker/publish_operation.hpp"
#include "src/broker/topic_core.hpp"
#include "src/client/domain_core.hpp"

namespace telpher::detail {
namespace {

// What a pending publish keeps open; the topic ends before its connection.
struct Kept {
    std::shared_ptr<DomainCore> domain;
    std::shared_ptr<TopicCore> topic;
};

bool may_wait_to_publish(Status status) {
    return status == Status::queue_full || status == Status::out_of_memory;
}

}  // namespace

PublishOperation::PublishOperation(std::shared_ptr<void> owner,
                                   TopicCore& topic,
                                   Parker& parker,
                                   Message what)
    : Operation(
          std::move(owner), parker, OperationKind::publish, topic.attachment(), topic.found()),
      topic_(&topic),
      message_(std::move(what)) {
    topic_->pending().fetch_add(1, std::memory_order_relaxed);  // relaxed: our next calls see it
}

Status PublishOperation::run() {
    auto published = topic_->publish(message_, {}, {});
    const Status status = published.status();
    if (!may_wait_to_publish(status)) {
        result.emplace(std::move(published));
        forget_input();
    }
    return status;
}

Status PublishOperation::usable() const noexcept { return topic_->usable(); }

void PublishOperation::account() noexcept {
    if (topic_ == nullptr) {
        return;  // a remote topic
    }
    // relaxed: published with the word, or read by the same thread
    topic_->pending().fetch_sub(1, std::memory_order_relaxed);
}

Future<Published> ready_future(Result<Published> result) {
    return FutureAccess::make<Published>(new PublishOperation(std::move(result)));
}

Future<Published> TopicCore::publish_async(Message message,
                                           Duration timeout,
                                           const std::stop_token& stop) {
    if (const Status status = refuse(timeout); status != Status::ok) {
        return ready_future(Result<Published>(explain(status, timeout)));
    }
    const bool waits = timeout.count() != 0;
    // Those that wait already go first. What is wrong with a message it need not wait to hear.
    // relaxed: our own operations are counted before this call
    if (!waits || publishes_pending_.load(std::memory_order_relaxed) == 0 || !message.check() ||
        message.topic() != name_ || wire::encoded_bytes(message) > source_.bytes_max()) {
        auto published = publish(message, {}, {});
        if (!waits || !may_wait_to_publish(published.status())) {
            return ready_future(std::move(published));
        }
    }
    if (stop.stop_requested()) {
        return ready_future(Result<Published>(Status::cancelled));
    }
    auto parker = domain_.parker();
    if (!parker) {
        return ready_future(Result<Published>(parker.error()));
    }
    auto* operation = new PublishOperation(
        std::make_shared<Kept>(Kept{domain_.shared_from_this(), shared_from_this()}),
        *this,
        **parker,
        std::move(message));
    operation->submit(timeout, stop);
    if (refuse({}) != Status::ok) {
        (*parker)->look_at_all();  // closed meanwhile: its sweep may have been before
    }
    return FutureAccess::make<Published>(operation);
}

}  // namespace telpher::detail

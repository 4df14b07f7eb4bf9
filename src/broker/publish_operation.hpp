#pragma once
// One asynchronous publish that has to wait: for memory, or for blocking subscribers.
//
//   Contents   as Operation.
//   Crash      private memory of one process: gone with it, and not published.

#include "telpher/topic.hpp"

#include "src/broker/operation.hpp"

namespace telpher::detail {

class TopicCore;

class PublishOperation : public Operation {
  public:
    // Finished from the start.
    explicit PublishOperation(Result<Published> outcome) : Operation(nullptr) {
        result.emplace(std::move(outcome));
    }
    // `owner` keeps the topic and its connection.
    PublishOperation(std::shared_ptr<void> owner, TopicCore& topic, Parker& parker, Message what);

    // Of a remote client.
    PublishOperation(std::shared_ptr<void> owner, std::shared_ptr<OperationHost> host)
        : Operation(std::move(owner), std::move(host), OperationKind::publish) {}

    Status run() override;
    void fail(Status status) override { result.emplace(status); }
    [[nodiscard]] Status usable() const noexcept override;

    std::optional<Result<Published>> result;

  protected:
    void forget_input() noexcept override { message_ = Message{}; }
    void put_back() noexcept override {}  // published is published
    void account() noexcept override;

  private:
    TopicCore* topic_ = nullptr;
    Message message_;
};

Future<Published> ready_future(Result<Published> result);

}  // namespace telpher::detail

#pragma once
// One asynchronous call: sent where send_async was called, awaited by the parker, whose thread the
// request names.
//
//   Contents   as Operation; who withdraws it gives the call up.
//   Crash      the request is the process' (shm/call.hpp); the rest is private memory.

#include "src/broker/call_target.hpp"
#include "src/broker/operation.hpp"

namespace telpher::detail {

class DomainCore;

class CallOperation : public Operation {
  public:
    // Errors: as Client::send before it is sent; limit_reached (threads).
    static Result<Future<Message>> start(std::shared_ptr<DomainCore> domain,
                                         std::shared_ptr<CallTarget> target,
                                         const Message& request,
                                         Duration timeout);
    // Finished from the start.
    explicit CallOperation(Result<Message> outcome);
    CallOperation(const std::shared_ptr<DomainCore>& domain,
                  Parker& parker,
                  std::shared_ptr<CallTarget> target);
    // Of a remote client.
    CallOperation(std::shared_ptr<void> owner, std::shared_ptr<OperationHost> host)
        : Operation(std::move(owner), std::move(host), OperationKind::call) {}

    [[nodiscard]] bool ready() const noexcept override;
    Status run() override;
    void fail(Status status) override;
    [[nodiscard]] Status usable() const noexcept override;

    std::optional<Result<Message>> result;

  protected:
    void forget_input() noexcept override;
    void put_back() noexcept override {}  // what the server did is done
    void account() noexcept override {}

  private:
    std::shared_ptr<CallTarget> target_;
    DomainCore* domain_ = nullptr;
    Parker* awaits_ = nullptr;
    std::uint32_t chunk_ = shm::kNoChunk;
    std::uint32_t attempts_ = 1;
    std::uint64_t again_ns_ =
        0;  // when it is sent again: one of its id runs elsewhere; 0: it does not
    static constexpr std::uint64_t kFirstRestNs = 500'000;
    std::uint64_t rest_ns_ = kFirstRestNs;
    [[nodiscard]] bool was_deferred() const noexcept { return rest_ns_ != kFirstRestNs; }
    std::uint64_t began_ns_ = 0;
};

Future<Message> ready_future(Result<Message> result);

}  // namespace telpher::detail

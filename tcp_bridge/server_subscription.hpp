#pragma once
// A remote subscription: a handler's thread that reads the topics as far as the client has granted, and hands
// each message to the I/O thread.
//
//   Threads  `grant` and `end` the I/O thread; the handler its own
//   Memory   at most as many samples as were granted; the handler waits beyond that, so that the topic's
//            policy for slow subscribers meets a slow client

#include "telpher/client.hpp"

#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/inbox.hpp"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace telpher::bridge {

class ServerSubscription : public std::enable_shared_from_this<ServerSubscription> {
  public:
    struct Tell {  // both on the I/O thread
        std::function<void(std::uint64_t sequence, std::uint64_t lost, Bytes message)> sample;
        std::function<void(const Error& why)> ended;
    };
    ServerSubscription(std::shared_ptr<Inbox> inbox, Tell tell)
        : inbox_(std::move(inbox)), tell_(std::move(tell)) {}
    ServerSubscription(const ServerSubscription&) = delete;
    ServerSubscription& operator=(const ServerSubscription&) = delete;
    ~ServerSubscription() { end(); }

    // Errors: as Client::subscribe.
    Result<void> start(Client& client, const Subscribe& what, std::uint64_t credit);
    void grant(std::uint64_t more);
    // The connection was cut, and nobody knows what of it was used.
    void forget_credit();
    // No handler runs when this returns; nothing is told any more.
    void end() noexcept;

  private:
    void on_sample(const Sample& sample);

    const std::shared_ptr<Inbox> inbox_;
    const Tell tell_;
    std::mutex mutex_;  // guards the next two
    std::condition_variable changed_;
    std::uint64_t credit_ = 0;
    bool ended_ = false;
    Subscription subscription_;
};

}  // namespace telpher::bridge

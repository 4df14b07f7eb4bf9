#pragma once
// A remote subscription: a handler's thread that reads the topics as far as the client has granted, and
// gathers frames for the I/O thread, which is told once for as many as there are when it comes.
//
//   Threads  `grant` and `end` the I/O thread; the handler its own
//   Memory   at most as many samples as were granted; the handler waits beyond that, so that the topic's
//            policy for slow subscribers meets a slow client

#include "telpher/client.hpp"

#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/inbox.hpp"
#include "tcp_bridge/send_queue.hpp"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace telpher::bridge {

// Samples on their way to the I/O thread, in order: whole SAMPLE frames, then one that is too large for a frame.
struct Samples {
    Bytes frames{};
    FrameHead head{};
    Bytes large{};  // the message behind `head`; empty: there is none
};

class ServerSubscription : public std::enable_shared_from_this<ServerSubscription> {
  public:
    struct Tell {  // both on the I/O thread
        std::function<void(Samples samples)> samples;
        std::function<void(const Error& why)> ended;
    };
    ServerSubscription(std::shared_ptr<Inbox> inbox, std::uint16_t channel, Tell tell)
        : inbox_(std::move(inbox)), channel_(channel), tell_(std::move(tell)) {}
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
    void hand_over();

    const std::shared_ptr<Inbox> inbox_;
    const std::uint16_t channel_;
    const Tell tell_;
    Bytes message_;     // the handler's, between samples
    std::mutex mutex_;  // guards what follows, but the last
    std::condition_variable changed_;
    std::uint64_t credit_ = 0;
    bool ended_ = false;
    std::vector<Samples> ready_;  // for the I/O thread, which knows if there are some
    Subscription subscription_;
};

}  // namespace telpher::bridge

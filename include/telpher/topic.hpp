#pragma once
// Publish and subscribe: every subscriber sees every message published after it joined, all of them in
// one order.

#include "telpher/future.hpp"
#include "telpher/loan.hpp"
#include "telpher/message.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace telpher {

namespace detail {
class DomainCore;
class TopicCore;
class SubscriptionCore;
class RemoteTopic;
class RemoteSubscription;
class Retrier;
struct RetryAccess;
struct TopicReader;
}  // namespace detail

// What a publish did.
struct Published {
    std::uint64_t sequence = 0;     // of the message in its topic: 1, 2, 3, ...
    std::uint32_t subscribers = 0;  // at that moment; none is not an error
};

// What `Topic::status` tells: a snapshot, each figure exact at some moment during the call.
struct TopicStatus {
    std::string name;
    std::string slow;  // "drop_oldest", "block", "latest_only", "disconnect"
    std::uint32_t capacity = 0;
    std::uint32_t history = 0;
    std::uint64_t published = 0;  // ever
    std::uint64_t depth = 0;      // messages kept
    std::uint64_t bytes = 0;      // of their chunks
    std::uint64_t lost = 0;       // by those who subscribe now, all together
    std::uint32_t subscribers = 0;
    std::uint64_t slowest_lag = 0;  // messages that the slowest subscriber is behind
    bool removed = false;
};

template <>
Result<Published> Future<Published>::get(Duration timeout);

// A handle to one topic. Copies share it. Keeps its connection alive.
//
//   Threads   all members any number at once.
//   Fork      in a forked child every call answers `forked`.
class Topic {
  public:
    Topic() = default;

    // Appends a copy of `message`, whose topic must be this one, and wakes the subscribers that sleep.
    //
    //   timeout  for memory, and for blocking subscribers (SlowSubscriber::block); 0 = do not wait
    //   errors   queue_full (timeout 0), timed_out: a blocking subscriber is too far behind;
    //            topic_not_found (removed), bad_request (the message's first violated limit; another
    //            topic's message), message_too_large, out_of_memory, limit_reached (threads),
    //            cancelled, closed, domain_removed, forked, corrupt. All: did not happen.
    //   cost     two contended atomic operations, whatever the number of subscribers; a system call
    //            for each one that sleeps; no allocation
    //   crash    killed before the commit: not published; after it: published
    Result<Published> publish(const Message& message,
                              Duration timeout = {},
                              std::stop_token stop = {});
    // The same with retries of its own, as Queue::offer.
    Result<Published> publish(const Message& message,
                              Duration timeout,
                              const RetryOptions& options);
    // Without a copy. Moved from only on success.
    Result<Published> publish(Loan&& loan, Duration timeout = {}, std::stop_token stop = {});
    template <typename T>
    Result<Published> publish(TypedLoan<T>&& loan,
                              Duration timeout = {},
                              std::stop_token stop = {}) {
        return publish(std::move(loan.untyped()), timeout, std::move(stop));
    }
    // The same without waiting: the future is ready at once unless there is no memory or a blocking
    // subscriber is too far behind. Those of one Server or Client: in the order of the calls.
    //
    //   timeout  how long it may be pending; 0 = not at all: the future is ready
    //   errors   in the future: as publish, and overloaded (the thread that serves all futures is kept
    //            busy), limit_reached (threads)
    //   cost     as publish, and an allocation; pending: woken once by a subscriber
    //   crash    killed with it pending: not published
    Future<Published> publish_async(Message message,
                                    Duration timeout = {},
                                    std::stop_token stop = {});
    // Memory for `payload_bytes` in the segment, as Queue::loan.
    Result<Loan> loan(std::size_t payload_bytes, Duration timeout = {});
    template <typename T>
    Result<TypedLoan<T>> loan(Duration timeout = {}) {
        auto loan = loan_typed(detail::type_id<T>(), sizeof(T), timeout);
        return loan ? Result<TypedLoan<T>>(TypedLoan<T>(std::move(*loan)))
                    : Result<TypedLoan<T>>(loan.error());
    }

    [[nodiscard]] Result<TopicStatus> status() const;
    [[nodiscard]] const std::string& name() const;
    [[nodiscard]] bool created() const;  // whether this handle's call made it
    explicit operator bool() const noexcept { return core_ != nullptr || remote_ != nullptr; }

  private:
    friend class detail::DomainCore;
    friend struct detail::RemoteAccess;
    friend struct detail::RetryAccess;
    Topic(std::shared_ptr<detail::DomainCore> domain,
          std::shared_ptr<detail::TopicCore> core,
          bool created)
        : domain_(std::move(domain)), core_(std::move(core)), created_(created) {}
    Result<Loan> loan_typed(std::uint64_t type_id, std::size_t size_bytes, Duration timeout);
    std::shared_ptr<detail::DomainCore> domain_;  // outlives the core
    std::shared_ptr<detail::TopicCore> core_;
    std::shared_ptr<detail::RemoteTopic> remote_;  // instead of the core
    bool created_ = false;
    bool retries_ = false;  // whether the next one has a policy for all operations
    std::shared_ptr<detail::Retrier> retrier_;  // of its Client or Server
};

// A message of a topic as one subscriber sees it: small ones are copied into it, others are read
// where the publisher wrote them. Move-only.
//
//   Accessors  all of MessageView; views into it end with the sample, and when it is moved.
//   Lifetime   holds the message's memory while it exists, if it was not copied: six at a time for
//              each topic of a subscription; beyond that messages are copied, however large.
//   Threads    one at a time; may move between threads of the process
class Sample : public MessageView {
  public:
    // Not `= default`, which would zero the buffer.
    // NOLINTNEXTLINE(modernize-use-equals-default, cppcoreguidelines-pro-type-member-init)
    Sample() noexcept {}
    Sample(Sample&& other) noexcept;
    Sample& operator=(Sample&& other) noexcept;
    Sample(const Sample&) = delete;
    Sample& operator=(const Sample&) = delete;
    ~Sample() {
        if (reader_ != nullptr) {
            release();
        }
    }

    // Its number in its topic: 1, 2, 3, ... in the one order that all subscribers see.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }
    // How many messages of this topic the subscription lost since the sample before. Where none expired
    // in between, those with the numbers sequence() - lost_before() to sequence() - 1.
    [[nodiscard]] std::uint64_t lost_before() const noexcept { return lost_before_; }
    // Whether it is read where the publisher wrote it.
    [[nodiscard]] bool in_place() const noexcept { return reader_ != nullptr; }
    // The T that was published as a typed loan; null if it is none, or of another type.
    template <typename T>
    [[nodiscard]] const T* as() const noexcept {
        const auto tag = type_tag();
        return tag && tag->id == detail::type_id<T>() && payload().size() == sizeof(T)
                   ? reinterpret_cast<const T*>(payload().data())
                   : nullptr;
    }
    // A sample may stand wherever an owning message is asked for; the copy is made there.
    // NOLINTNEXTLINE(google-explicit-constructor)
    operator Message() const { return to_message(); }

  private:
    friend class detail::SubscriptionCore;
    friend struct detail::RemoteAccess;
    static constexpr std::size_t kBufferBytes = 240;
    void take_over(Sample& other) noexcept;
    void release() noexcept;

    std::uint64_t sequence_ = 0;
    std::uint64_t lost_before_ = 0;
    detail::TopicReader* reader_ = nullptr;  // of a message that is read in place
    std::uint32_t hazard_ = 0;
    bool buffered_ = false;
    std::shared_ptr<const void> keeps_{};  // the reader's subscription, or a copy of the message
    alignas(8) std::byte buffer_[kBufferBytes];
};

// Where a subscription begins.
struct From {
    enum class Kind : std::uint8_t { latest, earliest, sequence };
    Kind kind = Kind::latest;
    std::uint64_t number = 0;
    // With what is published from now on.
    static From latest() { return {}; }
    // With the topic's history (TopicOptions::history).
    static From earliest() { return {Kind::earliest, 0}; }
    // With message `number`, if the topic still has it; what it has not counts as lost. A number that
    // is yet to come: with what is published from now on.
    static From sequence(std::uint64_t number) { return {Kind::sequence, number}; }
};

struct SubscribeOptions {
    From from{};
    // Instead of the topic's own; `block` only where the topic says so.
    std::optional<SlowSubscriber> slow{};
    // Runs handlers, one after another, instead of the subscription's own thread: called with what is
    // to be run, which must be run once, soon, on any thread.
    std::function<void(std::function<void()>)> executor{};
    // Told of handlers that threw, with the text; otherwise they are counted only.
    std::function<void(std::string_view)> on_error{};
    // Told why a subscription with a handler ended by itself: topic_not_found (its topics were
    // removed), disconnected (too slow), closed, domain_removed, corrupt.
    std::function<void(const Error&)> on_end{};
};

// What `Subscription::status` tells.
struct SubscriptionStatus {
    std::uint32_t topics = 0;
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
    std::uint64_t expired = 0;
    std::uint64_t handler_errors = 0;
    bool running = false;
};

// One subscriber of one topic, of several, or of all that match a pattern. Move-only.
//
//   Order     of one topic: as published, for every subscriber. Between topics: none.
//   Threads   `next` one at a time; `unsubscribe` and `status` any number beside it.
//   Fork      in a forked child `next` answers `forked`, and the destructor does nothing.
//   Crash     a killed subscriber's place is free within milliseconds, and blocks nobody.
class Subscription {
  public:
    Subscription() = default;
    Subscription(Subscription&&) noexcept = default;
    Subscription& operator=(Subscription&& other) noexcept;
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;
    // As unsubscribe.
    ~Subscription();

    // The next message of any of its topics.
    //
    //   timeout  0 = do not wait
    //   errors   queue_empty (timeout 0), timed_out, cancelled, closed (also after unsubscribe),
    //            topic_not_found (all its topics were removed), disconnected (it lost too much),
    //            bad_request (negative timeout; a subscription with a handler), limit_reached
    //            (threads), out_of_memory (the message's data segment cannot be mapped here),
    //            domain_removed, forked, corrupt
    //   cost     for messages of up to about 200 bytes a copy and no locked instruction; for larger
    //            ones two; no system call unless it sleeps, no allocation
    Result<Sample> next(Duration timeout = {}, std::stop_token stop = {});
    // Waits for one and takes those with it that are there, at most `max` (1 and more).
    Result<std::vector<Sample>> next_n(std::size_t max,
                                       Duration timeout = {},
                                       std::stop_token stop = {});
    // Ends it. When this returns, no handler is running any more, and none will; called from the
    // handler itself, or from the executor that runs it, it returns at once.
    void unsubscribe() noexcept;
    [[nodiscard]] SubscriptionStatus status() const;
    explicit operator bool() const noexcept { return core_ != nullptr || remote_ != nullptr; }

  private:
    friend class detail::DomainCore;
    friend struct detail::RemoteAccess;
    explicit Subscription(std::shared_ptr<detail::SubscriptionCore> core)
        : core_(std::move(core)) {}
    std::shared_ptr<detail::SubscriptionCore> core_;
    std::shared_ptr<detail::RemoteSubscription> remote_;  // instead of the core
};

namespace detail {

// Handlers take a `const Message&` (their own copy) or a `const Sample&` (in place, with its number).
using SampleHandler = std::function<void(const Sample&)>;

template <typename Handler>
SampleHandler make_sample_handler(Handler&& handler) {
    if constexpr (std::is_invocable_v<Handler&, const Message&>) {
        return [handler = std::forward<Handler>(handler)](const Sample& sample) mutable {
            handler(sample.to_message());
        };
    } else {
        static_assert(std::is_invocable_v<Handler&, const Sample&>,
                      "a handler takes a const Message& or a const Sample&");
        return std::forward<Handler>(handler);
    }
}

}  // namespace detail
}  // namespace telpher

// The remote end of Subscription: samples that came and were not taken, and the thread of a handler.
//
//   Locks    mutex_ is never held when the connection is asked something.
//   Memory   a window of samples (RemoteLimits::window)

#include "shm/base/clock.hpp"
#include "src/broker/causation.hpp"
#include "tcp_bridge/quiet_thread.hpp"
#include "tcp_bridge/remote_client.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace telpher::bridge {
namespace {

// Credit is given back for so many at a time; less than half a window.
constexpr std::uint32_t kGrantAtOnce = 32;
constexpr std::uint64_t kForeverNs = 3'600'000'000'000;

class SubscriptionEnd final : public detail::RemoteSubscription,
                              public SampleSink,
                              public std::enable_shared_from_this<SubscriptionEnd> {
  public:
    SubscriptionEnd(std::shared_ptr<RemoteHandle> client,
                    std::uint32_t topics,
                    SubscribeOptions options)
        : client_(std::move(client)), options_(std::move(options)) {
        status_.topics = topics;
        status_.running = true;
    }

    Result<void> begin(Subscribe what);
    Result<void> run(detail::SampleHandler handler);

    Result<Sample> next(Duration timeout, const std::stop_token& stop) override;
    Result<std::vector<Sample>> next_n(std::size_t max,
                                       Duration timeout,
                                       const std::stop_token& stop) override;
    void unsubscribe() noexcept override;
    [[nodiscard]] SubscriptionStatus status() const override {
        const std::lock_guard hold(mutex_);
        return status_;
    }

    // ---- SampleSink ----
    void sample(Answer answer, std::uint64_t lost_before) noexcept override;
    // All: unsubscribe() may wait beside next().
    void wake() noexcept override { changed_.notify_all(); }
    void ended(const Error& why) noexcept override;

  private:
    Result<Sample> take(std::uint64_t timeout_ns, const std::stop_token& stop);
    void handle();
    void give(const Sample& sample);
    void run_handler(const Sample& sample) noexcept;
    void count_handler_error(std::string_view text) noexcept;
    [[nodiscard]] bool unsubscribed() const noexcept {
        const std::lock_guard hold(mutex_);
        return unsubscribed_;
    }

    const std::shared_ptr<RemoteHandle> client_;
    const SubscribeOptions options_;
    std::uint16_t channel_ = 0;
    detail::SampleHandler handler_;

    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable changed_;
    std::deque<Sample> samples_;
    std::uint32_t taken_ = 0;  // and not granted anew
    std::optional<Error> end_;
    bool unsubscribed_ = false;
    bool handling_ = false;           // its thread has not finished
    bool given_ = false;              // to the executor, which has not run it
    std::thread::id handler_thread_;  // that runs the handler now
    SubscriptionStatus status_;
};

Result<void> SubscriptionEnd::begin(Subscribe what) {
    auto* operation = new RemoteOffer(client_, client_->connection());
    auto future = detail::FutureAccess::make<std::uint64_t>(operation);
    client_->connection()->with([&](RemoteSession& session, std::uint64_t now) {
        channel_ = session.subscribe(std::move(what), shared_from_this(), operation, now);
    });
    if (channel_ == 0) {
        operation->drop();  // nobody will answer
        return Error{Status::limit_reached, 0, "too many queues and subscriptions"};
    }
    const auto begun = future.get(kUntilAnswered);
    if (!begun) {
        unsubscribe();
        return begun.error();
    }
    return {};
}

// ---- samples -----------------------------------------------------------------------------------

void SubscriptionEnd::sample(Answer answer, std::uint64_t lost_before) noexcept {
    auto memory = std::make_shared<const detail::RemoteMemory>(std::move(answer.message));
    const std::lock_guard hold(mutex_);
    if (end_) {
        return;
    }
    samples_.push_back(
        detail::RemoteAccess::sample(std::move(memory), answer.view, answer.value, lost_before));
    status_.lost += lost_before;
}

void SubscriptionEnd::ended(const Error& why) noexcept {
    const std::lock_guard hold(mutex_);
    if (!end_) {
        end_ = why;
        status_.running = false;
        changed_.notify_all();
    }
}

Result<Sample> SubscriptionEnd::take(std::uint64_t timeout_ns, const std::stop_token& stop) {
    std::unique_lock hold(mutex_);
    if (samples_.empty() && !end_ && timeout_ns > 0) {
        hold.unlock();
        const std::stop_callback on_stop(stop, [this] {
            const std::lock_guard tell(mutex_);
            changed_.notify_all();
        });
        const auto until = std::chrono::steady_clock::now() +
                           std::chrono::nanoseconds(std::min(timeout_ns, kForeverNs));
        const auto ready = [&] { return !samples_.empty() || end_ || stop.stop_requested(); };
        hold.lock();
        while (!ready() && changed_.wait_until(hold, until) == std::cv_status::no_timeout) {
        }
        hold.unlock();  // the callback's end may wait for it
    }
    if (!hold.owns_lock()) {
        hold.lock();
    }
    if (unsubscribed_) {
        return Status::closed;
    }
    if (samples_.empty()) {
        if (end_) {
            return *end_;
        }
        if (stop.stop_requested()) {
            return Status::cancelled;
        }
        return timeout_ns == 0 ? Status::queue_empty : Status::timed_out;
    }
    Sample sample = std::move(samples_.front());
    samples_.pop_front();
    ++status_.received;
    std::uint32_t grant = 0;
    if (++taken_ >= kGrantAtOnce) {
        grant = std::exchange(taken_, 0);
    }
    hold.unlock();
    if (grant > 0) {
        client_->connection()->with(
            [&](RemoteSession& session, std::uint64_t /*now*/) { session.grant(channel_, grant); });
    }
    return sample;
}

Result<Sample> SubscriptionEnd::next(Duration timeout, const std::stop_token& stop) {
    if (auto sound = client_->check(timeout); !sound) {
        return sound.error();
    }
    if (handler_) {
        return Error{Status::bad_request, 0, "the subscription has a handler, which takes them"};
    }
    return take(ns_of(timeout), stop);
}

Result<std::vector<Sample>> SubscriptionEnd::next_n(std::size_t max,
                                                    Duration timeout,
                                                    const std::stop_token& stop) {
    if (max == 0) {
        return Error{Status::bad_request, 0, "max is 0, allowed are 1 and more"};
    }
    auto first = next(timeout, stop);
    if (!first) {
        return first.error();
    }
    std::vector<Sample> all;
    all.push_back(std::move(*first));
    while (all.size() < max) {
        auto more = next({}, {});
        if (!more) {
            break;
        }
        all.push_back(std::move(*more));
    }
    return all;
}

// ---- the handler -------------------------------------------------------------------------------

Result<void> SubscriptionEnd::run(detail::SampleHandler handler) {
    handler_ = std::move(handler);
    handling_ = true;
    // The thread keeps us until the subscription ends.
    if (!start_quiet_thread("telpher-handler", [self = shared_from_this()] { self->handle(); })) {
        handling_ = false;
        return Error{Status::limit_reached, 0, "no thread for the subscription's handler"};
    }
    return {};
}

void SubscriptionEnd::handle() {
    Error why;
    for (;;) {
        auto sample = take(kForeverNs, {});
        if (sample) {
            give(*sample);
        } else if (sample.status() != Status::timed_out) {
            why = sample.error();
            break;
        }
    }
    if (options_.on_end && !unsubscribed()) {
        try {
            options_.on_end(why);
        } catch (...) {
            count_handler_error("on_end threw");
        }
    }
    const std::lock_guard hold(mutex_);
    handling_ = false;
    changed_.notify_all();
}

// One after another, also by an executor: we wait for it.
void SubscriptionEnd::give(const Sample& sample) {
    if (!options_.executor) {
        run_handler(sample);
        return;
    }
    const auto done = [self = shared_from_this()] {
        const std::lock_guard hold(self->mutex_);
        self->given_ = false;
        self->changed_.notify_all();
    };
    {
        const std::lock_guard hold(mutex_);
        given_ = true;
    }
    try {
        options_.executor([this, &sample, done] {
            run_handler(sample);
            done();
        });
    } catch (...) {
        count_handler_error("the executor threw");
        done();
    }
    std::unique_lock hold(mutex_);
    changed_.wait(hold, [this] { return !given_; });
}

void SubscriptionEnd::run_handler(const Sample& sample) noexcept {
    {
        const std::lock_guard hold(mutex_);
        if (unsubscribed_) {
            return;
        }
        handler_thread_ = std::this_thread::get_id();
    }
    try {
        const detail::CauseScope cause(sample);
        handler_(sample);
    } catch (const std::exception& failure) {
        count_handler_error(failure.what());
    } catch (...) {
        count_handler_error("an exception that is no std::exception");
    }
    const std::lock_guard hold(mutex_);
    handler_thread_ = {};
    changed_.notify_all();
}

void SubscriptionEnd::count_handler_error(std::string_view text) noexcept {
    {
        const std::lock_guard hold(mutex_);
        ++status_.handler_errors;
    }
    if (options_.on_error) {
        try {
            options_.on_error(text);
        } catch (...) {  // told once is enough
            const std::lock_guard hold(mutex_);
            ++status_.handler_errors;
        }
    }
}

void SubscriptionEnd::unsubscribe() noexcept {
    if (client_->connection()->forked()) {
        return;
    }
    {
        const std::lock_guard hold(mutex_);
        unsubscribed_ = true;
        end_ = Error{Status::closed, 0, {}};
        status_.running = false;
        changed_.notify_all();
    }
    client_->connection()->with(
        [this](RemoteSession& session, std::uint64_t /*now*/) { session.close(channel_); });
    std::deque<Sample> unread;
    std::unique_lock hold(mutex_);
    unread.swap(samples_);
    changed_.wait(hold, [this] {
        return handler_thread_ == std::thread::id() ||
               handler_thread_ == std::this_thread::get_id();
    });
}

}  // namespace

Result<std::shared_ptr<detail::RemoteSubscription>> make_remote_subscription(
    std::shared_ptr<RemoteHandle> client,
    Subscribe what,
    detail::SampleHandler handler,
    SubscribeOptions options) {
    auto subscription = std::make_shared<SubscriptionEnd>(
        std::move(client), static_cast<std::uint32_t>(what.patterns.size()), std::move(options));
    if (auto begun = subscription->begin(std::move(what)); !begun) {
        return begun.error();
    }
    if (handler) {
        if (auto started = subscription->run(std::move(handler)); !started) {
            subscription->unsubscribe();
            return started.error();
        }
    }
    return std::shared_ptr<detail::RemoteSubscription>(std::move(subscription));
}

}  // namespace telpher::bridge

#include "src/client/consuming.hpp"

#include "shm/base/signals.hpp"

#include <pthread.h>
#include <unistd.h>

#include <new>
#include <system_error>

namespace telpher::detail {
namespace {

// Ours, on a thread of it: `stop` does not wait for itself.
thread_local const Consuming* t_consuming = nullptr;

constexpr Duration kRetryAfterMax = std::chrono::hours(24 * 365);

Result<void> refuse(std::string_view name, std::int64_t value, std::string_view allowed) {
    return Error{Status::bad_request,
                 0,
                 std::string(name) + " is " + std::to_string(value) + ", allowed are " +
                     std::string(allowed)};
}

Result<void> check_consume(const ConsumeOptions& options) {
    if (options.threads == 0 || options.threads > kConsumeThreadsMax) {
        return refuse("threads", options.threads, "1 to 64");
    }
    if (options.prefetch == 0 || options.prefetch > kPrefetchMax) {
        return refuse("prefetch", options.prefetch, "1 to 256");
    }
    if (options.retry_after.count() < 0 || options.retry_after > kRetryAfterMax) {
        return refuse("retry_after", options.retry_after.count(), "0 ns to 365 days");
    }
    return {};
}

}  // namespace

Consuming::Consuming(Queue queue,
                     ConsumeHandler handler,
                     const ConsumeOptions& options,
                     const QueueStatus& status)
    : queue_(std::move(queue)),
      handler_(std::move(handler)),
      options_(options),
      lease_(status.delivery == DeliveryMode::at_least_once ? status.lease : Duration{}),
      deliveries_max_(status.deliveries_max),
      pid_(::getpid()),
      batches_(options.threads),
      lot_(options.gate && options.gate->core_ != nullptr
               ? std::make_shared<ParkingLot>(options.gate->core_, options.threads)
               : nullptr),
      going_on_(lot_ != nullptr ? options.threads : 0) {}

Consuming::~Consuming() {
    if (forked()) {
        // The threads are the parent's.
        static_cast<void>(new (std::nothrow) std::vector<std::thread>(std::move(threads_)));
        return;
    }
    for (std::thread& thread : threads_) {
        if (thread.joinable()) {
            thread
                .detach();  // the handle was destroyed in a handler; this is the last of its threads
        }
    }
}

bool Consuming::forked() const noexcept { return ::getpid() != pid_; }

Result<std::shared_ptr<Consuming>> Consuming::start(Queue queue,
                                                    ConsumeHandler handler,
                                                    const ConsumeOptions& options) {
    if (auto sound = check_consume(options); !sound) {
        return sound.error();
    }
    const auto status = queue.status();
    if (!status) {
        return status.error();
    }
    auto consuming =
        std::make_shared<Consuming>(std::move(queue), std::move(handler), options, *status);
    if (auto started = consuming->start_threads(); !started) {
        consuming->stop();
        return started.error();
    }
    return consuming;
}

Result<void> Consuming::start_threads() {
    const std::lock_guard hold(threads_mutex_);
    const shm::SignalsBlocked blocked;
    const auto begin = [this](const char* name, auto body) -> Result<void> {
        try {
            threads_.emplace_back([self = shared_from_this(), name, body] {
                pthread_setname_np(pthread_self(), name);
                t_consuming = self.get();
                body(*self);
                t_consuming = nullptr;
            });
            return {};
        } catch (const std::system_error& failed) {
            return Error{
                Status::limit_reached, failed.code().value(), "no thread could be started"};
        }
    };
    // Counted before the first runs: none that ends at once takes the extender with it.
    const std::size_t handlers = batches_.size() + going_on_.size();
    // relaxed: published by the start
    running_.store(static_cast<std::uint32_t>(handlers), std::memory_order_relaxed);
    Result<void> started;
    std::size_t begun = 0;
    while (begun < handlers && started) {
        if (begun < going_on_.size()) {
            started = begin("telpher-gate", [begun](Consuming& self) { self.run_parked(begun); });
        } else {
            started =
                begin("telpher-consume",
                      [thread = begun - going_on_.size()](Consuming& self) { self.run(thread); });
        }
        begun += started ? 1U : 0U;
    }
    if (started && lease_.count() != 0) {
        started = begin("telpher-extend", [](Consuming& self) { self.extend_leases(); });
    }
    for (std::size_t missing = begun; missing < handlers; ++missing) {
        if (lot_ != nullptr && missing >= going_on_.size()) {
            lot_->leave(false);
        }
        // Z1: pairs with Z1.
        running_.fetch_sub(1, std::memory_order_acq_rel);
    }
    return started;
}

void Consuming::stop() noexcept {
    if (forked()) {
        return;
    }
    stop_.request_stop();
    if (lot_ != nullptr) {
        lot_->close();
    }
    if (t_consuming == this) {
        return;
    }
    const std::lock_guard hold(threads_mutex_);
    for (std::thread& thread : threads_) {
        thread.join();
    }
    threads_.clear();
}

bool Consuming::running() const noexcept {
    // relaxed: a moment's truth
    return !forked() && !stop_.stop_requested() && running_.load(std::memory_order_relaxed) != 0;
}

ConsumerStatus Consuming::status() const noexcept {
    ConsumerStatus status;
    // relaxed, all: statistics
    status.acknowledged = acknowledged_.load(std::memory_order_relaxed);
    status.given_back = given_back_.load(std::memory_order_relaxed);          // relaxed: as above
    status.rejected = rejected_.load(std::memory_order_relaxed);              // relaxed: as above
    status.handler_errors = handler_errors_.load(std::memory_order_relaxed);  // relaxed: as above
    status.extended = extended_.load(std::memory_order_relaxed);              // relaxed: as above
    status.leases_lost = leases_lost_.load(std::memory_order_relaxed);        // relaxed: as above
    status.running = running();
    return status;
}

}  // namespace telpher::detail

namespace telpher {

Result<Consumer> Queue::consume_with(detail::ConsumeHandler handler,
                                     const ConsumeOptions& options) {
    auto started = detail::Consuming::start(*this, std::move(handler), options);
    return started ? Result<Consumer>(Consumer(std::move(*started)))
                   : Result<Consumer>(started.error());
}

void Consumer::stop() noexcept {
    if (core_ != nullptr) {
        core_->stop();
    }
}

bool Consumer::running() const noexcept { return core_ != nullptr && core_->running(); }

ConsumerStatus Consumer::status() const noexcept {
    return core_ != nullptr ? core_->status() : ConsumerStatus{};
}

}  // namespace telpher

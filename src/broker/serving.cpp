// How serving starts and ends, and the loop of its threads. What is done with a request lies in
// serving_request.cpp.

#include "src/broker/serving.hpp"

#include "shm/base/signals.hpp"
#include "src/broker/call_target.hpp"
#include "src/client/domain_core.hpp"

#include <pthread.h>

#include <chrono>
#include <future>
#include <optional>

namespace telpher::detail {
namespace {

// Ours, on a thread of it: `stop` does not wait for itself.
thread_local const Serving* t_serving = nullptr;

constexpr int kEndAttempts =
    10;  // each waits 20 ms for the directory lock; then the janitor ends it
constexpr auto kTroublePause = std::chrono::milliseconds(10);

}  // namespace

Serving::Serving(std::shared_ptr<DomainCore> domain,
                 const shm::Found& found,
                 const std::pair<shm::Ring, shm::Ring>& rings,
                 Handler handler,
                 const ServeOptions& options)
    : domain_(std::move(domain)),
      attachment_(domain_->attachment()),
      ring_(rings.first),
      lane_(rings.second),
      calls_(attachment_.calls()),
      found_(found),
      name_(found.name() == kDefaultFunction ? std::string() : found.name()),
      memory_(attachment_, found),
      whole_((found.info.flags & shm::kEntryIdempotent) != 0 || memory_.reruns()),
      handler_(std::move(handler)),
      options_(options),
      source_(attachment_, {}, sizeof(shm::CallBlock)),
      kept_(attachment_, {}) {}

Serving::~Serving() {
    if (attachment_.forked()) {
        // The threads are the parent's.
        static_cast<void>(new std::vector<std::thread>(std::move(threads_)));
        return;
    }
    for (std::thread& thread : threads_) {
        if (thread.joinable()) {
            thread
                .detach();  // the handle was destroyed in a handler; this is the last of its threads
        }
    }
    attachment_.directory().detach(found_.entry);
    if (ring_.closed()) {
        attachment_.tidy_directory();
    }
}

Result<std::shared_ptr<Serving>> Serving::start(std::shared_ptr<DomainCore> domain,
                                                const shm::Found& found,
                                                Handler handler,
                                                const ServeOptions& options) {
    shm::Attachment& attachment = domain->attachment();
    shm::Directory& directory = attachment.directory();
    const auto ring = directory.ring(found);
    const auto lane = directory.returns_lane(found);
    Error error{Status::corrupt, 0, "the control block of the function is damaged"};
    if (ring && lane) {
        if (directory.attach(found)) {
            auto serving = std::make_shared<Serving>(
                std::move(domain), found, std::pair{*ring, *lane}, std::move(handler), options);
            auto started = serving->start_threads(options.threads);
            if (started) {
                return serving;
            }
            serving->stop();
            return started.error();
        }
        error = {Status::function_not_found, 0, "the function was closed meanwhile"};
    }
    directory.stop_serving(found.entry);
    attachment.tidy_directory();
    return error;
}

Result<void> Serving::start_threads(std::uint32_t count) {
    const std::lock_guard hold(threads_mutex_);
    std::optional<shm::SignalsBlocked> blocked(std::in_place);
    // Counted before the first runs: none that ends at once takes the function with it.
    running_.store(count, std::memory_order_relaxed);  // relaxed: published by the threads' start
    Error error;
    std::uint32_t begun = 0;
    while (begun < count && error.status == Status::ok) {
        auto ready = std::make_shared<std::promise<Error>>();
        try {
            threads_.emplace_back([self = shared_from_this(), ready] {
                pthread_setname_np(pthread_self(), "telpher-serve");
                auto context = self->attachment_.context();
                ready->set_value(context ? Error{} : context.error());
                if (context) {
                    t_serving = self.get();
                    self->run(**context);
                    t_serving = nullptr;
                }
                self->end();
            });
            ++begun;
            error = ready->get_future().get();
        } catch (const std::system_error& failed) {
            error = {Status::limit_reached, failed.code().value(), "no thread could be started"};
        }
    }
    blocked.reset();
    for (std::uint32_t missing = begun; missing < count; ++missing) {
        end();
    }
    return error;
}

// One thread less; the last one ends the serving. Killed before it: the reaper does.
void Serving::end() noexcept {
    // Z1: pairs with Z1. The last one sees what the others did.
    if (running_.fetch_sub(1, std::memory_order_acq_rel) != 1) {
        return;
    }
    attachment_.directory().stop_serving(found_.entry);
    for (int i = 0; i < kEndAttempts; ++i) {
        attachment_.tidy_directory();
        const auto now = attachment_.directory().at(found_.entry);
        if (!now || now->generation != found_.generation || now->state != shm::EntryState::live ||
            !attachment_.directory().unserved(*now)) {
            return;
        }
    }
}

void Serving::stop() noexcept {
    if (attachment_.forked()) {
        return;
    }
    // Q2: pairs with src/broker/waiter.hpp:Q1: who is rung sees it.
    stopping_.store(true, std::memory_order_release);
    attachment_.ring_own_threads();
    if (t_serving == this) {
        return;
    }
    const std::lock_guard hold(threads_mutex_);
    for (std::thread& thread : threads_) {
        thread.join();
    }
    threads_.clear();
}

bool Serving::running() const noexcept {
    // relaxed, both: a moment's truth
    return attachment_.usable() == Status::ok && !stopping_.load(std::memory_order_relaxed) &&
           running_.load(std::memory_order_relaxed) != 0;
}

Result<FunctionStatus> Serving::status() const {
    if (const Status status = attachment_.usable(); status != Status::ok) {
        return status;
    }
    FunctionStatus status = function_status(attachment_, found_, ring_, lane_);
    status.idempotency = memory_.figures();
    return status;
}

// ---- the threads -------------------------------------------------------------------------------

// What came back goes first.
Status Serving::claim(std::uint32_t* chunk) noexcept {
    std::uint64_t place = 0;
    if (lane_.maybe_readable()) [[unlikely]] {
        const Status status = lane_.claim(attachment_.slot(), chunk, &place);
        if (status == Status::ok) {
            count(attachment_.directory().entry(found_.entry).redelivered);
        }
        if (status != Status::queue_empty) {
            return status;
        }
    }
    ring_.prepare_claim();
    return ring_.claim(attachment_.slot(), chunk, &place);
}

void Serving::run(shm::ThreadContext& context) {
    Work work{context};
    const std::stop_token never;
    const WaitOptions options{
        kForever, &never, {&stopping_, &domain_->closed()}, domain_->strategy()};
    const auto maybe = [this](std::uint32_t /*look*/) {
        return ring_.maybe_readable() || lane_.maybe_readable();
    };
    const auto readable = [this] { return lane_.readable() || ring_.readable(); };
    const auto wanted = [this] {
        // relaxed, both: who stops us rings us, and a request more is no harm
        return !stopping_.load(std::memory_order_relaxed) &&
               !domain_->closed().load(std::memory_order_relaxed);  // relaxed: as above
    };
    while (wanted()) {
        std::uint32_t chunk = 0;
        Status status = claim(&chunk);
        if (status == Status::queue_empty) {
            pace(context);
            Waiter waiter(attachment_, context, ring_.control().items, options);
            do {
                status = waiter.wait(maybe, readable);
                if (status == Status::ok) {
                    status = claim(&chunk);
                }
            } while (status == Status::queue_empty && wanted());
            waiter.leave(readable);
        }
        if (status == Status::ok) [[likely]] {
            shm::wake(
                ring_.control().space, attachment_.threads(), [this] { return ring_.writable(); });
            ++context.run;
            serve(work, chunk);
        } else if (status == Status::out_of_memory && attachment_.usable() == Status::ok) {
            std::this_thread::sleep_for(kTroublePause);  // it cannot be mapped here: others may
        } else if (status != Status::queue_empty && status != Status::timed_out) {
            return;  // closed, removed, or damaged
        }
    }
}

}  // namespace telpher::detail

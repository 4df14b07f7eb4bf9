#include "telpher/server.hpp"

#include "shm/garbage.hpp"
#include "src/broker/causation.hpp"
#include "src/broker/publish_operation.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/domain_log.hpp"
#include "src/client/retrier.hpp"

namespace telpher {
namespace {

shm::SegmentPlan plan_of(std::string_view name, const ServerOptions& options) {
    const DomainLimits limits = options.limits.value_or(DomainLimits{});
    shm::SegmentPlan plan;
    plan.name = std::string(name);
    plan.lifetime = static_cast<std::uint32_t>(options.lifetime.value_or(Lifetime::persistent));
    plan.mode = options.file_mode.value_or(0600);
    plan.processes_max = limits.processes;
    plan.threads_max = limits.threads;
    plan.destinations_max = limits.destinations;
    plan.message_bytes_max = limits.message_bytes;
    plan.ring_bytes = limits.ring_bytes;
    plan.pool_bytes = limits.pool_bytes;
    plan.segment_bytes_max = limits.segment_bytes;
    plan.process_bytes_max = limits.process_bytes;
    plan.temporary_queues_max = limits.temporary_queues;
    plan.idempotency_records = limits.idempotency_entries;
    // Recognises the same limits at a later open. FNV-1a.
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const std::uint64_t value : {std::uint64_t{limits.processes},
                                      std::uint64_t{limits.threads},
                                      std::uint64_t{limits.destinations},
                                      std::uint64_t{limits.message_bytes},
                                      std::uint64_t{limits.ring_bytes},
                                      std::uint64_t{limits.pool_bytes},
                                      std::uint64_t{limits.segment_bytes},
                                      std::uint64_t{limits.process_bytes},
                                      std::uint64_t{limits.temporary_queues},
                                      std::uint64_t{limits.idempotency_entries}}) {
        hash = (hash ^ value) * 0x100000001b3ULL;
    }
    plan.options_hash = hash;
    return plan;
}

Result<void> compare(const shm::Segment& segment,
                     const shm::SegmentPlan& plan,
                     const ServerOptions& options) {
    const std::string name = "domain '" + segment.name() + "' exists with ";
    if (options.lifetime && segment.ephemeral() != (*options.lifetime == Lifetime::ephemeral)) {
        return Error{Status::mismatch,
                     0,
                     name + (segment.ephemeral() ? "lifetime ephemeral" : "lifetime persistent")};
    }
    if (options.file_mode && segment.mode() != *options.file_mode) {
        return Error{Status::mismatch, 0, name + "another file_mode"};
    }
    if (options.limits && segment.options_hash() != plan.options_hash) {
        return Error{Status::mismatch, 0, name + "other limits"};
    }
    return {};
}

Result<void> compare_log(const shm::LogTable& log, const shm::SegmentPlan& plan) {
    if (plan.log_path.empty() || (log.on() && log.path() == plan.log_path)) {
        return {};
    }
    return Error{Status::mismatch,
                 0,
                 "domain '" + plan.name + "' exists with " +
                     (log.on() ? "log_directory " + log.path() : std::string("no log_directory"))};
}

}  // namespace

Result<Server> Server::open(std::string_view name, const ServerOptions& options) {
    if (options.wait.count() < 0) {
        return Error{Status::bad_request, 0, "wait is negative, allowed are 0 and more"};
    }
    if (auto sound = options.retry ? options.retry->check() : Result<void>(); !sound) {
        return sound.error();
    }
    auto log = detail::check_log_options(options);
    if (!log) {
        return log.error();
    }
    shm::SegmentPlan plan = plan_of(name, options);
    plan.log_path = *log;
    plan.log_segment_bytes = options.log_segment_bytes;
    plan.log_compress_from_bytes = options.log_compress_from_bytes;
    auto opened = detail::open_attachment({name, options.mode, &plan, options.wait});
    if (!opened) {
        return opened.error();
    }
    if (!opened->created) {
        if (auto same = compare(opened->attachment->segment(), plan, options); !same) {
            return same.error();
        }
        if (auto same = compare_log(opened->attachment->log(), plan); !same) {
            return same.error();
        }
    }
    Server server(std::make_shared<detail::DomainCore>(
        std::move(opened->attachment), options.wait_strategy, opened->created));
    server.retrier_ = std::make_shared<detail::Retrier>(options.retry);
    server.retrier_->follow(server.core_->attachment().shared_from_this());
    server.retries_ = options.retry.has_value();
    if (server.core_->created() && !plan.log_path.empty()) {
        if (auto built = detail::build_from_log(*server.core_); !built) {
            static_cast<void>(server.core_->remove());
            return built.error();
        }
    }
    return server;
}

// A default-constructed Server is closed.
#define TELPHER_NEED_CORE()    \
    if (core_ == nullptr) {    \
        return Status::closed; \
    }                          \
    static_cast<void>(0)

Result<Queue> Server::create_queue(std::string_view name, const QueueOptions& options) {
    TELPHER_NEED_CORE();
    return detail::RetryAccess::give(core_->create_queue(name, options), retrier_, retries_);
}
Result<Queue> Server::create_temporary_queue(const TemporaryQueueOptions& options) {
    TELPHER_NEED_CORE();
    return detail::RetryAccess::give(core_->create_temporary_queue(options), retrier_, retries_);
}
Result<std::uint64_t> Server::reply(const MessageView& request, Message message, Duration timeout) {
    TELPHER_NEED_CORE();
    return core_->reply(request, std::move(message), timeout);
}
Result<Queue> Server::queue(std::string_view name, const FindOptions& options) {
    TELPHER_NEED_CORE();
    return detail::RetryAccess::give(core_->find_queue(name, options), retrier_, retries_);
}
Result<void> Server::remove_queue(std::string_view name) {
    TELPHER_NEED_CORE();
    return core_->remove_queue(name);
}
Result<bool> Server::exists(std::string_view name) const {
    TELPHER_NEED_CORE();
    return core_->exists(name);
}
Result<std::vector<std::string>> Server::queues() const {
    TELPHER_NEED_CORE();
    return core_->names(shm::Family::queue);
}
Result<Published> Server::publish(const Message& message,
                                  Duration timeout,
                                  const RetryOptions& options) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(
            message, [&](const Message& marked) { return publish(marked, timeout, options); });
    }
    TELPHER_NEED_CORE();
    return detail::with_retries<Published>(
        retrier_.get(),
        options.retry,
        detail::task_of(detail::RetryKind::publish, message.topic(), timeout, options),
        [&](std::uint32_t /*attempt*/, Duration left) {
            return core_->publish(message, left, options.stop);
        });
}
Result<Published> Server::publish(const Message& message, Duration timeout, std::stop_token stop) {
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(message, [&](const Message& marked) {
            return publish(marked, timeout, std::move(stop));
        });
    }
    TELPHER_NEED_CORE();
    if (retries_) [[unlikely]] {
        return publish(message, timeout, RetryOptions{.stop = std::move(stop)});
    }
    return core_->publish(message, timeout, stop);
}
Future<Published> Server::publish_async(Message message, Duration timeout, std::stop_token stop) {
    detail::inherit(message);
    return core_ != nullptr ? core_->publish_async(std::move(message), timeout, stop)
                            : detail::ready_future(Result<Published>(Status::closed));
}
Result<Topic> Server::topic(std::string_view name) {
    TELPHER_NEED_CORE();
    return detail::RetryAccess::give(core_->find_topic(name), retrier_, retries_);
}
Result<Subscription> Server::subscribe_to(std::vector<std::string> patterns,
                                          detail::SampleHandler handler,
                                          SubscribeOptions options) {
    TELPHER_NEED_CORE();
    return core_->subscribe(std::move(patterns), std::move(handler), std::move(options));
}
Result<Topic> Server::create_topic(std::string_view name, const TopicOptions& options) {
    TELPHER_NEED_CORE();
    return detail::RetryAccess::give(core_->create_topic(name, options), retrier_, retries_);
}
Result<void> Server::remove_topic(std::string_view name) {
    TELPHER_NEED_CORE();
    return core_->remove_topic(name);
}
Result<std::vector<std::string>> Server::topics() const {
    TELPHER_NEED_CORE();
    return core_->names(shm::Family::topic);
}
Result<TopicStatus> Server::topic_status(std::string_view name) const {
    TELPHER_NEED_CORE();
    return core_->topic_status(name);
}
Result<DomainStatus> Server::status() const {
    TELPHER_NEED_CORE();
    return core_->status();
}
Result<std::vector<ProcessInfo>> Server::processes() const {
    TELPHER_NEED_CORE();
    return core_->processes();
}
Result<VerifyReport> Server::verify() const {
    TELPHER_NEED_CORE();
    return core_->verify();
}
Result<void> Server::remove_domain() {
    TELPHER_NEED_CORE();
    return core_->remove();
}
#undef TELPHER_NEED_CORE

bool Server::created() const { return core_ != nullptr && core_->created(); }
bool Server::running() const { return core_ != nullptr && core_->usable() == Status::ok; }
const std::string& Server::name() const {
    static const std::string none;
    return core_ != nullptr ? core_->name() : none;
}
void Server::close() {
    if (core_ != nullptr) {
        core_->close();
        retrier_->close();  // last: who wakes here tries again, and is to find it closed
    }
}

Result<std::vector<std::string>> list_domains() { return shm::list_domain_files(); }

Result<std::vector<Garbage>> collect_garbage(bool dry_run) {
    auto swept = shm::sweep(dry_run);
    if (!swept) {
        return swept.error();
    }
    std::vector<Garbage> all;
    for (shm::Leftover& leftover : *swept) {
        all.push_back({std::move(leftover.file), std::move(leftover.reason)});
    }
    return all;
}

Result<void> remove_domain(std::string_view name, bool force) {
    return shm::remove_files(name, force);
}

}  // namespace telpher

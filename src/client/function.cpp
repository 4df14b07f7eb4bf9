// The public Function, and the calls of Server and Client.

#include "telpher/function.hpp"

#include "telpher/client.hpp"
#include "telpher/server.hpp"

#include "shm/base/os.hpp"
#include "src/broker/call_operation.hpp"
#include "src/broker/causation.hpp"
#include "src/broker/serving.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/functions.hpp"
#include "src/client/remote.hpp"
#include "src/client/remote_admin.hpp"
#include "src/client/retrier.hpp"

namespace telpher {

void Function::stop() noexcept {
    if (core_ != nullptr) {
        core_->stop();
    }
}
bool Function::running() const noexcept { return core_ != nullptr && core_->running(); }
Result<FunctionStatus> Function::status() const {
    return core_ != nullptr ? core_->status() : Result<FunctionStatus>(Status::closed);
}
const std::string& Function::name() const {
    static const std::string none;
    return core_ != nullptr ? core_->name() : none;
}

Result<Function> Server::serve_function(std::string_view name,
                                        detail::Handler handler,
                                        const ServeOptions& options) {
    return core_ != nullptr ? core_->functions().serve(name, std::move(handler), options)
                            : Result<Function>(Status::closed);
}
Result<Function> Server::serve_default(detail::Handler handler, const ServeOptions& options) {
    return serve_function(detail::kDefaultFunction, std::move(handler), options);
}

// ---- calls -------------------------------------------------------------------------------------

namespace {

// A Server is never remote.
const std::shared_ptr<detail::RemoteClient> kLocal;

detail::RemoteCall remote_call(std::string_view function,
                               Duration timeout,
                               const SendOptions& options) {
    return {function == detail::kDefaultFunction ? std::string_view() : function,
            timeout,
            options.wait_for_server,
            options.stop};
}

// Where a handle's calls go; one of the two, or none.
struct Ends {
    const std::shared_ptr<detail::DomainCore>& core;
    const std::shared_ptr<detail::RemoteClient>& remote;
};

Result<Message> send_once(const Ends& to,
                          std::string_view function,
                          const Message& request,
                          Duration timeout,
                          const SendOptions& options) {
    if (to.core != nullptr) [[likely]] {
        return to.core->functions().send(function, request, timeout, options);
    }
    return to.remote != nullptr ? to.remote->send(remote_call(function, timeout, options), request)
                                : Result<Message>(Status::closed);
}

// What a timeout from a quantile is now. Error: bad_request, closed.
Result<Duration> duration_of(const Ends& to, std::string_view function, const Timeout& timeout) {
    if (auto sound = timeout.check(); !sound) {
        return sound.error();
    }
    if (to.core != nullptr) {
        return to.core->functions().resolve(function, timeout);
    }
    return to.remote != nullptr
               ? Result<Duration>(to.remote->resolve(
                     function == detail::kDefaultFunction ? std::string_view() : function, timeout))
               : Result<Duration>(Status::closed);
}

Result<void> send_oneway_once(const Ends& to,
                              std::string_view function,
                              const Message& request,
                              Duration timeout,
                              const SendOptions& options) {
    if (to.core != nullptr) [[likely]] {
        return to.core->functions().send_oneway(function, request, timeout, options);
    }
    return to.remote != nullptr
               ? to.remote->send_oneway(remote_call(function, timeout, options), request)
               : Result<void>(Status::closed);
}

Future<Message> send_async_once(const Ends& to,
                                std::string_view function,
                                const Message& request,
                                Duration timeout,
                                const SendOptions& options) {
    if (options.retry) [[unlikely]] {
        return detail::ready_future(Result<Message>(
            Error{Status::bad_request, 0, "retry is given, and send_async does not retry"}));
    }
    if (detail::caused()) [[unlikely]] {
        return detail::send_caused(request, [&](const Message& marked) {
            return send_async_once(to, function, marked, timeout, options);
        });
    }
    if (detail::t_no_retry && !request.no_retry()) [[unlikely]] {
        Message marked(request);
        marked.with_no_retry();
        return send_async_once(to, function, marked, timeout, options);
    }
    if (to.core != nullptr) [[likely]] {
        return to.core->functions().send_async(function, request, timeout, options);
    }
    return to.remote != nullptr
               ? to.remote->send_async(remote_call(function, timeout, options), request)
               : detail::ready_future(Result<Message>(Status::closed));
}

// Whether a call is more than one attempt as it stands. One branch: it is in everybody's way.
bool is_special(const SendOptions& options, bool retries) noexcept {
    return (static_cast<unsigned>(options.retry.has_value()) | static_cast<unsigned>(retries) |
            static_cast<unsigned>(detail::t_no_retry) | static_cast<unsigned>(detail::caused())) !=
           0;
}

Result<bool> remembers(const Ends& to, std::string_view function) {
    if (to.core != nullptr) {
        return to.core->functions().remembers(function);
    }
    if (to.remote == nullptr) {
        return Status::closed;
    }
    const auto status = to.remote->admin()->function_status(
        function == detail::kDefaultFunction ? std::string_view() : function);
    return status ? Result<bool>(status->idempotency.on) : Result<bool>(status.error());
}

// Unique, and the same for all attempts of one call.
std::string new_request_id() {
    std::uint64_t words[2] = {};
    if (!shm::fill_random(words, sizeof words)) {
        return {};  // then it has none
    }
    return to_string(MessageId{words[0], words[1]});
}

// `once(request, timeout)` as often as the policy says. Its requests tell the handler which attempt they
// are, and that nothing below needs to retry. Of one-way requests nobody waits for the handler, so that
// only a caller further up may repeat them.
template <typename T, typename Once>
Result<T> send_with_retries(const Ends& to,
                            detail::Retrier* retrier,
                            const SendOptions& options,
                            detail::RetryTask task,
                            const Message& request,
                            Once&& once) {
    task.idempotent = options.idempotent;
    task.report = options.report;
    task.stop = options.stop;
    std::optional<RetryPolicy> changed;
    const RetryPolicy* const policy =
        retrier != nullptr ? retrier->policy(options.retry, changed) : nullptr;
    const bool no_retry = detail::t_no_retry || (policy != nullptr && policy->attempts_max > 1 &&
                                                 task.kind == detail::RetryKind::call);
    Message marked(request);
    detail::inherit(marked);
    const detail::CauseScope carried;
    marked.with_no_retry(no_retry);
    if (policy != nullptr && policy->attempts_max > 1 && !retrier->forked() &&
        retrier->remembers(task.kind, task.name, [&] { return remembers(to, task.name); })) {
        if (marked.request_id().empty()) {
            marked.with_request_id(new_request_id());
        }
        task.idempotent = task.idempotent || !marked.request_id().empty();
    }
    return detail::with_retries<T>(
        retrier, options.retry, task, [&](std::uint32_t attempt, Duration timeout) {
            return once(marked.with_attempt(attempt), timeout);
        });
}

}  // namespace

// The same members of both; `remote` is who is asked where there is no core.
// NOLINTBEGIN(bugprone-macro-parentheses): names, not expressions
#define TELPHER_CALLS(Handle, remote)                                                    \
    Result<Message> Handle::send(std::string_view function,                              \
                                 const Message& request,                                 \
                                 const Timeout& timeout,                                 \
                                 const SendOptions& options) {                           \
        const Ends to{core_, remote};                                                    \
        Duration each = timeout.max();                                                   \
        if (timeout.adaptive()) [[unlikely]] {                                           \
            const auto now = duration_of(to, function, timeout);                         \
            if (!now) {                                                                  \
                return now.error();                                                      \
            }                                                                            \
            each = *now;                                                                 \
        }                                                                                \
        if (!is_special(options, retries_)) [[likely]] {                                 \
            return send_once(to, function, request, each, options);                      \
        }                                                                                \
        return send_with_retries<Message>(to,                                            \
                                          retrier_.get(),                                \
                                          options,                                       \
                                          {detail::RetryKind::call, function, each},     \
                                          request,                                       \
                                          [&](const Message& marked, Duration left) {    \
                                              return send_once(                          \
                                                  to, function, marked, left, options);  \
                                          });                                            \
    }                                                                                    \
    Result<Message> Handle::send(                                                        \
        const Message& request, const Timeout& timeout, const SendOptions& options) {    \
        return send(detail::kDefaultFunction, request, timeout, options);                \
    }                                                                                    \
    Future<Message> Handle::send_async(std::string_view function,                        \
                                       const Message& request,                           \
                                       const Timeout& timeout,                           \
                                       const SendOptions& options) {                     \
        const Ends to{core_, remote};                                                    \
        if (timeout.adaptive()) [[unlikely]] {                                           \
            const auto now = duration_of(to, function, timeout);                         \
            return now ? send_async_once(to, function, request, *now, options)           \
                       : detail::ready_future(Result<Message>(now.error()));             \
        }                                                                                \
        return send_async_once(to, function, request, timeout.max(), options);           \
    }                                                                                    \
    Future<Message> Handle::send_async(                                                  \
        const Message& request, const Timeout& timeout, const SendOptions& options) {    \
        return send_async(detail::kDefaultFunction, request, timeout, options);          \
    }                                                                                    \
    Result<void> Handle::send_oneway(std::string_view function,                          \
                                     const Message& request,                             \
                                     Duration timeout,                                   \
                                     const SendOptions& options) {                       \
        const Ends to{core_, remote};                                                    \
        if (!is_special(options, retries_)) [[likely]] {                                 \
            return send_oneway_once(to, function, request, timeout, options);            \
        }                                                                                \
        return send_with_retries<void>(to,                                               \
                                       retrier_.get(),                                   \
                                       options,                                          \
                                       {detail::RetryKind::oneway, function, timeout},   \
                                       request,                                          \
                                       [&](const Message& marked, Duration left) {       \
                                           return send_oneway_once(                      \
                                               to, function, marked, left, options);     \
                                       });                                               \
    }                                                                                    \
    Result<void> Handle::send_oneway(                                                    \
        const Message& request, Duration timeout, const SendOptions& options) {          \
        return send_oneway(detail::kDefaultFunction, request, timeout, options);         \
    }                                                                                    \
    Result<FunctionStatus> Handle::function_status(std::string_view function) const {    \
        if (core_ != nullptr) {                                                          \
            return core_->functions().status(function.empty() ? detail::kDefaultFunction \
                                                              : function);               \
        }                                                                                \
        return remote != nullptr ? remote->admin()->function_status(function)            \
                                 : Result<FunctionStatus>(Status::closed);               \
    }
TELPHER_CALLS(Client, remote_)
TELPHER_CALLS(Server, kLocal)
// NOLINTEND(bugprone-macro-parentheses)
#undef TELPHER_CALLS

}  // namespace telpher

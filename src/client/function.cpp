// The public Function, and the calls of Server and Client.

#include "telpher/function.hpp"

#include "telpher/client.hpp"
#include "telpher/server.hpp"

#include "src/broker/call_operation.hpp"
#include "src/broker/serving.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/functions.hpp"
#include "src/client/remote.hpp"
#include "src/client/remote_admin.hpp"

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

}  // namespace

// The same members of both; `remote` is who is asked where there is no core.
// NOLINTBEGIN(bugprone-macro-parentheses): names, not expressions
#define TELPHER_CALLS(Handle, remote)                                                             \
    Result<Message> Handle::send(std::string_view function,                                       \
                                 const Message& request,                                          \
                                 Duration timeout,                                                \
                                 const SendOptions& options) {                                    \
        if (core_ != nullptr) {                                                                   \
            return core_->functions().send(function, request, timeout, options);                  \
        }                                                                                         \
        return remote != nullptr ? remote->send(remote_call(function, timeout, options), request) \
                                 : Result<Message>(Status::closed);                               \
    }                                                                                             \
    Result<Message> Handle::send(                                                                 \
        const Message& request, Duration timeout, const SendOptions& options) {                   \
        return send(detail::kDefaultFunction, request, timeout, options);                         \
    }                                                                                             \
    Future<Message> Handle::send_async(std::string_view function,                                 \
                                       const Message& request,                                    \
                                       Duration timeout,                                          \
                                       const SendOptions& options) {                              \
        if (core_ != nullptr) {                                                                   \
            return core_->functions().send_async(function, request, timeout, options);            \
        }                                                                                         \
        return remote != nullptr                                                                  \
                   ? remote->send_async(remote_call(function, timeout, options), request)         \
                   : detail::ready_future(Result<Message>(Status::closed));                       \
    }                                                                                             \
    Future<Message> Handle::send_async(                                                           \
        const Message& request, Duration timeout, const SendOptions& options) {                   \
        return send_async(detail::kDefaultFunction, request, timeout, options);                   \
    }                                                                                             \
    Result<void> Handle::send_oneway(std::string_view function,                                   \
                                     const Message& request,                                      \
                                     Duration timeout,                                            \
                                     const SendOptions& options) {                                \
        if (core_ != nullptr) {                                                                   \
            return core_->functions().send_oneway(function, request, timeout, options);           \
        }                                                                                         \
        return remote != nullptr                                                                  \
                   ? remote->send_oneway(remote_call(function, timeout, options), request)        \
                   : Result<void>(Status::closed);                                                \
    }                                                                                             \
    Result<void> Handle::send_oneway(                                                             \
        const Message& request, Duration timeout, const SendOptions& options) {                   \
        return send_oneway(detail::kDefaultFunction, request, timeout, options);                  \
    }                                                                                             \
    Result<FunctionStatus> Handle::function_status(std::string_view function) const {             \
        if (core_ != nullptr) {                                                                   \
            return core_->functions().status(function.empty() ? detail::kDefaultFunction          \
                                                              : function);                        \
        }                                                                                         \
        return remote != nullptr ? remote->admin()->function_status(function)                     \
                                 : Result<FunctionStatus>(Status::closed);                        \
    }
TELPHER_CALLS(Client, remote_)
TELPHER_CALLS(Server, kLocal)
// NOLINTEND(bugprone-macro-parentheses)
#undef TELPHER_CALLS

}  // namespace telpher

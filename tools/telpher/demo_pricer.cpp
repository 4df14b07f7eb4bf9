// Serves the function of the demo: what does this order cost?

#include "telpher/server.hpp"

#include "tools/telpher/demo_orders.hpp"
#include "tools/telpher/demo_roles.hpp"

#include <string>

namespace telpher::cli {

Result<void> run_pricer(RoleContext& context, Role role) {
    constexpr std::uint64_t kLookEveryNs = 5'000'000;
    auto server = Server::open(context.options.domain, {.mode = OpenMode::attach});
    if (!server) {
        return server.error();
    }
    auto& own = context.account->pricers.at(role == Role::pricer_1 ? 0 : 1);
    auto price = [&own, &context, role](const Message& request) -> Result<Message> {
        if (role == Role::pricer_1 && context.account->hold.get() != 0) {
            // A kill would nearly always find it idle: it takes microseconds for a request.
            own.holds.set(1);
            wait_for(context.account->closing, context.interrupt);
        }
        const auto total = total_of(text_of(request.payload()));
        if (!total) {
            return Error{Status::bad_request, 0, "no order"};
        }
        own.priced.add(1);
        return Message::text("total", std::to_string(*total));
    };
    // Idempotent: when one server dies, the other one gets the requests that it had begun.
    const auto function = server->serve(kDemoFunction, price, {.idempotent = true});
    if (!function) {
        return function.error();
    }
    context.ready(role);
    wait_for(context.account->closing, context.interrupt, kLookEveryNs);
    return context.interrupt.stopped() ? Result<void>(Status::cancelled) : Result<void>{};
}

}  // namespace telpher::cli

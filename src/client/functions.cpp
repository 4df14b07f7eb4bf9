#include "src/client/functions.hpp"

#include "src/broker/call_operation.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/serving.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/idempotency_spec.hpp"
#include "src/wire/names.hpp"

#include <algorithm>
#include <thread>

namespace telpher::detail {
namespace {

constexpr auto kServerLook = std::chrono::milliseconds(1);

Error not_found(std::string_view name) {
    return {Status::function_not_found,
            0,
            name == kDefaultFunction ? "nobody serves requests without a name"
                                     : "nobody serves '" + std::string(name) + "'"};
}

std::uint64_t serve_options_hash(const ServeOptions& options) {
    // FNV-1a.
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const std::uint64_t value :
         {std::uint64_t{options.inflight_max}, std::uint64_t{options.idempotent ? 1U : 0U}}) {
        hash = (hash ^ value) * 0x100000001b3ULL;
    }
    for (const char c : options.dead_letter) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    }
    return idempotency_hash(hash, options.idempotency);
}

std::string describe(const ServeOptions& options) {
    return "inflight_max " + std::to_string(options.inflight_max) +
           (options.idempotent ? " and idempotent" : " and not idempotent") +
           (options.dead_letter.empty() ? "" : " and dead letters '" + options.dead_letter + "'") +
           detail::describe(idempotency_spec(options.idempotency));
}

std::string describe(const shm::Found& found, const std::optional<shm::Found>& dead_letters) {
    return "inflight_max " + std::to_string(found.info.capacity) +
           ((found.info.flags & shm::kEntryIdempotent) != 0 ? " and idempotent"
                                                            : " and not idempotent") +
           (found.info.dead_letter_entry == 0 ? ""
            : dead_letters                    ? " and dead letters '" + dead_letters->name() + "'"
                                              : " and dead letters that were removed") +
           detail::describe(idempotency_spec(found.info));
}

Result<void> check_options(const ServeOptions& options) {
    if (options.threads == 0 || options.threads > kServeThreadsMax) {
        return Error{Status::bad_request,
                     0,
                     "threads is " + std::to_string(options.threads) + ", allowed are 1.." +
                         std::to_string(kServeThreadsMax)};
    }
    if (options.inflight_max == 0 || options.inflight_max >= shm::kCapacityMax) {
        return Error{Status::bad_request,
                     0,
                     "inflight_max is " + std::to_string(options.inflight_max) +
                         ", allowed are 1.." + std::to_string(shm::kCapacityMax - 1)};
    }
    if (!options.dead_letter.empty()) {
        if (auto named = wire::check_name("dead_letter", options.dead_letter); !named) {
            return named;
        }
    }
    return check_idempotency(options.idempotency);
}

// kDefaultFunction stands for the function without a name, and no name can be it.
Result<void> check_function(std::string_view name) {
    return name == kDefaultFunction ? Result<void>() : wire::check_name("function name", name);
}

}  // namespace

// ---- serving -----------------------------------------------------------------------------------

Result<Function> Functions::serve(std::string_view name,
                                  Handler handler,
                                  const ServeOptions& options) {
    if (const Status status = domain_.usable(); status != Status::ok) {
        return status;
    }
    if (auto named = check_function(name); !named) {
        return named.error();
    }
    if (auto sound = check_options(options); !sound) {
        return sound.error();
    }
    auto found = find_or_make(name, options);
    if (!found) {
        return found.error();
    }
    auto serving = Serving::start(domain_.shared_from_this(), *found, std::move(handler), options);
    if (!serving) {
        return serving.error();
    }
    return Function(std::move(*serving));
}

// Its entry, which we are counted as serving.
Result<shm::Found> Functions::find_or_make(std::string_view name, const ServeOptions& options) {
    shm::DestinationSpec spec;
    spec.name = name;
    spec.kind = shm::Kind::function;
    spec.capacity = options.inflight_max;
    spec.options_hash = serve_options_hash(options);
    spec.flags = options.idempotent ? shm::kEntryIdempotent : 0;
    spec.idempotency = idempotency_spec(options.idempotency);
    if (!options.dead_letter.empty()) {
        auto dead = domain_.dead_letter_queue(
            {.capacity = options.inflight_max, .dead_letter = options.dead_letter});
        if (!dead) {
            return dead;
        }
        spec.dead_letter_entry = dead->entry + 1;
        spec.dead_letter_generation = static_cast<std::uint32_t>(dead->generation);
    }
    bool created = false;
    shm::Directory& directory = domain_.attachment().directory();
    auto found = directory.create(spec, &created);
    if (found.status() == Status::limit_reached || found.status() == Status::out_of_memory) {
        domain_.attachment().check_deaths();  // the dead may keep removed destinations in place
        found = directory.create(spec, &created);
    }
    if (found && !created &&
        (found->info.options_hash != spec.options_hash ||
         found->info.dead_letter_entry != spec.dead_letter_entry ||
         found->info.dead_letter_generation != spec.dead_letter_generation)) {
        directory.stop_serving(found->entry);
        return Error{Status::mismatch,
                     0,
                     "others serve it with " + describe(*found, directory.dead_letters(*found)) +
                         ", asked for " + describe(options)};
    }
    return found;
}

// ---- calling -----------------------------------------------------------------------------------

Result<std::shared_ptr<CallTarget>> Functions::target(std::string_view name,
                                                      const SendOptions& options) {
    {
        const std::lock_guard hold(mutex_);
        if (const auto known = targets_.find(name); known != targets_.end()) [[likely]] {
            return known->second;
        }
    }
    return open(name, options);
}

Result<std::shared_ptr<CallTarget>> Functions::open(std::string_view name,
                                                    const SendOptions& options) {
    if (auto named = check_function(name); !named) {
        return named.error();
    }
    if (options.wait_for_server.count() < 0) {
        return Error{Status::bad_request, 0, "wait_for_server is negative, allowed are 0 and more"};
    }
    const auto deadline =
        std::chrono::steady_clock::now() + std::min(options.wait_for_server, kForever);
    for (;;) {
        if (const Status status = domain_.usable(); status != Status::ok) {
            return status;
        }
        if (options.stop.stop_requested()) {
            return Status::cancelled;
        }
        shm::Attachment& attachment = domain_.attachment();
        if (const auto found = attachment.directory().find(name, shm::Family::function)) {
            auto opened = CallTarget::open(attachment.shared_from_this(), *found, domain_.closed());
            if (opened) {
                const std::lock_guard hold(mutex_);
                targets_.insert_or_assign(std::string(name), *opened);
                return opened;
            }
            if (opened.status() != Status::function_not_found) {
                return opened;
            }
        }
        if (std::chrono::steady_clock::now() >= deadline) {
            return not_found(name);
        }
        std::this_thread::sleep_for(kServerLook);
    }
}

void Functions::forget(std::string_view name, const std::shared_ptr<CallTarget>& target) {
    std::shared_ptr<CallTarget> last;  // ends after the lock
    const std::lock_guard hold(mutex_);
    if (const auto known = targets_.find(name);
        known != targets_.end() && known->second == target) {
        last = std::move(known->second);
        targets_.erase(known);
    }
}

// A known function may have ended since, and one of that name begun: then once more, unless somebody had
// begun the work.
template <typename T, typename Attempt>
Result<T> Functions::with_target(std::string_view name,
                                 Duration timeout,
                                 const SendOptions& options,
                                 Attempt&& attempt) {
    if (const Status status = domain_.usable(); status != Status::ok) [[unlikely]] {
        return status;
    }
    if (timeout.count() < 0) [[unlikely]] {
        return Error{
            Status::bad_request,
            0,
            "timeout is " + std::to_string(timeout.count()) + " ns, allowed are 0 and more"};
    }
    auto found = target(name, options);
    if (!found) [[unlikely]] {
        return found.error();
    }
    if ((*found)->gone()) [[unlikely]] {
        forget(name, *found);
        found = open(name, options);
        if (!found) {
            return found.error();
        }
    }
    return attempt(*found);
}

Result<Message> Functions::send(std::string_view name,
                                const Message& request,
                                Duration timeout,
                                const SendOptions& options) {
    return with_target<Message>(name, timeout, options, [&](const std::shared_ptr<CallTarget>& to) {
        return to->call(request,
                        {capped(timeout), &options.stop, &domain_.closed(), domain_.strategy()});
    });
}

Result<void> Functions::send_oneway(std::string_view name,
                                    const Message& request,
                                    Duration timeout,
                                    const SendOptions& options) {
    return with_target<void>(name, timeout, options, [&](const std::shared_ptr<CallTarget>& to) {
        return to->post(request, {timeout, &options.stop, &domain_.closed(), domain_.strategy()});
    });
}

Duration Functions::capped(Duration timeout) const noexcept {
    const auto most = domain_.attachment().settings().get(shm::Setting::call_timeout_ms);
    return most ? std::min<Duration>(timeout, std::chrono::milliseconds(*most)) : timeout;
}

Duration Functions::resolve(std::string_view name, const Timeout& timeout) {
    const auto now = with_target<Duration>(
        name, {}, {}, [&](const std::shared_ptr<CallTarget>& to) -> Result<Duration> {
            return to->resolve(timeout);
        });
    return now ? *now : timeout.max();
}

Result<FunctionStatus> Functions::status(std::string_view name) {
    return with_target<FunctionStatus>(
        name, {}, {}, [](const std::shared_ptr<CallTarget>& to) { return to->status(); });
}

Result<bool> Functions::remembers(std::string_view name) {
    return with_target<bool>(name, {}, {}, [](const std::shared_ptr<CallTarget>& to) {
        return Result<bool>(to->remembers());
    });
}

Future<Message> Functions::send_async(std::string_view name,
                                      const Message& request,
                                      Duration timeout,
                                      const SendOptions& options) {
    Future<Message> future;
    auto started =
        with_target<void>(name, timeout, options, [&](const std::shared_ptr<CallTarget>& to) {
            auto made =
                CallOperation::start(domain_.shared_from_this(), to, request, capped(timeout));
            if (!made) {
                return Result<void>(made.error());
            }
            future = std::move(*made);
            return Result<void>();
        });
    return started ? std::move(future) : ready_future(Result<Message>(started.error()));
}

}  // namespace telpher::detail

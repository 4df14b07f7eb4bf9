// Finding or making the one attachment of this process to a domain.

#include "src/broker/waiter.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/domain_log.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <thread>

namespace telpher::detail {
namespace {

// Attachments by domain. Process-wide by nature: a second attachment would hold a second slot and
// see its own process as another one. Weak: the last Server, Client or Queue ends it.
struct Registry {
    std::mutex mutex;
    std::map<std::string, std::weak_ptr<shm::Attachment>, std::less<>> attachments;
    std::uint32_t forks = shm::fork_count();
};

// Never destroyed: handles may outlive static destructors. A forked child gets a fresh one, because
// the mutex may have been held by a thread that the child does not have.
Registry& registry() {
    static std::atomic<Registry*> current{new Registry};
    Registry* seen = current.load(std::memory_order_acquire);  // B1: pairs with B2
    if (seen->forks != shm::fork_count()) {
        auto* fresh = new Registry;
        // B2: pairs with B1. One of the child's threads wins.
        if (current.compare_exchange_strong(
                seen, fresh, std::memory_order_acq_rel, std::memory_order_acquire)) {
            return *fresh;
        }
        delete fresh;
    }
    return *seen;
}

Result<Opened> try_open(const OpenRequest& request) {
    Registry& known = registry();
    const std::lock_guard hold(known.mutex);
    if (request.mode != OpenMode::create) {
        if (const auto found = known.attachments.find(request.name);
            found != known.attachments.end()) {
            if (auto attachment = found->second.lock();
                attachment && attachment->usable() == Status::ok) {
                return Opened{std::move(attachment), false};
            }
        }
    }
    Opened opened;
    // Somebody may make the domain between our attach and our create, or remove it between our
    // create and our attach: a few rounds settle it.
    for (int round = 0; round < 8 && !opened.attachment; ++round) {
        if (request.mode != OpenMode::create) {
            auto attached = shm::Attachment::attach(request.name);
            if (attached) {
                opened.attachment = std::move(*attached);
                break;
            }
            if (request.mode == OpenMode::attach || attached.status() != Status::domain_not_found) {
                return attached.error();
            }
        }
        auto created = shm::Attachment::create(*request.plan);
        if (created) {
            opened = {std::move(*created), true};
        } else if (request.mode == OpenMode::create || created.status() != Status::already_exists) {
            return created.error();
        }
    }
    if (!opened.attachment) {
        return Error{Status::timed_out,
                     0,
                     "the domain was made and removed again eight times while it was opened"};
    }
    known.attachments.insert_or_assign(std::string(request.name), opened.attachment);
    return opened;
}

}  // namespace

Result<Opened> open_attachment(const OpenRequest& request) {
    if (auto named = shm::check_domain_name(request.name); !named) {
        return named.error();
    }
    const auto deadline = std::chrono::steady_clock::now() + std::min(request.wait, kForever);
    for (;;) {
        auto opened = try_open(request);
        if (opened && !opened->created) {
            const Status built = await_log(*opened->attachment);
            if (built == Status::domain_not_found && request.mode != OpenMode::attach) {
                continue;  // it was removed half built: it can be made again
            }
            if (built != Status::ok) {
                return Error{
                    built,
                    0,
                    "domain '" + std::string(request.name) +
                        (built == Status::timed_out
                             ? "' is being built from its log and does not come to an end: "
                               "look at the process that makes it"
                             : "' was removed while it was being built from its log; a "
                               "Server that makes it builds it again")};
            }
        }
        if (opened || opened.status() != Status::domain_not_found ||
            std::chrono::steady_clock::now() >= deadline) {
            return opened;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

}  // namespace telpher::detail

#include "src/client/domain_core.hpp"

#include "shm/audit.hpp"
#include "shm/base/clock.hpp"
#include "src/broker/durable_sender.hpp"
#include "src/broker/parker.hpp"
#include "src/broker/queue_core.hpp"
#include "src/client/domain_log.hpp"
#include "src/client/functions.hpp"
#include "src/client/queue_spec.hpp"
#include "src/wire/names.hpp"

#include <algorithm>
#include <thread>

namespace telpher::detail {
namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(1);

const char* state_name(shm::ProcessState state) {
    switch (state) {
        case shm::ProcessState::free:
            return "free";
        case shm::ProcessState::joining:
            return "joining";
        case shm::ProcessState::live:
            return "live";
        case shm::ProcessState::dead:
            return "dead";
        case shm::ProcessState::swept:
            return "swept";
    }
    return "unknown";
}

}  // namespace

DomainCore::DomainCore(std::shared_ptr<shm::Attachment> attachment,
                       WaitStrategy strategy,
                       bool created)
    : attachment_(std::move(attachment)),
      strategy_(strategy),
      created_(created),
      functions_(std::make_unique<Functions>(*this)) {}

Status DomainCore::usable() const noexcept {
    const Status status = attachment_->usable();
    if (status != Status::ok) {
        return status;
    }
    // relaxed: a close that matters to this call was ordered before it by the caller
    return closed_.load(std::memory_order_relaxed) ? Status::closed : Status::ok;
}

Result<void> DomainCore::check_capacity(std::uint32_t capacity) {
    if (capacity != 0 && capacity < shm::kCapacityMax) {
        return {};
    }
    return Error{Status::bad_request,
                 0,
                 "capacity is " + std::to_string(capacity) + ", allowed are 1.." +
                     std::to_string(shm::kCapacityMax - 1)};
}

Result<shm::Found> DomainCore::create_in_directory(const shm::DestinationSpec& spec,
                                                   bool* created) {
    auto found = attachment_->directory().create(spec, created);
    if (found.status() == Status::limit_reached || found.status() == Status::out_of_memory) {
        attachment_->check_deaths();  // the dead may keep removed queues in place
        found = attachment_->directory().create(spec, created);
    }
    return found;
}

Result<Queue> DomainCore::create_queue(std::string_view name, const QueueOptions& options) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (auto named = wire::check_name("queue name", name); !named) {
        return named.error();
    }
    if (auto sound = check_queue_options(name, options); !sound) {
        return sound.error();
    }
    if (auto sound = check_capacity(options.capacity); !sound) {
        return sound.error();
    }
    shm::DestinationSpec spec = queue_spec(name, options);
    if (!options.dead_letter.empty()) {
        auto dead = dead_letter_queue(options);
        if (!dead) {
            return dead.error();
        }
        spec.dead_letter_entry = dead->entry + 1;
        spec.dead_letter_generation = static_cast<std::uint32_t>(dead->generation);
    }
    bool created = false;
    auto found = spec.kind == shm::Kind::durable
                     ? create_durable(*this, spec, options.dead_letter, &created)
                     : create_in_directory(spec, &created);
    if (!found) {
        return found.error();
    }
    if (!created && found->info.options_hash != spec.options_hash) {
        return Error{Status::mismatch,
                     0,
                     "queue '" + std::string(name) + "' exists with " + describe(*found) +
                         ", asked for " + describe(options)};
    }
    if (!created && (found->info.dead_letter_entry != spec.dead_letter_entry ||
                     found->info.dead_letter_generation != spec.dead_letter_generation)) {
        return Error{Status::mismatch,
                     0,
                     "the dead letters of queue '" + std::string(name) + "' went to a queue '" +
                         options.dead_letter + "' that was removed; remove '" + std::string(name) +
                         "', too, and make both anew"};
    }
    return QueueCore::open(shared_from_this(), *found, created);
}

// Made if there is none: circular, so that it never stops a queue.
Result<shm::Found> DomainCore::dead_letter_queue(const QueueOptions& like) {
    auto found = attachment_->directory().find(like.dead_letter);
    if (!found) {
        bool created = false;
        const bool durable = like.kind == QueueKind::durable;
        auto spec = queue_spec(like.dead_letter,
                               {.capacity = like.capacity,
                                .kind = durable ? QueueKind::durable : QueueKind::circular,
                                .delivery = DeliveryMode::at_least_once,
                                .lease = like.lease,
                                .durability = durable ? like.durability : Durability::power});
        auto made = durable ? create_durable(*this, spec, {}, &created)
                            : create_in_directory(spec, &created);
        if (!made) {
            return made;
        }
        found = *made;
    }
    if (!found->leased() ||
        (like.kind == QueueKind::durable && found->kind() != shm::Kind::durable)) {
        return Error{Status::mismatch,
                     0,
                     "dead_letter names queue '" + like.dead_letter + "', which exists with " +
                         describe(*found) + "; it must be of delivery at_least_once" +
                         (like.kind == QueueKind::durable ? " and of kind durable" : "")};
    }
    return *found;
}

Result<Queue> DomainCore::find_queue(std::string_view name, const FindOptions& options) {
    if (auto named = wire::check_name("queue name", name); !named) {
        return named.error();
    }
    if (options.wait.count() < 0) {
        return Error{Status::bad_request, 0, "wait is negative, allowed are 0 and more"};
    }
    const auto deadline = std::chrono::steady_clock::now() + std::min(options.wait, kForever);
    for (;;) {
        if (const Status status = usable(); status != Status::ok) {
            return status;
        }
        if (const auto found = attachment_->directory().find(name)) {
            return QueueCore::open(shared_from_this(), *found, false);
        }
        if (std::chrono::steady_clock::now() >= deadline) {
            return Error{Status::queue_not_found,
                         0,
                         "no queue '" + std::string(name) + "' in domain '" + this->name() + "'"};
        }
        std::this_thread::sleep_for(kLookAgain);
    }
}

Result<void> DomainCore::remove_queue(std::string_view name) {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (auto named = wire::check_name("queue name", name); !named) {
        return named.error();
    }
    auto found = attachment_->directory().remove(name);
    if (!found) {
        return found.error();
    }
    Result<void> noted;
    if (found->kind() == shm::Kind::durable) {
        noted = note_removal(*this, *found);
    }
    if (auto guard = attachment_->directory().lock()) {
        attachment_->directory().recycle();
    }
    return noted;
}

Result<store::SharedLog*> DomainCore::log() { return open_log(*attachment_); }

store::SharedLog* DomainCore::log_if_open() const noexcept {
    return detail::log_if_open(*attachment_);
}

Result<bool> DomainCore::exists(std::string_view name) const {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (auto named = wire::check_name("queue name", name); !named) {
        return named.error();
    }
    return attachment_->directory().find(name).has_value();
}

Result<std::vector<std::string>> DomainCore::names(shm::Family family) const {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    std::vector<std::string> names;
    for (const shm::Found& found : attachment_->directory().list()) {
        if (found.state == shm::EntryState::live && found.family() == family) {
            names.push_back(found.name());
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

Result<DomainStatus> DomainCore::status() const {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    DomainStatus status;
    shm::Segment& segment = attachment_->segment();
    status.name = segment.name();
    status.uuid = shm::to_string(segment.uuid());
    status.lifetime = segment.ephemeral() ? Lifetime::ephemeral : Lifetime::persistent;
    static_cast<void>(segment.data().reach());
    status.segment_bytes = segment.data().bytes();
    status.processes = attachment_->processes().others(shm::kProcessesMax);
    status.destinations = static_cast<std::uint32_t>(attachment_->directory().list().size());
    status.reaped = segment.header().reaps.load(std::memory_order_relaxed);  // relaxed: a statistic
    return status;
}

Result<std::vector<ProcessInfo>> DomainCore::processes() const {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    attachment_->check_deaths();
    std::vector<ProcessInfo> all;
    const std::uint64_t now = shm::monotonic_ns();
    for (const shm::ProcessFacts& facts : attachment_->processes().list()) {
        ProcessInfo info;
        info.slot = facts.slot;
        info.pid = facts.pid;
        info.command = facts.command;
        info.state = state_name(facts.state);
        info.attached_for = std::chrono::milliseconds(
            now > facts.joined_ns ? (now - facts.joined_ns) / 1'000'000 : 0);
        all.push_back(std::move(info));
    }
    return all;
}

Result<VerifyReport> DomainCore::verify() const {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    shm::Audit audit = shm::audit(*attachment_);
    VerifyReport report;
    report.problems = std::move(audit.problems);
    report.chunks = audit.chunks;
    report.chunks_free = audit.free;
    report.chunks_owned = audit.owned;
    report.chunks_offered = audit.offered;
    report.chunks_claimed = audit.claimed;
    report.chunks_retired = audit.retired;
    report.chunks_answered = audit.ended_calls;
    report.chunks_parked = audit.parked;
    report.chunks_lingering = audit.lingering;
    report.chunks_kept = audit.kept;
    report.queues = audit.queues;
    report.processes = audit.processes;
    return report;
}

Result<void> DomainCore::remove() {
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    return attachment_->remove();
}

void DomainCore::close() {
    // Q2: pairs with src/broker/waiter.hpp:Q1: who is rung sees it.
    closed_.store(true, std::memory_order_release);
    if (!attachment_->forked()) {
        attachment_->ring_own_threads();
        end_temporaries();
        nudge_parker();
    }
}

Result<Parker*> DomainCore::parker() {
    const std::lock_guard hold(parker_mutex_);
    if (parker_ == nullptr) {
        auto started = Parker::start(attachment_);
        if (!started) {
            return started.error();
        }
        parker_ = std::move(*started);
    }
    return parker_.get();
}

Result<DurableSender*> DomainCore::durable_sender() {
    auto opened = log();
    auto parking = opened ? parker() : Result<Parker*>(opened.error());
    if (!parking) {
        return parking.error();
    }
    const std::lock_guard hold(parker_mutex_);
    if (durable_sender_ == nullptr) {
        auto started = DurableSender::start(attachment_, parker_, **opened);
        if (!started) {
            return started.error();
        }
        durable_sender_ = std::move(*started);
    }
    return durable_sender_.get();
}

void DomainCore::nudge_parker() noexcept {
    // Under the lock: an operation that starts the parker after it sees what was closed.
    const std::lock_guard hold(parker_mutex_);
    if (parker_ != nullptr) {
        parker_->look_at_all();
    }
}

// No operation is pending: each holds a queue, and each queue holds us.
DomainCore::~DomainCore() {
    if (!attachment_->forked()) {
        relieve_log(*attachment_, true);  // of what was acknowledged
    }
    if (parker_ == nullptr) {
        return;
    }
    if (attachment_->forked()) {
        parker_->forget();
        if (durable_sender_ != nullptr) {
            durable_sender_->forget();
        }
        return;
    }
    if (durable_sender_ != nullptr) {
        durable_sender_->stop();  // first: it hands coroutines to the parker
    }
    parker_->stop();
}

}  // namespace telpher::detail

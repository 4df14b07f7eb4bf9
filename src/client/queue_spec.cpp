#include "src/client/queue_spec.hpp"

#include "src/client/idempotency_spec.hpp"
#include "src/wire/names.hpp"
#include "src/wire/option_text.hpp"

namespace telpher::detail {
namespace {

constexpr Duration kLeaseDefault = std::chrono::seconds(30);
constexpr Duration kLeaseMin = std::chrono::milliseconds(10);
constexpr Duration kLeaseMax = std::chrono::hours(24);
constexpr std::uint32_t kDeliveriesMax = 1'000'000;

Duration lease_of(const QueueOptions& options) {
    return options.lease.count() == 0 ? kLeaseDefault : options.lease;
}

// What must be equal for a queue to be "the same": everything `create` fixes.
std::uint64_t options_hash(const QueueOptions& options) {
    // FNV-1a.
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    const auto add = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3ULL; };
    add(static_cast<std::uint64_t>(options.kind));
    add(options.capacity);
    add(options.byte_budget);
    if (options.delivery != DeliveryMode::at_most_once) {
        add(static_cast<std::uint64_t>(options.delivery));
        add(static_cast<std::uint64_t>(lease_of(options).count()));
        add(options.deliveries_max);
        for (const char c : options.dead_letter) {
            add(static_cast<unsigned char>(c));
        }
    }
    if (options.kind == QueueKind::durable) {
        add(static_cast<std::uint64_t>(options.durability));
    }
    return idempotency_hash(hash, options.idempotency);
}

const char* kind_text(QueueKind kind) {
    return kind == QueueKind::circular  ? "kind circular and capacity "
           : kind == QueueKind::durable ? "kind durable and capacity "
                                        : "kind bounded and capacity ";
}

}  // namespace

Result<void> check_queue_options(std::string_view name, const QueueOptions& options) {
    if (options.kind > QueueKind::durable) {
        return wire::option_out_of_range("kind",
                                         std::to_string(static_cast<unsigned>(options.kind)),
                                         "bounded (0), circular (1) and durable (2)");
    }
    if (options.durability > Durability::process) {
        return wire::option_out_of_range("durability",
                                         std::to_string(static_cast<unsigned>(options.durability)),
                                         "power (0) and process (1)");
    }
    if (options.kind == QueueKind::durable && options.delivery == DeliveryMode::at_most_once) {
        return Error{
            Status::bad_request,
            0,
            "a durable queue needs delivery = at_least_once: a message that is taken when it is "
            "polled would be lost with its consumer"};
    }
    if (options.kind != QueueKind::durable && options.durability != Durability::power) {
        return Error{Status::bad_request, 0, "durability needs kind = durable"};
    }
    if (options.delivery > DeliveryMode::at_least_once) {
        return wire::option_out_of_range("delivery",
                                         std::to_string(static_cast<unsigned>(options.delivery)),
                                         "at_most_once (0) and at_least_once (1)");
    }
    if (auto sound = check_idempotency(options.idempotency); !sound) {
        return sound;
    }
    if (options.idempotency && options.idempotency->fingerprint) {
        return Error{Status::bad_request,
                     0,
                     "idempotency.fingerprint is for functions; messages to a queue need an id"};
    }
    if (options.delivery == DeliveryMode::at_most_once) {
        if (options.lease.count() != 0 || options.deliveries_max != 0 ||
            !options.dead_letter.empty()) {
            return Error{Status::bad_request,
                         0,
                         "lease, deliveries_max and dead_letter need delivery = at_least_once"};
        }
        return {};
    }
    if (lease_of(options) < kLeaseMin || lease_of(options) > kLeaseMax) {
        return wire::option_out_of_range(
            "lease", std::to_string(options.lease.count()) + " ns", "10 ms..1 day, and 0 for 30 s");
    }
    if (options.deliveries_max > kDeliveriesMax) {
        return wire::option_out_of_range(
            "deliveries_max", std::to_string(options.deliveries_max), "0 (any number)..1000000");
    }
    if (!options.dead_letter.empty()) {
        if (auto named = wire::check_name("dead_letter", options.dead_letter); !named) {
            return named.error();
        }
        if (options.dead_letter == name) {
            return Error{Status::bad_request,
                         0,
                         "dead_letter names the queue itself; its dead letters need another"};
        }
    }
    return {};
}

shm::DestinationSpec queue_spec(std::string_view name, const QueueOptions& options) {
    shm::DestinationSpec spec;
    spec.name = name;
    spec.kind = options.kind == QueueKind::circular  ? shm::Kind::circular
                : options.kind == QueueKind::durable ? shm::Kind::durable
                                                     : shm::Kind::queue;
    if (options.kind == QueueKind::durable && options.durability == Durability::power) {
        spec.log_id = shm::kLogSynced;
    }
    spec.capacity = options.capacity;
    spec.options_hash = options_hash(options);
    spec.byte_budget = options.byte_budget;
    if (options.delivery != DeliveryMode::at_most_once) {
        spec.delivery = static_cast<std::uint8_t>(options.delivery);
        spec.lease_ns = static_cast<std::uint64_t>(lease_of(options).count());
        spec.deliveries_max = options.deliveries_max;
    }
    spec.idempotency = idempotency_spec(options.idempotency);
    return spec;
}

std::string describe(const QueueOptions& options) {
    std::string text = kind_text(options.kind);
    text += std::to_string(options.capacity);
    if (options.byte_budget != 0) {
        text += " and byte_budget " + std::to_string(options.byte_budget);
    }
    if (options.delivery != DeliveryMode::at_most_once) {
        text += " and delivery at_least_once with lease " +
                std::to_string(lease_of(options).count() / 1'000'000) + " ms, deliveries_max " +
                std::to_string(options.deliveries_max) + ", " +
                (options.dead_letter.empty() ? "no dead letters"
                                             : "dead letters '" + options.dead_letter + "'");
    }
    return text + describe(idempotency_spec(options.idempotency));
}

std::string describe(const shm::Found& found) {
    const shm::EntryInfo& info = found.info;
    std::string text = found.kind() == shm::Kind::circular    ? "kind circular and capacity "
                       : found.kind() == shm::Kind::temporary ? "kind temporary and capacity "
                       : found.kind() == shm::Kind::durable   ? "kind durable and capacity "
                                                              : "kind bounded and capacity ";
    text += std::to_string(info.capacity);
    if (info.byte_budget != 0) {
        text += " and byte_budget " + std::to_string(info.byte_budget);
    }
    if (found.leased()) {
        text += " and delivery at_least_once with lease " +
                std::to_string(info.lease_ns / 1'000'000) + " ms, deliveries_max " +
                std::to_string(info.deliveries_max) + ", " +
                (info.dead_letter_entry == 0 ? "no dead letters" : "dead letters of its own");
    }
    return text + describe(idempotency_spec(info));
}

}  // namespace telpher::detail

#include "src/client/queue_definition.hpp"

#include "src/wire/names.hpp"

#include <array>
#include <cstring>

namespace telpher::detail {
namespace {

constexpr std::uint32_t kVersion = 1;

// Behind the two names: u32 bytes and the bytes, each.
struct Fixed {
    std::uint32_t version;
    std::uint32_t capacity;
    std::uint64_t options_hash;
    std::uint64_t byte_budget;
    std::uint64_t lease_ns;
    std::uint64_t idempotency_bytes_max;
    std::uint64_t idempotency_ttl_ns;
    std::uint64_t created_ns;
    std::uint32_t idempotency_entries_max;
    std::uint32_t deliveries_max;
    std::uint8_t delivery;
    std::uint8_t synced;  // 1: messages are synced before they are confirmed
    std::uint8_t idempotency;
    std::uint8_t idempotency_scope;
    std::uint8_t idempotency_flags;
    std::array<std::uint8_t, 3> reserved;
};
static_assert(sizeof(Fixed) == 72 && std::is_trivially_copyable_v<Fixed>);

void put(std::vector<std::byte>& bytes, const void* from, std::size_t size) {
    const std::size_t begin = bytes.size();
    bytes.resize(begin + size);
    if (size != 0) {
        std::memcpy(bytes.data() + begin, from, size);
    }
}

void put_name(std::vector<std::byte>& bytes, std::string_view name) {
    const auto size = static_cast<std::uint32_t>(name.size());
    put(bytes, &size, sizeof size);
    put(bytes, name.data(), name.size());
}

std::optional<std::string> get_name(std::span<const std::byte>& bytes) {
    std::uint32_t size = 0;
    if (bytes.size() < sizeof size) {
        return std::nullopt;
    }
    std::memcpy(&size, bytes.data(), sizeof size);
    bytes = bytes.subspan(sizeof size);
    if (size > shm::kNameBytesMax || size > bytes.size()) {
        return std::nullopt;
    }
    std::string name(reinterpret_cast<const char*>(bytes.data()), size);
    bytes = bytes.subspan(size);
    return name;
}

}  // namespace

std::vector<std::byte> encode_definition(const shm::DestinationSpec& spec,
                                         std::string_view name,
                                         std::string_view dead_letter) {
    std::vector<std::byte> bytes;
    put_name(bytes, name);
    put_name(bytes, dead_letter);
    Fixed fixed{};
    fixed.version = kVersion;
    fixed.capacity = spec.capacity;
    fixed.options_hash = spec.options_hash;
    fixed.byte_budget = spec.byte_budget;
    fixed.lease_ns = spec.lease_ns;
    fixed.created_ns = spec.created_ns;
    fixed.deliveries_max = spec.deliveries_max;
    fixed.delivery = spec.delivery;
    fixed.synced = static_cast<std::uint8_t>((spec.log_id & shm::kLogSynced) != 0);
    fixed.idempotency = spec.idempotency.on;
    fixed.idempotency_scope = spec.idempotency.scope;
    fixed.idempotency_flags = spec.idempotency.flags;
    fixed.idempotency_entries_max = spec.idempotency.entries_max;
    fixed.idempotency_bytes_max = spec.idempotency.bytes_max;
    fixed.idempotency_ttl_ns = spec.idempotency.ttl_ns;
    put(bytes, &fixed, sizeof fixed);
    return bytes;
}

shm::DestinationSpec spec_of(const shm::Found& found) {
    const shm::EntryInfo& info = found.info;
    shm::DestinationSpec spec;
    spec.kind = found.kind();
    spec.capacity = info.capacity;
    spec.options_hash = info.options_hash;
    spec.byte_budget = info.byte_budget;
    spec.delivery = info.delivery;
    spec.lease_ns = info.lease_ns;
    spec.created_ns = info.created_ns;
    spec.deliveries_max = info.deliveries_max;
    spec.idempotency = {.on = info.idempotency,
                        .scope = info.idempotency_scope,
                        .flags = info.idempotency_flags,
                        .entries_max = info.idempotency_entries_max,
                        .bytes_max = info.idempotency_bytes_max,
                        .ttl_ns = info.idempotency_ttl_ns};
    spec.log_id = info.durable_log_id;
    return spec;
}

std::optional<QueueDefinition> decode_definition(std::span<const std::byte> bytes) {
    auto name = get_name(bytes);
    auto dead_letter = name ? get_name(bytes) : std::nullopt;
    Fixed fixed{};
    if (!dead_letter || bytes.size() != sizeof fixed) {
        return std::nullopt;
    }
    std::memcpy(&fixed, bytes.data(), sizeof fixed);
    if (fixed.version != kVersion || fixed.capacity == 0 || fixed.capacity >= shm::kCapacityMax ||
        fixed.delivery != 1 || !wire::check_name("queue name", *name) ||
        (!dead_letter->empty() && !wire::check_name("dead_letter", *dead_letter))) {
        return std::nullopt;
    }
    QueueDefinition definition{std::move(*name), std::move(*dead_letter), {}};
    shm::DestinationSpec& spec = definition.spec;
    spec.kind = shm::Kind::durable;
    spec.capacity = fixed.capacity;
    spec.options_hash = fixed.options_hash;
    spec.byte_budget = fixed.byte_budget;
    spec.delivery = fixed.delivery;
    spec.lease_ns = fixed.lease_ns;
    spec.created_ns = fixed.created_ns;
    spec.deliveries_max = fixed.deliveries_max;
    spec.idempotency = {.on = fixed.idempotency,
                        .scope = fixed.idempotency_scope,
                        .flags = fixed.idempotency_flags,
                        .entries_max = fixed.idempotency_entries_max,
                        .bytes_max = fixed.idempotency_bytes_max,
                        .ttl_ns = fixed.idempotency_ttl_ns};
    spec.log_id = fixed.synced != 0 ? shm::kLogSynced : 0;
    return definition;
}

}  // namespace telpher::detail

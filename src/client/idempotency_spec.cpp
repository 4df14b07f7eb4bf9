#include "src/client/idempotency_spec.hpp"

#include "src/wire/option_text.hpp"

namespace telpher::detail {
namespace {

constexpr std::chrono::nanoseconds kTtlMin = std::chrono::milliseconds(1);
constexpr std::chrono::nanoseconds kTtlMax = std::chrono::hours(24 * 30);

Error out_of_range(const std::string& option,
                   const std::string& value,
                   const std::string& allowed) {
    return wire::option_out_of_range("idempotency." + option, value, allowed);
}

template <typename Enumeration>
Result<void> check_choice(const std::string& option, Enumeration value, Enumeration last) {
    if (value <= last) {
        return {};
    }
    return out_of_range(option,
                        std::to_string(static_cast<unsigned>(value)),
                        "0.." + std::to_string(static_cast<unsigned>(last)));
}

}  // namespace

Result<void> check_idempotency(const std::optional<Idempotency>& options) {
    if (!options) {
        return {};
    }
    if (options->ttl < kTtlMin || options->ttl > kTtlMax) {
        return out_of_range("ttl", std::to_string(options->ttl.count()) + " ns", "1 ms..30 days");
    }
    if (options->entries_max > shm::kRecordsMax) {
        return out_of_range("entries_max",
                            std::to_string(options->entries_max),
                            "0 (any)..." + std::to_string(shm::kRecordsMax));
    }
    if (auto scope = check_choice("scope", options->scope, IdempotencyScope::global); !scope) {
        return scope;
    }
    if (auto full = check_choice("when_full", options->when_full, WhenFull::evict_oldest); !full) {
        return full;
    }
    return check_choice("when_uncertain", options->when_uncertain, WhenUncertain::rerun);
}

shm::IdempotencySpec idempotency_spec(const std::optional<Idempotency>& options) {
    shm::IdempotencySpec spec;
    if (!options) {
        return spec;
    }
    spec.on = 1;
    spec.scope = static_cast<std::uint8_t>(options->scope);
    spec.flags = static_cast<std::uint8_t>(
        (options->when_full == WhenFull::evict_oldest ? shm::kIdempotencyEvicts : 0) |
        (options->when_uncertain == WhenUncertain::rerun ? shm::kIdempotencyReruns : 0) |
        (options->required ? shm::kIdempotencyRequired : 0));
    spec.entries_max = options->entries_max;
    spec.bytes_max = options->bytes_max;
    spec.ttl_ns = static_cast<std::uint64_t>(options->ttl.count());
    return spec;
}

shm::IdempotencySpec idempotency_spec(const shm::EntryInfo& info) {
    return {info.idempotency,
            info.idempotency_scope,
            info.idempotency_flags,
            info.idempotency_entries_max,
            info.idempotency_bytes_max,
            info.idempotency_ttl_ns};
}

std::uint64_t idempotency_hash(std::uint64_t hash, const std::optional<Idempotency>& options) {
    if (!options) {
        return hash;
    }
    const shm::IdempotencySpec spec = idempotency_spec(options);
    // FNV-1a.
    for (const std::uint64_t value : {std::uint64_t{spec.on},
                                      std::uint64_t{spec.scope},
                                      std::uint64_t{spec.flags},
                                      std::uint64_t{spec.entries_max},
                                      spec.bytes_max,
                                      spec.ttl_ns}) {
        hash = (hash ^ value) * 0x100000001b3ULL;
    }
    return hash;
}

std::string describe(const shm::IdempotencySpec& spec) {
    if (spec.on == 0) {
        return {};
    }
    const auto has = [&spec](std::uint8_t flag) { return (spec.flags & flag) != 0; };
    std::string text = " and idempotency (scope ";
    text += to_string(static_cast<IdempotencyScope>(spec.scope));
    text += ", ttl " + std::to_string(spec.ttl_ns / 1'000'000) + " ms, entries_max " +
            std::to_string(spec.entries_max) + ", bytes_max " + std::to_string(spec.bytes_max);
    text += has(shm::kIdempotencyEvicts) ? ", evict_oldest" : ", reject";
    text += has(shm::kIdempotencyReruns) ? ", rerun" : ", report";
    return text + (has(shm::kIdempotencyRequired) ? ", required)" : ")");
}

}  // namespace telpher::detail

#pragma once
// The fields of commands and of their replies (PROTOCOL.md, Commands), each structure told once: the same
// `fields` writes it and reads it.
//
//   Errors   of reading: `complete` is false; a text that is too long, a list that cannot be that long
//   Cost     an allocation for each text and list

#include "telpher/admin.hpp"

#include "tcp_bridge/byte_cursor.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace telpher::bridge {

class FieldWriter {
  public:
    // Several, one behind another.
    template <typename... T>
    void operator()(const T&... values) {
        (field(values), ...);
    }
    template <typename T>
    requires std::is_integral_v<T>
    void field(const T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            out_.put(static_cast<std::uint8_t>(value ? 1 : 0));
        } else {
            out_.put(value);
        }
    }
    void field(const std::string& text) {
        const auto bytes = std::min<std::size_t>(text.size(), kTextBytesMax);
        out_.put(static_cast<std::uint16_t>(bytes));
        out_.text(std::string_view(text).substr(0, bytes));
    }
    void field(const std::chrono::milliseconds& time) { out_.put<std::int64_t>(time.count()); }
    void field(const Duration& duration) { out_.put<std::int64_t>(duration.count()); }
    void field(const std::optional<std::chrono::milliseconds>& time) {
        out_.put<std::int64_t>(time ? time->count() : -1);
    }
    template <typename T>
    requires std::is_enum_v<T>
    void field(const T& value) { out_.put(static_cast<std::uint8_t>(value)); }
    template <typename T>
    void field(const std::vector<T>& list) {
        out_.put(static_cast<std::uint32_t>(list.size()));
        for (const T& one : list) {
            one_of(one);
        }
    }
    // The buckets that are not empty.
    void field(const Latency& latency) {
        field(latency.max());
        const auto counts = latency.counts();
        const auto used = std::count_if(
            counts.begin(), counts.end(), [](std::uint64_t count) { return count != 0; });
        out_.put(static_cast<std::uint16_t>(used));
        for (std::size_t i = 0; i < counts.size(); ++i) {
            if (counts[i] != 0) {
                out_.put(static_cast<std::uint16_t>(i));
                out_.put(counts[i]);
            }
        }
    }
    [[nodiscard]] std::vector<std::byte> take() const { return out_.take(); }

  private:
    static constexpr std::size_t kTextBytesMax = std::numeric_limits<std::uint16_t>::max();
    template <typename T>
    void one_of(const T& one) {
        if constexpr (std::is_same_v<T, std::string>) {
            field(one);
        } else {
            fields(*this, one);
        }
    }
    ByteWriter out_;
};

class FieldReader {
  public:
    explicit FieldReader(std::span<const std::byte> bytes) : in_(bytes) {}
    template <typename... T>
    void operator()(T&... values) {
        (field(values), ...);
    }
    template <typename T>
    requires std::is_integral_v<T>
    void field(T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            value = in_.get<std::uint8_t>() != 0;
        } else {
            value = in_.get<T>();
        }
    }
    void field(std::string& text) { text = in_.text(in_.get<std::uint16_t>()); }
    void field(std::chrono::milliseconds& time) {
        time = std::chrono::milliseconds(in_.get<std::int64_t>());
    }
    void field(Duration& duration) { duration = Duration(in_.get<std::int64_t>()); }
    void field(std::optional<std::chrono::milliseconds>& time) {
        const auto count = in_.get<std::int64_t>();
        time = count < 0 ? std::nullopt : std::optional(std::chrono::milliseconds(count));
    }
    // Whether it is one of the enumeration, the caller checks.
    template <typename T>
    requires std::is_enum_v<T>
    void field(T& value) { value = static_cast<T>(in_.get<std::uint8_t>()); }
    template <typename T>
    void field(std::vector<T>& list) {
        // Grown as its elements come, each at least a byte: a length alone allocates nothing.
        for (auto left = in_.get<std::uint32_t>(); left > 0 && in_.ok(); --left) {
            T one{};
            one_of(one);
            list.push_back(std::move(one));
        }
    }
    // Buckets that this version does not have are passed over.
    void field(Latency& latency) {
        Duration max{};
        field(max);
        std::array<std::uint64_t, detail::kLatencyBuckets> counts{};
        for (auto left = in_.get<std::uint16_t>(); left > 0 && in_.ok(); --left) {
            const auto index = in_.get<std::uint16_t>();
            const auto count = in_.get<std::uint64_t>();
            if (index < counts.size()) {
                counts[index] = count;
            }
        }
        latency = Latency::of(counts, max);
    }
    // Nothing was missing. What later versions add behind it is not looked at.
    [[nodiscard]] bool ok() const noexcept { return in_.ok(); }

  private:
    template <typename T>
    void one_of(T& one) {
        if constexpr (std::is_same_v<T, std::string>) {
            field(one);
        } else {
            fields(*this, one);
        }
    }
    ByteReader in_;
};

// `T` is const for a writer.
template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, std::optional<Idempotency>>
void fields(Io& io, T& options) {
    bool on = options.has_value();
    Idempotency values = options.value_or(Idempotency{});
    io(on,
       values.scope,
       values.when_full,
       values.when_uncertain,
       values.required,
       values.ttl,
       values.entries_max,
       values.bytes_max);
    if constexpr (!std::is_const_v<T>) {
        options = on ? std::optional(values) : std::nullopt;
    }
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, IdempotencyFigures>
void fields(Io& io, T& figures) {
    io(figures.on,
       figures.entries,
       figures.bytes,
       figures.duplicates,
       figures.replays,
       figures.conflicts,
       figures.evicted);
}

// `Options` is const for a writer.
template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, QueueOptions>
void fields(Io& io, T& options) {
    io(options.capacity,
       options.kind,
       options.byte_budget,
       options.delivery,
       options.lease,
       options.deliveries_max,
       options.dead_letter);
    fields(io, options.idempotency);
    io(options.durability);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, TopicOptions>
void fields(Io& io, T& options) {
    io(options.capacity,
       options.history,
       options.slow,
       options.disconnect_after,
       options.subscribers,
       options.byte_budget);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, QueueStatus>
void fields(Io& io, T& status) {
    io(status.name,
       status.kind,
       status.capacity,
       status.depth,
       status.bytes,
       status.offered,
       status.polled,
       status.dropped,
       status.expired,
       status.redelivered,
       status.abandoned,
       status.consumers,
       status.oldest_age,
       status.removed,
       status.delivery,
       status.lease,
       status.deliveries_max,
       status.dead_letter,
       status.leased,
       status.delayed,
       status.lease_expired,
       status.dead_lettered);
    fields(io, status.idempotency);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, TopicStatus>
void fields(Io& io, T& status) {
    io(status.name,
       status.slow,
       status.capacity,
       status.history,
       status.published,
       status.depth,
       status.bytes,
       status.lost,
       status.subscribers,
       status.slowest_lag,
       status.removed);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, FunctionStatus>
void fields(Io& io, T& status) {
    io(status.name,
       status.inflight_max,
       status.idempotent,
       status.servers,
       status.queued,
       status.calls,
       status.errors,
       status.late,
       status.timed_out,
       status.expired,
       status.abandoned,
       status.redelivered,
       status.dropped,
       status.dead_lettered,
       status.dead_letter,
       status.latency);
    fields(io, status.idempotency);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, DomainStatus>
void fields(Io& io, T& status) {
    io(status.name,
       status.uuid,
       status.lifetime,
       status.segment_bytes,
       status.processes,
       status.destinations,
       status.reaped);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, ProcessInfo>
void fields(Io& io, T& process) {
    io(process.slot, process.pid, process.command, process.state, process.attached_for);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, DomainSetting>
void fields(Io& io, T& setting) { io(setting.name, setting.value, setting.allowed); }

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, VerifyReport>
void fields(Io& io, T& report) {
    io(report.problems,
       report.chunks,
       report.chunks_free,
       report.chunks_owned,
       report.chunks_offered,
       report.chunks_claimed,
       report.chunks_answered,
       report.chunks_retired,
       report.queues,
       report.processes,
       report.chunks_parked,
       report.chunks_lingering,
       report.chunks_kept);
}

}  // namespace telpher::bridge

#pragma once
// The fields of commands and of their replies (PROTOCOL.md, Commands), each structure told once: the same
// `fields` writes it and reads it.
//
//   Errors   of reading: `complete` is false; a text that is too long, a list that cannot be that long
//   Cost     an allocation for each text and list

#include "telpher/admin.hpp"

#include "tcp_bridge/byte_cursor.hpp"

#include <algorithm>
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
        for (auto left = in_.get<std::uint32_t>(); left > 0 && in_.ok() && in_.left() > 0; --left) {
            T one{};
            one_of(one);
            list.push_back(std::move(one));
        }
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

// `Options` is const for a writer.
template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, QueueOptions>
void fields(Io& io, T& options) {
    io.field(options.capacity);
    io.field(options.kind);
    io.field(options.byte_budget);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, TopicOptions>
void fields(Io& io, T& options) {
    io.field(options.capacity);
    io.field(options.history);
    io.field(options.slow);
    io.field(options.disconnect_after);
    io.field(options.subscribers);
    io.field(options.byte_budget);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, QueueStatus>
void fields(Io& io, T& status) {
    io.field(status.name);
    io.field(status.kind);
    io.field(status.capacity);
    io.field(status.depth);
    io.field(status.bytes);
    io.field(status.offered);
    io.field(status.polled);
    io.field(status.dropped);
    io.field(status.expired);
    io.field(status.redelivered);
    io.field(status.abandoned);
    io.field(status.consumers);
    io.field(status.oldest_age);
    io.field(status.removed);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, TopicStatus>
void fields(Io& io, T& status) {
    io.field(status.name);
    io.field(status.slow);
    io.field(status.capacity);
    io.field(status.history);
    io.field(status.published);
    io.field(status.depth);
    io.field(status.bytes);
    io.field(status.lost);
    io.field(status.subscribers);
    io.field(status.slowest_lag);
    io.field(status.removed);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, FunctionStatus>
void fields(Io& io, T& status) {
    io.field(status.name);
    io.field(status.inflight_max);
    io.field(status.idempotent);
    io.field(status.servers);
    io.field(status.queued);
    io.field(status.calls);
    io.field(status.errors);
    io.field(status.late);
    io.field(status.timed_out);
    io.field(status.expired);
    io.field(status.abandoned);
    io.field(status.redelivered);
    io.field(status.dropped);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, DomainStatus>
void fields(Io& io, T& status) {
    io.field(status.name);
    io.field(status.uuid);
    io.field(status.lifetime);
    io.field(status.segment_bytes);
    io.field(status.processes);
    io.field(status.destinations);
    io.field(status.reaped);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, ProcessInfo>
void fields(Io& io, T& process) {
    io.field(process.slot);
    io.field(process.pid);
    io.field(process.command);
    io.field(process.state);
    io.field(process.attached_for);
}

template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, VerifyReport>
void fields(Io& io, T& report) {
    io.field(report.problems);
    io.field(report.chunks);
    io.field(report.chunks_free);
    io.field(report.chunks_owned);
    io.field(report.chunks_offered);
    io.field(report.chunks_claimed);
    io.field(report.chunks_answered);
    io.field(report.chunks_retired);
    io.field(report.queues);
    io.field(report.processes);
}

}  // namespace telpher::bridge

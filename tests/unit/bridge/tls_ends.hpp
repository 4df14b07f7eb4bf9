#pragma once
// Two ends of a secure channel in one process, with files of their own, and what carries bytes between
// them.

#include "tcp_bridge/identity.hpp"
#include "tcp_bridge/known_peers.hpp"
#include "tcp_bridge/tls_channel.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <stdlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace telpher::test {

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

inline std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline std::string content_of(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// Reproducible bytes in which no two places look alike.
inline Bytes pattern(std::size_t size, std::uint64_t seed = 1) {
    Bytes bytes(size);
    std::uint64_t state = seed * 0x9E3779B97F4A7C15U;
    for (auto& byte : bytes) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        byte = static_cast<std::byte>(state >> 56U);
    }
    return bytes;
}

using Context = std::shared_ptr<const bridge::TlsContext>;
constexpr const char* kHost = "cafe.example:33333";

// A folder with an identity in it.
struct TlsParty {
    ScratchFolder folder;
    std::string pin;

    explicit TlsParty(const std::string& name = "party")
        : pin(bridge::make_identity(folder.path(), name).value().text()) {}
};

struct Ends {
    std::unique_ptr<bridge::TlsChannel> client;
    std::unique_ptr<bridge::TlsChannel> server;
    std::optional<Error> client_error;  // the first that feed() gave
    std::optional<Error> server_error;

    Ends(const Context& client_context, const Context& server_context)
        : client(bridge::TlsChannel::make(client_context, kHost).value()),
          server(bridge::TlsChannel::make(server_context, "client").value()) {}

    // Carries bytes until nobody has any left; at most `step` at once.
    void pump(std::size_t step = std::size_t{64} << 10U) {
        while (carry(*client, *server, server_error, step) +
                   carry(*server, *client, client_error, step) >
               0) {
        }
    }

    static std::size_t carry(bridge::TlsChannel& from,
                             bridge::TlsChannel& to,
                             std::optional<Error>& error,
                             std::size_t step) {
        const auto wire = from.pending().first(std::min(step, from.pending().size()));
        if (!wire.empty()) {
            if (auto fed = to.feed(wire); !fed && !error) {
                error = fed.error();
            }
        }
        const std::size_t size = wire.size();
        from.sent(size);
        return size;
    }

    [[nodiscard]] bool established() const {
        return client->established() && server->established();
    }
};

// All that can be read now.
inline Bytes drain(bridge::TlsChannel& channel) {
    Bytes all;
    std::array<std::byte, 4096> piece{};
    while (const std::size_t got = channel.read(piece)) {
        all.insert(all.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got));
    }
    return all;
}

// What is pending, taken away from the channel.
inline Bytes take_pending(bridge::TlsChannel& channel) {
    Bytes wire(channel.pending().begin(), channel.pending().end());
    channel.sent(wire.size());
    return wire;
}

// A client that pins the server, and a server that admits anyone: no file is written by a handshake.
struct PinnedPair {
    TlsParty server_party;
    Context client;
    Context server;

    explicit PinnedPair(const bridge::TlsLimits& client_limits = {},
                        const bridge::TlsLimits& server_limits = {})
        : client(bridge::TlsContext::client(
                     {.pin = server_party.pin, .config_dir = server_party.folder.path() + "/none"},
                     client_limits)
                     .value()),
          server(
              bridge::TlsContext::server({.config_dir = server_party.folder.path()}, server_limits)
                  .value()) {}

    // Established, with nothing on the way.
    [[nodiscard]] Ends connected() const {
        Ends ends(client, server);
        ends.pump();
        EXPECT_TRUE(ends.established());
        return ends;
    }
};

// The records of a stretch of wire.
inline std::vector<Bytes> split_records(std::span<const std::byte> wire) {
    std::vector<Bytes> records;
    while (!wire.empty()) {
        const std::size_t size =
            5 + std::to_integer<std::size_t>(wire[3]) * 256 + std::to_integer<std::size_t>(wire[4]);
        records.emplace_back(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(size));
        wire = wire.subspan(size);
    }
    return records;
}

}  // namespace telpher::test

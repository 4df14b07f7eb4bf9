// Peers that speak TLS, but not as a channel does: other versions and suites, floods, oversized messages.
#include "tests/unit/bridge/tls_raw_peer.hpp"

namespace telpher::test {
namespace {

Context client_pinning(const std::string& pin) {
    return bridge::TlsContext::client({.pin = pin, .config_dir = "/nonexistent"}).value();
}

// A raw client that is connected to a channel's server.
struct Connected {
    PinnedPair pair;
    std::unique_ptr<bridge::TlsChannel> server;
    RawPeer raw{true};

    Connected() : server(bridge::TlsChannel::make(pair.server, "raw").value()) {
        EXPECT_FALSE(pump(*server, raw));
        EXPECT_TRUE(server->established() && raw.established());
    }
};

const std::vector<RawPeer::SetUp> kOthers{
    [](SSL_CTX* ctx) { SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION); },
    [](SSL_CTX* ctx) { SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256"); },
    [](SSL_CTX* ctx) { SSL_CTX_set_ciphersuites(ctx, "TLS_CHACHA20_POLY1305_SHA256"); },
    [](SSL_CTX* ctx) { SSL_CTX_set1_groups_list(ctx, "P-256"); },
    [](SSL_CTX* ctx) { SSL_CTX_set1_groups_list(ctx, "X448"); },
    [](SSL_CTX* ctx) { SSL_CTX_set1_sigalgs_list(ctx, "rsa_pss_rsae_sha256"); },
};

TEST(TlsHostilePeer, other_versions_suites_groups_and_signatures_are_refused) {
    const PinnedPair pair;
    for (std::size_t i = 0; i < kOthers.size(); ++i) {
        const auto server = bridge::TlsChannel::make(pair.server, "raw").value();
        RawPeer client(true, kOthers[i]);
        const auto server_error = pump(*server, client);
        ASSERT_TRUE(server_error) << i;
        EXPECT_EQ(server_error->status, Status::version_mismatch) << i << server_error->detail;
        EXPECT_FALSE(server->established() || client.established()) << i;

        RawPeer other(false, kOthers[i]);
        const auto channel = bridge::TlsChannel::make(client_pinning(other.pin), kHost).value();
        const auto client_error = pump(*channel, other);
        ASSERT_TRUE(client_error) << i;
        EXPECT_EQ(client_error->status, Status::version_mismatch) << i << client_error->detail;
        EXPECT_FALSE(channel->established()) << i;
    }
}

TEST(TlsHostilePeer, an_ordinary_one_is_talked_to) {
    RawPeer other(false);
    const auto channel = bridge::TlsChannel::make(client_pinning(other.pin), kHost).value();
    EXPECT_FALSE(pump(*channel, other));
    EXPECT_TRUE(channel->established() && other.established());
    Connected connected;
    SSL_write(connected.raw.ssl(), "hello", 5);
    EXPECT_TRUE(connected.server->feed(connected.raw.take()));
    EXPECT_EQ(text_of(drain(*connected.server)), "hello");
}

TEST(TlsHostilePeer, a_flood_of_key_updates_is_ended_by_the_17th) {
    Connected connected;
    Bytes flood;
    for (int i = 0; i < 10'000; ++i) {
        ASSERT_EQ(SSL_key_update(connected.raw.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
        SSL_do_handshake(connected.raw.ssl());
    }
    const auto records = split_records(connected.raw.take());
    ASSERT_EQ(records.size(), 10'000U);
    std::size_t taken = 0;
    while (connected.server->feed(records[taken])) {
        ++taken;
    }
    EXPECT_EQ(taken, 16U);
    EXPECT_EQ(connected.server->feed(records[taken]).status(), Status::limit_reached);
    // All at once makes no difference: nothing after the one too many is opened.
    Connected again;
    for (int i = 0; i < 1'000; ++i) {
        SSL_key_update(again.raw.ssl(), SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(again.raw.ssl());
    }
    EXPECT_EQ(again.server->feed(again.raw.take()).status(), Status::limit_reached);
    // One short answer to each that was opened.
    EXPECT_LT(again.server->pending().size(), 1'000U);
}

TEST(TlsHostilePeer, key_updates_among_much_data_are_welcome) {
    bridge::TlsLimits limits;
    limits.records.window_records = 64;
    const PinnedPair pair({}, limits);
    const auto server = bridge::TlsChannel::make(pair.server, "raw").value();
    RawPeer raw(true);
    ASSERT_FALSE(pump(*server, raw));
    const auto data = pattern(1'000);
    for (int i = 0; i < 1'000; ++i) {
        if (i % 8 == 0) {
            SSL_key_update(raw.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
        }
        SSL_write(raw.ssl(), data.data(), static_cast<int>(data.size()));
        ASSERT_TRUE(server->feed(raw.take())) << i;
        ASSERT_EQ(drain(*server), data);
    }
}

TEST(TlsHostilePeer, floods_of_empty_and_tiny_records_are_ended) {
    constexpr std::uint8_t kData = 23;
    for (const std::size_t padding : {0U, 1'000U}) {
        Connected connected;
        std::size_t taken = 0;
        while (connected.server->feed(connected.raw.seal({}, kData, padding))) {
            ASSERT_LT(++taken, 64U);
        }
        EXPECT_GE(taken, 16U);
    }
    // Empty ones between others do not go on for ever either.
    Connected between;
    std::size_t empty = 0;
    while (between.server->feed(between.raw.seal({}, kData)) &&
           between.server->feed(between.raw.seal(pattern(100), kData))) {
        ASSERT_LT(++empty, 64U);
        ASSERT_EQ(drain(*between.server), pattern(100));
    }
    Connected tiny;
    std::size_t taken = 0;
    while (tiny.server->feed(tiny.raw.seal(pattern(1), kData))) {
        ASSERT_LT(++taken, 2'000U);
    }
    EXPECT_EQ(taken, 1024U);
    // The tails of messages that are a little longer than a record are no flood.
    Connected tails;
    const auto message = pattern(bridge::kRecordBytes);
    for (int i = 0; i < 2'000; ++i) {
        ASSERT_TRUE(tails.server->feed(tails.raw.seal(message, kData)));
        ASSERT_TRUE(tails.server->feed(tails.raw.seal(pattern(1), kData)));
        ASSERT_EQ(drain(*tails.server).size(), message.size() + 1);
    }
}

TEST(TlsHostilePeer, what_a_record_may_not_hold_is_refused) {
    constexpr std::uint8_t kHandshake = 22;
    constexpr std::uint8_t kData = 23;
    struct Case {
        Bytes content;
        std::uint8_t type;
    };
    const auto key_update = bytes_of(std::string_view("\x18\x00\x00\x01\x00", 5));
    auto two = key_update;
    two.insert(two.end(), key_update.begin(), key_update.end());
    for (const auto& one : {Case{pattern(20), 24},           // no such type (a heartbeat once)
                            Case{bytes_of("\x01"), 20},      // a change of ciphers
                            Case{{}, kHandshake},            // an empty message
                            Case{pattern(200), kHandshake},  // no such message
                            Case{bytes_of(std::string_view("\x01\x00\x00\x02__", 6)),
                                 kHandshake},            // a hello: renegotiation
                            Case{two, kHandshake},       // a key must change between them
                            Case{Bytes(16'385), kData},  // more than a record may hold
                            Case{{}, 0}}) {              // nothing but padding
        Connected connected;
        const auto refused = connected.server->feed(connected.raw.seal(one.content, one.type));
        EXPECT_FALSE(refused) << int{one.type} << " of " << one.content.size();
        EXPECT_TRUE(drain(*connected.server).empty());
    }
}

TEST(TlsHostilePeer, a_message_of_the_handshake_in_endless_pieces_is_ended) {
    Connected connected;
    // A ticket of 128 KiB, which a server has no use for: each piece yields nothing.
    auto piece = bytes_of(std::string_view("\x04\x01\xFF\xFF", 4));
    std::size_t taken = 0;
    while (connected.server->feed(connected.raw.seal(piece, 22))) {
        piece = pattern(64);
        ASSERT_LT(++taken, 64U);
    }
}

TEST(TlsHostilePeer, a_handshake_of_many_bytes_is_ended) {
    const PinnedPair pair;
    const auto server = bridge::TlsChannel::make(pair.server, "raw").value();
    // A hello that claims to be long, in records of 16 KiB.
    Bytes wire{std::byte{22},
               std::byte{3},
               std::byte{1},
               std::byte{0x40},
               std::byte{0},
               std::byte{1},
               std::byte{1},
               std::byte{0},
               std::byte{0}};
    wire.resize(5 + 16'384);
    std::size_t fed = 0;
    Result<void> result;
    for (std::size_t i = 0; result && i < 16; ++i) {
        result = server->feed(wire);
        fed += wire.size();
        wire = Bytes(5 + 16'384);
        wire[0] = std::byte{22};
        wire[1] = wire[2] = std::byte{3};
        wire[3] = std::byte{0x40};
    }
    EXPECT_EQ(result.status(), Status::limit_reached);
    EXPECT_LE(fed, 5U * 16'389U);
}

TEST(TlsHostilePeer, an_oversized_certificate_is_refused) {
    const PinnedPair pair;
    const auto key = make_ed25519();
    const auto large = make_certificate(
        key.get(), "large", "DNS:" + std::string(20'000, 'x') + ".example", key.get(), nullptr);
    const RawPeer::SetUp use = [&](SSL_CTX* ctx) {
        SSL_CTX_use_certificate(ctx, large.get());
        SSL_CTX_use_PrivateKey(ctx, key.get());
    };
    RawPeer client(true, use);
    const auto server = bridge::TlsChannel::make(pair.server, "raw").value();
    const auto error = pump(*server, client);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->status, Status::limit_reached) << error->detail;
    RawPeer other(false, use);
    const auto channel =
        bridge::TlsChannel::make(client_pinning(pair.server_party.pin), kHost).value();
    const auto client_error = pump(*channel, other);
    ASSERT_TRUE(client_error);
    EXPECT_EQ(client_error->status, Status::limit_reached) << client_error->detail;
}

}  // namespace
}  // namespace telpher::test

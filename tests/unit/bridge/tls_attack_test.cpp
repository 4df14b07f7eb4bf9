// Somebody sits on the wire and changes, repeats, drops, reorders, splices or cuts what goes over it.
// Whatever is done, the receiver gets a beginning of what was sent, and never an end that was not said.
#include "tests/unit/bridge/tls_ends.hpp"

#include <algorithm>

namespace telpher::test {
namespace {

constexpr std::size_t kRecords = 12;

// A client's records, one for each piece of plaintext, and its close_notify.
struct Session {
    Ends ends;
    std::vector<Bytes> records;
    Bytes plain;

    explicit Session(const PinnedPair& pair) : ends(pair.connected()) {
        for (std::size_t i = 0; i < kRecords; ++i) {
            const auto piece = pattern(20 + i, i + 1);
            plain.insert(plain.end(), piece.begin(), piece.end());
            EXPECT_TRUE(ends.client->write(piece));
        }
        ends.client->close();
        records = split_records(take_pending(*ends.client));
        EXPECT_EQ(records.size(), kRecords + 1);
    }
};

// What the server makes of `records`: nothing but a beginning of the plaintext, and no end.
void expect_refused(Session& session, const std::vector<Bytes>& records, const std::string& what) {
    Result<void> fed;
    for (const auto& record : records) {
        fed = session.ends.server->feed(record);
        if (!fed) {
            break;
        }
    }
    EXPECT_EQ(fed.status(), Status::corrupt) << what;
    EXPECT_FALSE(session.ends.server->peer_closed()) << what;
    const auto got = drain(*session.ends.server);
    ASSERT_LE(got.size(), session.plain.size()) << what;
    EXPECT_TRUE(std::equal(got.begin(), got.end(), session.plain.begin())) << what;
    // It stays refused, and the peer is told.
    EXPECT_EQ(session.ends.server->feed(session.records.front()).status(), Status::corrupt);
    EXPECT_EQ(session.ends.server->write(bytes_of("x")).status(), Status::corrupt);
}

TEST(TlsAttack, every_flipped_byte_of_every_record_is_noticed) {
    const PinnedPair pair;
    const std::size_t sizes = Session(pair).records.size();
    for (std::size_t k = 0; k < sizes; ++k) {
        const std::size_t size = Session(pair).records[k].size();
        for (std::size_t at = 0; at < size; ++at) {
            Session session(pair);
            auto records = session.records;
            records[k][at] ^= std::byte{1};
            // A length that grew waits for more bytes: the next record's are taken for its own.
            records.push_back(Bytes(512, std::byte{0}));
            expect_refused(session, records, std::to_string(k) + " at " + std::to_string(at));
        }
    }
}

TEST(TlsAttack, records_replayed_dropped_swapped_or_spliced_are_noticed) {
    const PinnedPair pair;
    const Session other(pair);
    for (std::size_t k = 0; k < kRecords; ++k) {
        const auto at = static_cast<std::ptrdiff_t>(k);
        const std::string what = std::to_string(k);
        {
            Session session(pair);
            auto records = session.records;
            records.insert(records.begin() + at, records[k]);
            expect_refused(session, records, "replayed " + what);
        }
        {
            Session session(pair);
            auto records = session.records;
            records.erase(records.begin() + at);
            expect_refused(session, records, "dropped " + what);
        }
        {
            Session session(pair);
            auto records = session.records;
            std::swap(records[k], records[k + 1]);
            expect_refused(session, records, "swapped " + what);
        }
        {
            Session session(pair);
            auto records = session.records;
            records[k] = other.records[k];
            expect_refused(session, records, "spliced " + what);
        }
        {
            // What the server itself says comes back to it.
            Session session(pair);
            EXPECT_TRUE(session.ends.server->write(session.plain));
            auto records = session.records;
            records[k] = take_pending(*session.ends.server);
            expect_refused(session, records, "reflected " + what);
        }
    }
}

TEST(TlsAttack, a_session_cut_at_any_byte_has_no_end) {
    const PinnedPair pair;
    Ends ends(pair.client, pair.server);
    EXPECT_TRUE(ends.client->write(pattern(100)));
    ends.client->close();
    // Each byte of both directions alone: after each, the session might be cut.
    std::size_t bytes = 0;
    while (!ends.client->pending().empty() || !ends.server->pending().empty()) {
        auto& from = ends.client->pending().empty() ? *ends.server : *ends.client;
        auto& to = &from == ends.client.get() ? *ends.server : *ends.client;
        const std::byte byte = from.pending().front();
        from.sent(1);
        ++bytes;
        EXPECT_FALSE(ends.server->peer_closed()) << bytes;
        ASSERT_TRUE(to.feed(std::span(&byte, 1)));
    }
    EXPECT_GT(bytes, 800U);
    EXPECT_TRUE(ends.server->peer_closed());
    EXPECT_FALSE(ends.client->peer_closed());
    EXPECT_EQ(drain(*ends.server), pattern(100));
}

// Byte number `at` of what the client (or the server) says in the handshake and after it is changed.
void flip_in_handshake(const PinnedPair& pair, bool of_client, std::size_t at, bool& reached) {
    Ends ends(pair.client, pair.server);
    EXPECT_TRUE(ends.client->write(bytes_of("1 espresso")));
    std::size_t said = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (const bool client : {true, false}) {
            auto wire = take_pending(client ? *ends.client : *ends.server);
            if (client == of_client && at >= said && at < said + wire.size()) {
                wire[at - said] ^= std::byte{4};
                reached = true;
            }
            said += client == of_client ? wire.size() : 0;
            auto fed = (client ? *ends.server : *ends.client).feed(wire);
            auto& error = client ? ends.server_error : ends.client_error;
            if (!fed && !error) {
                error = fed.error();
            }
            moved = moved || !wire.empty();
        }
    }
    const auto got = text_of(drain(*ends.server));
    EXPECT_TRUE(got.empty() || got == "1 espresso") << at;
    EXPECT_FALSE(ends.server->peer_closed() || ends.client->peer_closed()) << at;
    if (!ends.client_error && !ends.server_error && reached && !got.empty()) {
        // Harmless bytes: the version in the header of a plain record, which TLS 1.3 does not look at.
        EXPECT_TRUE(ends.established()) << at;
    }
}

TEST(TlsAttack, a_handshake_changed_at_any_byte_gives_no_wrong_plaintext) {
    const PinnedPair pair;
    for (const bool of_client : {true, false}) {
        bool reached = true;
        std::size_t at = 0;
        for (; reached; ++at) {
            reached = false;
            flip_in_handshake(pair, of_client, at, reached);
        }
        EXPECT_GT(at, 300U);
    }
}

TEST(TlsAttack, plain_bytes_and_garbage_are_refused_at_the_first_byte_that_says_so) {
    const PinnedPair pair;
    for (const std::string_view plain :
         {"GET / HTTP/1.1\r\n", "\x02", "SSH-2.0-x", "\x17\x03\x03", "\x16\x02", "\xFF"}) {
        const auto server = bridge::TlsChannel::make(pair.server, "x").value();
        const auto refused = server->feed(bytes_of(plain));
        EXPECT_EQ(refused.status(), Status::version_mismatch) << plain;
        EXPECT_FALSE(server->established());
        // A client that was to encrypt has said its hello and nothing else.
        const auto client = bridge::TlsChannel::make(pair.client, kHost).value();
        EXPECT_TRUE(client->write(bytes_of("password")));
        const auto hello = take_pending(*client);
        EXPECT_EQ(client->feed(bytes_of(plain)).status(), Status::version_mismatch);
        EXPECT_TRUE(client->pending().empty());
        EXPECT_EQ(text_of(hello).find("password"), std::string::npos);
    }
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        auto garbage = pattern(3'000, seed);
        garbage[0] = std::byte{22};
        garbage[1] = std::byte{3};
        garbage[2] = std::byte{3};
        garbage[3] = std::byte{1};
        const auto server = bridge::TlsChannel::make(pair.server, "x").value();
        EXPECT_FALSE(server->feed(garbage)) << seed;
        EXPECT_FALSE(server->established() || server->peer_closed());
    }
}

TEST(TlsAttack, an_alert_in_the_clear_ends_no_handshake_in_good_order) {
    const PinnedPair pair;
    const auto close_notify = bytes_of(std::string_view("\x15\x03\x03\x00\x02\x01\x00", 7));
    const auto client = bridge::TlsChannel::make(pair.client, kHost).value();
    const auto fed = client->feed(close_notify);
    EXPECT_FALSE(client->peer_closed());
    EXPECT_FALSE(fed);
    auto ends = pair.connected();
    EXPECT_FALSE(ends.server->feed(close_notify));
    EXPECT_FALSE(ends.server->peer_closed());
}

}  // namespace
}  // namespace telpher::test

// What goes through a channel: any amount, in any pieces, under changing keys, with an end that can be
// told from a cut.
#include "tests/unit/bridge/tls_ends.hpp"

#include <algorithm>

namespace telpher::test {
namespace {

using bridge::kKeptBytesMax;
using bridge::kPendingBytesMax;
using bridge::kRecordBytes;
using bridge::kUnreadBytesMax;

TEST(TlsData, arrives_when_every_byte_comes_alone) {
    const PinnedPair pair;
    Ends ends(pair.client, pair.server);
    EXPECT_TRUE(ends.client->write(bytes_of("1 espresso")));  // kept until the handshake is done
    EXPECT_TRUE(ends.server->write(bytes_of("welcome")));
    ends.pump(1);
    ASSERT_TRUE(ends.established());
    EXPECT_EQ(text_of(drain(*ends.server)), "1 espresso");
    EXPECT_EQ(text_of(drain(*ends.client)), "welcome");
    const auto large = pattern(40'000);
    EXPECT_TRUE(ends.client->write(large));
    ends.pump(1);
    EXPECT_EQ(drain(*ends.server), large);
}

TEST(TlsData, a_mebibyte_goes_both_ways_in_full_records) {
    const PinnedPair pair;
    auto ends = pair.connected();
    const auto there = pattern(std::size_t{1} << 20U, 1);
    const auto back = pattern(std::size_t{1} << 20U, 2);
    EXPECT_TRUE(ends.client->write(there));
    EXPECT_TRUE(ends.server->write(back));
    const auto records = split_records(ends.client->pending());
    EXPECT_EQ(records.size(), there.size() / kRecordBytes);
    ends.pump(999'983);
    EXPECT_EQ(drain(*ends.server), there);
    EXPECT_EQ(drain(*ends.client), back);
    EXPECT_FALSE(ends.client_error || ends.server_error);
}

TEST(TlsData, never_shows_on_the_wire) {
    const PinnedPair pair;
    auto ends = pair.connected();
    const auto plain = pattern(std::size_t{1} << 20U);
    EXPECT_TRUE(ends.client->write(plain));
    const auto wire = take_pending(*ends.client);
    // Any stretch of 8 known bytes would be found: the chance of one by accident is below 2^-23.
    for (std::size_t at = 0; at + 8 <= plain.size(); at += 4096) {
        const auto piece = plain.begin() + static_cast<std::ptrdiff_t>(at);
        ASSERT_EQ(std::search(wire.begin(), wire.end(), piece, piece + 8), wire.end()) << at;
    }
}

TEST(TlsData, a_close_is_told_from_a_cut) {
    const PinnedPair pair;
    auto ends = pair.connected();
    EXPECT_TRUE(ends.client->write(bytes_of("last words")));
    ends.client->close();
    ends.client->close();
    EXPECT_EQ(ends.client->write(bytes_of("more")).status(), Status::closed);
    const auto wire = take_pending(*ends.client);
    for (std::size_t i = 0; i < wire.size(); ++i) {
        ASSERT_FALSE(ends.server->peer_closed()) << i;
        ASSERT_TRUE(ends.server->feed(std::span(wire).subspan(i, 1)));
    }
    EXPECT_TRUE(ends.server->peer_closed());
    EXPECT_EQ(text_of(drain(*ends.server)), "last words");
    // The other direction stays open until its own end.
    EXPECT_TRUE(ends.server->write(bytes_of("good night")));
    ends.server->close();
    ends.pump();
    EXPECT_EQ(text_of(drain(*ends.client)), "good night");
    EXPECT_TRUE(ends.client->peer_closed());
    // What comes after the end is not looked at.
    EXPECT_TRUE(ends.server->feed(bytes_of("nonsense")));
}

TEST(TlsData, what_was_written_and_closed_before_the_handshake_still_arrives) {
    const PinnedPair pair;
    Ends ends(pair.client, pair.server);
    EXPECT_TRUE(ends.client->write(bytes_of("order")));
    ends.client->close();
    ends.pump();
    EXPECT_EQ(text_of(drain(*ends.server)), "order");
    EXPECT_TRUE(ends.server->peer_closed());
}

TEST(TlsData, every_buffer_is_bounded) {
    const PinnedPair pair;
    Ends early(pair.client, pair.server);
    EXPECT_TRUE(early.client->write(pattern(kKeptBytesMax)));
    EXPECT_EQ(early.client->write(pattern(1)).status(), Status::overloaded);
    early.pump();
    EXPECT_EQ(drain(*early.server).size(), kKeptBytesMax);

    auto ends = pair.connected();
    EXPECT_EQ(ends.client->write(pattern(kPendingBytesMax)).status(), Status::overloaded);
    const auto mebibyte = pattern(std::size_t{1} << 20U);
    for (int i = 0; i < 7; ++i) {
        EXPECT_TRUE(ends.client->write(mebibyte));
    }
    EXPECT_EQ(ends.client->write(mebibyte).status(), Status::overloaded);
    // Nobody reads: what is too much is not taken, and the channel goes on afterwards.
    const auto wire = take_pending(*ends.client);
    EXPECT_EQ(ends.server->feed(wire).status(), Status::limit_reached);
    std::size_t read = 0;
    for (std::size_t at = 0; at < wire.size(); at += kUnreadBytesMax / 2) {
        const auto piece = std::span(wire).subspan(at);
        EXPECT_TRUE(ends.server->feed(piece.first(std::min(piece.size(), kUnreadBytesMax / 2))));
        read += drain(*ends.server).size();
    }
    EXPECT_EQ(read, 7 * mebibyte.size());
}

// The records that are no data are key updates: nothing else is sent after the handshake.
std::size_t key_updates_in(std::span<const std::byte> wire, std::size_t data_records) {
    return split_records(wire).size() - data_records;
}

TEST(TlsData, keys_are_renewed_after_so_many_records_bytes_or_hours) {
    std::uint64_t now = 0;
    bridge::TlsLimits by_records;
    by_records.rekey_records = 100;
    bridge::TlsLimits by_bytes;
    by_bytes.rekey_bytes = 1'000;
    bridge::TlsLimits by_time;
    by_time.clock_ns = [&now] { return now; };
    struct Case {
        bridge::TlsLimits limits;
        std::size_t writes;
        std::size_t expected;
        std::uint64_t step_ns;
    };
    for (const auto& one : {Case{by_records, 1'000, 9, 0},
                            Case{by_bytes, 100, 9, 0},
                            Case{by_time, 25, 2, 360'000'000'000U}}) {
        const PinnedPair pair(one.limits);
        auto ends = pair.connected();
        std::size_t updates = 0;
        Bytes all;
        for (std::size_t i = 0; i < one.writes; ++i) {
            now += one.step_ns;
            EXPECT_TRUE(ends.client->write(pattern(100, i)));
            updates += key_updates_in(ends.client->pending(), 1);
            ends.pump();
            const auto got = drain(*ends.server);
            EXPECT_EQ(got, pattern(100, i));
        }
        EXPECT_EQ(updates, one.expected);
        EXPECT_FALSE(ends.server_error);
    }
}

}  // namespace
}  // namespace telpher::test

// The buffer under the channel, and the cutting of the wire into records.
#include "tcp_bridge/byte_queue.hpp"
#include "tcp_bridge/tls_records.hpp"
#include "tests/unit/bridge/tls_ends.hpp"

namespace telpher::test {
namespace {

using bridge::ByteQueue;

TEST(TlsByteQueue, keeps_bytes_in_order_however_they_come_and_go) {
    ByteQueue queue;
    const auto all = pattern(2'000'000);
    Bytes got;
    std::size_t put = 0;
    std::uint64_t random = 1;
    while (got.size() < all.size()) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const std::size_t in = std::min<std::size_t>((random >> 33U) % 30'000, all.size() - put);
        queue.append(std::span(all).subspan(put, in));
        put += in;
        const std::size_t out = std::min<std::size_t>((random >> 48U) % 32'000, queue.size());
        got.insert(got.end(),
                   queue.bytes().begin(),
                   queue.bytes().begin() + static_cast<std::ptrdiff_t>(out));
        queue.take(out);
        ASSERT_EQ(queue.size(), put - got.size());
    }
    EXPECT_EQ(got, all);
    EXPECT_TRUE(queue.empty() && queue.bytes().empty());
}

TEST(TlsByteQueue, gives_memory_back_that_it_no_longer_needs) {
    ByteQueue queue;
    queue.append(pattern(std::size_t{4} << 20U));
    queue.take(queue.size());
    const std::size_t large = queue.room(1).size();
    EXPECT_GE(large, std::size_t{4} << 20U);
    for (int i = 0; i < 40; ++i) {
        queue.append(pattern(100));
        queue.take(queue.size());
    }
    EXPECT_LT(queue.room(1).size(), std::size_t{256} << 10U);
    // One that is used stays.
    for (int i = 0; i < 40; ++i) {
        queue.append(pattern(std::size_t{1} << 20U));
        queue.take(queue.size());
    }
    EXPECT_GE(queue.room(1).size(), std::size_t{1} << 20U);
}

Bytes record(std::uint8_t type, std::size_t size) {
    Bytes bytes{static_cast<std::byte>(type),
                std::byte{3},
                std::byte{3},
                static_cast<std::byte>(size >> 8U),
                static_cast<std::byte>(size & 0xFFU)};
    const auto body = pattern(size, size);
    bytes.insert(bytes.end(), body.begin(), body.end());
    return bytes;
}

TEST(TlsRecordReader, cuts_the_same_records_out_of_any_pieces) {
    const std::vector<Bytes> records{
        record(22, 1), record(23, 300), record(20, 1), record(23, 16'640), record(21, 2)};
    Bytes wire;
    for (const auto& one : records) {
        wire.insert(wire.end(), one.begin(), one.end());
    }
    for (const std::size_t step : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 100U, 306U, 5'000U, 100'000U}) {
        bridge::RecordReader reader;
        std::vector<Bytes> got;
        for (std::size_t at = 0; at < wire.size(); at += step) {
            auto piece = std::span<const std::byte>(wire).subspan(at);
            piece = piece.first(std::min(piece.size(), step));
            for (;;) {
                const auto next = reader.next(piece);
                ASSERT_TRUE(next) << step;
                if (next->empty()) {
                    break;
                }
                got.emplace_back(next->begin(), next->end());
            }
            EXPECT_TRUE(piece.empty());
        }
        EXPECT_EQ(got, records) << step;
    }
}

TEST(TlsRecordReader, refuses_what_can_be_no_record_at_its_first_wrong_byte) {
    const auto status_of = [](Bytes bytes) {
        bridge::RecordReader reader;
        std::span<const std::byte> wire(bytes);
        return reader.next(wire).status();
    };
    EXPECT_EQ(status_of({std::byte{22}}), Status::ok);
    EXPECT_EQ(status_of({std::byte{23}}), Status::version_mismatch);
    EXPECT_EQ(status_of({std::byte{22}, std::byte{2}}), Status::version_mismatch);
    EXPECT_EQ(status_of(record(22, 16'641)), Status::corrupt);
    EXPECT_EQ(status_of(record(22, 0)), Status::corrupt);
    auto later = record(22, 10);
    later.push_back(std::byte{19});
    bridge::RecordReader reader;
    std::span<const std::byte> wire(later);
    EXPECT_FALSE(reader.next(wire).value().empty());
    EXPECT_EQ(reader.next(wire).status(), Status::corrupt);
}

}  // namespace
}  // namespace telpher::test

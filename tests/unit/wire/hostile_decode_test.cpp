// Bytes from outside: every damaged message is either `corrupt` or lies inside its buffer. The
// buffers have exactly the size of the message, so that a sanitizer sees a read beyond it.
#include "src/wire/extension.hpp"
#include "tests/unit/wire/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace telpher::wire {
namespace {

// Reads all there is to read, and checks that it lies in `bytes`.
void read_everything(const MessageView& view, std::span<const std::byte> bytes) {
    const auto inside = [&](const void* at, std::size_t size) {
        const auto* start = static_cast<const std::byte*>(at);
        return size == 0 || (start >= bytes.data() && size <= bytes.size() &&
                             start <= bytes.data() + (bytes.size() - size));
    };
    ASSERT_TRUE(inside(view.topic().data(), view.topic().size()));
    ASSERT_TRUE(inside(view.payload().data(), view.payload().size()));
    for (const std::string_view text : {view.request_id(),
                                        view.reply_to(),
                                        view.destination(),
                                        view.correlation_id(),
                                        view.causation_id(),
                                        view.traceparent()}) {
        ASSERT_TRUE(inside(text.data(), text.size()));
    }
    ASSERT_LE(view.size_bytes(), bytes.size());
    ASSERT_FALSE(view.to_json().empty());
    ASSERT_EQ(view.fields().size(), 19U);
    (void)view.expired(TimePoint{});
    (void)view.type_tag();
}

void read_twice(const MessageView& view, std::span<const std::byte> bytes) {
    read_everything(view, bytes);
    const Message copy = view.to_message();
    if (!view.delay()) {  // that of a message that was received is left out
        ASSERT_EQ(copy.size_bytes(), view.size_bytes());
    }
}

void decode_hostile(std::span<const std::byte> bytes) {
    const auto view = decode(bytes);
    if (view) {
        read_twice(*view, bytes);
    } else {
        ASSERT_EQ(view.status(), Status::corrupt);
        ASSERT_FALSE(view.error().detail.empty());
    }
    MessageView in_place;
    if (decode_in_place(bytes, in_place)) {
        ASSERT_TRUE(view) << "the quick way took what decode refuses";
        read_twice(in_place, bytes);
    }
}

TEST(HostileDecode, every_truncation_is_corrupt) {
    for (const std::string_view hex : golden::kAll) {
        const auto whole = golden::from_hex(hex);
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const std::vector<std::byte> bytes(whole.begin(),
                                               whole.begin() + static_cast<std::ptrdiff_t>(size));
            const auto view = decode(bytes);
            ASSERT_EQ(view.status(), Status::corrupt) << hex << " cut to " << size;
            decode_hostile(bytes);
        }
    }
}

TEST(HostileDecode, every_bit_flip_is_corrupt_or_in_bounds) {
    for (const std::string_view hex : golden::kAll) {
        const auto whole = golden::from_hex(hex);
        for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
            auto bytes = whole;
            bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
            SCOPED_TRACE("bit " + std::to_string(bit));
            decode_hostile(bytes);
        }
    }
}

TEST(HostileDecode, every_value_of_every_byte_is_corrupt_or_in_bounds) {
    const auto whole = golden::from_hex(golden::kFull);
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (unsigned value = 0; value < 256; ++value) {
            auto bytes = whole;
            bytes[at] = static_cast<std::byte>(value);
            decode_hostile(bytes);
        }
    }
}

TEST(HostileDecode, random_bytes_are_corrupt_or_in_bounds) {
    std::mt19937_64 engine{20240608};
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::byte> bytes(engine() % 300);
        for (std::byte& byte : bytes) {
            byte = static_cast<std::byte>(engine());
        }
        if (i % 2 == 0 && bytes.size() > kHeadBytes) {
            // Make a few pass the first checks, so that the later ones are reached.
            bytes[1] = bytes[2] = bytes[3] = std::byte{0};
            bytes[4] = bytes[5] = bytes[37] = bytes[39] = std::byte{0};
            bytes[7] = std::byte{1};
        }
        decode_hostile(bytes);
    }
}

TEST(HostileDecode, bytes_at_odd_addresses_decode) {
    for (const std::string_view hex : golden::kAll) {
        auto bytes = golden::from_hex(hex);
        bytes.insert(bytes.begin(), std::byte{0});
        const auto view = decode(std::span<const std::byte>(bytes).subspan(1));
        ASSERT_TRUE(view);
        EXPECT_EQ(view->id(), golden::kStamp.id);
    }
}

// --- Each rule's text names field, limit and value ---

struct Damage {
    std::string_view what;
    std::string_view hex;
    std::size_t at;
    std::vector<std::uint8_t> bytes;
    std::string_view text;
};

TEST(HostileDecode, each_refusal_names_field_limit_and_value) {
    const std::vector<Damage> damages{
        {"type", golden::kText, 4, {9}, "type is 9, the highest known is 7"},
        {"flags", golden::kText, 5, {0x80}, "flags are 128, the known ones are 15"},
        {"content", golden::kText, 7, {3}, "content is 3, known are 0, 1, 2 and 255"},
        {"topic", golden::kText, 36, {0xFF, 0xFF}, "0 and 65535 bytes, after the header are 19"},
        {"payload", golden::kText, 0, {12}, "payload is 12 bytes at 48, the message has 59"},
        {"payload", golden::kText, 0, {255, 255, 255, 255}, "payload is 4294967295 bytes at 48"},
        {"entry too long", golden::kFull, 41, {0xFF}, "reaches beyond the extension of 126 bytes"},
        {"order", golden::kFull, 52, {1}, "entry 1 at 12 comes after entry 1"},
        {"id 0", golden::kFull, 40, {0}, "entry 0 at 0 comes after entry 0"},
        {"no mimetype", golden::kText, 7, {255}, "the extension has no mimetype"},
        {"mimetype unused", golden::kFull, 7, {1}, "the extension has a mimetype"},
        {"untyped", golden::kTyped, 5, {4}, "the extension has a type"},
        {"type larger", golden::kTyped, 51, {5}, "type is 5 bytes, the payload has 4"},
        {"no_retry length", golden::kFull, 159, {12}, "entry 12 is 4 bytes, the format says 1"},
        {"attempt length", golden::kTyped, 40, {11}, "entry 11 is 12 bytes, the format says 4"},
        {"type length", golden::kTyped, 41, {11}, "entry 10 is 11 bytes, the format says 12"},
    };
    for (const Damage& damage : damages) {
        auto bytes = golden::from_hex(damage.hex);
        for (std::size_t i = 0; i < damage.bytes.size(); ++i) {
            bytes[damage.at + i] = static_cast<std::byte>(damage.bytes[i]);
        }
        const auto view = decode(bytes);
        ASSERT_EQ(view.status(), Status::corrupt) << damage.what;
        EXPECT_NE(view.error().detail.find(damage.text), std::string::npos)
            << damage.what << ": " << view.error().detail;
    }
}

TEST(HostileDecode, an_extension_above_its_limit_is_corrupt) {
    std::vector<std::byte> bytes(8000);
    const std::uint16_t extension_bytes = 4097;
    std::memcpy(bytes.data() + 38, &extension_bytes, sizeof extension_bytes);
    const auto view = decode(bytes);
    EXPECT_EQ(view.error().detail, "extension is 4097 bytes, the limit is 4096");
}

TEST(HostileDecode, unknown_entries_are_kept) {
    auto bytes = golden::from_hex(golden::kFull);
    bytes[40 + 126 - 7] = std::byte{200};  // the timeout becomes an entry nobody knows
    const auto view = decode(bytes);
    ASSERT_TRUE(view) << to_string(view.error());
    EXPECT_EQ(view->timeout(), std::nullopt);
    EXPECT_EQ(golden::encoded(view->to_message()), bytes);
}

TEST(HostileDecode, a_writer_that_changes_the_bytes_afterwards_cannot_lead_the_view_astray) {
    for (const std::string_view hex : {golden::kFull, golden::kTyped}) {
        const auto good = golden::from_hex(hex);
        auto bytes = good;
        const auto view = decode(bytes);
        ASSERT_TRUE(view);
        for (std::size_t at = 0; at < bytes.size(); ++at) {
            for (const unsigned value : {0U, 1U, 3U, 127U, 255U}) {
                bytes[at] = static_cast<std::byte>(value);
                read_everything(*view, bytes);
                bytes[at] = good[at];
            }
        }
        std::ranges::fill(bytes, std::byte{0xFF});
        read_everything(*view, bytes);
        const Message copy = view->to_message();
        const auto again = golden::encoded(copy);
        EXPECT_TRUE(decode(again)) << "a copy made meanwhile must be a message";
    }
}

}  // namespace
}  // namespace telpher::wire
